//! Tests get their verdicts, or go back into the queue.

use std::time::Duration;

use super::Pool;
use super::queue::Waiting;
use crate::duration::millis;
use crate::run::attempts::{Attempt, Next};
use crate::run::event::{Event, RunStopped, StopReason, TestResult, Verdict};
use crate::run::known;
use crate::run::policy::Repeat;

impl Pool<'_> {
    /// Gives a test its verdict, or puts it back into the queue.
    pub(super) fn attempt_ended(&self, index: usize, mut waiting: Waiting, attempt: Attempt) {
        let policies = &self.plan.policies;
        let go_on = !self.stopped.get() && !self.repeated.get();
        match waiting.attempts.take(attempt, policies, go_on) {
            Next::Retry => self.kernels.borrow_mut()[index].queue.push_front(waiting),
            Next::Repeat => self.kernels.borrow_mut()[index].queue.push_back(waiting),
            Next::Done(attempt) => self.finish(*attempt),
        }
    }

    /// A test has its verdict.
    pub(super) fn finish(&self, attempt: Attempt) {
        let policies = &self.plan.policies;
        let Attempt { result, cases } = attempt;
        for case in cases {
            self.emit(Event::TestFinished(case));
        }
        let failed = !result.is_expected();
        let result = known::say_unexpected(result);
        self.emit(Event::TestFinished(result));
        if !failed {
            return;
        }
        if matches!(policies.repeat, Repeat::UntilFail(_)) && !self.repeated.replace(true) {
            self.settle();
        }
        self.failures.set(self.failures.get() + 1);
        if policies.max_fail == Some(self.failures.get()) && !self.stopped.replace(true) {
            let failures = self.failures.get();
            self.emit(Event::RunStopped(RunStopped {
                why: StopReason::MaxFail,
                message: format!(
                    "{failures} test{} failed, and --max-fail allows no more",
                    if failures == 1 { "" } else { "s" }
                ),
            }));
            self.changed.notify_waiters();
        }
    }

    /// The time for the whole run is over: running tests have timed out.
    pub(super) fn time_is_up(&self, limit: Duration) {
        self.stopped.set(true);
        self.emit(Event::RunStopped(RunStopped {
            why: StopReason::GlobalTimeout,
            message: format!(
                "the {:.0} s of --global-timeout are over",
                limit.as_secs_f64()
            ),
        }));
        let running = std::mem::take(&mut *self.running.borrow_mut());
        for mut test in running.into_values() {
            let broken = TestResult {
                verdict: Verdict::Timeout,
                reason: Some("it was running when the time of the whole run was over".to_owned()),
                duration_ms: millis(test.start.elapsed()),
                ..test.result
            };
            self.finish(test.attempts.break_off(broken, &self.plan.policies));
        }
    }

    /// Gives tests that have run and wait to run again their verdict.
    pub(super) fn settle(&self) {
        let mut settled = Vec::new();
        for kernel in self.kernels.borrow_mut().iter_mut() {
            kernel.queue.retain_mut(|waiting| {
                let result = waiting.attempts.settle(&self.plan.policies);
                let keep = result.is_none();
                settled.extend(result);
                keep
            });
        }
        for result in settled {
            self.finish(result);
        }
    }
}
