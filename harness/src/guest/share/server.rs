//! The main function of a share process.

use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use vhost::vhost_user::{Error as VhostUserError, Listener};
use vhost_user_backend::VhostUserDaemon;
use virtiofsd::filesystem::{FileSystem, SerializableFileSystem};
use virtiofsd::passthrough::read_only::PassthroughFsRo;
use virtiofsd::passthrough::xattrmap::XattrMap;
use virtiofsd::passthrough::{CachePolicy, Config, InodeFileHandlesMode, PassthroughFs};
use virtiofsd::soft_idmap::cmdline::IdMap;
use virtiofsd::vhost_user::VhostUserFsBackendBuilder;
use vm_memory::{GuestMemoryAtomic, GuestMemoryMmap};

use super::Error;
use super::confine::confine;
use super::limits;
use super::served::{Owner, Served};
use super::subset::Subset;

/// How long the guest may cache names and attributes of a share that does not change meanwhile.
const CACHE_TIMEOUT: Duration = Duration::from_secs(86_400);

/// How long it may cache them if somebody edits files meanwhile.
const EDITED_TIMEOUT: Duration = Duration::from_secs(1);

/// Which extended attributes of the host's files a guest can see and set: those of any user
/// (xattr(7)). The others are for the host's security modules and file systems, and useless to a
/// guest that enforces nothing.
const USER_XATTRS: &str = ":ok:all:user.:user.::unsupported:all:::";

/// After this many lines of messages a share stops logging, so that a guest cannot fill the host's
/// disk through the log.
const MAX_LOG_LINES: usize = 1_000;

/// What a share process serves; its listening UNIX socket is its stdin.
#[derive(Debug, Clone, clap::Args)]
pub struct ServeOptions {
    /// The directory to serve.
    #[arg(long)]
    pub dir: PathBuf,
    /// Lets the guest change the directory.
    #[arg(long)]
    pub rw: bool,
    /// Shows only the entries of the directory that this file lists, one per line.
    #[arg(long, conflicts_with = "rw")]
    pub only: Option<PathBuf>,
    /// Lets the guest soon see changes that the host makes to files.
    #[arg(long)]
    pub edited: bool,
}

/// Serves one directory to one QEMU, until QEMU ends.
///
/// The listening socket is inherited as stdin, as with inetd: the harness binds it before either
/// process starts, so QEMU can connect at any time after. Call this while the process has a single
/// thread (no tokio runtime); afterwards the process can only exit.
pub fn serve(options: &ServeOptions) -> Result<(), Error> {
    // Keep an existing logger.
    let _ = log::set_logger(&LOGGER).map(|()| log::set_max_level(log::LevelFilter::Warn));
    let dir = options
        .dir
        .canonicalize()
        .map_err(|source| Error::Directory {
            dir: options.dir.clone(),
            source,
        })?;
    let root_dir = dir.to_str().map(str::to_owned).ok_or(Error::Setup {
        what: "share a directory",
        message: format!("{} is not UTF-8", dir.display()),
    })?;
    let socket = std::io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .map(UnixListener::from)
        .map_err(|error| Error::Setup {
            what: "take over the listening socket",
            message: error.to_string(),
        })?;
    let guest_fd_limit = limits::raise()?;
    let only = options.only.as_deref().map(read_names).transpose()?;
    let failed = |error: std::io::Error| Error::Setup {
        what: "open the shared directory",
        message: error.to_string(),
    };
    let device = dir.metadata().map_err(failed)?.dev();
    confine(&dir, only.as_deref(), options.rw)?;

    let mut config = Config {
        root_dir,
        entry_timeout: CACHE_TIMEOUT,
        attr_timeout: if options.edited {
            EDITED_TIMEOUT
        } else {
            CACHE_TIMEOUT
        },
        cache_policy: CachePolicy::Always,
        readdirplus: true,
        // After one ENOSYS the guest's kernel stops asking; with attributes on, the overlay would
        // ask for each directory that it merges.
        xattr: false,
        // An overlay returns EREMOTE for announced submounts.
        announce_submounts: false,
        // Opening by handle needs CAP_DAC_READ_SEARCH.
        inode_file_handles: InodeFileHandlesMode::Never,
        guest_fd_limit,
        ..Config::default()
    };
    let listener = Listener::from(socket);
    if options.rw {
        // All writes from the guest are done as the harness's user: an unprivileged process cannot
        // become another one.
        let owner = Owner {
            uid: nix::unistd::geteuid().as_raw(),
            gid: nix::unistd::getegid().as_raw(),
        };
        config.uid_map = Some(vec![squash(owner.uid)]);
        config.gid_map = Some(vec![squash(owner.gid)]);
        // The host sees the guest's writes at once, and the guest soon sees the host's; a file that
        // is opened again is read again. There is no overlay over it, which would not support that.
        config.entry_timeout = EDITED_TIMEOUT;
        config.attr_timeout = EDITED_TIMEOUT;
        config.cache_policy = CachePolicy::Auto;
        config.xattr = true;
        config.xattrmap = Some(
            XattrMap::try_from(USER_XATTRS).map_err(|error| Error::Setup {
                what: "choose extended attributes",
                message: error.to_string(),
            })?,
        );
        let fs = PassthroughFs::new(config).map_err(failed)?;
        run(
            Served::new(fs, device, guest_fd_limit, Some(owner)),
            listener,
        )
    } else {
        let fs = PassthroughFsRo::new(config).map_err(failed)?;
        match only {
            Some(names) => {
                let fs = Subset::new(fs, &dir, &names).map_err(failed)?;
                run(Served::new(fs, device, guest_fd_limit, None), listener)
            }
            None => run(Served::new(fs, device, guest_fd_limit, None), listener),
        }
    }
}

