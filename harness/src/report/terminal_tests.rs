#![allow(clippy::unwrap_used)]

use std::io;

use super::*;
use crate::report::samples::{at, finished, known, result, started, with_texts};
use crate::run::event::{
    KernelFailed, KernelReport, KnownResult, TestResult, TestSlow, Verdict, VmLost, Warning,
};

const LEVELS: Levels = Levels {
    status: StatusLevel::Skip,
    at_end: StatusLevel::Retry,
    group: true,
};

fn shown_as(style: TerminalStyle, status: StatusLevel, records: &[Record]) -> String {
    let mut out = Vec::new();
    let levels = Levels { status, ..LEVELS };
    let mut terminal = Terminal::new(&mut out, style, style.lines(), levels, "/runs/1");
    let mut history = History::default();
    for record in records {
        history.observe(record);
        terminal.record(record, &history).unwrap();
    }
    terminal.finish(&history).unwrap();
    drop(terminal);
    String::from_utf8(out).unwrap()
}

fn shown_with(style: TerminalStyle, records: &[Record]) -> String {
    shown_as(style, LEVELS.status, records)
}

fn shown(records: &[Record]) -> String {
    shown_with(TerminalStyle::PLAIN, records)
}

#[test]
fn a_run_ends_in_its_table_and_its_directory() {
    let text = shown(&[
        started(&["5.10", "6.1"], 2),
        finished("5.10", "builtin.cpu", Verdict::Pass, ""),
        finished("6.1", "builtin.cpu", Verdict::Pass, ""),
        finished("5.10", "btf.a", Verdict::Skip, "missed feature: btf"),
        finished("6.1", "btf.a", Verdict::Fail, "exit status 1"),
    ]);
    assert!(
        text.starts_with("2 tests on 2 kernels: 5.10, 6.1\n"),
        "{text}"
    );
    assert!(
        text.contains("\nPASS  6.1  builtin.cpu  (3.1 s)\n"),
        "{text}"
    );
    assert!(
        text.contains("\nSKIP  5.10  btf.a  (3.1 s): missed feature: btf\n"),
        "{text}"
    );
    assert!(
        text.contains("\nFAIL  6.1  btf.a  (3.1 s): exit status 1\n"),
        "{text}"
    );
    assert!(
        text.contains("\nNot as expected:\n\nFAIL  6.1  btf.a  (3.1 s)\n      exit status 1\n"),
        "{text}"
    );
    assert!(text.contains("2 pass, 1 fail, 1 skip in 5.0 s\n"), "{text}");
    assert!(text.ends_with("results: /runs/1\n"), "{text}");
    let row = text.lines().find(|line| line.starts_with("6.1 ")).unwrap();
    assert_eq!(
        row.split_whitespace().collect::<Vec<_>>(),
        ["6.1", "1", "1", "0"]
    );
}

#[test]
fn a_cut_short_run_says_what_did_not_run() {
    let text = shown(&[
        started(&["6.1"], 3),
        finished("6.1", "a.b", Verdict::Pass, ""),
    ]);
    assert!(text.contains("1 pass, 2 not run in "), "{text}");
}

#[test]
fn a_hostile_guest_reaches_the_terminal_only_as_text() {
    reaches_the_terminal_as_text(
        "\x1b]0;owned\x07\u{202e}\r::error::x\n##[error]y\n::stop-commands::z\n\x00\u{9b}2J",
    );
    reaches_the_terminal_as_text("::add-mask::pass");
    reaches_the_terminal_as_text("  ::error::x\n::error::y");
}

#[track_caller]
fn reaches_the_terminal_as_text(hostile: &str) {
    // Names of kernels come from the user.
    let kernel = hostile.trim_start_matches([':', ' ']);
    let lost = Event::VmLost(VmLost {
        kernel: "6.1".into(),
        vm: 0,
        reason: hostile.into(),
        test: Some(hostile.into()),
        console: hostile.into(),
        qmp_status: Some(hostile.into()),
    });
    let warning = Event::Warning(Warning {
        kernel: Some(kernel.into()),
        message: hostile.into(),
    });
    let fail = finished(kernel, hostile, Verdict::Fail, hostile);
    let text = shown(&[
        started(&[kernel], 1),
        with_texts(fail, hostile, hostile),
        at(
            5500,
            Event::KernelFailed(KernelFailed {
                kernel: "6.12".into(),
                reason: format!("it is not there\n{hostile}"),
                hints: vec![hostile.into()],
            }),
        ),
        at(6000, lost),
        at(7000, warning),
    ]);
    assert!(
        !text
            .chars()
            .any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'),
        "{text:?}"
    );
    assert!(!text.contains("##["), "{text}");
    for line in text.lines() {
        assert!(!line.trim_start().starts_with("::"), "{line}");
    }
}

#[test]
fn an_unavailable_kernel_is_reported_with_hints_and_again_at_the_end() {
    let failed = Event::KernelFailed(KernelFailed {
        kernel: "6.1".into(),
        reason: "it has a wrong hash\n  expected sha256 \x1b[2J".into(),
        hints: vec!["look".into()],
    });
    let text = shown(&[started(&["5.10", "6.1"], 1), at(9, failed)]);
    let lines =
        "NO KERNEL  6.1  it has a wrong hash\n        expected sha256 \\x1b[2J\n      hint: look\n";
    assert_eq!(text.matches(lines).count(), 2, "{text}");
}

