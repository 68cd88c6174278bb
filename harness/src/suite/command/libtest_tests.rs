#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::super::results::summary_of;
use super::*;

fn cases(text: &str) -> (Vec<String>, Vec<String>) {
    summary_of(read_libtest(text.as_bytes()))
}

#[test]
fn a_result_may_come_after_what_the_test_printed() {
    let text = "\nrunning 4 tests\ntest a ... hello\nok\ntest b ... child\nno newlineok\n\
                test c ... all is ok\nFAILED\ntest d ... ignored, no door\n\nfailures:\n\n\
                failures:\n    c\n\n\
                test result: FAILED. 2 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; \
                finished in 0.01s\n";
    let (found, problems) = cases(text);
    assert_eq!(found, ["pass a", "pass b", "fail c", "skip d no door"]);
    assert_eq!(problems, [] as [&str; 0]);
}

#[test]
fn a_panic_is_the_reason_and_says_where() {
    for (text, place) in [
        (
            "thread 'a' (123) panicked at src/lib.rs:5:9:\nno door\nnote: run with …\n",
            Some(("src/lib.rs", 5)),
        ),
        (
            "\nthread 'a' panicked at 'no door', src/a.rs:7:1\n",
            Some(("src/a.rs", 7)),
        ),
        ("\nno door\nmore\n", None),
    ] {
        let text = format!(
            "running 1 test\ntest a ... FAILED\n\nfailures:\n\n---- a stdout ----\n{text}\n\n\
             failures:\n    a\n\ntest result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured\n"
        );
        let results = read_libtest(text.as_bytes());
        assert_eq!(results.problems, [] as [&str; 0]);
        assert_eq!(results.cases[0].reason, "no door");
        let source = results.cases[0].source.as_ref();
        let source = source.map(|at| (at.file.as_str(), at.line));
        assert_eq!(source, place);
    }
}

#[test]
fn several_programs_are_one_report() {
    let one = "running 1 test\ntest a ... ok <0.250s>\n\ntest result: ok. 1 passed; 0 failed\n";
    let none = "running 0 tests\n\ntest result: ok. 0 passed; 0 failed\n";
    let bench = "running 1 test\ntest b ... bench:   1,234 ns/iter (+/- 5)\n\n\
                 test result: ok. 0 passed; 0 failed; 0 ignored; 1 measured\n";
    let all = read_libtest(format!("{one}{none}{one}{bench}").as_bytes());
    let seconds = all.cases[0].seconds;
    let (found, problems) = summary_of(all);
    assert_eq!(
        found,
        ["pass a", "pass a #2", "pass b 1,234 ns/iter (+/- 5)"]
    );
    assert_eq!(problems, [] as [&str; 0]);
    assert_eq!(seconds, Some(0.25));
    let skipped = read_libtest(none.as_bytes());
    assert_eq!(skipped.skip.as_deref(), Some("it has no tests"));
}

#[test]
fn a_report_that_is_cut_off_or_miscounts_is_not_whole() {
    for (text, problem) in [
        (
            "",
            "it prints nothing of Rust's test programs, such as `running 3 tests`",
        ),
        (
            "running 1 test\n",
            "it ends after 0 of 1 tests, without their count",
        ),
        (
            "running 2 tests\ntest a ... ok\ntest b ... half",
            "it ends after 1 of 2 tests, without their count, in the test b",
        ),
        (
            "running 2 tests\ntest a ... ok\nrunning 0 tests\ntest result: ok. 0 passed; 0 failed\n",
            "it ends after 1 of 2 tests, without their count",
        ),
        (
            "running 1 test\ntest a ... ok\ntest result: FAILED. 0 passed; 1 failed\n",
            "its last line counts 1 failed, but it reports 1 passed",
        ),
        (
            "running 2 tests\n..\ntest result: ok. 2 passed; 0 failed\n",
            "its last line counts 2 passed, but it reports no tests",
        ),
        (
            "running 2 tests\ntest a ... ok\ntest result: ok. 1 passed; 0 failed\n",
            "it runs 2 tests, and reports 1",
        ),
        (
            "{ \"type\": \"suite\", \"event\": \"started\", \"test_count\": 1 }\n\
             { \"type\": \"test\", \"event\": \"started\", \"name\": \"a\" }\n",
            "it ends after 0 of 1 tests, without their count, in the test a",
        ),
    ] {
        let (_, problems) = cases(text);
        assert_eq!(
            problems.first().map(String::as_str),
            Some(problem),
            "{text}"
        );
    }
}

proptest! {
    #[test]
    fn nothing_panics_and_nothing_passes_without_its_count(
        text in "(running [0-3] tests?\n|test [ab] \\.\\.\\. (ok|FAILED|ignored|x|)\n|ok\n|---- a stdout ----\n|failures:\n|    a\n|\\{ \"type\": \"(suite|test)\", \"event\": \"(started|ok|failed)\", \"name\": \"a\", \"passed\": [0-2] \\}\n|[^\n]{0,5}\n){0,12}",
    ) {
        let results = read_libtest(text.as_bytes());
        let ended = text.contains("\"suite\", \"event\": \"ok\"")
            || text.contains("\"suite\", \"event\": \"failed\"");
        if !ended {
            prop_assert!(!results.problems.is_empty());
        }
    }

    #[test]
    fn every_count_must_be_right(passed in 0usize..4, failed in 0usize..4, said in 0usize..8) {
        let all = passed + failed;
        let line = |number: usize| {
            let result = if number < passed { "ok" } else { "FAILED" };
            format!("test t{number} ... {result}\n")
        };
        let lines: Vec<String> = (0..all).map(line).collect();
        let lines = lines.concat();
        let text = format!(
            "running {all} tests\n{lines}test result: ok. {said} passed; {failed} failed\n"
        );
        let results = read_libtest(text.as_bytes());
        prop_assert_eq!(results.problems.is_empty(), said == passed);
        prop_assert_eq!(results.cases.len(), all);
    }
}
