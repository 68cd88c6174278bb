//! Runners run the tests of a suite in a VM. This is the only place that knows both suites and
//! sessions.

mod bpftrace;
mod btf;
mod commands;
mod exit;

use std::fmt;
use std::time::Duration;

use futures::future::LocalBoxFuture;

use super::aslr::Aslr;
use super::session::Session;
use super::settings::Settings;
use crate::bpf::Facts as KernelFacts;
use crate::config::RunnerTable;
use crate::suite::bpftrace::RuntimeSuite;
use crate::suite::command::CommandSuite;
use crate::suite::{Facts, Judgement, Location, Refusal, ResolveContext, TestId, Verdict};
use crate::vm::control::Error;

/// A suite, resolved: it owns its tests and knows how to run them. Tests are identified by their
/// indices in [`Facts::tests`].
pub(crate) trait Suite: fmt::Debug + Send + Sync {
    /// The facts that do not depend on its kind.
    fn facts(&self) -> &Facts;

    /// The program that its `tests` test, in the guest, for people.
    fn subject(&self, tests: &[usize]) -> String;

    /// Checks its `tests`, which are about to run, more closely.
    fn check(&self, _tests: &[usize]) -> Result<(), Refusal> {
        Ok(())
    }

    /// Whether ASLR costs its tests so much time in this VM that they, and kiln's own commands, run
    /// without it.
    fn spares_aslr(&self, _aslr: Aslr, _vm: &Session) -> bool {
        false
    }

    /// Whether its tests run in VMs.
    fn boots(&self) -> bool {
        true
    }

    /// Whether [`Self::judge_types`] is to be asked.
    fn wants_types(&self) -> bool {
        false
    }

    /// Judges a test by what is known of a kernel that is not booted; `None` if the test runs in a
    /// VM. Reads and computes: call it where blocking is allowed.
    fn judge_types(&self, _kernel: &KernelFacts, _test: usize) -> Option<Ended> {
        None
    }

    /// Prepares for its `tests` in a VM that has just booted. An error means that the VM is lost.
    fn prepare<'s: 'v, 'v>(
        &'s self,
        vm: &'v mut Session,
        settings: &'s Settings,
        tests: &'v [usize],
    ) -> LocalBoxFuture<'v, Result<Prepared<'s>, Error>>;
}

/// A suite that is ready in a VM.
pub(crate) struct Prepared<'s> {
    /// Runs its tests there.
    pub(super) runner: Box<dyn Runner + 's>,
    /// What users should know about this VM.
    pub(super) warnings: Vec<String>,
}

/// Runs the tests of one suite in one VM.
pub(crate) trait Runner {
    /// Runs a test and judges it. An error means that the VM is lost.
    fn run<'v>(
        &'v mut self,
        vm: &'v mut Session,
        test: usize,
    ) -> LocalBoxFuture<'v, Result<Ended, Error>>;
}

/// A test that has run.
pub(crate) struct Ended {
    pub(super) judgement: Judgement,
    /// What it printed.
    pub(super) output: Vec<u8>,
    /// What users should know.
    pub(super) notes: Vec<String>,
    /// The cases that it reported.
    pub(super) cases: Vec<EndedCase>,
}

/// A case that a test reported, and that was not known before.
pub(crate) struct EndedCase {
    pub(super) id: TestId,
    /// Where it is defined, if the report says so.
    pub(super) source: Option<Location>,
    pub(super) verdict: Verdict,
    /// In one line; may be empty.
    pub(super) reason: String,
    pub(super) duration: Duration,
    /// Details, for people.
    pub(super) details: String,
}

impl Ended {
    /// A verdict on a test that did not run.
    pub(super) fn without_run(judgement: Judgement) -> Self {
        Self {
            judgement,
            output: Vec::new(),
            notes: Vec::new(),
            cases: Vec::new(),
        }
    }
}

/// The suite `name` of this table; `named` is its location, if that is in a file.
pub(super) fn resolve(
    name: &str,
    table: &RunnerTable,
    named: Option<&Location>,
    context: &ResolveContext<'_>,
) -> Result<Box<dyn Suite>, Refusal> {
    Ok(match table {
        RunnerTable::BpftraceRuntime(table) => {
            Box::new(RuntimeSuite::resolve(name, table, context)?)
        }
        RunnerTable::Command(table) => {
            Box::new(CommandSuite::resolve(name, table, named, context)?)
        }
        RunnerTable::Btf(table) => {
            Box::new(btf::CheckedSuite::resolve(name, table, named, context)?)
        }
    })
}
