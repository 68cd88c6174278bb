//! The JUnit report: a test suite for each kernel and suite, a test case for
//! each test.
//!
//! `fail` and `timeout` are failures, `lost` and `error` are errors, each with its verdict as the
//! type; a skip is a skip. A known failure is also a skip, and an unexpected pass a failure, so
//! that readers see the same as the exit code. Attempts before the last are flaky runs if the test
//! passed in the end, and reruns if it did not. A test's output is its `system-out`; messages about
//! its VM and kernel are its `system-err`.
//!
//! The file follows the schema of Jenkins' xUnit plugin (`junit-10.xsd`).

use std::fmt::Write as _;
use std::time::Duration;

use chrono::DateTime;
use quick_junit::{FlakyOrRerun, NonSuccessKind, Property, TestCase, TestCaseStatus, TestRerun};
use quick_junit::{Report as JunitReport, TestSuite};

use super::escape;
use super::history::{History, Outcome};
use super::interface::{Report, ReportError};
use super::words::{counted, qmp_status, report_kind};
use crate::run::dir::RunDir;
use crate::run::event::{KernelFailed, Record, SuiteReady, TestResult, Verdict, VmLost};
use crate::run::tally::{KernelTally, SuiteTally};

/// Writes `junit.xml` into the directory of a run at its end.
pub struct Junit {
    dir: RunDir,
}

impl Junit {
    /// A report for the run of this directory.
    pub fn new(dir: RunDir) -> Self {
        Self { dir }
    }
}

impl Report for Junit {
    fn record(&mut self, _record: &Record, _history: &History) -> Result<(), ReportError> {
        Ok(())
    }

    fn finish(&mut self, history: &History) -> Result<(), ReportError> {
        let text = text(history)?;
        self.dir.write(&self.dir.junit(), text.as_bytes())?;
        Ok(())
    }
}

/// The file.
pub(super) fn text(history: &History) -> Result<String, ReportError> {
    let mut report = JunitReport::new("kiln");
    report.set_time(Duration::from_millis(history.at_ms));
    for kernel in &history.tally.kernels {
        for suite in &kernel.suites {
            report.add_test_suite(test_suite(history, kernel, suite));
        }
    }
    let skipped = format!(" skipped=\"{}\"", report.skipped);
    // The root element, which has no such attribute in the schema.
    Ok(report.to_string()?.replacen(&skipped, "", 1))
}

fn test_suite(history: &History, kernel: &KernelTally, suite: &SuiteTally) -> TestSuite {
    let (kernel_name, suite_name) = (escape::line(&kernel.kernel), escape::line(&suite.suite));
    let mut cases = TestSuite::new(format!("{suite_name} on {kernel_name}"));
    if let Ok(started) = DateTime::parse_from_rfc3339(&history.start.started_at) {
        cases.set_timestamp(started);
    }
    properties(&mut cases, history, kernel, suite);
    let own = |outcome: &&Outcome| {
        outcome.result.kernel == kernel.kernel && outcome.result.suite == suite.suite
    };
    let mut time = Duration::ZERO;
    for outcome in history.outcomes.iter().filter(own) {
        time += Duration::from_millis(outcome.result.duration_ms);
        cases.add_test_case(test_case(history, outcome));
    }
    cases.set_time(time);
    for failed in &history.failed {
        if failed.kernel == kernel.kernel && suite.counts.missing() > 0 {
            cases.add_test_case(no_kernel(failed, suite));
        }
    }
    let said = said(history, kernel, suite);
    if !said.is_empty() {
        cases.set_system_err(escape::xml(&said));
    }
    cases
}

fn properties(cases: &mut TestSuite, history: &History, kernel: &KernelTally, suite: &SuiteTally) {
    let mut add = |name: &str, value: &str| {
        cases.add_property(Property::new(name, escape::line(value)));
    };
    add("kernel", &kernel.kernel);
    add("suite", &suite.suite);
    for image in history
        .images
        .iter()
        .filter(|one| one.kernel == kernel.kernel)
    {
        add("release", &image.release);
        add("sha256", &image.sha256);
    }
    let own = |one: &&SuiteReady| one.suite == suite.suite;
    for ready in history.suites.iter().filter(own) {
        add("program", &ready.subject);
        for (name, value) in [("version", &ready.version), ("dialect", &ready.dialect)] {
            if let Some(value) = value {
                add(name, value);
            }
        }
    }
    for vm in history.vms.iter().filter(|vm| vm.kernel == kernel.kernel) {
        let number = vm.vm;
        if let Some(up) = &vm.up {
            let boot = format!("{}.{:03} s", up.boot_ms / 1000, up.boot_ms % 1000);
            add(&format!("vm{number}.release"), &up.release);
            add(&format!("vm{number}.accelerator"), &up.accelerator);
            add(&format!("vm{number}.qemu"), &up.qemu);
            add(&format!("vm{number}.boot"), &boot);
            if up.addr_no_randomize {
                add(&format!("vm{number}.aslr"), "off");
            }
        }
        if let Some(factor) = vm.factor {
            add(&format!("vm{number}.time-factor"), &factor.to_string());
        }
    }
    if let Some(shard) = &history.start.shard {
        add("shard", shard);
    }
    add("kiln", &history.start.version);
    if suite.counts.missing() > 0 {
        add("not-run", &suite.counts.missing().to_string());
    }
}

