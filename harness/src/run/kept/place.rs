//! Where the sockets of kept VMs are: in a directory that only the user can enter.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::geteuid;
use tokio::net::UnixListener;

use crate::hint::Hint;
use crate::scratch::is_private;

/// How often to try again for a lock.
const PAUSE: Duration = Duration::from_millis(20);

/// Why sockets of kept VMs cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directory cannot be made or looked at.
    #[error("cannot use {} for the sockets of VMs: {source}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others may have put something into the directory.
    #[error("{} is not only yours: others could answer in place of your VMs", path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
    },
    /// The socket cannot be made.
    #[error("cannot listen on {}: {source}", path.display())]
    Listen {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Hint for Error {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Directory { .. } => {
                vec!["set XDG_RUNTIME_DIR or TMPDIR to another directory".to_owned()]
            }
            Self::Foreign { path } => vec![format!(
                "remove {}, or set XDG_RUNTIME_DIR to a directory of yours",
                path.display()
            )],
            Self::Listen { .. } => vec![
                "the name of a socket has at most 107 bytes: set XDG_RUNTIME_DIR to a short path"
                    .to_owned(),
            ],
        }
    }
}

/// The place of one kept VM.
#[derive(Debug, Clone)]
pub struct Place {
    dir: PathBuf,
    socket: PathBuf,
    lock: PathBuf,
}

/// Held while a VM is started for a place, so that two do not start one each.
#[derive(Debug)]
pub struct Starting {
    lock: PathBuf,
    _file: Flock<File>,
}

impl Drop for Starting {
    fn drop(&mut self) {
        // Whoever waits for this file sees that it has gone, and makes another.
        remove(&self.lock);
    }
}

/// Removes a file of a place, and the directory if that was the last.
pub fn remove(file: &Path) {
    let _ = fs::remove_file(file);
    if let Some(dir) = file.parent() {
        let _ = fs::remove_dir(dir);
    }
}

impl Place {
    /// Of the VM with this key, in the user's runtime directory.
    pub fn new(key: &str) -> Result<Self, Error> {
        Self::in_dir(&directory(), key)
    }

    fn in_dir(dir: &Path, key: &str) -> Result<Self, Error> {
        if dir.symlink_metadata().is_ok() {
            check(dir)?;
        }
        Ok(Self {
            dir: dir.to_owned(),
            socket: dir.join(format!("{key}.sock")),
            lock: dir.join(format!("{key}.lock")),
        })
    }

    /// Its socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Waits for the right to start a VM here.
    pub async fn starting(&self) -> Result<Starting, Error> {
        loop {
            // The last VM to end has removed it.
            make(&self.dir)?;
            if let Some(starting) = self.try_starting().map_err(|source| Error::Directory {
                path: self.lock.clone(),
                source,
            })? {
                return Ok(starting);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn try_starting(&self) -> io::Result<Option<Starting>> {
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&self.lock);
        let file = match file {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(file) => file,
            Err((_, Errno::EWOULDBLOCK)) => return Ok(None),
            Err((_, error)) => return Err(error.into()),
        };
        // The one before may have removed it between our opening and our lock.
        let named = fs::metadata(&self.lock).is_ok_and(|named| {
            file.metadata()
                .is_ok_and(|held| (held.dev(), held.ino()) == (named.dev(), named.ino()))
        });
        Ok(named.then(|| Starting {
            lock: self.lock.clone(),
            _file: file,
        }))
    }
}

/// Makes the directory, unless it is there.
fn make(dir: &Path) -> Result<(), Error> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(Error::Directory {
            path: dir.to_owned(),
            source: error,
        }),
        _ => check(dir),
    }
}

/// Checks that a directory is the user's alone, and not reached through somebody else's link.
fn check(dir: &Path) -> Result<(), Error> {
    let meta = fs::symlink_metadata(dir).map_err(|source| Error::Directory {
        path: dir.to_owned(),
        source,
    })?;
    if is_private(&meta) {
        return Ok(());
    }
    Err(Error::Foreign {
        path: dir.to_owned(),
    })
}

/// Listens on a socket, in place of one on which nobody listens.
pub fn listen(socket: &Path) -> Result<UnixListener, Error> {
    let failed = |source| Error::Listen {
        path: socket.to_owned(),
        source,
    };
    match fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let listener = UnixListener::bind(socket).map_err(failed)?;
    fs::set_permissions(socket, Permissions::from_mode(0o600)).map_err(failed)?;
    Ok(listener)
}

/// `XDG_RUNTIME_DIR` is the user's own (basedir specification); elsewhere others may write too.
fn directory() -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from) {
        Some(dir) if dir.is_absolute() && dir.is_dir() => dir.join("kiln"),
        _ => std::env::temp_dir().join(format!("kiln-of-{}", geteuid())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_directory_is_the_users_alone() {
        let dir = tempfile::tempdir().unwrap();
        let own = dir.path().join("own");
        let place = Place::in_dir(&own, "k").unwrap();
        assert_eq!(place.socket(), own.join("k.sock"));
        assert!(!own.exists());
        make(&own).unwrap();
        assert_eq!(fs::metadata(&own).unwrap().mode() & 0o777, 0o700);
        fs::set_permissions(&own, fs::Permissions::from_mode(0o755)).unwrap();
        let open = Place::in_dir(&own, "k");
        assert!(matches!(open, Err(Error::Foreign { .. })), "{open:?}");
        fs::set_permissions(&own, fs::Permissions::from_mode(0o700)).unwrap();
        let link = dir.path().join("link");
        symlink(&own, &link).unwrap();
        let linked = Place::in_dir(&link, "k");
        assert!(matches!(linked, Err(Error::Foreign { .. })), "{linked:?}");
        let missing = make(&dir.path().join("no/dir"));
        assert!(
            matches!(missing, Err(Error::Directory { .. })),
            "{missing:?}"
        );
    }

    #[tokio::test]
    async fn one_at_a_time_starts_a_vm_and_leaves_no_lock() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::in_dir(&dir.path().join("own"), "k").unwrap();
        let first = place.starting().await.unwrap();
        assert!(place.try_starting().unwrap().is_none());
        let waits = tokio::spawn({
            let place = place.clone();
            async move { place.starting().await }
        });
        drop(first);
        let second = waits.await.unwrap().unwrap();
        assert!(place.try_starting().unwrap().is_none());
        drop(second);
        assert!(!dir.path().join("own").exists());
        drop(place.starting().await.unwrap());
    }

    #[tokio::test]
    async fn a_socket_that_nobody_listens_on_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("s");
        drop(listen(&socket).unwrap());
        assert!(socket.exists());
        let _listener = listen(&socket).unwrap();
        assert!(tokio::net::UnixStream::connect(&socket).await.is_ok());
        let long = dir.path().join("x".repeat(200));
        assert!(matches!(listen(&long), Err(Error::Listen { .. })));
    }
}
