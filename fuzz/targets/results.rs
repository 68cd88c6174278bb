//! What holds of the results of any output.

use std::collections::BTreeSet;

use kiln::internals::fuzz::{Results, Verdict};

/// Panics if the cases contradict each other, or the `input` that they are of.
pub fn assert_cases(results: &Results, input: &[u8]) {
    let names: BTreeSet<_> = results.cases.iter().map(|case| &case.name).collect();
    assert_eq!(names.len(), results.cases.len(), "a name occurs twice");
    assert!(!names.contains(&String::new()), "a case without a name");
    assert!(results.cases.len() <= input.len(), "a case out of nothing");
    for case in &results.cases {
        assert!(case.details.len() < 20_000, "details are not bounded");
        assert!(case.seconds.is_none_or(|seconds| seconds >= 0.0));
    }
}

/// The same, and if output says nothing that must be a problem.
pub fn assert_sound(results: &Results, output: &[u8]) {
    assert_cases(results, output);
    let says_nothing = results.cases.is_empty() && results.skip.is_none();
    assert!(!says_nothing || !results.problems.is_empty());
}

/// Whether a command with these results can pass.
pub fn is_clean(results: &Results) -> bool {
    let good = |verdict| matches!(verdict, Verdict::Pass | Verdict::Skip);
    results.problems.is_empty() && results.cases.iter().all(|case| good(case.verdict))
}
