//! How the tests of a run run, whatever their suites.

use super::aslr::Aslr;
use crate::vm::kernel_log::KernelReport;

/// How the tests of a run run, whatever their suites.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The environment of everything but bpftrace itself.
    pub env: Vec<(String, String)>,
    /// Modules that tests look for with lsmod; loaded before the first test
    /// that does.
    pub modules: Vec<String>,
    /// Time limits are multiplied by this; measured in each VM if not given.
    pub timeout_scale: Option<f64>,
    /// Whether the addresses of what tests start are randomized.
    pub aslr: Aslr,
    /// Upstream's verdicts also where they come from bugs of its engine: no
    /// rule of [`crate::suite::bpftrace::Rule`] is in force.
    pub compat: bool,
    /// What a report of the kernel on the console means for the test that ran
    /// then.
    pub kernel_log: KernelLog,
}

/// What an oops, a warning or a stall on the console means for the test that
/// ran then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum KernelLog {
    /// The test fails.
    #[default]
    Fail,
    /// It is reported, and the verdict stays.
    Warn,
    /// Nobody looks.
    Ignore,
}

impl KernelLog {
    /// Whether a report makes a test fail.
    pub(super) fn fails(self, report: &KernelReport) -> bool {
        self == Self::Fail && report.allowed.is_none()
    }
}
