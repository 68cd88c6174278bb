#![allow(clippy::unwrap_used)]

use super::*;
use crate::report::samples::{at, finished, started, with_texts};

fn shown_with(style: TerminalStyle, records: &[Record]) -> String {
    let mut out = Vec::new();
    let mut terminal = Terminal::new(&mut out, style, "/runs/1");
    let mut history = History::default();
    for record in records {
        history.observe(record);
        terminal.record(record, &history).unwrap();
    }
    terminal.finish(&history).unwrap();
    drop(terminal);
    String::from_utf8(out).unwrap()
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
        text.contains("\nFAIL  6.1  btf.a  (3.1 s)\n      exit status 1\n"),
        "{text}"
    );
    assert!(
        text.contains("\nNot as expected:\nFAIL  6.1  btf.a: exit status 1\n"),
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
fn details_are_shown_for_failures_and_output_where_there_are_none() {
    let fail = finished("6.1", "a.b", Verdict::Fail, "");
    let text = shown(&[
        started(&["6.1"], 2),
        with_texts(fail.clone(), "said", "expected: x\n   found: y\n"),
        with_texts(fail, "said", ""),
    ]);
    assert!(
        text.contains("      | expected: x\n      |    found: y\n"),
        "{text}"
    );
    assert_eq!(text.matches("| said").count(), 1, "{text}");
}

#[test]
fn a_hostile_guest_reaches_the_terminal_only_as_text() {
    let hostile =
        "\x1b]0;owned\x07\u{202e}\r::error::x\n##[error]y\n::stop-commands::z\n\x00\u{9b}2J";
    let lost = Event::VmLost {
        kernel: "6.1".into(),
        vm: 0,
        reason: hostile.into(),
        test: Some(hostile.into()),
        console: hostile.into(),
        qmp_status: Some(hostile.into()),
    };
    let warning = Event::Warning {
        kernel: Some(hostile.into()),
        message: hostile.into(),
    };
    let fail = finished(hostile, hostile, Verdict::Fail, hostile);
    let text = shown(&[
        started(&[hostile], 1),
        with_texts(fail, hostile, hostile),
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
fn a_line_of_ten_megabytes_and_ten_thousand_lines_stay_small() {
    let fail = finished("6.1", "a.b", Verdict::Fail, &"r".repeat(10_000_000));
    let text = shown(&[
        started(&["6.1"], 2),
        with_texts(fail.clone(), "", &"\x1b".repeat(10_000_000)),
        with_texts(fail, "", &"line\n".repeat(10_000)),
    ]);
    assert!(text.len() < 20_000, "{}", text.len());
    assert!(text.contains("[9999600 more characters]"));
    assert!(text.contains("[9960 lines more in events.jsonl]"));
}

#[test]
fn a_lost_vm_shows_its_console_and_its_status() {
    let lost = Event::VmLost {
        kernel: "6.1".into(),
        vm: 2,
        reason: "no answer for 30 s".into(),
        test: Some("a.b".into()),
        console: "line\n".repeat(100) + "Kernel panic\n",
        qmp_status: Some("internal-error".into()),
    };
    let text = shown(&[started(&["6.1"], 1), at(9, lost)]);
    assert!(
        text.contains("VM  6.1  VM 2 lost: no answer for 30 s\n"),
        "{text}"
    );
    assert!(text.contains("      it ran a.b\n"), "{text}");
    assert!(text.contains("QMP status: internal-error\n"), "{text}");
    assert!(text.contains("      | Kernel panic\n"), "{text}");
    assert_eq!(text.matches("      | line").count(), CONSOLE_LINES - 1);
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
    let mut terminal = Terminal::new(Closed, TerminalStyle::PLAIN, "/runs/1");
    let history = History::default();
    assert!(terminal.record(&started(&["6.1"], 1), &history).is_err());
    assert!(terminal.finish(&history).is_ok());
}
