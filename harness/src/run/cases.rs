//! The results of cases that a test reported.

use super::event::{TestResult, Verdict, bounded_text};
use super::runner::EndedCase;
use crate::duration::millis;

/// The results of the cases of a test, whose own result is `parent`.
pub(super) fn results(parent: &TestResult, cases: Vec<EndedCase>) -> Vec<TestResult> {
    cases
        .into_iter()
        .map(|case| TestResult {
            id: case.id.to_string(),
            case_of: Some(parent.id.clone()),
            source: case.source.or_else(|| parent.source.clone()),
            verdict: case.verdict,
            // Known results are about the command: a case of it that passes is not unexpected.
            known: parent
                .known
                .clone()
                .filter(|_| !matches!(case.verdict, Verdict::Pass | Verdict::Skip)),
            reason: Some(case.reason).filter(|reason| !reason.is_empty()),
            duration_ms: millis(case.duration),
            guest_ms: None,
            output: String::new(),
            details: bounded_text(case.details.as_bytes()),
            rules: Vec::new(),
            console: String::new(),
            ..parent.clone()
        })
        .collect()
}
