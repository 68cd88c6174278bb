use super::*;
use crate::report::samples::{self, at, finished, history, result, started};

fn attempt(id: &str, attempt: u32, verdict: Verdict) -> TestResult {
    TestResult {
        attempt,
        ..result("6.1", id, verdict, "")
    }
}

#[test]
fn attempts_and_reports_of_the_kernel_stand_with_their_verdict() {
    let report = |test: Option<&str>, vm: u32| {
        let event = Event::KernelReport(KernelReport {
            kernel: "6.1".into(),
            vm,
            kind: "warning".into(),
            fails: false,
            allowed: None,
            denied: None,
            test: test.map(str::to_owned),
            text: "WARNING: CPU: 0".into(),
        });
        at(1, event)
    };
    let last = TestResult {
        flaky: true,
        ..attempt("a.b", 2, Verdict::Pass)
    };
    let history = history(&[
        started(&["6.1"], 2),
        report(Some("a.b"), 0),
        report(Some("a.c"), 1),
        report(None, 1),
        at(2, Event::AttemptFinished(attempt("a.b", 1, Verdict::Lost))),
        at(3, Event::AttemptFinished(attempt("a.c", 1, Verdict::Fail))),
        at(4, Event::TestFinished(last)),
    ]);
    let [outcome] = history.outcomes.as_slice() else {
        panic!("{:?}", history.outcomes);
    };
    let verdicts: Vec<_> = outcome.attempts.iter().map(|one| one.verdict).collect();
    assert_eq!(verdicts, [Verdict::Lost]);
    assert_eq!(outcome.reports.len(), 1);
    assert_eq!(history.reports.len(), 2);
    assert_eq!(history.flaky().count(), 1);
    // Its test passed in the end.
    assert_eq!(history.other_reports().count(), 3);
    assert_eq!(history.pending.len(), 1);
}

#[test]
fn known_failures_are_expected_and_their_passes_are_not() {
    let known = |id: &str, verdict| {
        let result = result("6.1", id, verdict, "");
        at(
            1,
            Event::TestFinished(samples::known(result, KnownResult::Fail)),
        )
    };
    let history = history(&[
        started(&["6.1"], 3),
        known("a.fails", Verdict::Fail),
        known("a.passes", Verdict::Pass),
        finished("6.1", "a.new", Verdict::Fail, ""),
    ]);
    let ids = |outcomes: Vec<&Outcome>| -> Vec<String> {
        let ids = outcomes.iter().map(|one| one.result.id.clone());
        ids.collect()
    };
    assert_eq!(ids(history.unexpected().collect()), ["a.passes", "a.new"]);
    let known: Vec<_> = history.known_failures().map(|(one, _)| one).collect();
    assert_eq!(ids(known), ["a.fails"]);
    assert!(history.outcomes[1].is_unexpected_pass());
}

#[test]
fn what_lies_beneath_the_working_directory_is_seen_from_there() {
    let mut start = started(&["6.1"], 1);
    if let Event::RunStarted(start) = &mut start.event {
        start.command = [
            "/home/u/bpftrace/kiln",
            "run",
            "--run-dir",
            "/home/u/bpftrace/out",
            "--rw",
            "/home/u/bpftrace-2",
            "/home/u/bpftrace",
            "/home/u/bpftrace/-x",
        ]
        .map(str::to_owned)
        .to_vec();
    }
    assert_eq!(
        history(&[start]).command().join(" "),
        "/home/u/bpftrace/kiln run --run-dir ./out --rw /home/u/bpftrace-2 \
         /home/u/bpftrace /home/u/bpftrace/-x"
    );
}

#[test]
fn the_end_of_a_vm_belongs_to_the_test_that_ran_in_it() {
    let lost = |vm: u32, test: Option<&str>| {
        let event = Event::VmLost(VmLost {
            kernel: "6.1".into(),
            vm,
            reason: "hung".into(),
            test: test.map(str::to_owned),
            console: "Kernel panic".into(),
            qmp_status: None,
        });
        at(2, event)
    };
    let history = history(&[
        started(&["6.1"], 2),
        finished("6.1", "a.b", Verdict::Lost, "hung"),
        lost(0, Some("a.b")),
        lost(1, None),
    ]);
    let loss = history.loss(&history.outcomes[0].result);
    assert_eq!(loss.map(|loss| loss.console.as_str()), Some("Kernel panic"));
    let others = result("6.1", "a.c", Verdict::Pass, "");
    assert!(history.loss(&others).is_none());
    let between: Vec<_> = history.losses_between_tests().map(|loss| loss.vm).collect();
    assert_eq!(between, [1]);
}
