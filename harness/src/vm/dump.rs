//! Writes the memory of a guest into a file that crash(8), drgn and makedumpfile open.
//!
//! QEMU writes kdump's format in its flattened form only, and leaves out what drgn asks for. So it
//! writes into a FIFO, and kiln puts each part where it belongs and adds the rest ([`kdump`]). A
//! full disk is then kiln's to notice, and a kiln that gives up ends the dump: QEMU's next write
//! fails, and the guest goes on.

pub mod exercise;
mod kdump;

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use tempfile::TempPath;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::sync::mpsc;

use super::card::{self, ADMIN_SOCKET};
use super::hold::Hold;
use super::qmp::{self, Qmp};
use crate::blocking::blocking;
use crate::hint::{Hint, with_causes};
use kdump::{Flattened, Uname};

/// The FIFO, in the VM's own directory.
const FIFO: &str = "dump.fifo";
/// How long QEMU may take to answer somebody new.
const CONNECT: Duration = Duration::from_secs(10);
/// How long QEMU may take to give up once nobody reads.
const GIVE_UP: Duration = Duration::from_secs(10);
/// Bytes to read at once.
const CHUNK: usize = 64 * 1024;
/// Chunks that wait for the disk.
const BACKLOG: usize = 16;

/// Why a guest's memory could not be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody else stops the VM.
    #[error("somebody else debugs or dumps this VM")]
    Held,
    /// It has ended.
    #[error("the VM has ended")]
    Gone,
    /// The file cannot be made or written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What QEMU writes cannot be read.
    #[error("cannot read what QEMU writes: {0}")]
    Read(io::Error),
    /// QEMU fails.
    #[error(transparent)]
    Qemu(#[from] qmp::Error),
}

impl Hint for Error {
    fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::Held => "wait until `kiln gdb` or `kiln dump` has ended there",
            Self::Write { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                "the file system needs room for the memory that the guest uses, compressed"
            }
            Self::Write { .. } => "name another file with -o FILE",
            Self::Gone | Self::Read(_) | Self::Qemu(_) => return Vec::new(),
        };
        vec![hint.to_owned()]
    }
}

/// Writes the memory of the running VM in this directory to `path`, which must not exist; returns
/// how many bytes that took.
pub async fn of_running(dir: &Path, path: &Path) -> Result<u64, Error> {
    let vm = card::of(dir).ok_or(Error::Gone)?;
    let held = Hold::take(dir).map_err(Error::Read)?;
    let _hold = held.ok_or(Error::Held)?;
    let (qmp, _) = Qmp::connect(&dir.join(ADMIN_SOCKET), CONNECT).await?;
    write(&qmp, dir, path, &vm.card.release).await
}

/// The same, for a line in a report: where it is, or why it is not.
pub async fn beside(dir: &Path, path: &Path) -> String {
    told(path, &of_running(dir, path).await)
}

/// What became of a dump, in one line.
pub(super) fn told(path: &Path, written: &Result<u64, Error>) -> String {
    match written {
        Ok(bytes) => format!(
            "the guest's memory is in {} ({} MiB)",
            path.display(),
            bytes >> 20
        ),
        Err(error) => format!("the guest's memory was not written: {}", with_causes(error)),
    }
}

/// Writes the memory of the guest of a QEMU, with a FIFO in `dir`.
pub(super) async fn write(qmp: &Qmp, dir: &Path, path: &Path, release: &str) -> Result<u64, Error> {
    let failed = |source| Error::Write {
        path: path.to_owned(),
        source,
    };
    let file = private_file(path).map_err(failed)?;
    let unfinished = TempPath::try_from_path(path).map_err(failed)?;
    let fifo = dir.join(FIFO);
    mkfifo(&fifo, Mode::S_IRUSR | Mode::S_IWUSR).map_err(|errno| Error::Read(errno.into()))?;
    let _fifo = TempPath::try_from_path(&fifo).map_err(Error::Read)?;
    // Also for writing: else it would end before QEMU opens it.
    let mut options = pipe::OpenOptions::new();
    let from = options.read_write(true).open_receiver(&fifo);
    let mut from = from.map_err(Error::Read)?;
    let (chunks, queue) = mpsc::channel(BACKLOG);
    let uname = Uname {
        release: release.to_owned(),
    };
    let writing = tokio::spawn(blocking(move || put_together(&file, queue, &uname)));
    let dumping = qmp.dump(&fifo);
    tokio::pin!(dumping);
    let mut dumped = None;
    loop {
        let mut chunk = Vec::with_capacity(CHUNK);
        tokio::select! {
            biased;
            read = from.read_buf(&mut chunk) => {
                read.map_err(Error::Read)?;
                // It could not write, and says why below.
                if chunks.send(chunk).await.is_err() {
                    break;
                }
            }
            // All that it has written is read first.
            answer = &mut dumping => {
                dumped = Some(answer);
                break;
            }
        }
    }
    drop((chunks, from));
    let written = writing
        .await
        .unwrap_or_else(|error| Err(io::Error::other(error)));
    if dumped.is_none() {
        // The guest stands still until then.
        let _ = tokio::time::timeout(GIVE_UP, dumping).await;
    }
    let written = match (written, dumped) {
        // QEMU knows more of what is missing.
        (Err(error), Some(Err(dumped))) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return Err(dumped.into());
        }
        (written, _) => written.map_err(failed)?,
    };
    unfinished.keep().map_err(|error| failed(error.error))?;
    Ok(written)
}

/// Creates a file that only the user may read.
fn private_file(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true).write(true).create_new(true).mode(0o600);
    options.open(path)
}

/// Writes the parts of a flattened dump where they belong; returns the size of the file.
fn put_together(
    file: &File,
    mut chunks: mpsc::Receiver<Vec<u8>>,
    uname: &Uname,
) -> io::Result<u64> {
    let mut flattened = Flattened::default();
    while let Some(chunk) = chunks.blocking_recv() {
        flattened.put(&chunk, file)?;
    }
    flattened.finish()?;
    kdump::complete(file, uname)?;
    Ok(file.metadata()?.len())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_dump_is_the_users_alone_and_replaces_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vmcore");
        let file = private_file(&path).unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(private_file(&path).is_err());
        drop(TempPath::try_from_path(&path).unwrap());
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_vm_that_is_gone_is_not_dumped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vmcore");
        let said = beside(dir.path(), &path).await;
        assert!(
            said.ends_with("was not written: the VM has ended"),
            "{said}"
        );
        assert!(!path.exists());
    }
}
