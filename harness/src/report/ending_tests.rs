#![allow(clippy::unwrap_used)]

use super::*;
use crate::report::samples::{at, finished, history, known, result, started, with_texts};
use crate::run::event::{Event, KernelReport, KnownResult, Record, TestResult, Verdict, VmLost};

fn ended_at(level: StatusLevel, records: &[Record]) -> String {
    ended_with(level, true, records)
}

fn ended_with(level: StatusLevel, group: bool, records: &[Record]) -> String {
    let history = history(records);
    let levels = Levels {
        status: level,
        at_end: level,
        group,
    };
    ending(TerminalStyle::PLAIN, levels, &history, Path::new("/runs/1"))
}

fn ended(records: &[Record]) -> String {
    ended_at(StatusLevel::Retry, records)
}

fn report(test: Option<&str>, text: &str) -> Record {
    let event = Event::KernelReport(KernelReport {
        kernel: "6.1".into(),
        vm: 0,
        kind: "warning".into(),
        fails: false,
        allowed: None,
        denied: None,
        test: test.map(str::to_owned),
        text: text.into(),
    });
    at(4000, event)
}

#[test]
fn a_failure_has_all_that_is_known_of_it_and_ends_with_the_line_that_runs_it_again() {
    let first = TestResult {
        attempt: 1,
        ..result("6.1", "call.str", Verdict::Timeout, "too late")
    };
    let last = TestResult {
        attempt: 2,
        ..result("6.1", "call.str", Verdict::Fail, "exit status 1")
    };
    let text = ended(&[
        started(&["6.1"], 1),
        report(Some("call.str"), "WARNING: CPU: 0\nCall Trace:\n"),
        at(1, Event::AttemptFinished(first)),
        with_texts(
            at(2, Event::TestFinished(last)),
            "said",
            "expected: x\n   found: y\n",
        ),
    ]);
    let expected = "
Not as expected:

FAIL  6.1  call.str  (3.1 s)
      exit status 1
      attempt 1: timeout: too late
      | expected: x
      |    found: y
      the kernel reports: warning
      | WARNING: CPU: 0
      | Call Trace:
      again: kiln run -k 6.1 -t '^call\\.str$' bpftrace

";
    assert!(text.starts_with(expected), "{text}");
}

#[test]
fn the_output_or_the_console_is_shown_if_nothing_was_judged() {
    let lost = Event::VmLost(VmLost {
        kernel: "6.1".into(),
        vm: 0,
        reason: "QEMU ended".into(),
        test: Some("a.lost".into()),
        console: "Kernel panic\n".into(),
        qmp_status: None,
    });
    let text = ended(&[
        started(&["6.1"], 2),
        with_texts(finished("6.1", "a.b", Verdict::Fail, ""), "said", ""),
        finished("6.1", "a.lost", Verdict::Lost, "QEMU ended"),
        at(5001, lost),
    ]);
    assert!(text.contains("      | said\n"), "{text}");
    assert!(
        text.contains("      QEMU ended\n      | Kernel panic\n"),
        "{text}"
    );
}

#[test]
fn a_line_of_ten_megabytes_and_ten_thousand_lines_stay_small() {
    let fail = finished("6.1", "a.b", Verdict::Fail, &"r".repeat(10_000_000));
    let text = ended(&[
        started(&["6.1"], 2),
        with_texts(fail.clone(), "", &"\x1b".repeat(10_000_000)),
        with_texts(fail, "", &"line\n".repeat(10_000)),
    ]);
    assert!(text.len() < 20_000, "{}", text.len());
    assert!(text.contains("[9999600 more characters]"));
    assert!(text.contains("[9940 lines more in output/6.1/a.b.txt]"));
}

#[test]
fn only_unexpected_results_are_shown_in_full() {
    let fails = known(
        result("6.1", "a.known", Verdict::Fail, "exit status 1"),
        KnownResult::Fail,
    );
    let passes = TestResult {
        id: "a.fixed".into(),
        verdict: Verdict::Pass,
        reason: Some("passes, but is known to fail: no BTF".into()),
        ..fails.clone()
    };
    let records = [
        started(&["6.1"], 2),
        at(1, Event::TestFinished(fails)),
        at(2, Event::TestFinished(passes)),
    ];
    let text = ended(&records);
    assert!(
        text.contains("XPASS  6.1  a.fixed  (3.1 s)\n      passes, but is known to fail: no BTF\n"),
        "{text}"
    );
    assert!(!text.contains("a.known"), "{text}");
    assert!(text.contains("1 xpass, 1 xfail in "), "{text}");
    // Unless the user wants it.
    let text = ended_at(StatusLevel::Pass, &records);
    assert!(
        text.contains("\nXFAIL  6.1  a.known  (3.1 s): no BTF\n"),
        "{text}"
    );
    assert!(!ended_at(StatusLevel::None, &records).contains("a.fixed"));
}

#[test]
fn tests_with_the_same_reason_are_shown_once() {
    let lost = |id: String| finished("6.1", &id, Verdict::Lost, "the kernel did not come up");
    let mut records = vec![started(&["6.1"], 501)];
    records.extend((0..500).map(|number| lost(format!("a.{number:03}"))));
    records.push(finished("6.1", "b.other", Verdict::Lost, "another reason"));
    let text = ended(&records);
    assert_eq!(text.matches("LOST  6.1  ").count(), 2, "{text}");
    assert!(
        text.contains("      and 499 tests of this kernel: a.001, a.002, "),
        "{text}"
    );
    assert!(text.contains("a.020, [479 more]\n"), "{text}");
    assert_eq!(text.matches("      again: kiln run ").count(), 2, "{text}");
}

