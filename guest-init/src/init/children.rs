//! Children that have ended: those that the host asked for, and orphans, which become PID 1's.

use guest_init::message::Status;
use rustix::process::{WaitOptions, wait};

/// A child that has ended.
pub(super) struct Child {
    pub(super) pid: i32,
    pub(super) status: Status,
}

/// All ended children that have not been collected yet.
pub(super) fn collect() -> Vec<Child> {
    let mut children = Vec::new();
    // `nix` refuses the status of a child that a real-time signal ended.
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        let status = match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Status::Exited(code),
            (None, Some(signal)) => Status::Signaled(signal),
            // Stopped or continued, which is not waited for.
            (None, None) => continue,
        };
        children.push(Child {
            pid: pid.as_raw_nonzero().get(),
            status,
        });
    }
    children
}
