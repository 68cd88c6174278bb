#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::report::samples::{self, at, finished, history, result, started, with_texts};
use crate::run::event::{
    Event, KernelFailed, KernelReady, KnownResult, SpeedMeasured, SuiteReady, VmLost, VmStarted,
    bounded_text,
};

/// The report of these records, written as XML and read back.
fn read_back(records: &[Record]) -> JunitReport {
    let xml = text(&history(records)).unwrap();
    JunitReport::deserialize_from_str(&xml).unwrap()
}

#[test]
fn an_unavailable_kernel_is_an_error_of_its_suite() {
    let failed = Event::KernelFailed(KernelFailed {
        kernel: "6.1".into(),
        reason: "wrong hash\n  expected 1".into(),
        hints: vec!["look".into()],
    });
    let report = read_back(&[started(&["5.10", "6.1"], 1), at(9, failed)]);
    assert_eq!(report.test_suites[0].errors, 0);
    let suite = &report.test_suites[1];
    assert_eq!((suite.tests, suite.errors), (1, 1));
    let case = &suite.test_cases[0];
    assert_eq!(case.classname.as_ref().unwrap().as_str(), "6_1.bpftrace");
    let TestCaseStatus::NonSuccess {
        message,
        description,
        ..
    } = &case.status
    else {
        panic!("{case:?}");
    };
    assert_eq!(message.as_ref().unwrap().as_str(), "wrong hash");
    let said = description.as_ref().unwrap().as_str();
    assert!(said.contains("expected 1\nlook"), "{said}");
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
    assert_eq!(names, ["bpftrace on 5.10", "bpftrace on 6.1"]);
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
        "6_1.bpftrace"
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
fn the_evidence_of_a_lost_vm_is_shown_with_its_test() {
    let lost = |vm: u32, test: Option<&str>, console: &str| {
        at(
            10,
            Event::VmLost(VmLost {
                kernel: "6.1".into(),
                vm,
                reason: "hung".into(),
                test: test.map(ToOwned::to_owned),
                console: console.into(),
                qmp_status: Some("running".into()),
            }),
        )
    };
    let report = read_back(&[
        started(&["6.1"], 2),
        finished("6.1", "a.b", Verdict::Lost, "the VM hung"),
        lost(0, Some("a.b"), "Kernel panic"),
        lost(1, None, "died in boot"),
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
fn properties_say_what_ran() {
    let report = read_back(&[
        started(&["6.1"], 0),
        at(
            0,
            Event::SuiteReady(SuiteReady {
                suite: "bpftrace".into(),
                subject: "/usr/bin/bpftrace".into(),
                version: Some("v0.17.0".into()),
                dialect: Some("0.17".into()),
                options: Vec::new(),
            }),
        ),
        at(
            0,
            Event::KernelReady(KernelReady {
                kernel: "6.1".into(),
                release: "6.1.0-x".into(),
                sha256: "00ff".into(),
                packages: None,
            }),
        ),
        at(
            1,
            Event::VmStarted(VmStarted {
                kernel: "6.1".into(),
                release: "6.1.0-x".into(),
                accelerator: "tcg".into(),
                qemu: "7.2.22".into(),
                addr_no_randomize: true,
                boot_ms: 4100,
                restored: false,
                vm: 0,
                machine: "microvm".into(),
                transport: "mmio".into(),
                share: "virtiofs".into(),
                no_overlay: false,
                chosen_because: Vec::new(),
                memory: 2 << 30,
                cpus: 1,
                cpu: None,
                append: Vec::new(),
                qemu_args: Vec::new(),
                modules: Vec::new(),
                asked: Vec::new(),
            }),
        ),
        at(
            2,
            Event::SpeedMeasured(SpeedMeasured {
                kernel: "6.1".into(),
                vm: 0,
                factor: 12.5,
            }),
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
            ("kernel", "6.1"),
            ("suite", "bpftrace"),
            ("release", "6.1.0-x"),
            ("sha256", "00ff"),
            ("program", "/usr/bin/bpftrace"),
            ("version", "v0.17.0"),
            ("dialect", "0.17"),
            ("vm0.release", "6.1.0-x"),
            ("vm0.accelerator", "tcg"),
            ("vm0.qemu", "7.2.22"),
            ("vm0.boot", "4.100 s"),
            ("vm0.aslr", "off"),
            ("vm0.time-factor", "12.5"),
            ("kiln", "0.1.0"),
        ]
    );
}

#[test]
fn the_file_is_written_at_the_end() {
    let parent = tempfile::tempdir().unwrap();
    let dir = RunDir::create(Some(parent.path()), parent.path()).unwrap();
    let mut junit = Junit::new(dir.clone());
    let history = history(&[started(&["6.1"], 1)]);
    junit.record(&started(&["6.1"], 1), &history).unwrap();
    assert!(!dir.junit().exists());
    junit.finish(&history).unwrap();
    let text = std::fs::read_to_string(dir.junit()).unwrap();
    let report = JunitReport::deserialize_from_str(&text).unwrap();
    let suite = &report.test_suites[0];
    assert_eq!(
        suite.timestamp.unwrap().to_rfc3339(),
        "2026-11-22T16:00:00+00:00"
    );
    let said = suite.system_err.as_ref().unwrap();
    assert_eq!(said.as_str().trim_end(), "1 test did not run");
}

#[test]
fn attempts_are_flaky_runs_or_reruns_by_how_it_ended() {
    let attempt = |id: &str, verdict| {
        let result = TestResult {
            details: "expected: x".into(),
            output: "y".into(),
            ..result("6.1", id, verdict, "why")
        };
        at(1, Event::AttemptFinished(result))
    };
    let end = |id: &str, verdict, flaky| {
        let result = TestResult {
            attempt: 2,
            flaky,
            ..result("6.1", id, verdict, "")
        };
        at(2, Event::TestFinished(result))
    };
    let history = history(&[
        started(&["6.1"], 3),
        attempt("a.passed", Verdict::Lost),
        end("a.passed", Verdict::Pass, true),
        attempt("a.failed", Verdict::Timeout),
        end("a.failed", Verdict::Fail, false),
        attempt("a.counted", Verdict::Fail),
        end("a.counted", Verdict::Fail, true),
    ]);
    let xml = text(&history).unwrap();
    for (element, times) in [
        ("<flakyError message=\"why\" type=\"lost\">", 1),
        ("<rerunFailure message=\"why\" type=\"timeout\">", 1),
        ("<flakyFailure message=\"why\" type=\"fail\">", 1),
        ("<stackTrace>expected: x</stackTrace>", 3),
    ] {
        assert_eq!(xml.matches(element).count(), times, "{element} in {xml}");
    }
    let report = JunitReport::deserialize_from_str(&xml).unwrap();
    let suite = &report.test_suites[0];
    assert_eq!((suite.tests, suite.failures, suite.errors), (3, 2, 0));
}

#[test]
fn readers_see_of_known_results_what_the_exit_code_says() {
    let known = |id: &str, verdict, reason: &str| {
        let result = result("6.1", id, verdict, reason);
        at(
            1,
            Event::TestFinished(samples::known(result, KnownResult::Fail)),
        )
    };
    let report = read_back(&[
        started(&["6.1"], 2),
        known("a.fails", Verdict::Fail, "exit status 1"),
        known("a.passes", Verdict::Pass, "passes, but is known to fail"),
    ]);
    let suite = &report.test_suites[0];
    assert_eq!((suite.skipped, suite.failures), (1, 1));
    let TestCaseStatus::Skipped { ty, message, .. } = &suite.test_cases[0].status else {
        panic!("{suite:?}");
    };
    assert_eq!(ty.as_ref().unwrap().as_str(), "known-fail");
    assert_eq!(message.as_ref().unwrap().as_str(), "known: no BTF");
    let TestCaseStatus::NonSuccess { ty, message, .. } = &suite.test_cases[1].status else {
        panic!("{suite:?}");
    };
    assert_eq!(ty.as_ref().unwrap().as_str(), "unexpected-pass");
    assert!(message.as_ref().unwrap().contains("known to fail"));
}

#[test]
fn the_element_of_all_has_no_attribute_that_the_schema_lacks() {
    let skip = finished("6.1", "a.b", Verdict::Skip, "");
    let xml = text(&history(&[started(&["6.1"], 1), skip])).unwrap();
    let root = xml.lines().find(|line| line.starts_with("<testsuites"));
    assert!(!root.unwrap().contains("skipped"), "{xml}");
    assert_eq!(xml.matches("skipped=\"1\"").count(), 1, "{xml}");
}

proptest! {
    #[test]
    fn any_text_survives_as_well_formed_xml(id: String, said: String, judged: String) {
        let fail = finished("6.1", &id, Verdict::Fail, &said);
        let report = read_back(&[started(&["6.1"], 1), with_texts(fail, &said, &judged)]);
        prop_assert_eq!(report.test_suites[0].test_cases[0].name.as_str(), escape::line(&id));
    }
}
