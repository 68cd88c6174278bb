//! What a command prints as TAP, or as KTAP where the first byte is odd.
#![no_main]

use std::collections::BTreeSet;

use kiln::suite::Verdict;
use kiln::suite::command::{Dialect, read_tap};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((first, output)) = input.split_first() else {
        return;
    };
    let dialect = if first & 1 == 0 {
        Dialect::Tap
    } else {
        Dialect::Ktap
    };
    let results = read_tap(output, dialect);
    let names: BTreeSet<_> = results.cases.iter().map(|case| &case.name).collect();
    assert_eq!(names.len(), results.cases.len(), "a name stands twice");
    assert!(!names.contains(&String::new()), "a case without a name");
    let says_nothing = results.cases.is_empty() && results.skip.is_none();
    assert!(!says_nothing || !results.problems.is_empty());
    // No failure vanishes.
    let fails = |line: &[u8]| {
        let line = line.trim_ascii();
        line == b"not ok" || (line.starts_with(b"not ok ") && !line.contains(&b'#'))
    };
    if output.split(|&byte| byte == b'\n').any(fails) {
        let bad = |verdict| !matches!(verdict, Verdict::Pass | Verdict::Skip);
        let told = results.cases.iter().any(|case| bad(case.verdict));
        assert!(told || !results.problems.is_empty(), "a failure vanished");
    }
});
