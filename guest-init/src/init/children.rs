//! Children that have ended: those that the host asked for, and orphans, which become PID 1's.

use guest_init::message::{Status, Usage};
use nix::libc;

/// A child that has ended.
pub(super) struct Child {
    pub(super) pid: i32,
    pub(super) status: Status,
    pub(super) usage: Usage,
}

/// All ended children that have not been collected yet.
pub(super) fn collect() -> Vec<Child> {
    let mut children = Vec::new();
    loop {
        let mut status = 0;
        // SAFETY: rusage is plain data for which all zeroes are valid.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: both pointers are to live, writable values of the types that
        // wait4(2) fills. `nix` and `rustix` offer no wait that reports usage.
        let pid = unsafe { libc::wait4(-1, &raw mut status, libc::WNOHANG, &raw mut usage) };
        if pid <= 0 {
            return children;
        }
        let status = if libc::WIFEXITED(status) {
            Status::Exited(libc::WEXITSTATUS(status))
        } else {
            Status::Signaled(libc::WTERMSIG(status))
        };
        let micros = |time: libc::timeval| {
            u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000
                + u64::try_from(time.tv_usec).unwrap_or(0)
        };
        children.push(Child {
            pid,
            status,
            usage: Usage {
                user_us: micros(usage.ru_utime),
                system_us: micros(usage.ru_stime),
                max_rss_kib: u64::try_from(usage.ru_maxrss).unwrap_or(0),
            },
        });
    }
}
