//! Runs for tests of reports.

use crate::run::event::{
    Event, KernelPlan, Known, KnownResult, Record, RunStarted, SCHEMA, TestResult, Verdict,
};

pub(crate) fn at(at_ms: u64, event: Event) -> Record {
    Record { at_ms, event }
}

/// Each kernel has `tests` tests.
pub(crate) fn started(kernels: &[&str], tests: usize) -> Record {
    at(
        0,
        Event::RunStarted(RunStarted {
            schema: SCHEMA,
            version: "0.1.0".into(),
            started_at: "2026-11-22T16:00:00.000Z".into(),
            command: vec!["kiln".into(), "run".into()],
            again: vec!["kiln".into(), "run".into()],
            cwd: "/home/u/bpftrace".into(),
            kernels: kernels
                .iter()
                .map(|kernel| KernelPlan {
                    name: (*kernel).to_owned(),
                    tests,
                    suites: vec![tests],
                    expected_ms: None,
                })
                .collect(),
            suites: vec!["bpftrace".into()],
            shard: None,
            rerun_of: None,
        }),
    )
}

/// The run of these events.
pub(crate) fn history(records: &[Record]) -> crate::report::History {
    let mut history = crate::report::History::default();
    for record in records {
        history.observe(record);
    }
    history
}

pub(crate) fn result(kernel: &str, id: &str, verdict: Verdict, reason: &str) -> TestResult {
    TestResult {
        kernel: kernel.into(),
        vm: 0,
        suite: "bpftrace".into(),
        id: id.into(),
        case_of: None,
        source: None,
        attempt: 1,
        verdict,
        reason: (!reason.is_empty()).then(|| reason.to_owned()),
        flaky: false,
        known: None,
        duration_ms: 3100,
        guest_ms: None,
        output: String::new(),
        details: String::new(),
        rules: Vec::new(),
        console: String::new(),
    }
}

/// `result` of a test with this known result, because of missing BTF.
pub(crate) fn known(result: TestResult, known: KnownResult) -> TestResult {
    TestResult {
        known: Some(Known {
            result: known,
            reason: "no BTF".into(),
            link: None,
        }),
        ..result
    }
}

pub(crate) fn finished(kernel: &str, id: &str, verdict: Verdict, reason: &str) -> Record {
    at(
        5000,
        Event::TestFinished(result(kernel, id, verdict, reason)),
    )
}

/// `record` with this output and these details.
pub(crate) fn with_texts(mut record: Record, said: &str, judged: &str) -> Record {
    if let Event::TestFinished(result) = &mut record.event {
        said.clone_into(&mut result.output);
        judged.clone_into(&mut result.details);
    }
    record
}
