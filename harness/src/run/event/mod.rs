//! What happens in a run, one fact at a time.
//!
//! A run is its sequence of [`Record`]s: they go to `events.jsonl` as they happen, and every report
//! is a fold over them. Texts from a guest are not escaped here; reports escape them.

mod of_kernel;
mod of_run;
mod of_test;
mod of_vm;
mod packages;
mod record;
mod text;

use serde::{Deserialize, Serialize};

pub use crate::suite::Verdict;
pub use of_kernel::{KernelFailed, KernelReady, KernelReport};
pub use of_run::{
    KernelPlan, RunFinished, RunStarted, RunStopped, StopReason, SuiteReady, Warning,
};
pub use of_test::{Known, KnownResult, TestResult, TestSlow, TestStarted, VERDICTS, is_expected};
pub use of_vm::{SpeedMeasured, VmLost, VmStarted, VmStarting, VmStopped};
pub use packages::{KernelPackages, PackageFile};
pub use record::Record;
pub use text::bounded_text;

/// Version of the schema of `events.jsonl`: increase it when a field or an event changes its
/// meaning, not when one is added.
pub const SCHEMA: u32 = 1;

/// One fact about a run.
///
/// Each is a separate record, which readers keep unchanged. In JSON the field `event` names it, in
/// snake case, beside the record's fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The plan is complete; nothing has booted yet. Always the first event.
    RunStarted(RunStarted),
    /// A kernel is ready to boot.
    KernelReady(KernelReady),
    /// A kernel is not available: its tests do not run.
    KernelFailed(KernelFailed),
    /// The program that a suite tests, and how its tests are read.
    SuiteReady(SuiteReady),
    /// A VM is being started.
    VmStarting(VmStarting),
    /// A VM is up: its guest said hello.
    VmStarted(VmStarted),
    /// How much slower than the reference a VM is.
    SpeedMeasured(SpeedMeasured),
    /// A test starts.
    TestStarted(TestStarted),
    /// A test takes long.
    TestSlow(TestSlow),
    /// An attempt ended, and another one follows: no verdict yet.
    AttemptFinished(TestResult),
    /// A test, or a case that a test reported, has its verdict.
    TestFinished(TestResult),
    /// The kernel reported a problem on the console.
    KernelReport(KernelReport),
    /// A VM has finished its work and has ended.
    VmStopped(VmStopped),
    /// A VM died or missed a deadline.
    VmLost(VmLost),
    /// The run ends before its last test, because of an option.
    RunStopped(RunStopped),
    /// Something that the user should know; the run continues.
    Warning(Warning),
    /// The run is over.
    RunFinished(RunFinished),
    /// An event of a later kiln; readers skip it, and nobody writes it.
    #[serde(other, skip_serializing)]
    Unknown,
}

#[cfg(test)]
mod format_tests;
#[cfg(test)]
mod tests;
