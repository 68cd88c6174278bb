#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

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
fn an_event_of_a_later_kiln_is_unknown_and_what_is_no_event_is_refused() {
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

/// Names of events with those of their fields, out of this file.
fn names() -> Vec<(String, Vec<String>)> {
    let source = include_str!("mod.rs");
    let (_, body) = source.split_once("pub enum Event {").unwrap();
    let (body, _) = body.split_once("\n}").unwrap();
    let mut all: Vec<(String, Vec<String>)> = Vec::new();
    for line in body.lines().map(str::trim_end) {
        let word = |line: &str| {
            let end = line.find(|c: char| !c.is_alphanumeric() && c != '_');
            line[..end.unwrap_or(line.len())].to_owned()
        };
        if let Some(field) = line.strip_prefix("        ")
            && field.starts_with(|c: char| c.is_ascii_lowercase())
        {
            all.last_mut().unwrap().1.push(word(field));
        } else if let Some(variant) = line.strip_prefix("    ")
            && variant.starts_with(|c: char| c.is_ascii_uppercase())
        {
            let mut name = String::new();
            for c in word(variant).chars() {
                if c.is_uppercase() && !name.is_empty() {
                    name.push('_');
                }
                name.push(c.to_ascii_lowercase());
            }
            all.push((name, Vec::new()));
        }
    }
    all.retain(|(name, _)| name != "unknown");
    all
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
                section
                    .lines()
                    .next()
                    .unwrap()
                    .split(", ")
                    .any(|one| one == name)
            })
            .unwrap_or_else(|| panic!("docs/events.md has no section {name}"));
        for field in fields {
            let row = format!("| `{field}` |");
            assert!(section.contains(&row), "{name} lacks {field}");
        }
    }
    // The fields of results, in the order of their type.
    let all = TestResult {
        case_of: Some("a.a".into()),
        source: Some(Source {
            file: "/a".into(),
            line: 1,
        }),
        reason: Some("why".into()),
        flaky: true,
        known: Some(Known {
            result: KnownResult::Fail,
            reason: "why".into(),
            link: None,
        }),
        output: "a".into(),
        details: "a".into(),
        rules: vec!["a".into()],
        ..result("a.b", Verdict::Fail)
    };
    let json = serde_json::to_value(all).unwrap();
    for field in json.as_object().unwrap().keys() {
        assert!(docs.contains(&format!("| `{field}` |")), "{field}");
    }
}

#[test]
fn bytes_that_are_no_text_stay_visible() {
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
            Event::SpeedMeasured { kernel: "6.1".into(), vm, factor },
            Event::VmLost {
                kernel: id.clone(), vm, reason: id.clone(), test: Some(id.clone()),
                console: output.clone(), qmp_status: None,
            },
        ] {
            let record = Record { at_ms, event };
            let line = record.to_json_line().unwrap();
            prop_assert_eq!(line.iter().position(|byte| *byte == b'\n'), Some(line.len() - 1));
            prop_assert_eq!(Record::from_json(&line).unwrap(), record);
        }
    }
}
