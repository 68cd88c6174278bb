//! What a run is made of, resolved before anything boots.

use std::path::{Path, PathBuf};

use crate::suite::bpftrace::{Dialect, RuntimeTest};
use crate::vm::launch::Launch;

/// Makes the launch of one more VM of a kernel: its own directory, and where
/// its logs go.
pub type LaunchVm = Box<dyn Fn(&Path, &Path) -> Launch>;

/// A kernel of the run.
pub struct PlannedKernel {
    /// Its name in reports.
    pub name: String,
    /// Makes a VM of it.
    pub launch: LaunchVm,
}

/// A run: kernels × tests.
pub struct Plan {
    /// The kernels, in report order.
    pub kernels: Vec<PlannedKernel>,
    /// The suite's name in reports.
    pub suite: String,
    /// The selected tests.
    pub tests: Vec<RuntimeTest>,
    /// Their language.
    pub dialect: &'static Dialect,
    /// The directory that holds `runtime/`, on the host and in the guest.
    pub tests_dir: PathBuf,
    /// The bpftrace under test, in the guest.
    pub bpftrace: PathBuf,
    /// The environment of everything but bpftrace itself.
    pub env: Vec<(String, String)>,
    /// Modules that tests look for with lsmod; loaded before the first test
    /// that does.
    pub modules: Vec<String>,
    /// VMs that run at the same time, at least 1.
    pub jobs: usize,
    /// Time limits are multiplied by this; measured in each VM if not given.
    pub timeout_scale: Option<f64>,
    /// A feature that bpftrace does not print skips its test quietly, as
    /// upstream has it.
    pub compat: bool,
    /// Where the VMs' logs go, a directory for each kernel.
    pub logs: PathBuf,
}

impl Plan {
    /// Indices of the tests in the order in which they run: those that look
    /// for modules last. Each loaded module slows every start of bpftrace,
    /// which reads all traceable functions and their modules.
    pub(super) fn order(&self) -> Vec<usize> {
        let (last, first): (Vec<usize>, Vec<usize>) =
            (0..self.tests.len()).partition(|&index| needs_modules(&self.tests[index]));
        first.into_iter().chain(last).collect()
    }
}

/// Whether a test looks for loaded modules.
pub(super) fn needs_modules(test: &RuntimeTest) -> bool {
    test.requires
        .iter()
        .any(|command| command.contains("lsmod"))
}
