//! Reading runs: report.html, `kiln report`, `history`, of runs that are made from written events.

use std::fs;

use base64::Engine as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::support::Kiln;
use crate::support::made_runs::{assert_refused, between, end, simple, start, verdict, written};

/// What a hostile guest prints: markup, entities, bidi controls, ends of the page's own elements.
const HOSTILE: &str = "<script>alert(1)</script></script><img src=x onerror=alert(1)>\
    <style>*{display:none}</style><!-- ]]> &lt;b&gt; &#x3c;i> \u{202e}evil\u{202c} \u{1b}[31m\u{0}\
    \u{2028}{{ heading }} {% if %} ${x} `";

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
