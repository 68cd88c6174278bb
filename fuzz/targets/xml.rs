//! A JUnit or GoogleTest file that a command wrote.
#![no_main]

use std::collections::BTreeSet;

use kiln::internals::fuzz::{Results, Verdict, read_xml};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|file: &[u8]| {
    let results = read_xml(file);
    let names: BTreeSet<_> = results.cases.iter().map(|case| &case.name).collect();
    assert_eq!(names.len(), results.cases.len(), "a name occurs twice");
    assert!(!names.contains(&String::new()), "a case without a name");
    assert!(results.cases.len() <= file.len(), "a case out of nothing");
    for case in &results.cases {
        assert!(case.seconds.is_none_or(|seconds| seconds >= 0.0));
        assert!(case.details.len() < 20_000, "details are not bounded");
    }
    if !passes(&results) {
        return;
    }
    // A part of a file passes only if the rest of it is comments.
    let cut = usize::from(file[file.len() / 2]) % file.len();
    let part = read_xml(&file[..cut]);
    assert!(
        !passes(&part) || part.cases == results.cases,
        "half of it passes"
    );
    // The same cases in a report with a failure.
    if file.starts_with(b"<testsuite") {
        for (before, after) in [
            (r#"<testsuites failures="1">"#, "</testsuites>"),
            (r#"<testsuites failures="0" errors="2">"#, "</testsuites>"),
            (r#"<testsuite status="failed">"#, "</testsuite>"),
            ("<testsuites>", "<error/></testsuites>"),
            ("<testsuites><failure/>", "</testsuites>"),
            (
                "<testsuites>",
                r#"<testcase status="failed"/></testsuites>"#,
            ),
            (
                "<testsuites>",
                "<testcase><failure/></testcase></testsuites>",
            ),
            ("", "<testsuite><testcase/></testsuite>"),
        ] {
            let said = [before.as_bytes(), file, after.as_bytes()].concat();
            assert!(!passes(&read_xml(&said)), "{before} passes");
        }
    }
});

/// Whether a command with these results passes.
fn passes(results: &Results) -> bool {
    let good = |verdict| matches!(verdict, Verdict::Pass | Verdict::Skip);
    results.problems.is_empty()
        && !results.cases.is_empty()
        && results.cases.iter().all(|case| good(case.verdict))
}
