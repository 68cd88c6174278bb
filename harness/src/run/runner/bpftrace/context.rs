//! What a runtime test's processes depend on in a VM: its directory, its speed, the rules.

use std::time::Duration;

use crate::run::driver::SpawnOptions;
use crate::suite::bpftrace::{Job, Rule, Rules};

/// Time between SIGTERM and SIGKILL, and for output that descendants still hold open; before
/// scaling. Upstream's engine waits as long (v0.23, `runner.py`).
const GRACE: Duration = Duration::from_secs(1);
/// From this slowdown on, BEFORE is held until the probes are attached.
const HOLD_FROM: f64 = 2.0;
/// For any guest, a longer grace is pointless.
const MAX_GRACE: Duration = Duration::from_secs(15);

/// What the processes of a test have in common.
#[derive(Debug, Clone)]
pub(super) struct TestContext<'a> {
    /// The tests' directory in the guest.
    pub(super) cwd: &'a str,
    /// Time limits are multiplied by this.
    pub(super) factor: f64,
    /// The time at which to look up the guest's UTC offset, in seconds since the epoch.
    pub(super) local_time: Option<i64>,
    /// The rules that differ from upstream's engine.
    pub(super) rules: Rules,
    /// The test's command runs without ASLR.
    pub(super) addr_no_randomize: bool,
}

impl TestContext<'_> {
    pub(super) fn scaled(&self, limit: Duration) -> Duration {
        limit.mul_f64(self.factor)
    }

    /// Whether a job's BEFORE is held (SIGSTOP) until the marker.
    ///
    /// Test programs sleep for a second and then do the one thing that is probed. Limits can be
    /// scaled, but their sleep cannot. If bpftrace takes several seconds to attach, it would always
    /// be too late, and the verdict would be about the machine.
    pub(super) fn holds_befores(&self, job: &Job) -> bool {
        self.factor >= HOLD_FROM && self.rules.hold(Rule::HeldBefore) && !job.befores.is_empty()
    }

    /// How to start the test's command. What it traces (BEFORE, AFTER, what SETUP leaves running)
    /// starts as usual.
    pub(super) fn options(&self) -> SpawnOptions {
        SpawnOptions {
            addr_no_randomize: self.addr_no_randomize,
            ..SpawnOptions::default()
        }
    }

    pub(super) fn grace(&self) -> Duration {
        self.scaled(GRACE).min(MAX_GRACE)
    }
}
