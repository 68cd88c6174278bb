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
    let dialect = Dialect::for_version(dialect).unwrap();
    judge(&test, Rules::new(dialect, false), dir, observed)
}

/// The verdict with all rules, the rules that affected it, and the verdict without any.
fn by_rules(
    dialect: &str,
    directives: &str,
    observed: &Observation,
) -> (Verdict, Vec<Rule>, Verdict) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("true.json"), "{\"a\": true}\n").unwrap();
    let text = format!("NAME a\nTIMEOUT 1\n{directives}\n");
    let test = one(dialect, &text);
    let dialect = Dialect::for_version(dialect).unwrap();
    let judgement = judge(&test, Rules::new(dialect, false), dir.path(), observed);
    let compat = judge(&test, Rules::new(dialect, true), dir.path(), observed);
    assert!(compat.rules.is_empty());
    let rules = judgement.rules.iter();
    let rules = rules.map(|applied| {
        Rule::all()
            .find(|rule| rule.name() == applied.name)
            .unwrap()
    });
    (judgement.verdict, rules.collect(), compat.verdict)
}

fn late(before: &str, after: &str) -> Observation {
    Observation {
        at_limit: Some(before.len()),
        ..observed(&format!("{before}{after}"), LATE)
    }
}

fn verdict(dialect: &str, directives: &str, output: &str, end: End) -> Verdict {
    let observed = observed(output, end);
    judged_in(Path::new("/nonexistent"), dialect, directives, &observed).verdict
}

const CLEAN: End = End::Exited(Exit::Code(0));
const DIRTY: End = End::Exited(Exit::Code(1));
const LATE: End = End::Killed(Limit::Timeout);

#[test]
fn a_command_that_could_not_be_started_is_an_error_whatever_the_test_wants() {
    let nothing = Observation {
        not_started: Some("no such file".to_owned()),
        ..Observation::default()
    };
    for directives in [
        "EXPECT_NONE x\nWILL_FAIL",
        "EXPECT .*\nREQUIRES x",
        "EXPECT x",
    ] {
        let judgement = judged_in(Path::new("/nonexistent"), "0.23", directives, &nothing);
        assert_eq!(judgement.verdict, Verdict::Error, "{directives}");
        assert!(judgement.reason.contains("no such file"));
    }
}

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
    let verdict = |dialect: &str, expect: &str, end| {
        let test = one(dialect, &format!("NAME a\nPROG p\nTIMEOUT 1\n{expect}\n"));
        let rules = Rules::new(Dialect::for_version(dialect).unwrap(), false);
        let observed = observed(&output, end);
        let clone = test.aot_clone().unwrap();
        judge(&clone, rules, Path::new("/"), &observed).verdict
    };
    assert_eq!(verdict("0.22", "EXPECT a", DIRTY), Verdict::Skip);
    assert_eq!(verdict("0.17", "EXPECT a", DIRTY), Verdict::Fail);
    assert_eq!(verdict("0.17", "EXPECT a", CLEAN), Verdict::Skip);
    assert_eq!(verdict("0.17", "EXPECT NOTIFY", CLEAN), Verdict::Pass);
}

#[test]
fn unmet_expectations_are_named() {
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

    std::fs::write(dir.path().join("want"), "%H:%M\n").unwrap();
    let in_guest = Observation {
        utc_offset: Some(-3 * 3600),
        output: b"21:00\n".to_vec(),
        ..observed
    };
    let judgement = judged_in(dir.path(), "0.25", directives, &in_guest);
    assert_eq!(judgement.verdict, Verdict::Pass);
}

#[test]
fn a_failure_shows_what_ran_beside_it() {
    let beside = Observation {
        beside: vec![("BEFORE", b"ready\n".to_vec()), ("AFTER", Vec::new())],
        ..observed("b\n", CLEAN)
    };
    let shown = |expect| judged_in(Path::new("/"), "0.23", expect, &beside).diff;
    assert!(
        shown("EXPECT a")
            .unwrap()
            .ends_with("BEFORE printed:\n  ready\n")
    );
    assert_eq!(shown("EXPECT b"), None);
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

#[test]
fn what_upstream_loses_at_a_limit_is_judged_by_a_rule() {
    let run = "RUN {{BPFTRACE}}\nEXPECT found";
    let line = late(&format!("{MARKER}found\n"), "end\n");
    let kept = (Verdict::Pass, vec![Rule::KeptOutput], Verdict::Timeout);
    assert_eq!(by_rules("0.17", run, &line), kept);
    let same = (Verdict::Pass, vec![], Verdict::Pass);
    assert_eq!(by_rules("0.19", run, &line), same);
    // What is printed at the end is not lost.
    let end = late(MARKER, "found\n");
    assert_eq!(by_rules("0.17", run, &end), same);
    let partial = late(&format!("{MARKER}found"), "");
    let kept = (Verdict::Pass, vec![Rule::PartialLine], Verdict::Timeout);
    assert_eq!(by_rules("0.23", run, &partial), kept);
}

#[test]
fn a_limit_shows_no_exit_status() {
    let late = late("found\n", "");
    let timed_out = (Verdict::Timeout, vec![Rule::SeenExit], Verdict::Pass);
    let status = "RUN {{BPFTRACE}}\nEXPECT found\nRETURN_CODE 69";
    assert_eq!(by_rules("0.23", status, &late), timed_out);
    let fails = "RUN {{BPFTRACE}}\nEXPECT found\nWILL_FAIL";
    assert_eq!(by_rules("0.24", fails, &late), timed_out);
    // Until then WILL_FAIL expects no status.
    let same = (Verdict::Pass, vec![], Verdict::Pass);
    assert_eq!(by_rules("0.23", fails, &late), same);
}

#[test]
fn in_python_true_is_one() {
    let json = "RUN {{BPFTRACE}}\nEXPECT_JSON true.json";
    let failed = (Verdict::Fail, vec![Rule::JsonTypes], Verdict::Pass);
    assert_eq!(
        by_rules("0.23", json, &observed("{\"a\":1}", CLEAN)),
        failed
    );
}

#[test]
fn a_test_that_prints_its_environment_is_judged() {
    let printed = observed(&format!("{AOT_UNSUPPORTED}=1\nfound\n"), CLEAN);
    let passed = (Verdict::Pass, vec![Rule::AotSign], Verdict::Skip);
    let env = "RUN env\nEXPECT found";
    assert_eq!(by_rules("0.23", env, &printed), passed);
}

#[test]
fn a_reason_names_the_rules_that_made_the_verdict() {
    let mut judgement = Judgement::new(Verdict::Pass, "after the TIMEOUT");
    judgement.note_rule(Rule::HeldBefore);
    assert_eq!(judgement.full_reason(), "after the TIMEOUT");
    judgement.note_rule(Rule::KeptOutput);
    assert_eq!(judgement.full_reason(), "after the TIMEOUT [kept-output]");
    judgement.verdict = Verdict::Fail;
    judgement.reason.clear();
    assert_eq!(judgement.full_reason(), "[held-before, kept-output]");
}
