//! Upstream's own engine and kiln give the same verdicts: those of bpftrace 0.17's quickest tests
//! that the installed version has; `make parity` compares all.
#![allow(clippy::unwrap_used)]

// It uses a part of this.
#[allow(dead_code, unused_imports)]
mod support;

#[allow(
    dead_code,
    reason = "wall times and runs without rules are of `make parity`"
)]
#[path = "../harness/benches/parity/compare.rs"]
mod compare;
#[path = "../harness/benches/parity/explain.rs"]
mod explain;
#[path = "../harness/benches/parity/ours.rs"]
mod ours;
#[allow(dead_code, reason = "runs without rules are of `make parity`")]
#[path = "../harness/benches/parity/row.rs"]
mod row;
#[path = "../harness/benches/parity/upstream.rs"]
mod upstream;
#[path = "../harness/benches/parity/verdicts.rs"]
mod verdicts;

use std::fs;
use std::path::Path;
use std::thread;

use kiln::internals::modules_before_tests;
use support::debian_tests::debian_tests;
use support::{Kiln, checkout, slots, upstream_tests};
use verdicts::{Results, Selection};

const KILN: &str = env!("CARGO_BIN_EXE_kiln");

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const KERNEL: &str = "6.1";

/// More than a busy machine with two cores needs. No test of the list reaches a limit.
const SCALE: f64 = 20.0;

/// This many verdicts may depend on time; more is a bug in kiln.
const FLAKY: usize = 3;

#[test]
fn both_engines_give_the_same_verdicts() {
    let tests = upstream_tests();
    let kiln = Kiln::new();
    let list = fs::read_to_string(checkout().join("tests/data/parity.allow")).unwrap();
    let listed = kiln.plain(["list", "bpftrace"]).run();
    let listed = listed.assert_code(0).out();
    let known: Vec<&str> = listed.lines().collect();
    // Newer versions than the list's lack some of them.
    let ids: Vec<String> = list
        .lines()
        .filter(|line| known.contains(line))
        .map(str::to_owned)
        .collect();
    let expected = match debian_tests().dialect {
        "0.17" => 102,
        _ => 76,
    };
    assert_eq!(ids.len(), expected);
    let selection = Selection {
        tests,
        ids: Some(ids.clone()),
        modules: modules_before_tests(&checkout().join("kernels.toml")).unwrap(),
        scale: SCALE,
        jobs: 1,
        resume: false,
        compat: false,
    };
    let (theirs, own) = both(&selection, &kiln.work());
    // Nothing is missing on either side, and nothing hung.
    for results in [&theirs, &own] {
        assert_eq!(results.said.len(), ids.len());
        let counts: usize = ["pass", "fail", "timeout", "skip"]
            .map(|verdict| results.count(verdict))
            .iter()
            .sum();
        assert_eq!(counts, ids.len(), "{results:?}");
    }
    let mut rows = compare::rows(&theirs, &own, &ids);
    // As with `make parity`: a test that depends on time gets another run.
    let differ = |rows: &[row::Row]| -> Vec<String> {
        let rows = rows.iter().filter(|row| explain::is_unexplained(row));
        rows.map(|row| row.id.clone()).collect()
    };
    let again = differ(&rows);
    if !again.is_empty() && again.len() <= FLAKY {
        let dir = kiln.work().join("again");
        fs::create_dir(&dir).unwrap();
        let selection = Selection {
            ids: Some(again),
            ..selection
        };
        let (theirs, own) = both(&selection, &dir);
        for row in rows.iter_mut().filter(|row| explain::is_unexplained(row)) {
            row.add(&theirs, &own);
        }
    }
    let report = compare::report(KERNEL, &rows, &theirs, &own);
    println!("{report}");
    assert!(differ(&rows).is_empty(), "{report}");
}

/// Runs both engines on the selection, each in a VM.
fn both(selection: &Selection, dir: &Path) -> (Results, Results) {
    let run = |engine: fn(&str, &Selection, &Path) -> Result<()>| {
        let _slot = slots::take();
        engine(KERNEL, selection, dir).map_err(|error| error.to_string())
    };
    let (theirs, own) = thread::scope(|scope| {
        let theirs = scope.spawn(|| run(upstream::run));
        let own = run(ours::run);
        (theirs.join().unwrap(), own)
    });
    theirs.unwrap();
    own.unwrap();
    assert!(ours::is_complete(dir));
    (upstream::results(dir).unwrap(), ours::results(dir).unwrap())
}

#[test]
fn a_rule_explains_only_the_difference_that_it_alone_turned() {
    let said = |verdict: &str, rules: &[&str]| verdicts::Said {
        verdicts: vec![verdict.to_owned()],
        rules: rules.iter().map(|&rule| rule.to_owned()).collect(),
    };
    let is_explained = |rules: &[&str], compat: Option<&str>| {
        let row = row::Row {
            id: "call.count".to_owned(),
            upstream: vec![said("timeout", &[])],
            ours: vec![said("pass", rules)],
            compat: compat.map(|verdict| said(verdict, &[])),
        };
        explain::explain(&row).is_some()
    };
    assert!(is_explained(&["held-before"], Some("timeout")));
    assert!(!is_explained(&["held-before"], Some("pass")));
    assert!(!is_explained(&["held-before"], None));
    assert!(!is_explained(
        &["held-before", "kept-output"],
        Some("timeout")
    ));
    assert!(!is_explained(&["no-such-rule"], Some("timeout")));
}
