//! Resource limits of the programs that run in the guest.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// The soft and hard limits that systemd sets for what it starts (systemd-system.conf(5) of 252).
/// The kernel's own allow 4096 open files, and up to 5.15 64 KiB of locked memory.
const LIMITS: [(Resource, u64, u64); 2] = [
    (Resource::RLIMIT_NOFILE, 1024, 512 * 1024),
    (Resource::RLIMIT_MEMLOCK, 8 << 20, 8 << 20),
];

/// Sets this process's limits, which programs inherit. Returns errors.
pub(super) fn set() -> Vec<String> {
    let failed = LIMITS.iter().filter_map(|&(resource, soft, hard)| {
        // Keep a higher limit of the kernel's.
        let (_, now) = getrlimit(resource).ok()?;
        let set = setrlimit(resource, soft, hard.max(now));
        set.err().map(|error| format!("set {resource:?}: {error}"))
    });
    failed.collect()
}
