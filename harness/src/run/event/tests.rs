#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::text::MAX_TEXT;
use super::*;
use crate::report::samples;

fn result(id: &str, verdict: Verdict) -> TestResult {
    samples::result("6.1", id, verdict, "")
}

#[test]
fn a_known_result_makes_a_failure_expected_and_a_pass_unexpected() {
    let known = |known, verdict| samples::known(result("a.b", verdict), known).is_expected();
    assert!(known(KnownResult::Fail, Verdict::Fail));
    assert!(known(KnownResult::Fail, Verdict::Timeout));
    assert!(!known(KnownResult::Fail, Verdict::Pass));
    assert!(!known(KnownResult::Fail, Verdict::Lost));
    assert!(known(KnownResult::Flaky, Verdict::Pass));
    assert!(known(KnownResult::Flaky, Verdict::Fail));
    assert!(!known(KnownResult::Flaky, Verdict::Error));
    assert!(!known(KnownResult::Skip, Verdict::Pass));
    assert!(result("a.b", Verdict::Skip).is_expected());
    assert!(!result("a.b", Verdict::Timeout).is_expected());
}

#[test]
fn a_record_is_one_flat_json_object() {
    let record = Record {
        at_ms: 1500,
        event: Event::TestFinished(result("builtin.cpu", Verdict::Pass)),
    };
    let line = String::from_utf8(record.to_json_line().unwrap()).unwrap();
    assert_eq!(
        line,
        "{\"at_ms\":1500,\"event\":\"test_finished\",\"kernel\":\"6.1\",\"vm\":0,\
         \"suite\":\"bpftrace\",\"id\":\"builtin.cpu\",\"attempt\":1,\
         \"verdict\":\"pass\",\"duration_ms\":3100}\n"
    );
}

#[test]
fn an_event_of_a_later_kiln_is_unknown_and_anything_else_is_refused() {
    let later = Record::from_json(b"{\"at_ms\":0,\"event\":\"later\",\"a\":1}").unwrap();
    assert_eq!(later.event, Event::Unknown);
    assert!(later.to_json_line().is_err());
    for none in [
        "{\"at_ms\":0}",
        "{\"event\":\"later\"}",
        "[]",
        "{\"at_ms\":0,\"event\":1}",
    ] {
        assert!(Record::from_json(none.as_bytes()).is_err(), "{none}");
    }
}

/// The records, as they are written.
const RECORDS: &str = concat!(
    include_str!("of_run.rs"),
    include_str!("of_kernel.rs"),
    include_str!("of_vm.rs"),
    include_str!("of_test.rs"),
);

/// The fields of a record.
fn fields(record: &str) -> Vec<&'static str> {
    let (_, body) = RECORDS
        .split_once(&format!("\npub struct {record} {{"))
        .unwrap_or_else(|| panic!("{record} is in no file that is looked at"));
    let (body, _) = body.split_once("\n}").unwrap();
    body.lines()
        .filter_map(|line| line.trim().strip_prefix("pub "))
        .map(|field| field.split_once(':').unwrap().0)
        .collect()
}

/// Names of events with those of their fields.
fn names() -> Vec<(String, Vec<&'static str>)> {
    let source = include_str!("mod.rs");
    let (_, body) = source.split_once("pub enum Event {").unwrap();
    let (body, _) = body.split_once("\n}").unwrap();
    let snake = |variant: &str| {
        let mut name = String::new();
        for c in variant.chars() {
            if c.is_uppercase() && !name.is_empty() {
                name.push('_');
            }
            name.push(c.to_ascii_lowercase());
        }
        name
    };
    body.lines()
        .filter_map(|line| line.trim().strip_suffix("),")?.split_once('('))
        .map(|(variant, record)| (snake(variant), fields(record)))
        .collect()
}

#[test]
fn every_event_and_field_is_documented() {
    let docs = include_str!("../../../../docs/events.md");
    let names = names();
    assert!(names.len() >= 15, "{names:?}");
    for (name, fields) in names {
        let section = docs
            .split("\n### ")
            .find(|section| {
                let mut titles = section.lines().next().unwrap().split(", ");
                titles.any(|one| one == name)
            })
            .unwrap_or_else(|| panic!("docs/events.md has no section {name}"));
        assert!(!fields.is_empty(), "{name}");
        for field in fields {
            let row = format!("| `{field}` |");
            assert!(section.contains(&row), "{name} lacks {field}");
        }
    }
}

#[test]
fn the_bytes_of_every_event_and_field_are_pinned() {
    let lines = super::format_tests::FULL.map(|line| {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        value.as_object().unwrap().clone()
    });
    for (name, fields) in names() {
        let line = lines.iter().find(|line| line["event"] == name.as_str());
        let line = line.unwrap_or_else(|| panic!("format_tests.rs has no line of {name}"));
        for field in fields {
            assert!(line.contains_key(field), "the line of {name} lacks {field}");
        }
    }
}

#[test]
fn bytes_that_are_not_text_stay_visible() {
    assert_eq!(bounded_text(b"a\xffb\xc3\xa4"), "a\\xffb\u{e4}");
}

#[test]
fn a_long_text_keeps_its_beginning_and_its_end() {
    let mut bytes = b"begin".to_vec();
    bytes.resize(10 * 1024 * 1024, b'x');
    bytes.extend(b"end");
    let text = bounded_text(&bytes);
    assert!(text.len() < MAX_TEXT + 100);
    assert!(text.starts_with("begin") && text.ends_with("end"));
    assert!(text.contains("bytes left out"));
}

proptest! {
    #[test]
    fn any_record_comes_back_from_its_line(
        at_ms: u64, duration_ms: u64, vm: u32, factor in 0.01f64..1e6, id: String, output: String,
    ) {
        for event in [
            Event::TestFinished(TestResult {
                reason: Some(id.clone()), duration_ms, output: output.clone(), details: id.clone(),
                ..result(&id, Verdict::Fail)
            }),
            Event::SpeedMeasured(SpeedMeasured { kernel: "6.1".into(), vm, factor }),
            Event::VmLost(VmLost {
                kernel: id.clone(), vm, reason: id.clone(), test: Some(id.clone()),
                console: output.clone(), qmp_status: None,
            }),
        ] {
            let record = Record { at_ms, event };
            let line = record.to_json_line().unwrap();
            prop_assert_eq!(line.iter().position(|byte| *byte == b'\n'), Some(line.len() - 1));
            prop_assert_eq!(Record::from_json(&line).unwrap(), record);
        }
    }
}
