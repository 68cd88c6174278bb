//! `kiln rerun`.

use std::fs;
use std::path::PathBuf;

use serde_json::json;

use crate::support::Kiln;
use crate::support::made_runs::{assert_refused, simple};
use crate::support::suite::{events, out, run_scaled, suite, verdicts};

#[test]
fn a_rerun_that_cannot_be_says_why_before_anything_boots() {
    let kiln = Kiln::with_empty_cache();
    let rerun = |args: &[&str]| kiln.plain(["rerun"]).args(args).run();
    assert_refused(&rerun(&[]), 96, "there are no runs in");
    simple(
        &kiln,
        "fine",
        "2026-01-02T03:04:05.000Z",
        &[("call.str", "pass", json!({}))],
    );
    assert_refused(&rerun(&["fine"]), 4, "no test of fine was not as expected");
    assert_refused(
        &rerun(&["fine", "--flaky", "--lost"]),
        4,
        "no test of fine lost its VM or was flaky",
    );
    let dir = simple(
        &kiln,
        "bad",
        "2026-01-02T03:04:05.000Z",
        &[("call.str", "fail", json!({}))],
    );
    assert_refused(&rerun(&["bad", "-k", "5.10"]), 2, "bad has no kernel 5.10");
    // Its tests are gone.
    let output = rerun(&["bad"]);
    output.assert_code(96);
    assert!(
        output.err().contains("/gone/src, which is not here"),
        "{}",
        output.err()
    );
    assert!(
        output.err().contains("error: ") && output.err().contains("tests"),
        "{}",
        output.err()
    );
    kiln.file(
        "tests/runtime/call",
        "NAME other\nPROG BEGIN { exit(); }\nEXPECT x\nTIMEOUT 5\n",
    );
    let output = rerun(&["bad"]);
    output.assert_code(4);
    assert!(
        output
            .err()
            .contains("no test to run is left in the suite: call.str"),
        "{}",
        output.err()
    );
    // A run whose tests are not known.
    let events = dir.join("events.jsonl");
    let text = fs::read_to_string(&events)
        .unwrap()
        .replace("[\"kiln\",\"run\"]", "[\"kiln\",\"merge\",\"x\"]");
    fs::write(&events, text).unwrap();
    assert_refused(
        &rerun(&["bad", "--not-run"]),
        96,
        "was not made by kiln run",
    );
}

#[test]
fn only_what_failed_runs_again_and_another_image_is_told() {
    let kiln = suite(
        "NAME passes\nRUN echo yes\nEXPECT yes\nTIMEOUT 5\n\n\
         NAME fails\nRUN echo no\nEXPECT yes\nTIMEOUT 5\n",
    );
    let output = run_scaled(&kiln, &["6.1"], "20").run();
    output.assert_code(100);
    let dir = out(&kiln);
    assert!(dir.join("report.html").is_file());
    // As if it had booted another image.
    let file = dir.join("events.jsonl");
    let ready = events(&dir)
        .into_iter()
        .find(|event| event["event"] == "kernel_ready")
        .unwrap();
    let text = fs::read_to_string(&file).unwrap();
    fs::write(
        &file,
        text.replace(ready["sha256"].as_str().unwrap(), &"0".repeat(64)),
    )
    .unwrap();

    let again = kiln.vm(["rerun", "out", "--run-dir", "again"]).run();
    again.assert_code(100);
    let second = kiln.work().join("again");
    let fails = (
        "6.1".to_owned(),
        "suite.fails".to_owned(),
        "fail".to_owned(),
    );
    assert_eq!(verdicts(&second), [fails]);
    let text = again.out();
    assert!(text.contains("not the image of that run"), "{text}");
    // It can itself be run again, with the same options.
    let options = |dir: &PathBuf| events(dir)[0]["again"].as_array().unwrap().clone();
    assert_eq!(options(&second), options(&dir));
    kiln.assert_nothing_left();
}
