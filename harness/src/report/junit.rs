//! The JUnit report: a test suite per kernel, a test case per test.
//!
//! `fail` and `timeout` are failures, `lost` and `error` are errors, each with
//! its verdict as the type; a skip is a skip. What a test printed is its
//! `system-out`; what its VM left behind is its `system-err`.

use std::time::Duration;

use chrono::{DateTime, FixedOffset};
use quick_junit::{NonSuccessKind, Property, TestCase, TestCaseStatus, TestSuite};

use super::{History, Report, ReportError, escape};
use crate::run::dir::RunDir;
use crate::run::event::{Event, Record, TestResult, Verdict};

/// Collects a run and writes `junit.xml` into its directory at the end.
pub struct Junit {
    dir: RunDir,
    fold: Fold,
}

impl Junit {
    /// A report for the run of this directory.
    pub fn new(dir: RunDir) -> Self {
        Self {
            dir,
            fold: Fold::default(),
        }
    }
}

impl Report for Junit {
    fn record(&mut self, record: &Record, _history: &History) -> Result<(), ReportError> {
        self.fold.observe(record);
        Ok(())
    }

    fn finish(&mut self, _history: &History) -> Result<(), ReportError> {
        let text = std::mem::take(&mut self.fold).report().to_string()?;
        self.dir.write(&self.dir.junit(), text.as_bytes())?;
        Ok(())
    }
}

/// The report so far.
#[derive(Default)]
struct Fold {
    started: Option<DateTime<FixedOffset>>,
    at_ms: u64,
    suites: Vec<Suite>,
    warnings: String,
}

struct Suite {
    cases: TestSuite,
    /// What VMs of the kernel that were lost left behind.
    evidence: Vec<Evidence>,
    time: Duration,
    warnings: String,
}

struct Evidence {
    test: Option<String>,
    text: String,
}

impl Fold {
    fn suite(&mut self, kernel: &str) -> &mut Suite {
        let name = escape::line(kernel);
        let found = self
            .suites
            .iter()
            .position(|suite| suite.cases.name.as_str() == name);
        let index = found.unwrap_or_else(|| {
            self.suites.push(Suite {
                cases: TestSuite::new(name),
                evidence: Vec::new(),
                time: Duration::ZERO,
                warnings: String::new(),
            });
            self.suites.len() - 1
        });
        &mut self.suites[index]
    }

    fn observe(&mut self, record: &Record) {
        self.at_ms = record.at_ms;
        match &record.event {
            Event::RunStarted {
                started_at,
                kernels,
                ..
            } => {
                self.started = DateTime::parse_from_rfc3339(started_at).ok();
                for kernel in kernels {
                    self.suite(&kernel.name);
                }
            }
            Event::VmStarted {
                kernel,
                release,
                accelerator,
                qemu,
                boot_ms,
                vm,
            } => {
                let boot = format!("{}.{:03} s", boot_ms / 1000, boot_ms % 1000);
                let facts = [
                    ("release", escape::line(release)),
                    ("accelerator", escape::line(accelerator)),
                    ("qemu", escape::line(qemu)),
                    ("boot", boot.into()),
                ];
                for (fact, value) in facts {
                    self.suite(kernel).property(*vm, fact, &value);
                }
            }
            Event::SpeedMeasured { kernel, vm, factor } => {
                self.suite(kernel)
                    .property(*vm, "time-factor", &factor.to_string());
            }
            Event::TestFinished(result) => {
                let timestamp = self.started.map(|at| at + millis(record.at_ms));
                self.suite(&result.kernel).add(result, timestamp);
            }
            Event::VmLost {
                kernel,
                reason,
                test,
                console,
                qmp_status,
                ..
            } => {
                let status = qmp_status.as_deref().unwrap_or("unknown");
                let text = format!("{reason}\nQMP status: {status}\nconsole:\n{console}\n");
                self.suite(kernel).evidence.push(Evidence {
                    test: test.clone(),
                    text: escape::xml(&text).into_owned(),
                });
            }
            Event::Warning { kernel, message } => {
                let place = match kernel {
                    Some(kernel) => &mut self.suite(kernel).warnings,
                    None => &mut self.warnings,
                };
                place.push_str(&escape::line(message));
                place.push('\n');
            }
            Event::KernelReady { .. }
            | Event::SuiteReady { .. }
            | Event::TestStarted { .. }
            | Event::TestSlow { .. }
            | Event::AttemptFinished(_)
            | Event::KernelReport { .. }
            | Event::VmStopped { .. }
            | Event::RunStopped { .. }
            | Event::RunFinished { .. } => {}
        }
    }

    fn report(self) -> quick_junit::Report {
        let mut report = quick_junit::Report::new("kiln");
        if let Some(started) = self.started {
            report.set_timestamp(started);
        }
        report.set_time(Duration::from_millis(self.at_ms));
        for mut suite in self.suites {
            // Evidence that no test of the suite has taken, and warnings: those
            // that concern the whole run stand in every suite.
            let mut said = format!("{}{}", self.warnings, suite.warnings);
            for evidence in suite.evidence {
                said.push_str(&evidence.text);
            }
            if !said.is_empty() {
                suite.cases.set_system_err(said);
            }
            suite.cases.set_time(suite.time);
            report.add_test_suite(suite.cases);
        }
        report
    }
}

impl Suite {
    fn property(&mut self, vm: u32, fact: &str, value: &str) {
        let name = format!("vm{vm}.{fact}");
        self.cases.add_property(Property::new(name, value));
    }

    fn add(&mut self, result: &TestResult, timestamp: Option<DateTime<FixedOffset>>) {
        let TestResult {
            id,
            verdict,
            reason,
            duration_ms,
            output,
            details,
            ..
        } = result;
        let mut status = match verdict {
            Verdict::Pass => TestCaseStatus::success(),
            Verdict::Skip => TestCaseStatus::skipped(),
            Verdict::Fail | Verdict::Timeout => {
                TestCaseStatus::non_success(NonSuccessKind::Failure)
            }
            Verdict::Lost | Verdict::Error => TestCaseStatus::non_success(NonSuccessKind::Error),
        };
        if let Some(reason) = reason {
            status.set_message(escape::line(reason));
        }
        if !matches!(verdict, Verdict::Pass | Verdict::Skip) {
            status.set_type(verdict.to_string());
            if !details.is_empty() {
                status.set_description(escape::xml(details));
            }
        }

        let time = Duration::from_millis(*duration_ms);
        let mut case = TestCase::new(escape::line(id), status);
        // The kernel: readers that merge suites still tell the cases apart.
        case.set_classname(self.cases.name.clone());
        case.set_time(time);
        if let Some(end) = timestamp {
            case.set_timestamp(end - millis(*duration_ms));
        }
        if !output.is_empty() {
            case.set_system_out(escape::xml(output));
        }
        let taken = self
            .evidence
            .iter()
            .position(|evidence| evidence.test.as_ref() == Some(id));
        if let (Verdict::Lost, Some(index)) = (verdict, taken) {
            case.set_system_err(self.evidence.remove(index).text);
        }
        self.time += time;
        self.cases.add_test_case(case);
    }
}

fn millis(count: u64) -> chrono::TimeDelta {
    i64::try_from(count)
        .ok()
        .and_then(chrono::TimeDelta::try_milliseconds)
        .unwrap_or_default()
}

#[cfg(test)]
#[path = "junit_tests.rs"]
mod tests;
