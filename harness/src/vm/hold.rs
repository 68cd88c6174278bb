//! Holding a VM: somebody else stops its processors for a while, with a debugger or for a dump, and
//! it must not count as hung meanwhile.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

/// The file that is locked, in the directory of the VM.
const FILE: &str = "held";

/// Held until it is dropped, or its process ends.
#[derive(Debug)]
pub struct Hold {
    _file: Flock<File>,
}

impl Hold {
    /// Takes hold of the VM in this directory; `None` if somebody else has it.
    pub fn take(dir: &Path) -> io::Result<Option<Self>> {
        match Flock::lock(open(dir, true)?, FlockArg::LockExclusiveNonblock) {
            Ok(file) => Ok(Some(Self { _file: file })),
            Err((_, Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, error)) => Err(error.into()),
        }
    }
}

fn open(dir: &Path, create: bool) -> io::Result<File> {
    File::options()
        .create(create)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(dir.join(FILE))
}

/// Asks whether somebody holds a VM.
#[derive(Debug, Clone)]
pub enum Held {
    /// A debugger may stop it at any time.
    Always,
    /// By the VM in this directory.
    In(PathBuf),
}

impl Held {
    /// Whether somebody does.
    pub fn now(&self) -> bool {
        let dir = match self {
            Self::Always => return true,
            Self::In(dir) => dir,
        };
        let Ok(file) = open(dir, false) else {
            return false;
        };
        Flock::lock(file, FlockArg::LockSharedNonblock).is_err()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn one_at_a_time_holds_a_vm() {
        let dir = tempfile::tempdir().unwrap();
        let held = Held::In(dir.path().to_owned());
        assert!(!held.now());
        let hold = Hold::take(dir.path()).unwrap().unwrap();
        assert!(held.now());
        assert!(Hold::take(dir.path()).unwrap().is_none());
        drop(hold);
        assert!(!held.now());
        assert!(Hold::take(dir.path()).unwrap().is_some());
    }
}
