#![allow(clippy::unwrap_used)]

use std::io;
use std::sync::{Arc, Mutex};

use indicatif::TermLike;

use super::*;
use crate::report::samples::{finished, started};

/// A terminal that keeps all that was ever written to it.
#[derive(Debug, Clone)]
struct Paper {
    width: u16,
    written: Arc<Mutex<String>>,
}

impl Paper {
    fn new(width: u16) -> Self {
        Self {
            width,
            written: Arc::default(),
        }
    }

    fn live(&self) -> Live {
        let mut live = Live::new(ProgressDrawTarget::term_like(Box::new(self.clone())));
        live.ticks = false;
        live
    }

    /// What was written since the last call.
    fn take(&self) -> String {
        std::mem::take(&mut *self.written.lock().unwrap())
    }
}

impl TermLike for Paper {
    fn width(&self) -> u16 {
        self.width
    }
    fn move_cursor_up(&self, _: usize) -> io::Result<()> {
        Ok(())
    }
    fn move_cursor_down(&self, _: usize) -> io::Result<()> {
        Ok(())
    }
    fn move_cursor_right(&self, _: usize) -> io::Result<()> {
        Ok(())
    }
    fn move_cursor_left(&self, _: usize) -> io::Result<()> {
        Ok(())
    }
    fn write_line(&self, text: &str) -> io::Result<()> {
        self.write_str(&format!("{text}\n"))
    }
    fn write_str(&self, text: &str) -> io::Result<()> {
        self.written.lock().unwrap().push_str(text);
        Ok(())
    }
    fn clear_line(&self) -> io::Result<()> {
        self.write_str("\n")
    }
    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

fn up(kernel: &str, vm: u32) -> Event {
    Event::VmStarted {
        kernel: kernel.into(),
        release: "6.1.0".into(),
        accelerator: "tcg".into(),
        qemu: "8.2".into(),
        boot_ms: 1,
        vm,
    }
}

fn runs(kernel: &str, vm: u32, id: &str) -> Event {
    Event::TestStarted {
        kernel: kernel.into(),
        vm,
        suite: "bpftrace".into(),
        id: id.into(),
        attempt: 1,
    }
}

/// Feeds `events`; what stands on the terminal afterwards.
fn drawn(paper: &Paper, events: &[Event]) -> String {
    let (mut live, mut tally) = (paper.live(), Tally::default());
    for event in events {
        tally.observe(event);
        live.observe(event, &tally);
    }
    paper.take();
    // Draws everything anew.
    live.suspend(|| ());
    paper.take()
}

#[test]
fn each_vm_has_a_line_with_its_test_and_its_kernels_counts() {
    let text = drawn(
        &Paper::new(80),
        &[
            started(&["5.10", "6.1"], 3).event,
            up("5.10", 0),
            up("6.1", 1),
            runs("6.1", 0, "of.another"),
            runs("5.10", 0, "a.b"),
            finished("5.10", "a.b", Verdict::Fail, "").event,
            runs("5.10", 0, "c.d"),
            runs("6.1", 1, "e.f"),
        ],
    );
    assert!(text.contains("5.10  1/3  0s  c.d"), "{text}");
    assert!(text.contains("6.1  0/3  0s  e.f"), "{text}");
    assert!(text.contains("1/6  0s  1 fail"), "{text}");
    assert!(!text.contains("another"), "{text}");
}

#[test]
fn a_vm_that_is_gone_has_no_line() {
    let text = drawn(
        &Paper::new(80),
        &[
            started(&["5.10", "6.1"], 3).event,
            up("5.10", 0),
            up("6.1", 1),
            Event::VmStopped {
                kernel: "5.10".into(),
                vm: 0,
            },
        ],
    );
    assert!(!text.contains("5.10"), "{text}");
    assert!(text.contains("6.1  0/3"), "{text}");
}

#[test]
fn lines_fit_40_columns_and_carry_no_escapes_of_a_guest() {
    let hostile = format!("\x1b[2J\r{}", "long".repeat(1000));
    let text = drawn(
        &Paper::new(40),
        &[
            started(&[&hostile], 3).event,
            up(&hostile, 0),
            runs(&hostile, 0, &hostile),
        ],
    );
    assert!(!text.contains(['\x1b', '\r']), "{text:?}");
    assert!(text.contains("0/3  0s  "), "{text:?}");
    // Two lines; a full one needs no newline to reach the next.
    assert!(text.trim().chars().count() <= 2 * 40, "{text:?}");
}
