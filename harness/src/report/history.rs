//! A run as reports see it: all events, grouped.

use std::borrow::Cow;

use crate::run::event::{
    Event, KernelFailed, KernelReady, KernelReport, Known, KnownResult, Record, RunStarted,
    RunStopped, SuiteReady, TestResult, Verdict, VmLost, VmStarted, Warning,
};
use crate::run::tally::Tally;

/// Everything known about a run so far.
#[derive(Debug, Default)]
pub struct History {
    /// The start of the run; the default before the first event.
    pub(super) start: RunStarted,
    /// The verdicts, counted.
    pub tally: Tally,
    /// What each kernel is, in the order of the run; no entry before it is
    /// ready.
    pub(super) images: Vec<KernelReady>,
    /// Kernels that could not be provided.
    pub(super) failed: Vec<KernelFailed>,
    /// The program that each suite tests.
    pub(super) suites: Vec<SuiteReady>,
    /// The VMs, in the order they started.
    pub(super) vms: Vec<VmFacts>,
    /// The verdicts, in order.
    pub(super) outcomes: Vec<Outcome>,
    /// Attempts that another attempt follows.
    pending: Vec<TestResult>,
    /// Kernel reports that do not belong to a verdict yet.
    pub(super) reports: Vec<KernelReport>,
    /// What users should know.
    pub(super) warnings: Vec<Warning>,
    /// Why the run ended before its last test.
    pub(super) stopped: Option<RunStopped>,
    /// The exit code, once the run is over.
    pub exit_code: Option<u8>,
    /// When the last event happened, in milliseconds from the start.
    pub(super) at_ms: u64,
}

/// One VM.
#[derive(Debug)]
pub(super) struct VmFacts {
    pub(super) kernel: String,
    pub(super) vm: u32,
    /// What is known from its guest's hello.
    pub(super) up: Option<VmStarted>,
    /// Factor of the time limits.
    pub(super) factor: Option<f64>,
    /// How it was lost.
    pub(super) lost: Option<VmLost>,
}

/// A verdict, with the events that led to it.
#[derive(Debug)]
pub(super) struct Outcome {
    /// The last attempt.
    pub(super) result: TestResult,
    /// The attempts before it.
    pub(super) attempts: Vec<TestResult>,
    /// What the kernel reported during the test.
    pub(super) reports: Vec<KernelReport>,
}

impl Outcome {
    /// It needs attention.
    pub(super) fn is_unexpected(&self) -> bool {
        !self.result.is_expected()
    }

    /// It passed, but was known to fail.
    pub(super) fn is_unexpected_pass(&self) -> bool {
        self.result.verdict == Verdict::Pass && self.is_unexpected()
    }

    /// It failed, and was known to fail.
    pub(super) fn known_failure(&self) -> Option<&Known> {
        let bad = !matches!(self.result.verdict, Verdict::Pass | Verdict::Skip);
        let known = self.result.known.as_ref()?;
        (bad && known.result != KnownResult::Skip && !self.is_unexpected()).then_some(known)
    }

    /// What the kernel reported, except for what the console's last lines of a lost VM already
    /// show.
    pub(super) fn reports_beside_details(&self) -> impl Iterator<Item = &KernelReport> {
        let details = &self.result.details;
        self.reports.iter().filter(|report| {
            let mut lines = report.text.lines().filter(|line| !line.trim().is_empty());
            details.is_empty() || !lines.all(|line| details.contains(line))
        })
    }

    /// The test to run to see this again: for a case, the command that
    /// reported it.
    pub(super) fn runs_as(&self) -> &str {
        self.result.case_of.as_deref().unwrap_or(&self.result.id)
    }
}

impl History {
    /// Takes the next event.
    pub fn observe(&mut self, record: &Record) {
        self.tally.observe(&record.event);
        self.at_ms = record.at_ms;
        match &record.event {
            Event::RunStarted(start) => self.start = start.clone(),
            Event::KernelReady(image) => self.images.push(image.clone()),
            Event::KernelFailed(failed) => self.failed.push(failed.clone()),
            Event::SuiteReady(suite) => self.suites.push(suite.clone()),
            Event::VmStarted(up) => self.vm(&up.kernel, up.vm).up = Some(up.clone()),
            Event::SpeedMeasured(speed) => {
                self.vm(&speed.kernel, speed.vm).factor = Some(speed.factor);
            }
            Event::AttemptFinished(result) => self.pending.push(result.clone()),
            Event::TestFinished(result) => self.finished(result),
            Event::KernelReport(report) => self.reports.push(report.clone()),
            Event::VmLost(lost) => self.vm(&lost.kernel, lost.vm).lost = Some(lost.clone()),
            Event::Warning(warning) => self.warnings.push(warning.clone()),
            Event::RunStopped(stopped) => self.stopped = Some(stopped.clone()),
            Event::RunFinished(end) => self.exit_code = Some(end.exit_code),
            Event::VmStarting(_)
            | Event::TestStarted(_)
            | Event::TestSlow(_)
            | Event::VmStopped(_)
            | Event::Unknown => {}
        }
    }

