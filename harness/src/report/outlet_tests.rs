#![allow(clippy::unwrap_used)]

use std::collections::HashSet;
use std::sync::mpsc;

use super::*;
use crate::report::samples::{finished, history, started};
use crate::report::{Levels, Report as _, StatusLevel, Terminal};
use crate::run::event::{Event, Record, Verdict, Warning};

const LEVELS: Levels = Levels {
    status: StatusLevel::All,
    at_end: StatusLevel::Fail,
    group: true,
};

/// A reader that reads nothing until it is released.
struct Stuck {
    go: mpsc::Receiver<()>,
    got: Arc<Mutex<Vec<u8>>>,
}

impl Write for Stuck {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // For good once the other side is closed.
        let _ = self.go.recv();
        self.got.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn stuck() -> (Outlet, mpsc::Sender<()>, Arc<Mutex<Vec<u8>>>) {
    let (go, gone) = mpsc::channel();
    let got = Arc::new(Mutex::new(Vec::new()));
    let out = Stuck {
        go: gone,
        got: Arc::clone(&got),
    };
    let style = TerminalStyle::PLAIN;
    let outlet = Outlet::over(out, style, style.lines()).unwrap();
    (outlet, go, got)
}

fn terminal(outlet: &Outlet) -> Terminal<Queue> {
    Terminal::over(outlet.queue(), TerminalStyle::PLAIN, LEVELS, "/runs/1")
}

#[test]
fn a_reader_that_takes_nothing_delays_nobody_and_gets_every_verdict_later() {
    const TESTS: usize = 1000;
    let (outlet, go, got) = stuck();
    let mut terminal = terminal(&outlet);
    let mut records = vec![started(&["6.1"], TESTS)];
    for test in 0..TESTS {
        records.push(finished("6.1", &format!("a.{test}"), Verdict::Pass, ""));
        let message = format!("{test} {}", "long".repeat(100));
        let kernel = Some("6.1".to_owned());
        let event = Event::Warning(Warning { kernel, message });
        records.push(Record { at_ms: 1, event });
    }
    let history = history(&records);
    // All of this returns while the first line is still waiting.
    for record in &records {
        terminal.record(record, &history).unwrap();
    }
    terminal.finish(&history).unwrap();
    assert!(got.lock().unwrap().is_empty());
    {
        let waiting = outlet.queue.0.lock();
        assert!(waiting.remarks <= MAX_REMARKS);
        assert!(waiting.left_out > 0);
    }
    drop(go);
    outlet.finish().unwrap();
    let text = String::from_utf8(got.lock().unwrap().clone()).unwrap();
    let lines: HashSet<&str> = text.lines().collect();
    for test in 0..TESTS {
        let line = format!("PASS  6.1  a.{test}  (3.1 s)");
        assert!(lines.contains(line.as_str()), "{line} is missing");
    }
    assert!(text.contains("lines were left out while nobody read"));
    assert!(text.ends_with("results: /runs/1\n"));
}

#[test]
fn what_changes_is_kept_once() {
    let (outlet, go, _got) = stuck();
    let style = TerminalStyle {
        progress: true,
        ..TerminalStyle::PLAIN
    };
    let mut terminal = Terminal::over(outlet.queue(), style, LEVELS, "/runs/1");
    let records = [
        started(&["6.1"], 2),
        finished("6.1", "a.b", Verdict::Pass, ""),
    ];
    let history = history(&records);
    for record in records.iter().cycle().take(1000) {
        terminal.record(record, &history).unwrap();
    }
    let live = |piece: &Piece| matches!(piece, Piece::Live(_));
    let waiting = outlet.queue.0.lock();
    assert!(waiting.view.is_some());
    assert!(!waiting.pieces.iter().any(live));
    drop(waiting);
    drop(go);
    outlet.finish().unwrap();
}

/// Fails every write.
struct Failing(io::ErrorKind);

impl Write for Failing {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(self.0.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_closed_pipe_is_not_a_failure_but_a_full_disk_is() {
    let style = TerminalStyle::PLAIN;
    for (kind, fails) in [
        (io::ErrorKind::BrokenPipe, false),
        (io::ErrorKind::StorageFull, true),
    ] {
        let outlet = Outlet::over(Failing(kind), style, style.lines()).unwrap();
        let mut terminal = terminal(&outlet);
        let record = started(&["6.1"], 1);
        let history = history(std::slice::from_ref(&record));
        terminal.record(&record, &history).unwrap();
        terminal.finish(&history).unwrap();
        assert_eq!(outlet.finish().is_err(), fails, "{kind}");
    }
}
