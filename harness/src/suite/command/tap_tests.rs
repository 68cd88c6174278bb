use proptest::prelude::*;

use super::super::results::summary_of;
use super::*;

fn cases(text: &str, dialect: Dialect) -> (Vec<String>, Vec<String>) {
    summary_of(read_tap(text.as_bytes(), dialect))
}

#[test]
fn results_numbers_and_directives_are_read() {
    let text = "TAP version 13\n1..8\nok 1 - opens\nnot ok 2 closes\nok\n\
        ok 4 reads # SKIP no device\nnot ok 5 writes # TODO later\nok 6 sharp \\# name # time=3\n\
        not ok 7 waits # TIMEOUT 45 seconds\nok 8 - opens\n";
    let (found, problems) = cases(text, Dialect::Ktap);
    assert_eq!(
        found,
        [
            "pass opens",
            "fail closes",
            "pass 3",
            "skip reads no device",
            "pass writes expected failure: later",
            "pass sharp # name",
            "timeout waits 45 seconds",
            "pass opens #2",
        ]
    );
    assert_eq!(problems, Vec::<String>::new());
}

#[test]
fn a_comment_that_only_begins_like_a_directive_is_a_comment() {
    let text = "1..3\nnot ok 1 - lists # todos of a user\nok 2 - decodes # errors are \
                counted\nok 3 - asks # skipped: no device\n";
    assert_eq!(
        cases(text, Dialect::Tap).0,
        [
            "fail lists # todos of a user",
            "pass decodes # errors are counted",
            "skip asks no device",
        ]
    );
    // In the kernel's dialect no name has a comment.
    assert_eq!(
        cases(text, Dialect::Ktap).0,
        [
            "fail lists todos of a user",
            "pass decodes errors are counted",
            "skip asks no device",
        ]
    );
    // The kernel's directives are comments elsewhere.
    let text = "1..2\nok 1 - waits # timeout of 3 s\nnot ok 2 - x # XFAIL\n";
    assert_eq!(
        cases(text, Dialect::Tap).0,
        ["pass waits # timeout of 3 s", "fail x # XFAIL"]
    );
}

#[test]
fn the_cases_of_a_case_carry_its_name() {
    // The example of ktap.rst.
    let text = "KTAP version 1\n1..1\n  KTAP version 1\n  1..3\n    KTAP version 1\n    1..1\n\
                \u{20}   # test_1: initializing test_1\n    ok 1 test_1\n  ok 1 example_test_1\n\
                \u{20}   KTAP version 1\n    1..2\n    ok 1 test_1 # SKIP test_1 skipped\n    ok 2 test_2\n\
                \u{20} ok 2 example_test_2\n    KTAP version 1\n    1..3\n    ok 1 test_1\n\
                \u{20}   # test_2: FAIL\n    not ok 2 test_2\n    ok 3 test_3 # SKIP test_3 skipped\n\
                \u{20} not ok 3 example_test_3\nnot ok 1 main_test\n";
    let (found, problems) = cases(text, Dialect::Ktap);
    assert_eq!(
        found,
        [
            "pass main_test/example_test_1/test_1",
            "skip main_test/example_test_2/test_1 test_1 skipped",
            "pass main_test/example_test_2/test_2",
            "pass main_test/example_test_3/test_1",
            "fail main_test/example_test_3/test_2",
            "skip main_test/example_test_3/test_3 test_3 skipped",
        ]
    );
    assert_eq!(problems, Vec::<String>::new());
    let failed = read_tap(text.as_bytes(), Dialect::Ktap).cases[4].clone();
    assert_eq!(failed.details, "test_2: FAIL");
}

#[test]
fn a_case_that_fails_beside_its_nested_cases_is_reported() {
    let text = "1..1\n    1..1\n    ok 1 a\nnot ok 1 whole\n";
    assert_eq!(cases(text, Dialect::Tap).0, ["pass whole/a", "fail whole"]);
}

#[test]
fn what_contradicts_itself_or_ends_early_is_a_problem() {
    for (text, expected) in [
        ("1..5\nok 1\nok 2\nok 3\n", "its plan says 5, saw 3"),
        ("1..1\nok 1\nok 2\n", "its plan says 1, saw 2"),
        ("ok 1\n", "its output has no plan and may be cut off"),
        (
            "hello\n",
            "its output is not TAP: it has neither plan nor case",
        ),
        ("1..2\nok 1\nok 3\n", "case 3 is outside its plan of 2"),
        ("1..1\n1..1\nok 1\n", "it has two plans"),
        ("1..0\n", "its plan is empty without a reason"),
        (
            "1..3\nok 1\nBail out! no disk\nok 2\n",
            "it bailed out: no disk",
        ),
        (
            "1..1\n    1..2\n    ok 1 a\nok 1 b\n",
            "in b: its plan says 2, saw 1",
        ),
        (
            "1..1\n    1..1\n    ok 1 a\n",
            "its output ends within nested cases",
        ),
    ] {
        let (_, problems) = cases(text, Dialect::Tap);
        assert!(
            problems.iter().any(|problem| problem == expected),
            "{text}: {problems:?}"
        );
    }
}

#[test]
fn diagnostics_follow_a_case_in_tap() {
    let text = "1..1\nnot ok 1 a\n# expected 3\n  ---\n  found: 4\n  ...\n";
    let results = read_tap(text.as_bytes(), Dialect::Tap);
    assert!(
        results.cases[0]
            .details
            .starts_with("expected 3\n---\nfound: 4\n...\n")
    );
}