    fn finished(&mut self, result: &TestResult) {
        let same = |other: &TestResult| {
            (&other.kernel, &other.suite, &other.id, &other.case_of)
                == (&result.kernel, &result.suite, &result.id, &result.case_of)
        };
        let attempts = self.pending.extract_if(.., |other| same(other)).collect();
        // An attempt that lost its VM ran in an earlier VM. The cases of a command come before its
        // own verdict, and kernel reports belong to that verdict.
        let reports = self
            .reports
            .extract_if(.., |report| {
                result.case_of.is_none()
                    && report.kernel == result.kernel
                    && report.test.as_ref() == Some(&result.id)
            })
            .collect();
        self.outcomes.push(Outcome {
            result: result.clone(),
            attempts,
            reports,
        });
    }

    fn vm(&mut self, kernel: &str, vm: u32) -> &mut VmFacts {
        let found = self
            .vms
            .iter()
            .position(|facts| facts.vm == vm && facts.kernel == kernel);
        let index = found.unwrap_or_else(|| {
            self.vms.push(VmFacts {
                kernel: kernel.to_owned(),
                vm,
                up: None,
                factor: None,
                lost: None,
            });
            self.vms.len() - 1
        });
        &mut self.vms[index]
    }

    /// A path for the user: relative to the working directory if it is below it.
    pub(super) fn short_path<'p>(&self, path: &'p str) -> &'p str {
        let beneath = match self.start.cwd.as_str() {
            "" | "/" => None,
            cwd => path
                .strip_prefix(cwd)
                .and_then(|rest| rest.strip_prefix('/')),
        };
        // The result must be neither empty nor an option.
        let names = |rest: &&str| !rest.is_empty() && !rest.starts_with('-');
        beneath.filter(names).unwrap_or(path)
    }

    /// The same for a word of a command line, which must still mean that path: with a bare name,
    /// QEMU is looked up in PATH, and a flake in Nix's registry.
    pub(super) fn short_word<'p>(&self, word: &'p str) -> Cow<'p, str> {
        let short = self.short_path(word);
        if short.len() == word.len() {
            Cow::Borrowed(word)
        } else {
            Cow::Owned(format!("./{short}"))
        }
    }

    /// kiln's command line, with paths for the user.
    pub(super) fn command(&self) -> Vec<Cow<'_, str>> {
        let mut words = self.start.command.iter();
        let program = words.next().map(|program| Cow::Borrowed(program.as_str()));
        let rest = words.map(|word| self.short_word(word));
        program.into_iter().chain(rest).collect()
    }

    /// Whether an option of `kiln run` is about suites of this run, and not about
    /// this one.
    pub(super) fn is_of_others(&self, option: &str, suite: &str) -> bool {
        let about = |one: &&SuiteReady| one.options.iter().any(|own| own == option);
        let mut about = self.suites.iter().filter(about).peekable();
        about.peek().is_some() && about.all(|one| one.suite != suite)
    }

    /// How the VM of this verdict was lost.
    pub(super) fn loss(&self, result: &TestResult) -> Option<&VmLost> {
        let facts = self
            .vms
            .iter()
            .find(|facts| facts.vm == result.vm && facts.kernel == result.kernel)?;
        let loss = facts.lost.as_ref()?;
        let ran = result.case_of.as_ref().unwrap_or(&result.id);
        (loss.test.as_ref() == Some(ran)).then_some(loss)
    }

    /// VMs that were lost between tests.
    pub(super) fn losses_between_tests(&self) -> impl Iterator<Item = &VmLost> {
        self.losses().filter(|loss| loss.test.is_none())
    }

    /// How VMs were lost.
    pub(super) fn losses(&self) -> impl Iterator<Item = &VmLost> {
        self.vms.iter().filter_map(|facts| facts.lost.as_ref())
    }

    /// Verdicts that need attention, in order.
    pub(super) fn unexpected(&self) -> impl Iterator<Item = &Outcome> {
        self.outcomes
            .iter()
            .filter(|outcome| outcome.is_unexpected())
    }

    /// Known failures, each with what is known.
    pub(super) fn known_failures(&self) -> impl Iterator<Item = (&Outcome, &Known)> {
        self.outcomes
            .iter()
            .filter_map(|outcome| Some((outcome, outcome.known_failure()?)))
    }

    /// Tests that passed only after a failed attempt.
    pub(super) fn flaky(&self) -> impl Iterator<Item = &Outcome> {
        self.outcomes.iter().filter(|outcome| outcome.result.flaky)
    }

    /// Kernel reports that made no test fail, each with the test that was running. The others are
    /// shown with their tests.
    pub(super) fn other_reports(&self) -> impl Iterator<Item = &KernelReport> {
        let beside = self
            .outcomes
            .iter()
            .filter(|outcome| !outcome.is_unexpected())
            .flat_map(|outcome| &outcome.reports);
        self.reports.iter().chain(beside)
    }
}

#[cfg(test)]
#[path = "history_tests.rs"]
mod tests;
