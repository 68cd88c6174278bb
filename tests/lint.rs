//! `kiln lint`: findings on stdout, each with its line, and exit codes.

use crate::support::debian_tests::debian_tests;
use crate::support::{Kiln, upstream_tests};

const GOOD: &str = "NAME a\nPROG BEGIN { exit() }\nEXPECT x\nTIMEOUT 5\n";

fn suite(text: &str) -> Kiln {
    let kiln = Kiln::with_empty_cache();
    kiln.file("tests/runtime/suite", text);
    kiln
}

#[test]
fn a_clean_suite_exits_with_0() {
    let output = suite(GOOD).plain(["lint", "tests"]).run();
    output
        .assert_code(0)
        .assert_out("1 tests in dialect head, 0 more never run on x86_64: 0 errors, 0 warnings\n");
}

#[test]
fn errors_exit_with_100_and_are_reported_with_their_lines() {
    let kiln = suite(&format!("{GOOD}EXPCT y\n\n{GOOD}# end\n"));
    let output = kiln.plain(["lint", "tests"]).run();
    output.assert_code(100);
    let out = output.out();
    for place in [
        "tests/runtime/suite:5: error: `EXPCT` is not a directive",
        "[unknown-directive]",
        "tests/runtime/suite:7: error: the file ends in a comment",
        "[lost-test]",
    ] {
        assert!(out.contains(place), "{place}:\n{out}");
    }
}

#[test]
fn warnings_count_only_with_strict() {
    let kiln = suite(&format!("{GOOD}REQUIRES true\n"));
    let output = kiln.plain(["lint", "tests"]).run();
    output.assert_code(0);
    assert!(
        output
            .out()
            .contains("suite:5: warning: suite.a: `true` always succeeds")
    );
    kiln.plain(["lint", "--strict", "tests"])
        .run()
        .assert_code(100);
}

#[test]
fn findings_are_json_on_request() {
    let kiln = suite(&format!("{GOOD}ARCH s390\n"));
    let output = kiln.plain(["lint", "--format", "json", "tests"]).run();
    output.assert_code(0);
    let json: serde_json::Value = serde_json::from_str(&output.out()).unwrap();
    assert_eq!(json["excluded"], 1);
    assert_eq!(json["findings"][0]["rule"], "unknown-architecture");
    assert_eq!(json["findings"][0]["severity"], "warning");
    assert_eq!(json["findings"][0]["line"], 5);
}

#[test]
fn what_cannot_be_checked_is_not_a_finding() {
    let kiln = suite("# nothing\n");
    kiln.plain(["lint", "tests"])
        .run()
        .assert_code(4)
        .assert_out("");
    let output = kiln.plain(["lint", "nowhere"]).run();
    output
        .assert_code(96)
        .assert_out("")
        .assert_err_contains("nowhere/runtime: no such directory");
    kiln.plain(["lint"]).run().assert_code(2);
    kiln.plain(["lint", "--dialect", "0.1", "tests"])
        .run()
        .assert_code(2);
}

#[test]
fn debian_s_tests_have_no_errors() {
    let (tests, known) = (upstream_tests(), debian_tests());
    let kiln = Kiln::with_empty_cache();
    let lint = kiln.plain(["lint", "--dialect", known.dialect]);
    let output = lint.arg(&tests).run();
    output.assert_code(0);
    assert!(output.out().contains(&known.said), "{}", output.out());
}
