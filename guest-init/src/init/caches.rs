//! The kernel's caches of files that nobody uses.

use std::fs;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use guest_init::message::DROP_WAIT_MS;

/// Tells the kernel which caches to drop (kernel doc, admin-guide/sysctl/vm).
const DROP_CACHES: &str = "/proc/sys/vm/drop_caches";

/// Drops caches in a thread, because the kernel may wait for a lock that a test holds.
#[derive(Debug, Default)]
pub(super) struct Caches {
    /// Ends with the thread.
    dropping: Option<Receiver<()>>,
}

impl Caches {
    /// Drops names and inodes, and cached pages if asked. Returns when that is done, or continues
    /// in the background.
    pub(super) fn drop(&mut self, pages: bool) {
        if self.wait().is_err() {
            // A drop is already running.
            return;
        }
        let (sender, receiver) = mpsc::channel();
        let spawned = thread::Builder::new().spawn(move || {
            let _ended = sender;
            if pages {
                let _ = fs::write(DROP_CACHES, "1");
            }
            // Twice: the first time only marks what was used lately.
            for _ in 0..2 {
                let _ = fs::write(DROP_CACHES, "2");
            }
        });
        if spawned.is_ok() {
            self.dropping = Some(receiver);
            let _ = self.wait();
        }
    }

    /// Waits a moment for the end of the last drop.
    fn wait(&mut self) -> Result<(), RecvTimeoutError> {
        if let Some(dropping) = &self.dropping {
            match dropping.recv_timeout(Duration::from_millis(DROP_WAIT_MS)) {
                Err(RecvTimeoutError::Timeout) => return Err(RecvTimeoutError::Timeout),
                Ok(()) | Err(RecvTimeoutError::Disconnected) => self.dropping = None,
            }
        }
        Ok(())
    }
}
