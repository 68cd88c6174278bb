//! `events.jsonl`, as left by a killed run or another kiln: what was read can be written and read
//! again, and the folds accept everything.
#![no_main]

use kiln::report::{History, Levels, Report, StatusLevel, Terminal, TerminalStyle};
use kiln::run::event::{Event, Record};
use kiln::run::event_log::RunLog;
use kiln::run::merge::merge;
use kiln::run::tally::Tally;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut records = Vec::new();
    for line in bytes.split(|b| *b == b'\n') {
        // A reader skips events of a later kiln.
        if let Ok(record) = Record::from_json(line)
            && record.event != Event::Unknown
        {
            let written = record.to_json_line().unwrap();
            assert_eq!(Record::from_json(&written).unwrap(), record);
            records.push(record);
        }
    }
    if records.is_empty() {
        return;
    }
    let mut history = History::default();
    let mut printed = Vec::new();
    let style = TerminalStyle::PLAIN;
    let levels = Levels {
        status: StatusLevel::All,
        at_end: StatusLevel::All,
    };
    let mut terminal = Terminal::new(&mut printed, style, style.lines(), levels, "/results");
    for record in &records {
        history.observe(record);
        terminal.record(record, &history).unwrap();
    }
    terminal.finish(&history).unwrap();
    drop(terminal);
    // No control characters reach the terminal except those for layout.
    let printed = String::from_utf8(printed).unwrap();
    assert!(
        !printed
            .chars()
            .any(|c| c.is_control() && !matches!(c, '\n' | '\t'))
    );
    let tally = &history.tally;
    // Counts are consistent.
    assert!(tally.unexpected() <= tally.finished());
    assert!(tally.missing() <= tally.planned());
    let _ = tally.exit_code();

    // A run merged with itself gives the same run.
    if matches!(records[0].event, Event::RunStarted(_)) {
        let log = |path: &str| RunLog {
            path: path.into(),
            records: records.clone(),
            cut_off: false,
        };
        let merged = merge(&[log("a"), log("b")], Vec::new()).unwrap();
        let mut both = Tally::default();
        for record in &merged.records {
            both.observe(&record.event);
        }
        assert_eq!(both.finished(), tally.finished());
    }
});
