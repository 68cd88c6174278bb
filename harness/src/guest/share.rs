//! Shares: one directory served to the guest over virtiofs, by one process.
//!
//! The process is `kiln` itself, run again with a hidden subcommand ([`server::serve`]): the
//! `virtiofsd` library sets the umask of its process, exits on a malformed guest request, and
//! confines the process, so it must never run in the harness itself. [`Share`] is the harness's
//! end.

mod confine;
mod limits;
mod numbers;
mod pressure;
mod process;
mod served;
mod server;
mod subset;

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

pub use confine::landlock_supported;
pub use limits::{OWN_DESCRIPTORS, guest_files, hard_limit, raise_open_files};
pub use pressure::PressureSignal;
pub use process::{Share, ShareConfig};
pub use server::{ServeOptions, serve};

use crate::hint::Hint;

/// Longest virtiofs tag in bytes (virtio 1.2, 5.11.4).
pub const MAX_TAG_LEN: usize = virtiofsd::vhost_user::MAX_TAG_LEN;

/// Name of the hidden subcommand that serves a share.
pub const SUBCOMMAND: &str = "__share";

/// Why a directory could not be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The directory to share is missing or not a directory.
    #[error("cannot share {}: {source}", dir.display())]
    Directory {
        /// The directory.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The tag is empty or too long for virtio.
    #[error("virtiofs tag {tag:?} must have 1 to {MAX_TAG_LEN} bytes")]
    Tag {
        /// The tag.
        tag: String,
    },
    /// The socket for QEMU could not be created.
    #[error("cannot listen on {}: {source}", socket.display())]
    Listen {
        /// Path of the socket.
        socket: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The share process could not be started.
    #[error("cannot start the process that shares {}: {source}", dir.display())]
    Spawn {
        /// The directory.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The share process ended in failure.
    #[error("the process that shares {} ended with {status}: {log}", dir.display())]
    Exited {
        /// The directory.
        dir: PathBuf,
        /// How it ended.
        status: ExitStatus,
        /// The tail of its messages.
        log: String,
    },
    /// Too few files may be open at once.
    #[error("the limit of open files is {limit}, but a share needs at least {needed}")]
    OpenFiles {
        /// Hard limit (`RLIMIT_NOFILE`).
        limit: u64,
        /// Descriptors that the server itself needs.
        needed: u64,
    },
    /// A step of setting up the share process failed.
    #[error("cannot {what}: {message}")]
    Setup {
        /// The step, as a verb phrase.
        what: &'static str,
        /// What the library or the system said.
        message: String,
    },
    /// Serving QEMU failed.
    #[error("virtiofs connection failed: {0}")]
    Connection(vhost_user_backend::Error),
}

impl Hint for Error {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::OpenFiles { .. } => {
                vec!["raise the hard limit of open files: see `ulimit -Hn`".to_owned()]
            }
            Self::Listen { source, .. } if source.kind() == io::ErrorKind::InvalidInput => vec![
                "a UNIX socket's path has at most 107 bytes: choose a shorter TMPDIR".to_owned(),
            ],
            _ => Vec::new(),
        }
    }
}
