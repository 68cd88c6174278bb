//! A machine-wide limit of VMs: as many as CPUs, over all test runs.

use std::fs::File;
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};

use super::shared_cache::shared_cache;

/// Longer than a whole test run should ever take.
const DEADLINE: Duration = Duration::from_secs(30 * 60);

/// The right to run a VM until dropped. The kernel frees it if the process is killed.
#[derive(Debug)]
pub(crate) struct Slot {
    _lock: Flock<File>,
}

/// Waits for a free slot.
pub(crate) fn take() -> Slot {
    let slots = std::thread::available_parallelism().map_or(1, usize::from);
    let dir = shared_cache().join("slots");
    std::fs::create_dir_all(&dir).unwrap();
    let start = Instant::now();
    loop {
        for slot in 0..slots {
            let file = File::create(dir.join(slot.to_string())).unwrap();
            if let Ok(lock) = Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                return Slot { _lock: lock };
            }
        }
        assert!(
            start.elapsed() < DEADLINE,
            "waited {DEADLINE:?} for one of {slots} VM slots in {}",
            dir.display()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}
