//! Runs that are made from written events.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::{Kiln, Output};

pub(crate) fn start(at: &str, kernels: &[&str], tests: usize) -> Value {
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

pub(crate) fn verdict(kernel: &str, id: &str, verdict: &str, more: &Value) -> Value {
    let mut record = json!({
        "at_ms": 9, "event": "test_finished", "kernel": kernel, "vm": 0, "suite": "bpftrace",
        "id": id, "attempt": 1, "verdict": verdict, "duration_ms": 3000,
    });
    let object = record.as_object_mut().unwrap();
    object.extend(more.as_object().unwrap().clone());
    record
}

pub(crate) fn image(kernel: &str) -> Value {
    json!({"at_ms": 1, "event": "kernel_ready", "kernel": kernel, "release": format!("{kernel}.0-x"),
           "sha256": "0a".repeat(32)})
}

pub(crate) fn end() -> Value {
    json!({"at_ms": 99, "event": "run_finished", "exit_code": 100, "duration_ms": 99})
}

pub(crate) fn written(kiln: &Kiln, name: &str, records: &[Value]) -> PathBuf {
    let lines: Vec<String> = records.iter().map(|record| format!("{record}\n")).collect();
    let file = kiln.file(&format!("{name}/events.jsonl"), lines.concat());
    file.parent().unwrap().to_owned()
}

/// A run of one kernel with these verdicts.
pub(crate) fn simple(
    kiln: &Kiln,
    name: &str,
    at: &str,
    results: &[(&str, &str, Value)],
) -> PathBuf {
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
pub(crate) fn assert_refused(output: &Output, code: i32, why: &str) {
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
pub(crate) fn between<'t>(text: &'t str, from: &str, to: &str) -> &'t str {
    let (_, rest) = text
        .split_once(from)
        .unwrap_or_else(|| panic!("{from} is not there"));
    rest.split_once(to).unwrap().0
}
