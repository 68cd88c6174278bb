//! Temporary directories of VMs: sockets, the initramfs.

use std::fs::{Metadata, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::unistd::geteuid;
use tempfile::TempDir;

/// What the names of these directories begin with.
pub(crate) const PREFIX: &str = "kiln-";

/// Whether what `meta` says of a path, links not followed, is a directory that this user alone can
/// enter: what is in it is from nobody else.
pub(crate) fn is_private(meta: &Metadata) -> bool {
    meta.is_dir() && meta.uid() == geteuid().as_raw() && meta.mode() & 0o777 == 0o700
}

/// How long dropping a directory waits for work that still writes into it: reading modules and
/// packing an initramfs take a second on a busy machine.
const DEADLINE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(5);

/// A temporary directory, removed when it is dropped.
///
/// A signal drops the future of a boot at once, while a thread is still packing the initramfs, and
/// killed processes take a moment to end. Dropping the directory waits for such threads, each of
/// which holds a [`Lease`], and removes what the processes left behind.
#[derive(Debug)]
pub struct Scratch {
    /// `None` only while it is being dropped or kept.
    dir: Option<Arc<TempDir>>,
    path: PathBuf,
}

/// Held by work that writes into a [`Scratch`] and cannot be cancelled.
#[derive(Debug, Clone)]
pub struct Lease {
    _dir: Arc<TempDir>,
}

impl Scratch {
    /// Creates a directory below `TMPDIR`, or `/tmp`.
    pub fn new() -> std::io::Result<Self> {
        // Its sockets command the VM.
        let dir = tempfile::Builder::new()
            .prefix(PREFIX)
            .permissions(Permissions::from_mode(0o700))
            .tempdir()?;
        Ok(Self {
            path: dir.path().to_owned(),
            dir: Some(Arc::new(dir)),
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// For work that writes into it.
    pub fn lease(&self) -> Option<Lease> {
        let dir = self.dir.as_ref()?;
        Some(Lease {
            _dir: Arc::clone(dir),
        })
    }

    /// Leaves the directory where it is with what of these is there for the user, and removes the
    /// rest; without any of these it goes. An empty directory is nothing.
    pub(crate) fn keep_only(mut self, wanted: &[&str]) {
        let is_there = |name: &&&str| {
            let path = self.path.join(name);
            path.is_file() || std::fs::read_dir(path).is_ok_and(|mut all| all.next().is_some())
        };
        let kept: Vec<&str> = wanted.iter().filter(is_there).copied().collect();
        if kept.is_empty() {
            return;
        }
        let Some(dir) = self.dir.take().and_then(Arc::into_inner) else {
            return;
        };
        for other in std::fs::read_dir(dir.keep())
            .into_iter()
            .flatten()
            .flatten()
        {
            if !kept.iter().any(|name| other.file_name() == *name) {
                let path = other.path();
                let _ = std::fs::remove_file(&path).or_else(|_| std::fs::remove_dir_all(&path));
            }
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let Some(mut dir) = self.dir.take() else {
            return;
        };
        let start = Instant::now();
        while Arc::get_mut(&mut dir).is_none() && start.elapsed() < DEADLINE {
            std::thread::sleep(PAUSE);
        }
        // Something may have been created in it while it was being removed.
        while std::fs::remove_dir_all(&self.path).is_err()
            && self.path.exists()
            && start.elapsed() < DEADLINE
        {
            std::thread::sleep(PAUSE);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_directory_goes_when_the_work_in_it_is_done() {
        let scratch = Scratch::new().unwrap();
        let path = scratch.path().to_owned();
        let (lease, dir) = (scratch.lease(), path.clone());
        let (begun, wait) = std::sync::mpsc::channel();
        let work = std::thread::spawn(move || {
            begun.send(()).unwrap();
            std::thread::sleep(Duration::from_millis(100));
            // As the layout of a VM does: fails if the directory was removed first.
            std::fs::write(dir.join("initramfs"), "late").unwrap();
            drop(lease);
        });
        wait.recv().unwrap();
        drop(scratch);
        work.join().unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn a_directory_that_is_kept_stays_and_is_the_users_alone() {
        let scratch = Scratch::new().unwrap();
        let mode = scratch.path().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        let path = scratch.path().to_owned();
        std::fs::write(scratch.path().join("kept"), "").unwrap();
        std::fs::write(scratch.path().join("other"), "").unwrap();
        scratch.keep_only(&["none", "kept"]);
        assert!(path.join("kept").exists() && !path.join("other").exists());
        std::fs::remove_dir_all(path).unwrap();
    }
}
