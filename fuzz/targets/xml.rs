//! A JUnit or GoogleTest file that a command wrote.
#![no_main]

use std::collections::BTreeSet;

use kiln::suite::command::read_xml;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|file: &[u8]| {
    let results = read_xml(file);
    let names: BTreeSet<_> = results.cases.iter().map(|case| &case.name).collect();
    assert_eq!(names.len(), results.cases.len(), "a name stands twice");
    assert!(!names.contains(&String::new()), "a case without a name");
    for case in &results.cases {
        assert!(case.seconds.is_none_or(|seconds| seconds >= 0.0));
    }
    // A file that has no case at all says why, or is a suite without any.
    let suite = file.windows(10).any(|part| part == b"<testsuite");
    assert!(suite || !results.problems.is_empty());
});
