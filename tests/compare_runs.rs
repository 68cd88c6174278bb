//! `kiln compare`, and a run with a baseline, of runs that are made from written events.

use std::fs;

use serde_json::{Value, json};

use crate::support::Kiln;
use crate::support::made_runs::{assert_refused, between, simple};

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
