//! `events.jsonl`, as a run that was killed or another kiln left it: what was
//! read can be written and read again, and the folds take whatever comes.
#![no_main]

use kiln::report::{History, Report, Terminal, TerminalStyle};
use kiln::run::event::Record;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut history = History::default();
    let mut printed = Vec::new();
    let style = TerminalStyle::PLAIN;
    let mut terminal = Terminal::new(&mut printed, style, "/results");
    for line in bytes.split(|b| *b == b'\n') {
        let Ok(record) = Record::from_json(line) else {
            continue;
        };
        let written = record.to_json_line().unwrap();
        assert_eq!(Record::from_json(&written).unwrap(), record);
        history.observe(&record);
        terminal.record(&record, &history).unwrap();
    }
    terminal.finish(&history).unwrap();
    drop(terminal);
    // Counts hold together, and nothing reaches the terminal as a control.
    let tally = &history.tally;
    assert!(tally.unexpected() <= tally.finished());
    let _ = tally.exit_code();
    let printed = String::from_utf8(printed).unwrap();
    assert!(!printed.chars().any(|c| c.is_control() && c != '\n'));
});