/// The names that a file lists. Anything but a plain name could lead out of the directory.
fn read_names(file: &Path) -> Result<Vec<String>, Error> {
    let failed = |message: String| Error::Setup {
        what: "read the list of visible entries",
        message,
    };
    let text = std::fs::read_to_string(file).map_err(|error| failed(error.to_string()))?;
    let names: Vec<String> = text.lines().map(str::to_owned).collect();
    match names
        .iter()
        .find(|name| name.is_empty() || name.contains('/') || matches!(name.as_str(), "." | ".."))
    {
        Some(bad) => Err(failed(format!("{bad:?} is not a name"))),
        None => Ok(names),
    }
}

/// Every guest id to this host id.
fn squash(to_host: u32) -> IdMap {
    IdMap::SquashGuest {
        from_guest: 0,
        to_host,
        count: u32::MAX,
    }
}

/// Serves `fs` to the first client that connects.
fn run<F>(fs: F, mut listener: Listener) -> Result<(), Error>
where
    F: FileSystem + SerializableFileSystem + Send + Sync + 'static,
{
    // Without a tag: QEMU has its own, and warns about a second one.
    let backend = VhostUserFsBackendBuilder::default()
        .build(fs)
        .map_err(|error| Error::Setup {
            what: "build the virtiofs device",
            message: error.to_string(),
        })?;
    let mut daemon = VhostUserDaemon::new(
        "virtiofs".to_owned(),
        Arc::new(backend),
        GuestMemoryAtomic::new(GuestMemoryMmap::new()),
    )
    .map_err(Error::Connection)?;
    daemon.start(&mut listener).map_err(Error::Connection)?;
    match daemon.wait() {
        // QEMU has ended, normally or killed in the middle of a message.
        Ok(())
        | Err(vhost_user_backend::Error::HandleRequest(
            VhostUserError::Disconnected | VhostUserError::PartialMessage,
        )) => Ok(()),
        Err(error) => Err(Error::Connection(error)),
    }
}

/// Writes what the libraries log to stderr, which the harness keeps in a file.
struct Logger {
    lines: AtomicUsize,
}

static LOGGER: Logger = Logger {
    lines: AtomicUsize::new(0),
};

impl log::Log for Logger {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata())
            && self.lines.fetch_add(1, Ordering::Relaxed) < MAX_LOG_LINES
        {
            let level = record.level().as_str().to_ascii_lowercase();
            let _ = writeln!(std::io::stderr(), "{level}: {}", record.args());
        }
    }

    fn flush(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_directory_is_named_before_anything_is_given_up() {
        let result = serve(&ServeOptions {
            dir: "/nonexistent/share".into(),
            rw: false,
            only: None,
            edited: false,
        });
        assert!(matches!(result, Err(Error::Directory { .. })));
    }
}
