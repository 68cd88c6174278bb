//! Reading runs: report.html, `kiln report`, `compare`, `history`, `rerun`. Most are made from
//! written events, so that no VM is needed.

use std::fs;
use std::path::PathBuf;

use base64::Engine as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::support::suite::{events, out, run_scaled, suite, verdicts};
use crate::support::{Kiln, Output};

/// What a hostile guest prints: markup, entities, bidi controls, ends of the page's own elements.
const HOSTILE: &str = "<script>alert(1)</script></script><img src=x onerror=alert(1)>\
    <style>*{display:none}</style><!-- ]]> &lt;b&gt; &#x3c;i> \u{202e}evil\u{202c} \u{1b}[31m\u{0}\
    \u{2028}{{ heading }} {% if %} ${x} `";

fn start(at: &str, kernels: &[&str], tests: usize) -> Value {
    let kernels: Vec<Value> = kernels
        .iter()
        .map(|name| json!({"name": name, "tests": tests, "suites": [tests]}))
        .collect();
    json!({
        "at_ms": 0, "event": "run_started", "schema": 1, "version": "0.1.0", "started_at": at,
        "command": ["kiln", "run"], "again": ["kiln", "run", "--tests", "tests"], "cwd": "/gone/src",
        "kernels": kernels, "suites": ["bpftrace"],
    })
}

fn verdict(kernel: &str, id: &str, verdict: &str, more: &Value) -> Value {
    let mut record = json!({
        "at_ms": 9, "event": "test_finished", "kernel": kernel, "vm": 0, "suite": "bpftrace",
        "id": id, "attempt": 1, "verdict": verdict, "duration_ms": 3000,
    });
    let object = record.as_object_mut().unwrap();
    object.extend(more.as_object().unwrap().clone());
    record
}

fn image(kernel: &str) -> Value {
    json!({"at_ms": 1, "event": "kernel_ready", "kernel": kernel, "release": format!("{kernel}.0-x"),
           "sha256": "0a".repeat(32)})
}

fn end() -> Value {
    json!({"at_ms": 99, "event": "run_finished", "exit_code": 100, "duration_ms": 99})
}

fn written(kiln: &Kiln, name: &str, records: &[Value]) -> PathBuf {
    let lines: Vec<String> = records.iter().map(|record| format!("{record}\n")).collect();
    let file = kiln.file(&format!("{name}/events.jsonl"), lines.concat());
    file.parent().unwrap().to_owned()
}

/// A run of one kernel with these verdicts.
fn simple(kiln: &Kiln, name: &str, at: &str, results: &[(&str, &str, Value)]) -> PathBuf {
    let mut records = vec![start(at, &["6.1"], results.len()), image("6.1")];
    records.extend(
        results
            .iter()
            .map(|(id, of, more)| verdict("6.1", id, of, more)),
    );
    records.push(end());
    written(kiln, name, &records)
}

/// One line says why, the next what to do.
fn assert_refused(output: &Output, code: i32, why: &str) {
    output.assert_code(code);
    let text = output.err();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines.len() >= 2, "{text}");
    assert!(
        lines[0].starts_with("error: ") && lines[0].contains(why),
        "{text}"
    );
    assert!(lines[1].starts_with("  hint: "), "{text}");
}

/// The text between two marks.
fn between<'t>(text: &'t str, from: &str, to: &str) -> &'t str {
    let (_, rest) = text
        .split_once(from)
        .unwrap_or_else(|| panic!("{from} is not there"));
    rest.split_once(to).unwrap().0
}

fn hash(text: &str) -> String {
    base64::engine::general_purpose::STANDARD.encode(Sha256::digest(text))
}

