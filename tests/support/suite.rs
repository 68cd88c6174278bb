//! Suites that a test writes itself, and the results of running them.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Invocation, Kiln, Output};

/// Ends the attach limit of a test: bpftrace prints it, if asked to, once its probes are attached.
pub(crate) const ATTACH: &str = "echo __BPFTRACE_NOTIFY_PROBES_ATTACHED";

/// `kiln run` on the tests below `tests/` in the working directory, with their own limits; the run
/// directory is [`out`].
pub(crate) fn run<'a>(kiln: &'a Kiln, kernels: &[&str]) -> Invocation<'a> {
    run_scaled(kiln, kernels, "1")
}

/// The same with limits multiplied by `scale`.
pub(crate) fn run_scaled<'a>(kiln: &'a Kiln, kernels: &[&str], scale: &str) -> Invocation<'a> {
    let mut command = kiln
        .vm(["run", "--tests", "tests", "--dialect", "0.17"])
        .arg("--timeout-scale")
        .arg(scale)
        .arg("--run-dir")
        .arg(out(kiln));
    for kernel in kernels {
        command = command.arg("-k").arg(kernel);
    }
    command
}

/// The directory of [`run`]'s run: kiln creates it, as whatever user it runs.
pub(crate) fn out(kiln: &Kiln) -> PathBuf {
    kiln.work().join("out")
}

/// A kiln and a file of tests, `suite`.
pub(crate) fn suite(tests: &str) -> Kiln {
    let kiln = Kiln::new();
    kiln.file("tests/runtime/suite", tests);
    kiln
}

/// The events of a run, in order; every line is one.
pub(crate) fn events(run_dir: &Path) -> Vec<Value> {
    let text = fs::read_to_string(run_dir.join("events.jsonl")).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}")))
        .collect()
}

/// How many events have this name.
pub(crate) fn count(all: &[Value], name: &str) -> usize {
    all.iter().filter(|event| event["event"] == name).count()
}

/// Kernel, test and verdict of a run, sorted.
pub(crate) fn verdicts(run_dir: &Path) -> Vec<(String, String, String)> {
    let field = |event: &Value, name: &str| event[name].as_str().unwrap().to_owned();
    let mut found: Vec<_> = events(run_dir)
        .iter()
        .filter(|event| event["event"] == "test_finished")
        .map(|event| {
            (
                field(event, "kernel"),
                field(event, "id"),
                field(event, "verdict"),
            )
        })
        .collect();
    found.sort();
    found
}

/// The event that ended a test.
pub(crate) fn finished(run_dir: &Path, id: &str) -> Value {
    let mut all = events(run_dir).into_iter();
    all.find(|event| event["event"] == "test_finished" && event["id"] == id)
        .unwrap_or_else(|| panic!("{id} has no verdict"))
}

/// Checks the verdicts of one kernel: `test verdict`, sorted.
#[track_caller]
pub(crate) fn assert_verdicts(kiln: &Kiln, output: &Output, expected: &[&str]) {
    let found: Vec<String> = verdicts(&out(kiln))
        .iter()
        .map(|(_, id, verdict)| format!("{} {verdict}", id.trim_start_matches("suite.")))
        .collect();
    assert_eq!(found, expected, "{}\n{}", output.out(), output.err());
}

/// Checks that the JUnit report can be read, and returns its text.
#[track_caller]
pub(crate) fn junit(run_dir: &Path) -> String {
    let text = fs::read_to_string(run_dir.join("junit.xml")).unwrap();
    let read = quick_junit::Report::deserialize_from_str(&text);
    assert!(read.is_ok(), "{read:?}:\n{text}");
    text
}

/// The line of a report on the terminal that begins with this word and names
/// this test.
#[track_caller]
pub(crate) fn verdict_line(output: &Output, word: &str, id: &str) -> String {
    let out = output.out();
    let mut lines = out.lines().filter(|line| line.starts_with(word));
    lines
        .find(|line| line.split("  ").any(|field| field == id))
        .unwrap_or_else(|| panic!("no line {word} … {id}:\n{out}\n{}", output.err()))
        .to_owned()
}
