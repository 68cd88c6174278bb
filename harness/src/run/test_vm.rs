//! Runs tests one after another in a VM that is prepared for the suites of a run.

use guest_init::message::Request;

use super::leftovers;
use super::plan::{Plan, PlannedKernel, PlannedTest};
use super::runner::{Ended, Runner};
use super::session::Session;
use super::settings::KernelLog;
use crate::suite::{Judgement, KERNEL_REPORT, Verdict};
use crate::vm::control::Error;
use crate::vm::kernel_log::KernelProblem;
use crate::vm::relief::{self, RAISE_LIMIT};

/// A VM that is prepared for the suites of a run.
pub(super) struct TestVm<'p> {
    plan: &'p Plan,
    pub(super) session: Session,
    /// In the order of [`Plan::suites`].
    runners: Vec<Box<dyn Runner + 'p>>,
}

impl<'p> TestVm<'p> {
    /// Measures the VM's speed and prepares each suite. Also returns warnings. An error means that
    /// the VM is lost.
    pub(super) async fn prepare(
        mut session: Session,
        plan: &'p Plan,
        kernel: &PlannedKernel,
    ) -> Result<(Self, Vec<String>), (Session, Error)> {
        match prepare(&mut session, plan, kernel).await {
            Ok((runners, warnings)) => {
                let vm = Self {
                    plan,
                    session,
                    runners,
                };
                Ok((vm, warnings))
            }
            Err(error) => Err((session, error)),
        }
    }

    /// Runs one test and judges it, and adds kernel reports during the test. An error means that
    /// the VM is lost.
    pub(super) async fn test(
        &mut self,
        test: PlannedTest,
    ) -> Result<(Ended, Vec<KernelProblem>), Error> {
        let settings = &self.plan.settings;
        let session = &mut self.session;
        if session.vm.relief.take_wanted() {
            let drop = Request::DropCaches { pages: false };
            session.vm.control.send(&drop).await?;
        }
        let mut notes = Vec::new();
        if self.plan.test(test).needs_modules {
            notes.extend(session.load_modules(settings).await?);
        }
        let mut ended = self.runners[test.suite].run(session, test.test).await?;
        notes.append(&mut ended.notes);
        if session.vm.relief.take_refused() {
            notes.push(format!("{}; {RAISE_LIMIT}", relief::refusal()));
        }
        ended.notes = notes;
        session.vm.console().settled().await;
        session.vm.console().whole_report().await;
        let policy = settings.kernel_log;
        let reports = session.kernel_reports(policy);
        // A kernel may report only once (`WARN_ONCE`, lockdep), and after an oops it may hold
        // locks.
        session.unclean |= reports.iter().any(|report| policy.fails(report));
        if fail_by(&mut ended.judgement, &reports, policy) {
            Box::pin(session.stay(ended.judgement.verdict)).await;
        }
        Ok((ended, reports))
    }
}

async fn prepare<'p>(
    session: &mut Session,
    plan: &'p Plan,
    kernel: &PlannedKernel,
) -> Result<(Vec<Box<dyn Runner + 'p>>, Vec<String>), Error> {
    session.measure(&plan.settings).await?;
    let (mut runners, mut warnings) = (Vec::new(), Vec::new());
    for (index, suite) in plan.suites.iter().enumerate() {
        let tests = plan.tests_of(kernel, index);
        let prepared = suite.prepare(session, &plan.settings, &tests).await?;
        runners.push(prepared.runner);
        warnings.extend(prepared.warnings);
    }
    leftovers::take_stock(&mut session.vm.control).await?;
    Ok((runners, warnings))
}

/// Fails a test that passed if the kernel reported something during it, unless the policy or
/// `kernels.toml` allows that. Returns whether it did.
fn fail_by(judgement: &mut Judgement, reports: &[KernelProblem], policy: KernelLog) -> bool {
    let first = reports.iter().find(|report| policy.fails(report));
    let Some(first) = first.filter(|_| judgement.verdict == Verdict::Pass) else {
        return false;
    };
    judgement.verdict = Verdict::Fail;
    judgement.reason = format!("the kernel reported: {}", first.summary());
    judgement.note_rule(KERNEL_REPORT);
    true
}
