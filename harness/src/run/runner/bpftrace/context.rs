//! What a runtime test's processes depend on in a VM: its directory, its speed, the rules.

use crate::run::driver::SpawnOptions;
use crate::suite::bpftrace::{Job, Rule, Rules};

/// From this slowdown on, BEFORE is held until the probes are attached.
const HOLD_FROM: f64 = 2.0;

/// What the processes of a test have in common.
#[derive(Debug, Clone)]
pub(super) struct TestContext<'a> {
    /// The tests' directory in the guest.
    pub(super) cwd: &'a str,
    /// How many times slower than the reference the VM is.
    pub(super) factor: f64,
    /// The time at which to look up the guest's UTC offset, in seconds since the epoch.
    pub(super) local_time: Option<i64>,
    /// The rules that differ from upstream's engine.
    pub(super) rules: Rules,
    /// The test's command runs without ASLR.
    pub(super) addr_no_randomize: bool,
}

impl TestContext<'_> {
    /// Whether a job's BEFORE is held (SIGSTOP) until the marker.
    ///
    /// Test programs sleep for a second and then do the one thing that is probed, in a slow VM
    /// too. If bpftrace takes several seconds to attach, it would always
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
}
