//! What happens in a run, one fact at a time.
//!
//! A run is its sequence of [`Record`]s: they go to `events.jsonl` as they
//! happen, and every report is a fold over them. Texts that come from a guest
//! are kept as they are here; whoever shows them escapes them.

mod of_kernel;
mod of_run;
mod of_test;
mod of_vm;
mod record;
mod text;

use serde::{Deserialize, Serialize};

pub use crate::suite::{Source, Verdict};
pub use of_kernel::{KernelFailed, KernelReady, KernelReport};
pub use of_run::{
    KernelPlan, RunFinished, RunStarted, RunStopped, StopReason, SuiteReady, Warning,
};
pub use of_test::{Known, KnownResult, TestResult, TestSlow, TestStarted, VERDICTS};
pub use of_vm::{SpeedMeasured, VmLost, VmStarted, VmStarting, VmStopped};
pub use record::Record;
pub use text::{MAX_TEXT, bounded_text};

/// Version of the schema of `events.jsonl`: goes up when a field or an event
/// changes its meaning, not when one is added.
pub const SCHEMA: u32 = 1;

/// One fact about a run.
///
/// Each is a record of its own, which whoever reads events keeps as it is. In
/// JSON the field `event` names it, in snake case, beside the record's fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The plan stands; nothing has booted yet. Always the first.
    RunStarted(RunStarted),
    /// A kernel is ready to boot.
    KernelReady(KernelReady),
    /// A kernel could not be provided: its tests are not run.
    KernelFailed(KernelFailed),
    /// What a suite tests, and how it is read.
    SuiteReady(SuiteReady),
    /// A VM is being started.
    VmStarting(VmStarting),
    /// A VM is up: its guest said hello.
    VmStarted(VmStarted),
    /// How much slower than the reference a VM is.
    SpeedMeasured(SpeedMeasured),
    /// A test begins.
    TestStarted(TestStarted),
    /// A test takes long.
    TestSlow(TestSlow),
    /// An attempt ended that another one follows: no verdict yet.
    AttemptFinished(TestResult),
    /// A test, or a case that a test reported, has its verdict.
    TestFinished(TestResult),
    /// The kernel said on the console that something is wrong with it.
    KernelReport(KernelReport),
    /// A VM has done its work and is gone.
    VmStopped(VmStopped),
    /// A VM died or missed a deadline.
    VmLost(VmLost),
    /// The run ends before its last test, as it was asked to.
    RunStopped(RunStopped),
    /// Something the user should know, and the run goes on.
    Warning(Warning),
    /// The run is over.
    RunFinished(RunFinished),
    /// What only a later kiln knows; readers pass over it, and nobody writes it.
    #[serde(other, skip_serializing)]
    Unknown,
}

#[cfg(test)]
mod format_tests;
#[cfg(test)]
mod tests;
