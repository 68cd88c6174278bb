//! Tests that need no VM: they are judged by what is known of a kernel that is not booted.

use super::Pool;
use crate::blocking::blocking;
use crate::run::attempts::Attempt;
use crate::run::event::{TestResult, Verdict, bounded_text};
use crate::run::plan::{PlannedKernel, PlannedTest, ReadyKernel};
use crate::run::runner::Ended;
use crate::suite::Judgement;

impl Pool<'_> {
    /// Judges those of a kernel's `tests` that need no VM; returns them.
    pub(super) async fn judge_types(
        &self,
        kernel: &PlannedKernel,
        ready: &ReadyKernel,
        tests: &[usize],
    ) -> Vec<usize> {
        let wanting: Vec<(usize, PlannedTest)> = tests
            .iter()
            .map(|&test| (test, self.plan.tests[test]))
            .filter(|(_, test)| self.plan.suites[test.suite].wants_types())
            .collect();
        if wanting.is_empty() {
            return Vec::new();
        }
        let (suites, find) = (self.plan.suites.clone(), ready.types.clone());
        let judged = blocking(move || {
            let facts = find();
            let judge = |(test, planned): (usize, PlannedTest)| {
                let suite = &suites[planned.suite];
                let ended = match &facts {
                    Ok(facts) => suite.judge_types(facts, planned.test)?,
                    Err(why) => Ended::without_run(Judgement::error(why.clone())),
                };
                Some((test, ended))
            };
            wanting.into_iter().filter_map(judge).collect::<Vec<_>>()
        });
        let mut done = Vec::new();
        for (test, ended) in judged.await {
            done.push(test);
            if self.stopped.get() {
                continue;
            }
            let planned = self.plan.tests[test];
            let judgement = ended.judgement;
            let result = TestResult {
                known: self.plan.known(test, &ready.release).cloned(),
                verdict: judgement.verdict,
                reason: Some(judgement.full_reason()).filter(|text| !text.is_empty()),
                output: bounded_text(&ended.output),
                details: judgement.diff.unwrap_or_default(),
                ..self.plan.verdict(kernel, planned, Verdict::Error)
            };
            self.finish(Attempt {
                result,
                cases: Vec::new(),
            });
        }
        done
    }
}
