//! What a check finds on one kernel.

use std::path::Path;

use crate::bpf::{Report, Verdict};
use crate::run::load::Loaded;

/// What came out for one kernel.
#[derive(Debug)]
pub(super) struct OnKernel {
    pub(super) name: String,
    pub(super) release: Option<String>,
    /// For each file.
    pub(super) cells: Vec<Cell>,
}

/// An object or a script on a kernel.
#[derive(Debug)]
pub(super) struct Cell {
    pub(super) report: Report,
    pub(super) is_script: bool,
    /// What `expectations.toml` says of it.
    pub(super) known: Option<String>,
    /// What the kernel itself said.
    pub(super) loaded: Option<Loaded>,
}

impl Cell {
    /// Whether it does not work there, and nobody knew that.
    pub(super) fn is_bad(&self) -> bool {
        let fails = match self.report.verdict {
            Verdict::Fails | Verdict::Unattached => true,
            Verdict::Loads | Verdict::NoBtf => false,
        };
        let refused = self.loaded.as_ref().is_some_and(|loaded| !loaded.loads);
        let without_btf = self.report.verdict == Verdict::NoBtf;
        (fails || (refused && !without_btf)) && self.known.is_none()
    }

    /// What the kernel itself said, where that is something else. Whether an object can be attached
    /// it does not say.
    pub(super) fn differing(&self) -> Option<Verdict> {
        let said = self.loaded.as_ref()?.verdict();
        let checked = self.report.verdict;
        let is_same = if self.is_script {
            // bpftrace stops at the first thing that is missing.
            said == checked || said.min(checked) != Verdict::Loads && said < checked
        } else {
            said.loads() == checked.loads()
        };
        (!is_same).then_some(said)
    }

    /// Whether the kernel itself refuses what passed the check.
    pub(super) fn is_unforeseen(&self) -> bool {
        let worse = |said| said > self.report.verdict;
        self.report.verdict.loads() && self.differing().is_some_and(worse)
    }
}

/// The name of a file in tables and in `expectations.toml`.
pub(super) fn name_of(file: &Path) -> String {
    let name = file.file_name().unwrap_or(file.as_os_str());
    name.to_string_lossy().into_owned()
}
