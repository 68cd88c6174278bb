#![allow(clippy::unwrap_used)]
use super::*;
use crate::suite::bpftrace::parse::one;

const MARKER: &str = "__BPFTRACE_NOTIFY_PROBES_ATTACHED\n";

fn observed(output: &str, end: End) -> Observation {
    Observation {
        end: Some(end),
        output: output.as_bytes().to_vec(),
        ..Observation::default()
    }
}

fn judged_in(dir: &Path, dialect: &str, directives: &str, observed: &Observation) -> Judgement {
    let text = format!("NAME a\nRUN {{{{BPFTRACE}}}}\nTIMEOUT 1\n{directives}\n");
    let test = one(dialect, &text);
    judge(&test, Dialect::for_version(dialect).unwrap(), dir, observed)
}

fn verdict(dialect: &str, directives: &str, output: &str, end: End) -> Verdict {
    let observed = observed(output, end);
    judged_in(Path::new("/nonexistent"), dialect, directives, &observed).verdict
}

const CLEAN: End = End::Exited(Exit::Code(0));
const DIRTY: End = End::Exited(Exit::Code(1));
const LATE: End = End::Killed(Limit::Timeout);

#[test]
fn expect_is_a_pattern_until_0_20_and_a_text_since() {
    assert_eq!(
        verdict("0.17", "EXPECT ^a.c$", "x\nabc\n", CLEAN),
        Verdict::Pass
    );
    assert_eq!(
        verdict("0.21", "EXPECT ^a.c$", "x\nabc\n", CLEAN),
        Verdict::Fail
    );
    assert_eq!(
        verdict("0.21", "EXPECT a.c", "x\n\n  a.c \n\n", CLEAN),
        Verdict::Pass
    );
    assert_eq!(
        verdict("0.21", "EXPECT a.c", "a.c d\n", CLEAN),
        Verdict::Fail
    );
    assert_eq!(
        verdict("0.21", "EXPECT a\n       b", "a\nb\n", CLEAN),
        Verdict::Pass
    );
}

#[test]
fn every_expectation_must_hold() {
    let both = "EXPECT a\nEXPECT_NONE b\nEXPECT_REGEX_NONE [cd]";
    assert_eq!(verdict("0.23", both, "a\n", CLEAN), Verdict::Pass);
    assert_eq!(verdict("0.23", both, "a\nb\n", CLEAN), Verdict::Fail);
    assert_eq!(verdict("0.23", both, "a\nxd\n", CLEAN), Verdict::Fail);
    // Before, the last one counts.
    assert_eq!(
        verdict("0.17", "EXPECT a\nEXPECT b", "b\n", CLEAN),
        Verdict::Pass
    );
}

#[test]
fn the_exit_status_counts_by_dialect() {
    assert_eq!(verdict("0.14", "EXPECT a", "a\n", DIRTY), Verdict::Pass);
    assert_eq!(verdict("0.17", "EXPECT a", "a\n", DIRTY), Verdict::Fail);
    assert_eq!(
        verdict("0.17", "EXPECT a\nWILL_FAIL", "a\n", DIRTY),
        Verdict::Pass
    );
    assert_eq!(
        verdict("0.17", "EXPECT a\nWILL_FAIL", "a\n", CLEAN),
        Verdict::Pass
    );
    assert_eq!(
        verdict("0.24", "EXPECT a\nWILL_FAIL", "a\n", CLEAN),
        Verdict::Fail
    );
    assert_eq!(verdict("0.22", "RETURN_CODE 1", "", DIRTY), Verdict::Pass);
    assert_eq!(verdict("0.22", "RETURN_CODE 1", "", CLEAN), Verdict::Fail);
    let killed = End::Exited(Exit::Signal(11));
    assert_eq!(verdict("0.17", "EXPECT a", "a\n", killed), Verdict::Fail);
}

#[test]
fn after_a_limit_expectations_that_hold_make_a_pass() {
    assert_eq!(verdict("0.17", "EXPECT a", "a", LATE), Verdict::Pass);
    assert_eq!(verdict("0.17", "EXPECT a", "b", LATE), Verdict::Timeout);
    let attach = End::Killed(Limit::Attach);
    let judgement = judged_in(Path::new("/"), "0.17", "EXPECT a", &observed("b", attach));
    assert_eq!(judgement.verdict, Verdict::Timeout);
    assert!(judgement.reason.starts_with("attach limit passed; "));
}

#[test]
fn lines_do_not_count_after_a_limit_until_0_19() {
    assert_eq!(
        verdict("0.17", "EXPECT ^b$", "a\nb\n", CLEAN),
        Verdict::Pass
    );
    assert_eq!(
        verdict("0.17", "EXPECT ^b$", "a\nb\n", LATE),
        Verdict::Timeout
    );
    assert_eq!(verdict("0.20", "EXPECT ^b$", "a\nb\n", LATE), Verdict::Pass);
    // Without lines `$` still allows one newline after it.
    assert_eq!(verdict("0.17", "EXPECT b$", "a\nb\n", LATE), Verdict::Pass);
}

