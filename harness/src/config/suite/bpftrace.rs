//! `runner = "bpftrace-runtime"`: bpftrace's runtime tests.

use std::path::PathBuf;

use super::table::Table;
use crate::config::check::{Checker, absolute};

/// A suite of bpftrace's runtime tests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BpftraceTable {
    /// The directory that holds `runtime/` (upstream's `tests`); absolute.
    pub tests: PathBuf,
    /// The bpftrace under test; absolute; `None` means the one on the guest's `PATH`.
    pub bpftrace: Option<PathBuf>,
}

/// The keys of a table besides its runner.
pub(super) const KEYS: [&str; 2] = ["tests", "bpftrace"];

impl Checker<'_> {
    pub(super) fn bpftrace(&mut self, table: &mut Table) -> Option<BpftraceTable> {
        let tests = self.take::<PathBuf>(table, "tests");
        let bpftrace = self.take::<PathBuf>(table, "bpftrace");
        let Some(tests) = tests else {
            self.lacks(table, "tests", &table.runners);
            return None;
        };
        Some(BpftraceTable {
            tests: absolute(&self.base, tests.get_ref()),
            bpftrace: bpftrace.map(|path| absolute(&self.base, path.get_ref())),
        })
    }
}
