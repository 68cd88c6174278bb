#![allow(clippy::unwrap_used)]

use indicatif::{InMemoryTerm, TermLike};

use super::*;
use crate::report::samples::{at, finished, started};
use crate::report::screen;
use crate::run::event::{
    Event, KernelFailed, KernelReady, SpeedMeasured, TestStarted, Verdict, VmStarting, VmStopped,
};

const ROWS: u16 = 10;

fn boots(kernel: &str, vm: u32) -> Event {
    Event::VmStarting(VmStarting {
        kernel: kernel.into(),
        vm,
    })
}

fn ready(kernel: &str) -> Event {
    Event::KernelReady(KernelReady {
        kernel: kernel.into(),
        release: "6.1.0".into(),
        sha256: String::new(),
        packages: None,
    })
}

fn measured(kernel: &str, vm: u32) -> Event {
    Event::SpeedMeasured(SpeedMeasured {
        kernel: kernel.into(),
        vm,
        factor: 1.0,
    })
}

fn runs(kernel: &str, vm: u32, id: &str) -> Event {
    Event::TestStarted(TestStarted {
        kernel: kernel.into(),
        vm,
        suite: "bpftrace".into(),
        id: id.into(),
        attempt: 1,
        expected_ms: None,
    })
}

fn live(terminal: &InMemoryTerm) -> Live {
    let look = TerminalStyle {
        width: Some(terminal.width()),
        ..TerminalStyle::PLAIN
    };
    let mut live = Live::new(
        MultiProgress::with_draw_target(screen::on(terminal.clone())),
        look,
    );
    live.ticks = false;
    live
}

/// Feeds `events` and draws.
fn feed(live: &mut Live, events: &[Event]) {
    let mut history = History::default();
    let mut activity = Activity::default();
    for event in events {
        let record = at(0, event.clone());
        history.observe(&record);
        activity.observe(&record);
        live.show(&View::of(&history, &activity));
    }
    // Draws everything again.
    live.suspend(|| ());
}

/// The content of a terminal of `width` columns after `events`.
fn drawn(width: u16, events: &[Event]) -> String {
    let terminal = InMemoryTerm::new(ROWS, width);
    let mut live = live(&terminal);
    feed(&mut live, events);
    terminal.contents()
}

#[test]
fn each_vm_has_a_line_with_its_test_and_its_kernels_counts() {
    let text = drawn(
        80,
        &[
            started(&["5.10", "6.1"], 3).event,
            ready("5.10"),
            ready("6.1"),
            boots("5.10", 0),
            boots("6.1", 1),
            runs("5.10", 0, "a.b"),
            finished("5.10", "a.b", Verdict::Fail, "").event,
            runs("5.10", 0, "c.d"),
            runs("6.1", 1, "e.f"),
        ],
    );
    assert_eq!(
        text,
        "5.10  ━━━━━╸──────────  1/3   0s  c.d\n\
         6.1   ────────────────  0/3   0s  e.f\n\
         all   ━━╸─────────────  1/6   0s  1 fail"
    );
}

#[test]
fn a_vm_that_boots_has_a_line_and_a_kernel_that_is_not_ready_is_named() {
    let mut events = vec![
        started(&["5.10", "6.1", "6.12"], 3).event,
        ready("5.10"),
        boots("5.10", 0),
        ready("6.12"),
        boots("6.12", 1),
        measured("6.12", 1),
    ];
    assert_eq!(
        drawn(80, &events),
        "5.10  ────────────────  0/3   0s  boots\n\
         6.12  ────────────────  0/3   0s\n\
         all   ────────────────  0/9   0s  not ready yet: 6.1"
    );
    events.push(Event::KernelFailed(KernelFailed {
        kernel: "6.1".into(),
        reason: "gone".into(),
        hints: Vec::new(),
    }));
    assert!(drawn(80, &events).ends_with("0/9   0s"));
}

#[test]
fn a_vm_that_is_gone_has_no_line() {
    let text = drawn(
        80,
        &[
            started(&["5.10", "6.1"], 3).event,
            ready("5.10"),
            boots("5.10", 0),
            boots("6.1", 1),
            Event::VmStopped(VmStopped {
                kernel: "5.10".into(),
                vm: 0,
            }),
        ],
    );
    assert!(!text.contains("5.10"), "{text}");
    assert!(text.starts_with("6.1 "), "{text}");
    assert!(text.ends_with("not ready yet: 6.1"), "{text}");
}

#[test]
fn lines_fit_40_columns_and_carry_no_escapes_of_a_guest() {
    let hostile = format!("\x1b[2J\r{}", "long".repeat(1000));
    let text = drawn(
        40,
        &[
            started(&[&hostile], 3).event,
            ready(&hostile),
            boots(&hostile, 0),
            runs(&hostile, 0, &hostile),
        ],
    );
    assert!(!text.contains(['\x1b', '\r']), "{text:?}");
    assert!(text.contains("  0/3   0s  "), "{text:?}");
    assert_eq!(text.lines().count(), 2, "{text}");
}

#[test]
fn an_interrupt_key_s_echo_leaves_no_stale_line() {
    let terminal = InMemoryTerm::new(ROWS, 40);
    let mut live = live(&terminal);
    feed(
        &mut live,
        &[
            started(&["5.10", "6.1"], 3).event,
            boots("5.10", 0),
            runs("5.10", 0, &"long".repeat(20)),
        ],
    );
    assert_eq!(terminal.contents().lines().count(), 2);
    terminal.write_str("^C^C").unwrap();
    live.clear();
    assert_eq!(terminal.contents(), "");
}