/// What belongs to no test: warnings (those about the whole run are in every suite), VMs lost
/// between tests, tests that did not run.
fn said(history: &History, kernel: &KernelTally, suite: &SuiteTally) -> String {
    let mut said = String::new();
    // Writing to a string cannot fail.
    for warning in &history.warnings {
        if warning
            .kernel
            .as_ref()
            .is_none_or(|name| *name == kernel.kernel)
        {
            let _ = writeln!(said, "warning: {}", warning.message);
        }
    }
    for loss in history.losses_between_tests() {
        if loss.kernel == kernel.kernel {
            said.push_str(&loss_text(loss));
        }
    }
    if suite.counts.missing() > 0 {
        let missing = counted(suite.counts.missing(), "test");
        let _ = writeln!(said, "{missing} did not run");
    }
    said
}

fn loss_text(loss: &VmLost) -> String {
    let status = qmp_status(loss.qmp_status.as_deref().unwrap_or("unknown"));
    let (reason, console) = (&loss.reason, &loss.console);
    format!("{reason}\n{status}\nconsole:\n{console}\n")
}

/// Readers take the last dot as the end of a package name, and merge suites: only this
/// distinguishes the cases of two kernels.
fn class_name(kernel: &str, suite: &str) -> String {
    let (kernel, suite) = (kernel.replace('.', "_"), suite.replace('.', "_"));
    escape::line(&format!("{kernel}.{suite}")).into_owned()
}

/// An error, because a suite without one would count as passed.
fn no_kernel(failed: &KernelFailed, suite: &SuiteTally) -> TestCase {
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
    status.set_type("kernel");
    let first = failed.reason.lines().next().unwrap_or_default();
    status.set_message(escape::line(first));
    let text = format!("{}\n{}", failed.reason, failed.hints.join("\n"));
    status.set_description(escape::xml(text.trim_end()));
    let mut case = TestCase::new("kernel", status);
    case.set_classname(class_name(&failed.kernel, &suite.suite));
    // Viewers need a time for every case.
    case.set_time(Duration::ZERO);
    case
}

fn test_case(history: &History, outcome: &Outcome) -> TestCase {
    let result = &outcome.result;
    let mut case = TestCase::new(escape::line(&result.id), status(outcome));
    case.set_classname(class_name(&result.kernel, &result.suite));
    case.set_time(Duration::from_millis(result.duration_ms));
    if !result.output.is_empty() {
        case.set_system_out(escape::xml(&result.output));
    }
    let mut said = String::new();
    for report in &outcome.reports {
        let _ = writeln!(
            said,
            "the kernel reported: {}\n{}",
            report_kind(report),
            report.text
        );
    }
    if result.verdict == Verdict::Lost
        && let Some(loss) = history.loss(result)
    {
        said.push_str(&loss_text(loss));
    }
    if !said.is_empty() {
        case.set_system_err(escape::xml(&said));
    }
    case
}

fn status(outcome: &Outcome) -> TestCaseStatus {
    let result = &outcome.result;
    let mut status = if outcome.is_unexpected_pass() {
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
        status.set_type("unexpected-pass");
        status
    } else if let Some(known) = outcome.known_failure() {
        let mut status = TestCaseStatus::skipped();
        status.set_type(format!("known-{}", result.verdict));
        status.set_message(escape::line(&format!("known: {}", known.reason)));
        // The description contains the reason of the failure.
        status.set_description(escape::xml(&format!(
            "{}\n{}",
            result.reason.as_deref().unwrap_or_default(),
            result.details
        )));
        return status;
    } else {
        match kind(result.verdict) {
            Some(kind) => {
                let mut status = TestCaseStatus::non_success(kind);
                status.set_type(result.verdict.to_string());
                status
            }
            None if result.verdict == Verdict::Skip => TestCaseStatus::skipped(),
            None => TestCaseStatus::success(),
        }
    };
    if let Some(reason) = &result.reason {
        status.set_message(escape::line(reason));
    }
    if !result.details.is_empty() && !matches!(result.verdict, Verdict::Pass | Verdict::Skip) {
        status.set_description(escape::xml(&result.details));
    }
    if result.flaky {
        status.set_rerun_kind(FlakyOrRerun::Flaky);
    }
    status.add_reruns(outcome.attempts.iter().filter_map(rerun));
    status
}

/// The kind of a verdict other than pass and skip.
fn kind(verdict: Verdict) -> Option<NonSuccessKind> {
    match verdict {
        Verdict::Pass | Verdict::Skip => None,
        Verdict::Fail | Verdict::Timeout => Some(NonSuccessKind::Failure),
        Verdict::Lost | Verdict::Error => Some(NonSuccessKind::Error),
    }
}

/// A failed attempt that another attempt followed.
fn rerun(attempt: &TestResult) -> Option<TestRerun> {
    let mut rerun = TestRerun::new(kind(attempt.verdict)?);
    rerun.set_type(attempt.verdict.to_string());
    if let Some(reason) = &attempt.reason {
        rerun.set_message(escape::line(reason));
    }
    if !attempt.details.is_empty() {
        rerun.set_stack_trace(escape::xml(&attempt.details));
    }
    if !attempt.output.is_empty() {
        rerun.set_system_out(escape::xml(&attempt.output));
    }
    Some(rerun)
}

#[cfg(test)]
#[path = "junit_tests.rs"]
mod tests;
