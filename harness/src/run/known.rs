//! What known results mean for a run: tests to skip, unexpected passes.

use super::event::{Known, KnownResult, TestResult, Verdict};
use super::plan::{Plan, PlannedKernel};

/// Whether a test is known as one to skip.
pub(super) fn is_skip(known: Option<&Known>) -> bool {
    known.is_some_and(|known| known.result == KnownResult::Skip)
}

/// The verdicts of a kernel's tests that are known as ones to skip.
pub(super) fn skipped(plan: &Plan, kernel: &PlannedKernel, release: &str) -> Vec<TestResult> {
    let mut results = Vec::new();
    for &index in &kernel.tests {
        let known = plan.known(index, release);
        let Some(known) = known.filter(|known| is_skip(Some(known))) else {
            continue;
        };
        let test = plan.tests[index];
        results.push(TestResult {
            reason: Some(format!("known: {}", known.reason)),
            known: Some(known.clone()),
            ..plan.verdict(kernel, test, Verdict::Skip)
        });
    }
    results
}

/// An unexpected pass says so.
pub(super) fn say_unexpected(mut result: TestResult) -> TestResult {
    if let (Some(known), Verdict::Pass) = (&result.known, result.verdict)
        && known.result == KnownResult::Fail
    {
        result.reason = Some(format!("passes, but is known to fail: {}", known.reason));
    }
    result
}
