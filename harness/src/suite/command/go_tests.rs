#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::super::results::summary_of;
use super::*;

fn cases(text: &str) -> (Vec<String>, Vec<String>) {
    summary_of(read_go(text.as_bytes()))
}

#[test]
fn tests_and_their_parts_have_results_and_reasons() {
    let text = "=== RUN   TestA\n    a_test.go:3: first\n    a_test.go:4: sum is 3\n\
                --- FAIL: TestA (0.25s)\n=== RUN   TestB\n=== RUN   TestB/one\n\
                === RUN   TestB/two\nno newline--- SKIP: TestB/two (0.00s)\n\
                --- PASS: TestB (0.00s)\n    --- PASS: TestB/one (0.00s)\nFAIL\n";
    let results = read_go(text.as_bytes());
    let failed = results.cases[0].clone();
    let (found, problems) = summary_of(results);
    assert_eq!(
        found,
        [
            "fail TestA sum is 3",
            "pass TestB",
            "pass TestB/one",
            "skip TestB/two"
        ]
    );
    assert_eq!(problems, [] as [&str; 0]);
    assert_eq!(failed.seconds, Some(0.25));
    assert_eq!(
        failed.details,
        "a_test.go:3: first\na_test.go:4: sum is 3\n"
    );
    let source = failed.source.unwrap();
    assert_eq!((source.file.as_str(), source.line), ("a_test.go", 4));
}

#[test]
fn parallel_tests_have_their_own_output() {
    let text = "=== RUN   TestA\n=== PAUSE TestA\n=== RUN   TestB\n=== PAUSE TestB\n\
                === CONT  TestA\n=== CONT  TestB\n    x_test.go:1: of b\n=== NAME  TestA\n    \
                x_test.go:2: of a\n--- FAIL: TestA (0.00s)\n--- FAIL: TestB (0.00s)\nFAIL\n";
    assert_eq!(cases(text).0, ["fail TestA of a", "fail TestB of b"]);
}

#[test]
fn marked_lines_are_the_same() {
    let text = "\u{16}=== RUN   TestA\n\u{16}--- PASS: TestA (0.00s)\nPASS\n";
    assert_eq!(cases(text), (vec!["pass TestA".to_owned()], Vec::new()));
}

#[test]
fn a_test_that_runs_several_times_is_several_cases() {
    let once = "=== RUN   TestA\n--- PASS: TestA (0.00s)\n";
    let text = format!("{once}{once}PASS\n");
    assert_eq!(cases(&text).0, ["pass TestA", "pass TestA #2"]);
}

#[test]
fn events_of_several_packages_are_told_apart() {
    let event = |package: &str, action: &str, test: &str| {
        let test = match test {
            "" => String::new(),
            test => format!(r#","Test":"{test}""#),
        };
        format!("{{\"Action\":\"{action}\",\"Package\":\"{package}\"{test},\"Elapsed\":0.5}}\n")
    };
    let text = [
        event("a", "run", "TestX"),
        event("b", "run", "TestX"),
        "{\"Action\":\"output\",\"Package\":\"b\",\"Test\":\"TestX\",\"Output\":\"    b_test.go:9: bad\\n\"}\n".to_owned(),
        event("a", "pass", "TestX"),
        event("b", "fail", "TestX"),
        event("a", "pass", ""),
        event("b", "fail", ""),
    ]
    .concat();
    let (found, problems) = cases(&text);
    assert_eq!(found, ["pass a.TestX", "fail b.TestX bad"]);
    assert_eq!(problems, [] as [&str; 0]);
    let built = format!("FAIL\tc [build failed]\n{text}");
    assert_eq!(cases(&built).1, ["a package could not be tested"]);
}

#[test]
fn a_report_that_is_cut_off_or_contradicts_itself_is_not_whole() {
    let run = "=== RUN   TestA\n";
    let pass = "--- PASS: TestA (0.00s)\n";
    let fail = "--- FAIL: TestA (0.00s)\n";
    let no_end =
        "it ends without PASS or FAIL: the program must run with -test.v, and end by itself";
    for (text, problem) in [
        (String::new(), no_end),
        (format!("{run}{pass}"), no_end),
        (
            format!("{run}PASS\n"),
            "there is no result of the test TestA",
        ),
        (
            format!("{run}{pass}FAIL\n"),
            "it ends with FAIL, though no test failed",
        ),
        (
            format!("{run}{fail}PASS\n"),
            "it ends with PASS, though a test failed",
        ),
        (
            "{\"Action\":\"run\",\"Package\":\"p\",\"Test\":\"TestA\"}\n".to_owned(),
            "there is no result of the test TestA",
        ),
    ] {
        let (_, problems) = cases(&text);
        assert_eq!(
            problems.first().map(String::as_str),
            Some(problem),
            "{text}"
        );
    }
    assert_eq!(read_go(b"PASS\n").skip.as_deref(), Some("it has no tests"));
}

#[test]
fn what_a_test_prints_gives_no_other_test_a_result() {
    let text = "=== RUN   TestA\n--- PASS: TestZ (0.00s) is what it prints\nx--- FAIL: TestB (0.00s)\n\
                --- PASS: TestA (0.00s)\nPASS\n";
    assert_eq!(cases(text), (vec!["pass TestA".to_owned()], Vec::new()));
}

proptest! {
    #[test]
    fn nothing_panics_and_nothing_passes_without_its_end(
        text in "(=== (RUN|CONT|PAUSE) +T[ab]\n|( {4})?--- (PASS|FAIL|SKIP): T[ab](/x)? \\([0-9].00s\\)\n|\\{\"Action\":\"(run|pass|output)\",\"Package\":\"[pq]\",\"Test\":\"T\",\"Output\":\"x\"\\}\n|[^\n]{0,5}\n){0,12}",
    ) {
        let results = read_go(text.as_bytes());
        prop_assert!(!results.problems.is_empty());
    }
}
