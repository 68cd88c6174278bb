//! Output of a command as TAP, or as KTAP if the first byte is odd.
#![no_main]

use std::collections::BTreeSet;

use kiln::internals::fuzz::{Results, Verdict, read_tap_output};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((first, output)) = input.split_first() else {
        return;
    };
    let is_ktap = first & 1 == 1;
    let results = read_tap_output(output, is_ktap);
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
    let lines = || output.split(|byte| matches!(byte, b'\n' | b'\r'));
    let fails = |line: &[u8]| {
        let line = line.trim_ascii_end();
        let plain = line.iter().all(|byte| (b' '..=b'~').contains(byte));
        plain && (line == b"not ok" || (line.starts_with(b"not ok ") && !line.contains(&b'#')))
    };
    assert!(
        !lines().any(fails) || !is_clean(&results),
        "a failure vanished"
    );
    let more = [output, b"\nnot ok 7 - one more\n"].concat();
    assert!(
        !is_clean(&read_tap_output(&more, is_ktap)),
        "a failure vanished"
    );
    if is_clean(&results) && !is_ktap {
        assert_plan(lines(), &results);
    }
});

/// Whether a command with these results can pass.
fn is_clean(results: &Results) -> bool {
    let good = |verdict| matches!(verdict, Verdict::Pass | Verdict::Skip);
    results.problems.is_empty() && results.cases.iter().all(|case| good(case.verdict))
}

/// There is a plan, and it matches the number of results.
fn assert_plan<'l>(lines: impl Iterator<Item = &'l [u8]>, results: &Results) {
    let mut plan = None;
    let mut seen = 0;
    for line in lines {
        // Invisible characters are removed first.
        if line.contains(&0) || line.contains(&0x1b) || line.starts_with(b"\xef\xbb\xbf") {
            return;
        }
        let rest = line.strip_prefix(b"not ".as_slice()).unwrap_or(line);
        if let Some(rest) = rest.strip_prefix(b"ok".as_slice()) {
            let next = String::from_utf8_lossy(rest).chars().next();
            if next == Some(char::REPLACEMENT_CHARACTER) {
                return;
            }
            seen += u64::from(!next.is_some_and(|c| c.is_alphanumeric() || c == '_'));
        } else if let Some(rest) = line.strip_prefix(b"1..".as_slice()) {
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let text = String::from_utf8_lossy(&rest[..digits]).into_owned();
            let after = String::from_utf8_lossy(&rest[digits..]).into_owned();
            if after.trim().is_empty() || after.trim().starts_with('#') {
                plan = plan.or(text.parse::<u64>().ok());
            }
        }
    }
    assert_eq!(plan, Some(seen), "{results:?}");
}