#[test]
fn indented_prose_is_not_a_result() {
    let text = "1..1\n   not ok yet, trying again\n    not ok 2 said a log\nok 1 up\n";
    for dialect in [Dialect::Tap, Dialect::Ktap] {
        let (found, problems) = cases(text, dialect);
        assert_eq!(found, ["pass up"], "{dialect:?}");
        assert_eq!(problems, Vec::<String>::new());
    }
}

#[test]
fn lines_in_a_yaml_block_are_not_results() {
    let text = "1..1\nok 1 a\n  ---\n  |\n    1..9\n    not ok 1 b\n  Bail out!\n  ...\n";
    for dialect in [Dialect::Tap, Dialect::Ktap] {
        let (found, problems) = cases(text, dialect);
        assert_eq!(found, ["pass a"], "{dialect:?}");
        assert_eq!(problems, Vec::<String>::new());
    }
}

#[test]
fn a_case_has_the_same_name_however_it_ends() {
    let name = |line: &str, dialect| {
        let text = format!("1..1\n{line}\n");
        read_tap(text.as_bytes(), dialect).cases[0].name.clone()
    };
    for dialect in [Dialect::Tap, Dialect::Ktap] {
        for end in ["", " # exit=1", " # exit=139", " # SKIP", " # time=12ms"] {
            for ok in ["ok", "not ok"] {
                let line = format!("{ok} 1 selftests: net: x{end}");
                assert_eq!(name(&line, dialect), "selftests: net: x", "{line}");
            }
        }
    }
    let line = "not ok 1 selftests: net: x # TIMEOUT 45 seconds";
    assert_eq!(name(line, Dialect::Ktap), "selftests: net: x");
    let results = read_tap(b"1..1\nok 1 x # time=12ms\n", Dialect::Tap);
    assert_eq!(results.cases[0].seconds, Some(0.012));
}

#[test]
fn of_long_diagnostics_the_end_is_kept_and_what_failed() {
    let noise = |from: usize| {
        let lines: Vec<String> = (from..from + 5000)
            .map(|number| format!("# line {number}\n"))
            .collect();
        lines.concat()
    };
    let failed = "# main.c:7: Expected 1 == 2\n";
    let [first, second] = [noise(0), noise(5000)];
    let before = format!("1..1\n{first}{failed}{second}not ok 1 a\n");
    let after = format!("1..1\nnot ok 1 a\n{first}{failed}{second}");
    for (text, dialect) in [(before, Dialect::Ktap), (after, Dialect::Tap)] {
        let results = read_tap(text.as_bytes(), dialect);
        let details = &results.cases[0].details;
        assert!(details.trim_end().ends_with("line 9999"), "{dialect:?}");
        assert!(
            details.starts_with("main.c:7: Expected 1 == 2\n"),
            "{dialect:?}"
        );
        assert!(details.contains("lines left out"), "{dialect:?}");
        assert!(details.len() < 16 * 1024, "{}", details.len());
    }
}

#[test]
fn prose_that_never_becomes_a_level_is_kept_as_diagnostics() {
    let text = "1..1\n# one\n  ok 1 two\n# three\nnot ok 1 a\n";
    let results = read_tap(text.as_bytes(), Dialect::Ktap);
    assert_eq!(results.cases[0].details, "one\nok 1 two\nthree");
    let text = "1..1\nnot ok 1 a\n# one\n    ok 1 two\n# three\n";
    let results = read_tap(text.as_bytes(), Dialect::Tap);
    assert_eq!(results.cases[0].details, "one\nok 1 two\nthree\n");
}

#[test]
fn a_long_report_of_prose_reports_no_case() {
    let prose = "    not ok\n".repeat(30_000);
    let text = format!("1..1\n{prose}ok 1\n");
    let results = read_tap(text.as_bytes(), Dialect::Tap);
    assert_eq!((results.cases.len(), results.problems.len()), (1, 0));
}

proptest! {
    #[test]
    fn nothing_panics_and_a_wrong_count_never_passes(
        text in "((not )?ok [0-9]{0,2}( - )?[a-z# ]{0,6}( # (SKIP|TODO|XFAIL) ?[a-z]{0,3})?\n|( {0,4})1\\.\\.[0-3]\n|  ok\n|# x\n|[^\n]{0,5}\n){0,12}",
    ) {
        for dialect in [Dialect::Tap, Dialect::Ktap] {
            let results = read_tap(text.as_bytes(), dialect);
            let names: std::collections::BTreeSet<_> = results.cases.iter().map(|case| &case.name).collect();
            prop_assert!(names.len() <= results.cases.len());
            if results.cases.is_empty() {
                prop_assert!(results.skip.is_some() || !results.problems.is_empty());
            }
        }
    }

    #[test]
    fn a_report_without_its_end_is_never_whole(count in 2usize..20, lines in 0usize..20) {
        let kept = lines.min(count - 1);
        let text: String = std::iter::once(format!("1..{count}\n"))
            .chain((1..=kept).map(|number| format!("ok {number} x\n")))
            .collect();
        prop_assert!(!read_tap(text.as_bytes(), Dialect::Ktap).problems.is_empty());
    }
}
