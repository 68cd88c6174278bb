//! `runner = "bpftrace-runtime"`: bpftrace's runtime tests.

use std::path::PathBuf;

use super::{Kind, RunnerTable, Table, runners};
use crate::config::check::{Checker, absolute};

/// A suite of bpftrace's runtime tests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BpftraceTable {
    /// The directory that holds `runtime/` (upstream's `tests`); absolute.
    pub tests: PathBuf,
    /// The bpftrace under test; absolute; `None` takes the one on the guest's
    /// `PATH`.
    pub bpftrace: Option<PathBuf>,
}

pub(super) const KIND: Kind = Kind {
    name: "bpftrace-runtime",
    with: "with tests and bpftrace",
    keys: &["tests", "bpftrace"],
    read: |checker, table| checker.bpftrace(table),
};

impl Checker<'_> {
    fn bpftrace(&mut self, table: &mut Table) -> Option<RunnerTable> {
        let tests = self.take::<PathBuf>(table, "tests");
        let bpftrace = self.take::<PathBuf>(table, "bpftrace");
        let Some(tests) = tests else {
            self.lacks(table, "tests", &runners());
            return None;
        };
        Some(RunnerTable::BpftraceRuntime(BpftraceTable {
            tests: absolute(&self.base, tests.get_ref()),
            bpftrace: bpftrace.map(|path| absolute(&self.base, path.get_ref())),
        }))
    }
}