#[test]
fn what_a_guest_printed_is_inert_in_the_page() {
    let kiln = Kiln::with_empty_cache();
    let long = "\u{1b}<".repeat(500_000);
    let records = [
        start("2026-01-02T03:04:05.000Z", &[HOSTILE, "6.1"], 3),
        json!({"at_ms": 1, "event": "suite_ready", "suite": "bpftrace", "subject": HOSTILE}),
        json!({"at_ms": 2, "event": "kernel_report", "kernel": "6.1", "vm": 0, "kind": HOSTILE,
               "text": HOSTILE}),
        verdict(
            HOSTILE,
            HOSTILE,
            "fail",
            &json!({
                "reason": HOSTILE, "output": HOSTILE, "details": long, "console": HOSTILE,
                "source": {"file": HOSTILE, "line": 1},
                "known": {"result": "flaky", "reason": HOSTILE, "link": "javascript:alert(1)"},
            }),
        ),
        verdict("6.1", HOSTILE, "lost", &json!({"reason": HOSTILE})),
        json!({"at_ms": 9, "event": "vm_lost", "kernel": "6.1", "vm": 0, "reason": HOSTILE,
               "test": HOSTILE, "console": HOSTILE, "qmp_status": HOSTILE}),
        json!({"at_ms": 9, "event": "warning", "message": HOSTILE}),
        end(),
    ];
    let dir = written(&kiln, "run", &records);
    kiln.plain(["report", "run"]).run().assert_code(0);
    let page = fs::read_to_string(dir.join("report.html")).unwrap();

    let lower = page.to_lowercase();
    assert_eq!(
        lower.matches("<script").count(),
        2,
        "the data and the script"
    );
    assert_eq!(lower.matches("</script").count(), 2);
    assert_eq!(lower.matches("<style").count(), 1);
    for markup in [
        "<img",
        "<link",
        "<iframe",
        "<object",
        "src=\"http",
        "\u{1b}",
        "\u{202e}",
        "\u{2028}",
        "\u{0}",
    ] {
        assert!(!page.contains(markup), "{markup:?} is in the page");
    }
    // The policy lets nothing run but what its hashes name.
    let policy = between(&page, "Content-Security-Policy\" content=\"", "\"");
    let script = page.rsplit_once("<script>").unwrap().1;
    let script = script.split_once("</script>").unwrap().0;
    let style = between(&page, "<style>", "</style>");
    for part in [
        "default-src 'none'".to_owned(),
        format!("script-src 'sha256-{}'", hash(script)),
        format!("style-src 'sha256-{}'", hash(style)),
        "base-uri 'none'".to_owned(),
        "form-action 'none'".to_owned(),
    ] {
        assert!(policy.contains(&part), "{part} is not in {policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    // Nothing sets markup.
    for way in [
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "DOMParser",
    ] {
        assert!(!script.contains(way), "{way}");
    }
    // Everything is there, as text.
    let data = between(
        &page,
        "<script type=\"application/json\" id=\"data\">",
        "</script>",
    );
    let data: Value = serde_json::from_str(data).unwrap();
    let texts = data["texts"].as_array().unwrap();
    let shown = HOSTILE
        .replace('\u{202e}', "\\u{202e}")
        .replace('\u{202c}', "\\u{202c}")
        .replace('\u{2028}', "\\u{2028}")
        .replace('\u{1b}', "\\x1b")
        .replace('\u{0}', "\\x00");
    assert!(texts.iter().any(|text| text == &json!(shown)), "{texts:?}");
}

#[test]
fn every_report_is_made_of_the_events_alone() {
    let kiln = Kiln::with_empty_cache();
    let known = json!({"known": {"result": "fail", "reason": "no BTF"}, "reason": "exit status 1"});
    simple(
        &kiln,
        "target/kiln/runs/one",
        "2026-01-02T03:04:05.000Z",
        &[
            ("call.str", "pass", json!({})),
            (
                "call.bad",
                "fail",
                json!({"reason": "exit status 1", "output": "not ok 1\n"}),
            ),
            ("call.known", "fail", known),
            ("call.skip", "skip", json!({"reason": "no BTF"})),
        ],
    );
    let report = |format: &str| {
        let output = kiln
            .plain(["report", "last", "--output", "-", "--format", format])
            .run();
        output.assert_code(0);
        output.out()
    };
    let tap = report("tap");
    for line in [
        "TAP version 14",
        "1..4",
        "ok 1 - 6.1 call.str",
        "not ok 2 - 6.1 call.bad",
        "not ok 3 - 6.1 call.known # TODO no BTF",
        "ok 4 - 6.1 call.skip # SKIP no BTF",
    ] {
        assert!(tap.lines().any(|one| one == line), "{line}\n{tap}");
    }
    let json: Value = serde_json::from_str(&report("json")).unwrap();
    let classes: Vec<_> = json["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["class"].as_str().unwrap())
        .collect();
    assert_eq!(classes, ["pass", "fail", "xfail", "skip"]);
    assert!(report("junit").contains("<testsuite name=\"bpftrace on 6.1\""));
    assert!(report("markdown").contains("1 test not as expected"));
    assert!(report("html").starts_with("<!DOCTYPE html>"));
    // By default the page goes into the run's directory.
    let output = kiln.plain(["report"]).run();
    output.assert_code(0);
    assert!(
        output.out().ends_with("runs/one/report.html\n"),
        "{}",
        output.out()
    );
}

#[test]
fn a_run_that_is_damaged_or_not_over_is_shown_as_far_as_it_goes() {
    let kiln = Kiln::with_empty_cache();
    let dir = simple(
        &kiln,
        "run",
        "2026-01-02T03:04:05.000Z",
        &[("call.str", "pass", json!({}))],
    );
    let events = dir.join("events.jsonl");
    let whole = fs::read_to_string(&events).unwrap();
    let report = |text: &str| {
        fs::write(&events, text).unwrap();
        kiln.plain(["report", "run", "--format", "markdown"]).run()
    };
    let three: String = whole.split_inclusive('\n').take(3).collect();
    for (text, note) in [
        (three.clone(), "The run did not end"),
        (format!("{three}{{\"at_ms\":1,"), "The run did not end"),
        (
            format!("{three}rubbish\n{}\n", end()),
            "Line 4 of events.jsonl is damaged",
        ),
    ] {
        let output = report(&text);
        output.assert_code(0);
        assert!(output.err().contains(note), "{}", output.err());
        assert!(
            output.out().contains(note) && output.out().contains("1 verdict of 1"),
            "{}",
            output.out()
        );
    }
    assert_refused(&report(""), 96, "does not begin with run_started");
    assert_refused(
        &report(&whole.replace("\"schema\":1", "\"schema\":2")),
        96,
        "schema version 2",
    );
    assert_refused(
        &kiln.plain(["report", "gone"]).run(),
        96,
        "there is no run gone",
    );
    assert_refused(&kiln.plain(["report"]).run(), 96, "there are no runs in");
    kiln.file("empty/note", "");
    assert_refused(
        &kiln.plain(["report", "empty"]).run(),
        96,
        "not a run directory",
    );
}

#[test]
fn two_runs_are_compared_test_by_test() {
    let kiln = Kiln::with_empty_cache();
    let at = |line: usize| json!({"source": {"file": "/src/call", "line": line}});
    let runs = "target/kiln/runs";
    // Earlier runs say how much times vary.
    for (name, ms) in [("a", 2900), ("b", 3100), ("c", 3050)] {
        simple(
            &kiln,
            &format!("{runs}/{name}"),
            "2026-01-01T00:00:00.000Z",
            &[
                ("call.slow", "pass", json!({"duration_ms": ms})),
                ("call.wild", "pass", json!({"duration_ms": ms * ms / 1000})),
            ],
        );
    }
    simple(
        &kiln,
        &format!("{runs}/before"),
        "2026-01-02T00:00:00.000Z",
        &[
            ("call.regression", "pass", json!({})),
            ("call.fix", "fail", json!({"reason": "exit status 1"})),
            ("call.flake", "pass", json!({})),
            ("call.slow", "pass", json!({})),
            ("call.wild", "pass", json!({"duration_ms": 9000})),
            ("call.still", "fail", json!({"reason": "no map"})),
            ("call.old name", "pass", at(7)),
            ("call.gone", "pass", json!({})),
            ("call.same", "pass", json!({})),
        ],
    );
    simple(
        &kiln,
        &format!("{runs}/later"),
        "2026-01-03T00:00:00.000Z",
        &[
            (
                "call.regression",
                "fail",
                json!({"reason": "expected `1`, found `2`"}),
            ),
            ("call.fix", "pass", json!({})),
            (
                "call.flake",
                "pass",
                json!({"flaky": true, "reason": "flaky: passed at attempt 2"}),
            ),
            ("call.slow", "pass", json!({"duration_ms": 6000})),
            ("call.wild", "pass", json!({"duration_ms": 10_500})),
            ("call.still", "fail", json!({"reason": "no map"})),
            ("call.a quite different one", "pass", at(7)),
            ("probe.added", "pass", json!({})),
            ("call.same", "pass", json!({"duration_ms": 3500})),
        ],
    );
    let compare = |args: &[&str]| kiln.plain(["compare"]).args(args).run();
    let output = compare(&["last~1", "last"]);
    output.assert_code(100);
    let text = output.out();
    for line in [
        "REGRESSED      6.1  call.regression: pass \u{2192} fail: expected `1`, found `2`",
        "FIXED          6.1  call.fix: fail \u{2192} pass",
        "FLAKY          6.1  call.flake: pass \u{2192} flaky: passed at attempt 2",
        "SLOWER         6.1  call.slow: 3.0 s \u{2192} 6.0 s",
        "STILL FAILING  6.1  call.still: fail: no map",
        "NEW            6.1  call.a quite different one: pass, renamed from call.old name",
        "NEW            6.1  probe.added: pass",
        "GONE           6.1  call.gone: was pass",
        "1 regressed, 1 fixed, 1 flaky, 1 slower, 1 still failing, 2 new, 2 gone",
    ] {
        assert!(text.lines().any(|one| one == line), "{line}\n{text}");
    }
    assert!(
        !text.contains("call.wild") && !text.contains("call.same"),
        "{text}"
    );
    compare(&["last", "last"]).assert_code(0);
    let json: Value =
        serde_json::from_str(&compare(&["before", "later", "--format", "json"]).out()).unwrap();
    assert_eq!(json["regressed"], true);
    assert_eq!(json["tests"][0]["change"], "regressed");
    let page = compare(&["before", "later", "--format", "markdown"]).out();
    let order = ["regressed: 1 test", "fixed: 1 test", "gone: 2 tests"].map(|part| page.find(part));
    assert!(order.is_sorted() && order[0].is_some(), "{page}");

    // A JUnit file has the same verdicts as the run that it is of.
    kiln.plain(["report", "before", "--format", "junit", "-o", "before.xml"])
        .run()
        .assert_code(0);
    let junit = compare(&["before.xml", "later"]);
    junit.assert_code(100);
    assert!(
        junit.out().contains("1 regressed, 1 fixed, 1 flaky"),
        "{}",
        junit.out()
    );
    kiln.file(
        "other.xml",
        "<testsuite name='x'><testcase name='y'/></testsuite>",
    );
    assert_refused(&compare(&["other.xml", "later"]), 96, "no test in common");
    kiln.file("page.xml", "<html><p></p></html>");
    assert_refused(&compare(&["page.xml", "later"]), 96, "not a JUnit file");
    assert_refused(&compare(&["last~9", "last"]), 96, "there are only 5 runs");

    // The page shows the same.
    kiln.plain(["report", "later", "--baseline", "before", "-o", "page.html"])
        .run()
        .assert_code(0);
    let page = fs::read_to_string(kiln.work().join("page.html")).unwrap();
    let data = between(&page, "id=\"data\">", "</script>");
    let data: Value = serde_json::from_str(data).unwrap();
    let classes = data["base"]["classes"].as_array().unwrap();
    let mut changes: Vec<&str> = data["base"]["cells"]
        .as_object()
        .unwrap()
        .values()
        .map(|cell| {
            classes[usize::try_from(cell[0].as_u64().unwrap()).unwrap()]
                .as_str()
                .unwrap()
        })
        .collect();
    changes.sort_unstable();
    let expected = [
        "fixed",
        "flaky",
        "gone",
        "gone",
        "new",
        "new",
        "regressed",
        "slower",
        "still failing",
    ];
    assert_eq!(changes, expected);
    assert!(page.contains("call.gone"), "a test that is gone has a row");
}

#[test]
fn a_pull_request_s_summary_says_first_what_has_changed_and_annotates_only_that() {
    let kiln = Kiln::with_empty_cache();
    let fails = json!({"reason": "no map"});
    simple(
        &kiln,
        "main",
        "2026-01-02T00:00:00.000Z",
        &[
            ("call.regression", "pass", json!({})),
            ("call.fix", "fail", fails.clone()),
            ("call.still", "fail", fails.clone()),
        ],
    );
    simple(
        &kiln,
        "part",
        "2026-01-03T00:00:00.000Z",
        &[
            ("call.regression", "fail", fails.clone()),
            ("call.fix", "pass", json!({})),
            ("call.still", "fail", fails),
        ],
    );
    let summary = kiln.file("step", "");
    let output = kiln
        .plain(["merge", "--run-dir", "whole", "--baseline", "main", "part"])
        .env("GITHUB_ACTIONS", "true")
        .env("GITHUB_STEP_SUMMARY", &summary)
        .run();
    output.assert_code(100);
    let out = output.out();
    let annotations: Vec<&str> = out
        .lines()
        .filter(|line| line.starts_with("::error"))
        .collect();
    assert_eq!(annotations.len(), 1, "{out}");
    assert!(annotations[0].contains("call.regression"), "{out}");
    let page = fs::read_to_string(&summary).unwrap();
    let order = [
        "1 regressed, 1 fixed, 1 still failing",
        "regressed: 1 test",
        "fixed: 1 test",
        "2 tests not as expected",
    ];
    let order = order.map(|part| page.find(part));
    assert!(
        order.iter().all(Option::is_some) && order.is_sorted(),
        "{page}"
    );
    let html = fs::read_to_string(kiln.work().join("whole/report.html")).unwrap();
    assert!(html.contains("\"base\":{\"title\":\"main\""));
    let gone = kiln.plain(["merge", "--baseline", "gone", "part"]).run();
    assert_refused(&gone, 96, "there is no run gone");
}

#[test]
fn the_history_of_a_test_shows_its_verdicts_and_how_often_it_flakes() {
    let kiln = Kiln::with_empty_cache();
    for (day, flaky, broken) in [
        (1, "pass", "pass"),
        (2, "fail", "pass"),
        (3, "pass", "fail"),
        (4, "pass", "fail"),
    ] {
        let at = format!("2026-01-0{day}T00:00:00.000Z");
        simple(
            &kiln,
            &format!("artifacts/part/{day}"),
            &at,
            &[
                ("call.flaky", flaky, json!({})),
                ("call.broken", broken, json!({})),
                ("call.fine", "pass", json!({})),
            ],
        );
    }
    kiln.file("artifacts/bad/events.jsonl", "{}\n");
    let history = |args: &[&str]| {
        kiln.plain(["history", "--runs", "artifacts"])
            .args(args)
            .run()
    };
    let output = history(&["call.flaky", "^call.bro"]);
    output.assert_code(0);
    let text = output.out();
    assert!(
        text.starts_with("4 runs, 2026-01-01 to 2026-01-04\n"),
        "{text}"
    );
    for line in [
        "  6.1  [.F..]  4 runs, flakes in 1: 25 % (5 to 70 %), 3.0 s (last pass 3.0 s)",
        "  6.1  [..FF]  4 runs, fails in the last 2, 3.0 s (last pass 3.0 s)",
    ] {
        assert!(text.lines().any(|one| one == line), "{line}\n{text}");
    }
    assert!(!text.contains("call.fine"), "{text}");
    assert!(
        output.err().contains("does not begin with run_started"),
        "{}",
        output.err()
    );
    let flaky = history(&["--flaky"]);
    flaky.assert_code(0);
    assert!(
        flaky
            .out()
            .contains("25 % (5 to 70 %)        6.1  call.flaky  [.F..]\n"),
        "{}",
        flaky.out()
    );
    assert!(!flaky.out().contains("call.broken"), "{}", flaky.out());
    let json: Value =
        serde_json::from_str(&history(&["--flaky", "--format", "json"]).out()).unwrap();
    assert_eq!(json["tests"][0]["results"].as_array().unwrap().len(), 4);
    assert_refused(
        &history(&["call.gone"]),
        96,
        "none of 4 runs has a verdict of call.gone",
    );
    assert_refused(
        &kiln.plain(["history", "call.x"]).run(),
        96,
        "there are no runs in",
    );
    history(&[]).assert_code(2);
}

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
