//! The files of a run directory and the output for GitHub Actions, made from written events, so
//! that no VM is needed.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::support::Kiln;
use crate::support::suite::{events, junit};
use serde_json::{Value, json};

/// What a hostile guest prints.
const HOSTILE: &str = "\u{1b}]0;x\u{7}\n::error::x\r\n::stop-commands::y\n##[error]z\n</pre></details><img src=x>\n]]> @all | [a](b)\n";

/// A run of two kernels and two suites with one of each kind.
fn mixed_run() -> Vec<Value> {
    let verdict = |event: &str, kernel: &str, suite: &str, id: &str, verdict: &str, more: Value| {
        let mut record = json!({
            "at_ms": 9, "event": event, "kernel": kernel, "vm": 0, "suite": suite, "id": id,
            "attempt": 1, "verdict": verdict, "duration_ms": 1_234_567,
        });
        let object = record.as_object_mut().unwrap();
        object.extend(more.as_object().unwrap().clone());
        record
    };
    let ended = |kernel: &str, id: &str, end: &str, more: Value| {
        verdict("test_finished", kernel, "bpftrace", id, end, more)
    };
    let known =
        json!({"known": {"result": "fail", "reason": "no BTF", "link": "https://example.org/1"}});
    vec![
        json!({
            "at_ms": 0, "event": "run_started", "schema": 1, "version": "0.1.0",
            "started_at": "2026-11-22T16:00:00.000Z",
            "command": ["kiln", "run", "--tests", "my tests", "-j2"],
            "again": ["kiln", "run", "--tests", "my tests"], "cwd": "/src",
            "kernels": [{"name": "5.10", "tests": 6, "suites": [5, 1]},
                        {"name": "6.1", "tests": 6, "suites": [5, 1]}],
            "suites": ["bpftrace", "other"],
        }),
        json!({"at_ms": 1, "event": "suite_ready", "suite": "bpftrace",
               "subject": "/usr/bin/bpftrace", "version": "v0.17.0", "dialect": "0.17"}),
        json!({"at_ms": 1, "event": "kernel_ready", "kernel": "6.1", "release": "6.1.0-x",
               "sha256": "0a".repeat(32)}),
        json!({"at_ms": 2, "event": "vm_started", "kernel": "6.1", "release": "6.1.0-x",
               "accelerator": "tcg", "qemu": "7.2", "boot_ms": 4100, "vm": 0}),
        json!({"at_ms": 3, "event": "invented_later", "what": {"a": [1]}}),
        ended("5.10", "call.str", "pass", json!({})),
        ended(
            "6.1",
            "call.str",
            "fail",
            json!({
                "reason": HOSTILE, "output": HOSTILE, "details": HOSTILE,
                "source": {"file": "/src/tests/runtime/call", "line": 12},
            }),
        ),
        json!({"at_ms": 5, "event": "kernel_report", "kernel": "6.1", "vm": 0,
               "kind": "warning", "test": "call.flaky", "text": "WARNING: CPU: 0"}),
        verdict(
            "attempt_finished",
            "6.1",
            "bpftrace",
            "call.flaky",
            "timeout",
            json!({"reason": "too slow", "output": HOSTILE}),
        ),
        ended(
            "6.1",
            "call.flaky",
            "pass",
            json!({"flaky": true, "attempt": 2}),
        ),
        verdict(
            "attempt_finished",
            "6.1",
            "bpftrace",
            "call.bad",
            "lost",
            json!({"details": HOSTILE}),
        ),
        ended("6.1", "call.bad", "error", json!({"attempt": 2})),
        ended("5.10", "call.known", "fail", known.clone()),
        ended("6.1", "call.known", "pass", known),
        ended(
            "6.1",
            "call.skip",
            "skip",
            json!({"reason": "missed feature"}),
        ),
        verdict(
            "test_finished",
            "6.1",
            "other",
            "call.lost",
            "lost",
            json!({"reason": "hung"}),
        ),
        json!({"at_ms": 9, "event": "vm_lost", "kernel": "6.1", "vm": 0, "reason": "hung",
               "test": "call.lost", "console": HOSTILE, "qmp_status": "running"}),
        json!({"at_ms": 9, "event": "warning", "kernel": "5.10", "message": "slow"}),
        json!({"at_ms": 9, "event": "run_finished", "exit_code": 97, "duration_ms": 9}),
    ]
}

fn written(kiln: &Kiln, name: &str, records: &[Value]) -> PathBuf {
    let mut lines: Vec<String> = records.iter().map(ToString::to_string).collect();
    lines.push(String::new());
    let file = kiln.file(&format!("{name}/events.jsonl"), lines.join("\n"));
    file.parent().unwrap().to_owned()
}

#[test]
fn junit_holds_to_the_schema_that_jenkins_uses() {
    let kiln = Kiln::new();
    written(&kiln, "run", &mixed_run());
    let output = kiln.plain(["merge", "--run-dir", "whole", "run"]).run();
    output.assert_code(97);
    let whole = kiln.work().join("whole");
    let text = junit(&whole);
    for part in [
        "<testsuite name=\"bpftrace on 5.10\"",
        "<testsuite name=\"other on 6.1\"",
        "<flakyFailure",
        "<rerunError",
        "type=\"unexpected-pass\"",
        "type=\"known-fail\"",
        "<property name=\"sha256\"",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    let schema = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/junit-10.xsd");
    let checked = Command::new("xmllint")
        .args(["--noout", "--schema", schema])
        .arg(whole.join("junit.xml"))
        .output()
        .expect("xmllint (Debian's libxml2-utils) is needed");
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "{said}\n{text}");
}

