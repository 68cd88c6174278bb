//! A JUnit or GoogleTest file that a command wrote.
#![no_main]

// It needs a part of this.
#[allow(dead_code)]
mod results;

use kiln::internals::fuzz::{Results, read_xml};
use libfuzzer_sys::fuzz_target;
use results::{assert_cases, is_clean};

fuzz_target!(|file: &[u8]| {
    let results = read_xml(file);
    assert_cases(&results, file);
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
    !results.cases.is_empty() && is_clean(results)
}