#[test]
fn the_sign_of_no_ahead_of_time_compilation_skips() {
    let output = format!("{AOT_UNSUPPORTED}\n");
    assert_eq!(verdict("0.22", "EXPECT a", &output, DIRTY), Verdict::Skip);
    assert_eq!(verdict("0.17", "EXPECT a", &output, DIRTY), Verdict::Fail);
    assert_eq!(verdict("0.17", "EXPECT a", &output, CLEAN), Verdict::Skip);
    assert_eq!(
        verdict("0.17", "EXPECT NOTIFY", &output, CLEAN),
        Verdict::Pass
    );
}

#[test]
fn what_did_not_come_to_pass_is_named() {
    let dir = Path::new("/");
    let unmet = Observation {
        unmet: Some(1),
        ..Observation::default()
    };
    let judgement = judged_in(dir, "0.17", "EXPECT a\nREQUIRES x\nREQUIRES y", &unmet);
    assert_eq!(judgement.verdict, Verdict::Skip);
    assert_eq!(judgement.reason, "unmet: y");

    let not_ready = Observation {
        before_failure: Some("no process `x` after 1 s".to_owned()),
        ..Observation::default()
    };
    let judgement = judged_in(dir, "0.17", "EXPECT a\nBEFORE x", &not_ready);
    assert_eq!(judgement.verdict, Verdict::Fail);

    let nothing = Observation::default();
    let judgement = judged_in(dir, "0.17", "EXPECT a", &nothing);
    assert_eq!(judgement.verdict, Verdict::Error);
}

#[test]
fn setup_and_cleanup_that_fail_make_a_failure() {
    let failed = CommandOutcome {
        exit: Some(Exit::Code(3)),
        output: b"no such table\n".to_vec(),
    };
    let setup = Observation {
        setup: Some(failed.clone()),
        ..Observation::default()
    };
    let dir = Path::new("/");
    let judgement = judged_in(dir, "0.23", "EXPECT a\nSETUP x", &setup);
    assert_eq!(judgement.reason, "SETUP failed: exit status 3");
    assert_eq!(judgement.diff.as_deref(), Some("no such table\n"));
    let cleanup = Observation {
        cleanup: Some(failed),
        ..observed("a\n", CLEAN)
    };
    let judgement = judged_in(dir, "0.23", "EXPECT a\nCLEANUP x", &cleanup);
    assert_eq!(judgement.verdict, Verdict::Fail);
}

#[test]
fn a_file_equals_what_comes_after_the_marker() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("want"), "\na\n  b\n").unwrap();
    let judged = |output: &str| {
        let observed = observed(output, CLEAN);
        judged_in(dir.path(), "0.23", "EXPECT_FILE want", &observed)
    };
    assert_eq!(
        judged(&format!("noise\n{MARKER}a\r\n  b\n\n")).verdict,
        Verdict::Pass
    );
    assert_eq!(judged("a\n  b").verdict, Verdict::Pass);
    let judgement = judged(&format!("{MARKER}a\nb\n"));
    assert_eq!(judgement.verdict, Verdict::Fail);
    assert!(judgement.diff.unwrap().contains("-  b\n+b\n"));
}

#[test]
fn json_is_one_document_of_one_line_since_0_21() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("one.json"), "{\n \"a\": 1\n}\n").unwrap();
    std::fs::write(dir.path().join("two.ndjson"), "{\"a\": 1}\n{\"b\": 2}\n").unwrap();
    let judged = |dialect: &str, directive: &str, output: &str| {
        let observed = observed(&format!("x\n{MARKER}{output}"), CLEAN);
        judged_in(dir.path(), dialect, directive, &observed).verdict
    };
    let one = "EXPECT_JSON one.json";
    assert_eq!(judged("0.21", one, "{\"a\":1.0}\n"), Verdict::Pass);
    assert_eq!(judged("0.21", one, "{\"a\":true}\n"), Verdict::Fail);
    assert_eq!(judged("0.21", one, "{\n\"a\":1}\n"), Verdict::Fail);
    assert_eq!(judged("0.20", one, "{\n\"a\":1}\n"), Verdict::Pass);
    let two = "EXPECT_JSON two.ndjson";
    assert_eq!(judged("0.21", two, "{\"a\":1}\n{\"b\":2}\n"), Verdict::Pass);
    assert_eq!(judged("0.21", two, "{\"b\":2}\n{\"a\":1}\n"), Verdict::Fail);
    assert_eq!(judged("0.21", two, "{\"a\":1}\n"), Verdict::Fail);
    assert_eq!(
        judged("0.21", "EXPECT_JSON none.json", "1\n"),
        Verdict::Fail
    );
}

#[test]
fn timestamps_are_printed_in_local_time() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("want"), "%S:%%\n").unwrap();
    let observed = observed("00:%\n", CLEAN);
    let directives = "EXPECT_FILE want\nLOCALIZE_TIMESTAMPS 0";
    let judgement = judged_in(dir.path(), "0.25", directives, &observed);
    assert_eq!(judgement.verdict, Verdict::Pass);
}

#[test]
fn bytes_that_are_not_utf8_are_matched_as_escapes() {
    let observed = Observation {
        end: Some(CLEAN),
        output: b"a\xff\r\n".to_vec(),
        ..Observation::default()
    };
    let judgement = judged_in(Path::new("/"), "0.21", "EXPECT a\\xff", &observed);
    assert_eq!(judgement.verdict, Verdict::Pass);
}
