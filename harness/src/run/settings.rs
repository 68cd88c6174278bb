//! Settings for all tests of a run, whatever their suites.

use super::aslr::Aslr;
use crate::vm::kernel_log::KernelProblem;

/// Settings for all tests of a run, whatever their suites.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The environment of everything except bpftrace itself.
    pub env: Vec<(String, String)>,
    /// Time limits are multiplied by this while the guest computes; measured in each VM if not given.
    pub timeout_scale: Option<f64>,
    /// And by this, for a program that its build makes slow; usually 1.
    pub build_scale: f64,
    /// Whether the addresses of what tests start are randomized.
    pub aslr: Aslr,
    /// Upstream's verdicts even if they come from bugs in its engine: no
    /// [`crate::suite::bpftrace::Rule`] applies.
    pub compat: bool,
    /// What a kernel report on the console does to the running test.
    pub kernel_log: KernelLog,
}

/// What an oops, a warning or a stall on the console does to the running test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum KernelLog {
    /// The test fails.
    #[default]
    Fail,
    /// It is reported, and the verdict does not change.
    Warn,
    /// It is ignored.
    Ignore,
}

impl KernelLog {
    /// Whether a report makes a test fail.
    pub(super) fn fails(self, report: &KernelProblem) -> bool {
        self == Self::Fail && report.allowed.is_none()
    }
}
