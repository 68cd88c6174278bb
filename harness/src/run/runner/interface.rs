//! What a suite and its runner are to those who plan and run tests.

use std::fmt;
use std::time::Duration;

use futures::future::LocalBoxFuture;

use crate::bpf::Facts as KernelFacts;
use crate::run::aslr::Aslr;
use crate::run::session::Session;
use crate::run::settings::Settings;
use crate::suite::{Facts, Judgement, Location, Refusal, TestId, Verdict};
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
    pub(in crate::run) runner: Box<dyn Runner + 's>,
    /// What users should know about this VM.
    pub(in crate::run) warnings: Vec<String>,
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
    pub(in crate::run) judgement: Judgement,
    /// What it printed.
    pub(in crate::run) output: Vec<u8>,
    /// What users should know.
    pub(in crate::run) notes: Vec<String>,
    /// The cases that it reported.
    pub(in crate::run) cases: Vec<EndedCase>,
}

/// A case that a test reported, and that was not known before.
pub(crate) struct EndedCase {
    pub(in crate::run) id: TestId,
    /// Where it is defined, if the report says so.
    pub(in crate::run) source: Option<Location>,
    pub(in crate::run) verdict: Verdict,
    /// In one line; may be empty.
    pub(in crate::run) reason: String,
    pub(in crate::run) duration: Duration,
    /// Details, for people.
    pub(in crate::run) details: String,
}

impl Ended {
    /// A verdict on a test that did not run.
    pub(in crate::run) fn without_run(judgement: Judgement) -> Self {
        Self {
            judgement,
            output: Vec::new(),
            notes: Vec::new(),
            cases: Vec::new(),
        }
    }
}