#[test]
fn each_failure_has_an_output_file_and_a_command_to_run_it_again() {
    let kiln = Kiln::new();
    written(&kiln, "run", &mixed_run());
    kiln.plain(["merge", "--run-dir", "whole", "run"])
        .run()
        .assert_code(97);
    let output = kiln.work().join("whole/output");
    let names = |dir: PathBuf| {
        let mut names: Vec<String> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(output.clone()), ["6.1"]);
    let expected = [
        "call.bad.txt",
        "call.known.txt",
        "call.lost.txt",
        "call.str.txt",
    ];
    assert_eq!(names(output.join("6.1")), expected);
    let again = r"kiln run -k 6.1 -t '^call\.str$' --tests 'my tests' bpftrace";
    let file = fs::read_to_string(output.join("6.1/call.str.txt")).unwrap();
    assert!(file.contains(again), "{file}");
    assert!(file.contains("/src/tests/runtime/call:12"), "{file}");
    let page = fs::read_to_string(kiln.work().join("whole/summary.md")).unwrap();
    assert!(page.contains(again), "{page}");
    assert!(page.contains("fails on 6.1 only"), "{page}");
    assert!(page.contains("[link](https://example.org/1)"), "{page}");
    assert!(!page.contains("<img") && !page.contains('\u{1b}'), "{page}");
    assert_eq!(
        page.matches("<details>").count(),
        page.matches("</details>").count()
    );
}

#[test]
fn github_gets_kernels_failures_and_the_summary_and_obeys_no_guest() {
    let kiln = Kiln::new();
    written(&kiln, "run", &mixed_run());
    let summary = kiln.file("step", "before\n");
    let output = kiln
        .plain(["merge", "--run-dir", "whole", "run"])
        .env("GITHUB_ACTIONS", "true")
        .env("GITHUB_WORKSPACE", "/src")
        .env("GITHUB_STEP_SUMMARY", &summary)
        .run();
    output.assert_code(97);
    let out = output.out();
    let commands: Vec<&str> = out
        .lines()
        .filter(|line| line.trim_start().starts_with("::") || line.contains("##["))
        .map(|line| line.split([' ', ':']).nth(2).unwrap())
        .collect();
    let kernel = ["group", "endgroup"];
    let expected = [&kernel[..], &kernel, &["error"; 4], &["warning"]].concat();
    assert_eq!(commands, expected, "{out}");
    assert!(out.contains(",file=tests/runtime/call,line=12::"), "{out}");
    let page = fs::read_to_string(kiln.work().join("whole/summary.md")).unwrap();
    assert_eq!(
        fs::read_to_string(summary).unwrap(),
        format!("before\n{page}")
    );
}

#[test]
fn runs_are_listed_and_pruned() {
    let kiln = Kiln::new();
    let start = |at: &str| {
        let mut records = mixed_run();
        records[0]["started_at"] = at.into();
        records
    };
    written(
        &kiln,
        "target/kiln/runs/old",
        &start("2020-01-02T03:04:05Z"),
    );
    written(
        &kiln,
        "target/kiln/runs/new",
        &start("2026-01-02T03:04:05Z")[..5],
    );
    kiln.file("target/kiln/runs/note", "");

    let listed = kiln.plain(["runs"]).env("TZ", "UTC").run();
    listed.assert_code(0);
    let out = listed.out();
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines.len(), 3, "{out}");
    assert!(
        lines[1].starts_with("new  2026-01-02 03:04:05  unfinished  5.10 6.1"),
        "{out}"
    );
    assert!(
        lines[2].starts_with("old  2020-01-02 03:04:05  97 "),
        "{out}"
    );
    assert!(
        lines[2].ends_with("3 pass, 2 fail, 1 skip, 1 lost, 1 error, 4 not run"),
        "{out}"
    );

    kiln.plain(["runs", "prune"]).run().assert_code(2);
    let old = kiln.work().join("target/kiln/runs/old");
    let dry = kiln
        .plain(["runs", "prune", "--keep", "1", "--dry-run"])
        .run();
    dry.assert_out(&format!("would remove {}\n", old.display()));
    assert!(old.exists());
    let pruned = kiln.plain(["runs", "prune", "--older-than", "2000d"]).run();
    pruned
        .assert_code(0)
        .assert_out(&format!("removed {}\n", old.display()));
    assert!(!old.exists() && kiln.work().join("target/kiln/runs/new").exists());
    let none = kiln.plain(["runs", "--dir", "gone"]).run();
    none.assert_code(0).assert_out("no runs in gone\n");
}

#[test]
fn a_second_run_gets_a_directory_of_its_own() {
    let kiln = Kiln::new();
    let run = written(&kiln, "run", &mixed_run());
    for _ in 0..2 {
        let output = kiln.plain(["merge", "run"]).run();
        output.assert_code(97);
    }
    let runs: Vec<PathBuf> = fs::read_dir(kiln.work().join("target/kiln/runs"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    assert_eq!(runs.len(), 2);
    let verdicts = events(&run).len();
    for dir in runs {
        // The event of a later kiln is skipped.
        assert_eq!(events(&dir).len(), verdicts - 1, "{}", dir.display());
        junit(&dir);
    }
}
