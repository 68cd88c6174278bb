//! Output of a command as that of Rust's test programs, or of Go's if the first byte is odd.
#![no_main]

use std::collections::BTreeSet;

use kiln::internals::fuzz::{Results, Verdict, read_printed_output};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((first, output)) = input.split_first() else {
        return;
    };
    let is_go = first & 1 == 1;
    let results = read_printed_output(output, is_go);
    let names: BTreeSet<_> = results.cases.iter().map(|case| &case.name).collect();
    assert_eq!(names.len(), results.cases.len(), "a name occurs twice");
    assert!(!names.contains(&String::new()), "a case without a name");
    assert!(results.cases.len() <= output.len(), "a case out of nothing");
    for case in &results.cases {
        assert!(case.details.len() < 20_000, "details are not bounded");
        assert!(case.seconds.is_none_or(|seconds| seconds >= 0.0));
    }
    let says_nothing = results.cases.is_empty() && results.skip.is_none();
    assert!(!says_nothing || !results.problems.is_empty());
    // No failure is lost.
    let more: &[u8] = if is_go {
        b"\n=== RUN   TestNew\n--- FAIL: TestNew (0.00s)\nFAIL\n"
    } else {
        b"\nrunning 1 test\ntest new ... FAILED\ntest result: FAILED. 0 passed; 1 failed\n"
    };
    let results = read_printed_output(&[output, more].concat(), is_go);
    assert!(!is_clean(&results), "a failure vanished");
});

/// Whether a command with these results can pass.
fn is_clean(results: &Results) -> bool {
    let good = |verdict| matches!(verdict, Verdict::Pass | Verdict::Skip);
    results.problems.is_empty() && results.cases.iter().all(|case| good(case.verdict))
}