#[test]
fn colours_are_used_only_where_asked_for() {
    let records = [
        started(&["6.1"], 1),
        finished("6.1", "a.b", Verdict::Pass, ""),
    ];
    assert!(!shown(&records).contains('\x1b'));
    let colours = TerminalStyle {
        colours: true,
        ..TerminalStyle::PLAIN
    };
    assert!(shown_with(colours, &records).contains("\x1b[32m"));
}

#[test]
fn a_reader_that_went_away_does_not_fail_the_end() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut terminal = Terminal::new(
        Closed,
        TerminalStyle::PLAIN,
        TerminalStyle::PLAIN.lines(),
        LEVELS,
        "/runs/1",
    );
    let history = History::default();
    assert!(terminal.record(&started(&["6.1"], 1), &history).is_err());
    assert!(terminal.finish(&history).is_ok());
}

/// A known failure.
fn known_failure() -> TestResult {
    let fail = result("6.1", "a.known", Verdict::Fail, "exit status 1");
    known(fail, KnownResult::Fail)
}

#[test]
fn each_level_shows_what_those_before_it_show_and_more() {
    let flaky = TestResult {
        flaky: true,
        reason: Some("flaky: passed at attempt 2".into()),
        attempt: 2,
        ..result("6.1", "a.flaky", Verdict::Pass, "")
    };
    let first = TestResult {
        guest_ms: Some(1_000),
        ..result("6.1", "a.flaky", Verdict::Timeout, "too late")
    };
    let slow = Event::TestSlow(TestSlow {
        kernel: "6.1".into(),
        vm: 0,
        id: "a.slow".into(),
        elapsed_ms: 60_000,
        guest_ms: Some(5_900),
    });
    let records = [
        started(&["6.1"], 5),
        finished("6.1", "a.fail", Verdict::Fail, "exit status 1"),
        at(1, Event::AttemptFinished(first)),
        at(2, Event::TestFinished(flaky)),
        at(3, slow),
        finished("6.1", "a.pass", Verdict::Pass, ""),
        at(4, Event::TestFinished(known_failure())),
        finished("6.1", "a.skip", Verdict::Skip, "no BTF"),
    ];
    let lines = [
        (
            StatusLevel::Fail,
            "FAIL  6.1  a.fail  (3.1 s): exit status 1\n",
        ),
        (
            StatusLevel::Retry,
            "TRY 1 TIMEOUT  6.1  a.flaky  (3.1 s, 1.0 s of the guest's time): too late\n",
        ),
        (
            StatusLevel::Retry,
            "FLAKY  6.1  a.flaky  (3.1 s): passed at attempt 2\n",
        ),
        (
            StatusLevel::Slow,
            "SLOW  6.1  a.slow  (> 60.0 s, 5.9 s of the guest's time)\n",
        ),
        (StatusLevel::Pass, "PASS  6.1  a.pass  (3.1 s)\n"),
        (StatusLevel::Pass, "XFAIL  6.1  a.known  (3.1 s): no BTF\n"),
        (StatusLevel::Skip, "SKIP  6.1  a.skip  (3.1 s): no BTF\n"),
    ];
    for level in <StatusLevel as clap::ValueEnum>::value_variants() {
        let text = shown_as(TerminalStyle::PLAIN, *level, &records);
        let (before, end) = text.split_once("\n\n").unwrap();
        let before = format!("{before}\n");
        for (from, line) in lines {
            assert_eq!(
                before.contains(line),
                *level >= from,
                "{level:?}: {line}{text}"
            );
        }
        // At the end as usual.
        assert!(
            end.starts_with("Not as expected:\n\nFAIL  6.1  a.fail"),
            "{text}"
        );
        assert!(end.contains("\nFLAKY  6.1  a.flaky  (3.1 s)"), "{text}");
        assert!(
            !end.contains("a.pass") && !end.contains("a.known"),
            "{text}"
        );
    }
}

#[test]
fn what_the_kernel_reports_is_shown_with_the_test_that_ran() {
    let report = Event::KernelReport(KernelReport {
        kernel: "6.1".into(),
        vm: 0,
        kind: "warning".into(),
        fails: false,
        allowed: None,
        denied: None,
        test: Some("a.b".into()),
        text: "WARNING: CPU: 0 PID: 1 at kernel/x.c:1\n".repeat(100),
    });
    let text = shown(&[started(&["6.1"], 1), at(9, report)]);
    assert!(
        text.contains("KERNEL  6.1  warning, in a.b\n      | WARNING: CPU: 0"),
        "{text}"
    );
    let (before, _) = text.split_once("\n\n").unwrap();
    assert_eq!(before.matches("| WARNING").count(), REPORT_LINES);
}

#[test]
fn a_lost_vm_is_reported_with_its_test_and_its_status() {
    let lost = Event::VmLost(VmLost {
        kernel: "6.1".into(),
        vm: 2,
        reason: "no answer for 30 s".into(),
        test: Some("a.b".into()),
        console: "Kernel panic".into(),
        qmp_status: Some("internal-error".into()),
    });
    let text = shown(&[started(&["6.1"], 1), at(9, lost)]);
    let expected = "VM  6.1  VM 2 lost: no answer for 30 s\n      it ran a.b\n      \
                    QMP status: internal-error\n";
    assert!(text.contains(expected), "{text}");
}