#[test]
fn failures_with_one_cause_are_shown_once_with_the_tests_and_kernels_they_hit() {
    let mut records = vec![started(&["5.10", "6.1"], 4)];
    for (kernel, id, address) in [
        ("5.10", "a.a", "1f"),
        ("6.1", "a.a", "2a"),
        ("6.1", "b.b", "3b"),
        ("6.1", "c.c", "4c"),
    ] {
        let fail = finished(kernel, id, Verdict::Fail, &format!("expected {id}"));
        let said = format!("stdin:1:1-9: ERROR: cannot attach 0x{address}\nmore of {id}\n");
        records.push(with_texts(fail, &said, &format!("expected: {id}")));
    }
    // Another one with the same reason.
    let other = finished("6.1", "d.d", Verdict::Fail, "expected a.a");
    records.push(with_texts(other, "", "expected: d.d"));
    let text = ended(&records);
    let heads: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("FAIL"))
        .collect();
    assert_eq!(
        heads,
        ["FAIL  5.10  a.a  (3.1 s)", "FAIL  6.1  d.d  (3.1 s)"],
        "{text}"
    );
    assert!(
        text.contains("      and 3 tests of 6.1: a.a, b.b, c.c\n"),
        "{text}"
    );
    let each = ended_with(StatusLevel::Retry, false, &records);
    assert_eq!(
        each.lines().filter(|line| line.starts_with("FAIL")).count(),
        5,
        "{each}"
    );
}

#[test]
fn the_hundredth_failure_still_has_its_line_but_not_its_text() {
    let mut records = vec![started(&["6.1"], 100)];
    for number in 0..100 {
        let fail = finished("6.1", &format!("a.{number:02}"), Verdict::Fail, "no");
        records.push(with_texts(fail, "said", ""));
    }
    let text = ended_with(StatusLevel::Retry, false, &records);
    assert_eq!(text.matches("| said").count(), MAX_IN_FULL, "{text}");
    assert_eq!(text.matches("      again: kiln run ").count(), 100);
    assert!(
        text.contains("FAIL  6.1  a.99  (3.1 s)\n      no\n"),
        "{text}"
    );
    assert_eq!(
        text.matches("further texts are only in output/").count(),
        1,
        "{text}"
    );
}

#[test]
fn failures_of_one_test_stand_together_in_the_order_of_the_kernels() {
    let text = ended(&[
        started(&["5.10", "6.1"], 2),
        finished("6.1", "b.b", Verdict::Fail, "x"),
        finished("6.1", "a.a", Verdict::Fail, "y"),
        finished("5.10", "b.b", Verdict::Fail, "z"),
    ]);
    let heads: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("FAIL"))
        .collect();
    assert_eq!(
        heads,
        [
            "FAIL  6.1  a.a  (3.1 s)",
            "FAIL  5.10  b.b  (3.1 s)",
            "FAIL  6.1  b.b  (3.1 s)"
        ]
    );
}

#[test]
fn differences_between_kernels_are_shown_test_by_test() {
    let text = ended(&[
        started(&["5.10", "6.1"], 3),
        finished("5.10", "c.new", Verdict::Fail, ""),
        finished("6.1", "c.new", Verdict::Pass, ""),
        finished("5.10", "a.new", Verdict::Fail, ""),
        finished("6.1", "a.new", Verdict::Pass, ""),
        finished("5.10", "b.same", Verdict::Fail, ""),
        finished("6.1", "b.same", Verdict::Fail, ""),
    ]);
    let expected = "\nDifferences between kernels:\n  fails on 5.10 only\n    a.new\n    c.new\n\n";
    assert!(text.contains(expected), "{text}");
    let alike = ended(&[
        started(&["5.10", "6.1"], 1),
        finished("5.10", "b.same", Verdict::Fail, ""),
        finished("6.1", "b.same", Verdict::Fail, ""),
    ]);
    assert!(!alike.contains("Differences"), "{alike}");
}

#[test]
fn kernel_reports_that_failed_no_test_and_vms_lost_between_tests_are_shown() {
    let lost = Event::VmLost(VmLost {
        kernel: "6.1".into(),
        vm: 2,
        reason: "no hello for 60 s".into(),
        test: None,
        console: "line\n".repeat(100) + "Kernel panic\n",
        qmp_status: Some("internal-error".into()),
    });
    let text = ended(&[
        started(&["6.1"], 1),
        report(None, "WARNING: CPU: 0\n"),
        report(Some("a.b"), "BUG: scheduling while atomic\n"),
        finished("6.1", "a.b", Verdict::Pass, ""),
        at(6000, lost),
    ]);
    assert!(
        text.contains("KERNEL  6.1  warning\n      | WARNING: CPU: 0\n"),
        "{text}"
    );
    assert!(
        text.contains("KERNEL  6.1  warning, in a.b\n      | BUG: scheduling"),
        "{text}"
    );
    let vm = "VM  6.1  VM 2 lost: no hello for 60 s\n      QMP status: internal-error\n";
    assert!(text.contains(vm), "{text}");
    assert!(text.contains("      | Kernel panic\n"), "{text}");
    assert_eq!(text.matches("      | line").count(), CONSOLE_LINES - 1);
}
