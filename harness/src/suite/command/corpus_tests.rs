//! The reports in `tests/data/results`, and their expected results.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use super::{CommandTest, End, Observation, judge};
use crate::config::ResultsFormat;
use crate::suite::Exit;
use crate::suite::{TestId, Verdict};

fn corpus() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/data/results")
}

/// Names of all reports, as `tap/right-points.tap`.
fn reports() -> BTreeSet<String> {
    let files = walkdir::WalkDir::new(corpus()).min_depth(2);
    files
        .into_iter()
        .map(|entry| {
            let path = entry.unwrap().into_path();
            let name = path.strip_prefix(corpus()).unwrap();
            name.to_str().unwrap().to_owned()
        })
        .collect()
}

fn read(name: &str) -> Vec<u8> {
    std::fs::read(corpus().join(name)).unwrap()
}

fn is_xml(name: &str) -> bool {
    name.starts_with("junit/") || name.starts_with("gtest/")
}

/// The result of a report, in the format of `verdicts.txt`.
fn verdict(name: &str, report: &[u8], code: i32) -> (Verdict, String) {
    let test = CommandTest {
        id: TestId::new("s", "command"),
        argv: vec!["x".into()],
        cwd: "/".into(),
        env: Vec::new(),
        results: match name.split('/').next().unwrap() {
            "tap" => ResultsFormat::Tap,
            "ktap" => ResultsFormat::Ktap,
            "junit" => ResultsFormat::Junit,
            "gtest" => ResultsFormat::Gtest,
            "libtest" => ResultsFormat::Libtest,
            "go" => ResultsFormat::Go,
            other => panic!("{other}"),
        },
        results_file: None,
        timeout: Duration::from_secs(1),
        skip_code: Some(4),
        only: true,
        source: None,
    };
    let observed = Observation {
        end: End::Exited(Exit::Code(code)),
        results: Ok(report.to_vec()),
        dropped: 0,
    };
    let (judgement, cases) = judge(&test, &observed);
    let line = |parts: [&str; 3]| {
        let text = parts.join(": ");
        text.trim_end().trim_end_matches(':').to_owned() + "\n"
    };
    let mut text = line([name, &judgement.verdict.to_string(), &judgement.reason]);
    for case in cases {
        let case = line([&case.verdict.to_string(), &case.name, &case.reason]);
        write!(text, "  {case}").unwrap();
    }
    (judgement.verdict, text)
}

#[test]
fn each_report_and_its_cases_have_the_expected_verdicts() {
    let table = std::fs::read_to_string(corpus().join("verdicts.txt")).unwrap();
    let mut told = BTreeSet::new();
    let entries = table.split("\n\n").skip(1);
    for expected in entries.map(str::trim_end) {
        let name = expected.split(':').next().unwrap();
        let (_, found) = verdict(name, &read(name), 0);
        let mut lines = (expected.lines(), found.lines());
        loop {
            match (lines.0.next(), lines.1.next()) {
                (None, None) => break,
                (expected, found) => {
                    let expected = expected.unwrap_or("nothing");
                    let found = found.unwrap_or("nothing");
                    let fits = match expected.strip_suffix('…') {
                        Some(beginning) => found.starts_with(beginning),
                        None => found == expected,
                    };
                    assert!(fits, "{name}\nexpected: {expected}\nfound:    {found}");
                }
            }
        }
        told.insert(name.to_owned());
    }
    assert_eq!(told, reports(), "the table and the files");
}

#[test]
fn what_is_wrong_or_damaged_never_passes() {
    for name in reports() {
        let (found, _) = verdict(&name, &read(&name), 0);
        if name.contains("/right-") {
            assert_ne!(found, Verdict::Error, "{name}");
        } else {
            assert_eq!(found, Verdict::Error, "{name}");
        }
        let (found, text) = verdict(&name, &read(&name), 1);
        assert!(
            !matches!(found, Verdict::Pass | Verdict::Skip),
            "{name}, exit status 1: {text}"
        );
    }
}

#[test]
fn a_report_with_a_failure_is_not_a_skip_by_exit_status() {
    for (name, skips) in [
        ("junit/wrong-counts-unmarked.xml", false),
        ("junit/wrong-error-in-suite.xml", false),
        ("tap/damaged-giving-up.tap", false),
        ("tap/damaged-bail-out-in-any-case.tap", false),
        ("ktap/wrong-kselftest-totals.tap", false),
        ("junit/right-bats.xml", false),
        ("tap/damaged-empty.tap", true),
        ("junit/damaged-empty.xml", true),
        ("tap/damaged-no-plan.tap", true),
    ] {
        let (found, text) = verdict(name, &read(name), 4);
        assert_eq!(found == Verdict::Skip, skips, "{text}");
    }
}

#[test]
fn no_part_of_an_xml_file_passes() {
    let right = |name: &&String| is_xml(name) && name.contains("/right-");
    for name in reports().iter().filter(right) {
        let report = read(name);
        let end = report.trim_ascii_end().len();
        for cut in (0..end).step_by(13).chain(end.checked_sub(1)) {
            let (found, text) = verdict(name, &report[..cut], 0);
            assert_eq!(found, Verdict::Error, "{cut} bytes: {text}");
        }
    }
}

#[test]
fn line_ends_and_encodings_change_no_verdict() {
    for name in reports() {
        let report = read(&name);
        let Ok(text) = String::from_utf8(report.clone()) else {
            continue;
        };
        let other: Vec<u8> = if is_xml(&name) {
            let mut bytes = vec![0xff, 0xfe];
            bytes.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
            bytes
        } else {
            text.replace("\r\n", "\n").replace('\n', "\r\n").into()
        };
        let (expected, _) = verdict(&name, &report, 0);
        let (found, text) = verdict(&name, &other, 0);
        assert_eq!(found, expected, "{text}");
    }
}
