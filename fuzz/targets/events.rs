//! `events.jsonl`, as left by a killed run or another kiln: what was read can be written and read
//! again, and the folds accept everything.
#![no_main]

use kiln::internals::fuzz::{Event, Record, fold};
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
    let folded = fold(&records).unwrap();
    // No control characters reach the terminal except those for layout.
    let printed = String::from_utf8(folded.printed).unwrap();
    assert!(
        !printed
            .chars()
            .any(|c| c.is_control() && !matches!(c, '\n' | '\t'))
    );
    // Nothing in the page's data is markup: its own elements are all that there are.
    assert_eq!(folded.page.matches("<script").count(), 2);
    assert_eq!(folded.page.matches("</script").count(), 2);
    assert!(!folded.page.contains("<!--"));
    // Counts are consistent.
    assert!(folded.unexpected <= folded.finished);
    assert!(folded.missing <= folded.planned);
    // A run merged with itself gives the same run.
    if let Some(finished) = folded.finished_merged {
        assert_eq!(finished, folded.finished);
    }
});
