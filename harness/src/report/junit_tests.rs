#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::report::samples::{at, finished, started, with_texts};
use crate::run::event::bounded_text;

/// The report of these records, written as XML and read back.
fn read_back(records: &[Record]) -> quick_junit::Report {
    let mut fold = Fold::default();
    for record in records {
        fold.observe(record);
    }
    let xml = fold.report().to_string().unwrap();
    quick_junit::Report::deserialize_from_str(&xml).unwrap()
}

#[test]
fn each_verdict_has_its_place() {
    let report = read_back(&[
        started(&["5.10", "6.1"], 6),
        finished("6.1", "a.pass", Verdict::Pass, ""),
        finished("6.1", "a.fail", Verdict::Fail, "exit status 1"),
        finished("6.1", "a.timeout", Verdict::Timeout, ""),
        finished("6.1", "a.skip", Verdict::Skip, "missed feature"),
        finished("6.1", "a.lost", Verdict::Lost, ""),
        finished("6.1", "a.error", Verdict::Error, ""),
    ]);
    let names: Vec<_> = report.test_suites.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["5.10", "6.1"]);
    let suite = &report.test_suites[1];
    assert_eq!(
        (suite.tests, suite.failures, suite.errors, suite.skipped),
        (6, 2, 2, 1)
    );
    let kinds: Vec<_> = suite
        .test_cases
        .iter()
        .map(|case| match &case.status {
            TestCaseStatus::Success { .. } => "success".to_owned(),
            TestCaseStatus::Skipped { message, .. } => {
                format!("skipped {}", message.as_ref().unwrap().as_str())
            }
            TestCaseStatus::NonSuccess { kind, ty, .. } => {
                format!("{kind:?} {}", ty.as_ref().unwrap().as_str())
            }
        })
        .collect();
    assert_eq!(
        kinds,
        [
            "success",
            "Failure fail",
            "Failure timeout",
            "skipped missed feature",
            "Error lost",
            "Error error"
        ]
    );
    assert_eq!(
        suite.test_cases[0].classname.as_ref().unwrap().as_str(),
        "6.1"
    );
    assert_eq!(suite.test_cases[0].time, Some(Duration::from_millis(3100)));
}

#[test]
fn what_cannot_stand_in_xml_is_readable_after_a_round_trip() {
    let hostile = "]]><x a=\"&amp;\">\x00\x1b[31m\u{202e}\u{ffff}\r\n\tend";
    let fail = finished("6.1", hostile, Verdict::Fail, hostile);
    let report = read_back(&[
        started(&["6.1"], 1),
        with_texts(fail, &bounded_text(b"\xff]]>\xc3("), hostile),
    ]);
    let case = &report.test_suites[0].test_cases[0];
    let one_line = "]]><x a=\"&amp;\">\\x00\\x1b[31m\\u{202e}\\u{ffff}\\x0d\\x0a\\x09end";
    let many_lines = "]]><x a=\"&amp;\">\\x00\\x1b[31m\\u{202e}\\u{ffff}\\x0d\n    end";
    assert_eq!(case.name.as_str(), one_line);
    assert_eq!(case.system_out.as_ref().unwrap().as_str(), "\\xff]]>\\xc3(");
    let TestCaseStatus::NonSuccess {
        message,
        description,
        ..
    } = &case.status
    else {
        panic!("not a failure: {case:?}");
    };
    assert_eq!(message.as_ref().unwrap().as_str(), one_line);
    assert_eq!(description.as_ref().unwrap().as_str(), many_lines);
}

#[test]
fn the_evidence_of_a_lost_vm_stands_with_its_test() {
    let lost = |test: Option<&str>, console: &str| {
        at(
            10,
            Event::VmLost {
                kernel: "6.1".into(),
                vm: 0,
                reason: "hung".into(),
                test: test.map(ToOwned::to_owned),
                console: console.into(),
                qmp_status: Some("running".into()),
            },
        )
    };
    let report = read_back(&[
        started(&["6.1"], 2),
        lost(None, "died in boot"),
        lost(Some("a.b"), "Kernel panic"),
        finished("6.1", "a.b", Verdict::Lost, "the VM hung"),
        finished("6.1", "a.c", Verdict::Pass, ""),
    ]);
    let suite = &report.test_suites[0];
    let evidence = suite.test_cases[0].system_err.as_ref().unwrap();
    assert_eq!(
        evidence.as_str(),
        "hung\nQMP status: running\nconsole:\nKernel panic"
    );
    assert!(suite.test_cases[1].system_err.is_none());
    assert!(suite.system_err.as_ref().unwrap().contains("died in boot"));
}

#[test]
fn facts_about_the_vms_are_properties() {
    let report = read_back(&[
        started(&["6.1"], 0),
        at(
            1,
            Event::VmStarted {
                kernel: "6.1".into(),
                release: "6.1.0-x".into(),
                accelerator: "tcg".into(),
                qemu: "7.2.22".into(),
                boot_ms: 4100,
                vm: 0,
            },
        ),
        at(
            2,
            Event::SpeedMeasured {
                kernel: "6.1".into(),
                vm: 0,
                factor: 12.5,
            },
        ),
    ]);
    let pairs: Vec<_> = report.test_suites[0]
        .properties
        .iter()
        .map(|property| (property.name.as_str(), property.value.as_str()))
        .collect();
    assert_eq!(
        pairs,
        [
            ("vm0.release", "6.1.0-x"),
            ("vm0.accelerator", "tcg"),
            ("vm0.qemu", "7.2.22"),
            ("vm0.boot", "4.100 s"),
            ("vm0.time-factor", "12.5"),
        ]
    );
}

#[test]
fn the_file_is_written_at_the_end() {
    let parent = tempfile::tempdir().unwrap();
    let dir = RunDir::create(Some(parent.path())).unwrap();
    let mut junit = Junit::new(dir.clone());
    let history = History::default();
    junit.record(&started(&["6.1"], 1), &history).unwrap();
    assert!(!dir.junit().exists());
    junit.finish(&history).unwrap();
    let text = std::fs::read_to_string(dir.junit()).unwrap();
    let report = quick_junit::Report::deserialize_from_str(&text).unwrap();
    assert_eq!(
        report.timestamp.unwrap().to_rfc3339(),
        "2026-11-22T16:00:00+00:00"
    );
}

proptest! {
    #[test]
    fn any_text_survives_as_well_formed_xml(id: String, said: String, judged: String) {
        let fail = finished("6.1", &id, Verdict::Fail, &said);
        let report = read_back(&[started(&["6.1"], 1), with_texts(fail, &said, &judged)]);
        prop_assert_eq!(report.test_suites[0].test_cases[0].name.as_str(), escape::line(&id));
    }
}
