//! Counts verdicts, and computes the exit code.

use super::event::{Event, KernelPlan, TestResult, Verdict};
use crate::exit_code;

/// Verdicts counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// How many verdicts are expected, without cases of commands.
    planned: usize,
    verdicts: [usize; 6],
    /// Verdicts of cases that a command reported, counted above too.
    cases: usize,
    /// Verdicts that are not as expected.
    unexpected: usize,
    /// Failures that are known and expected.
    known: usize,
    /// Tests that passed after a failed attempt.
    flaky: usize,
}

impl Counts {
    /// How many tests have this verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.verdicts[verdict as usize]
    }

    /// How many verdicts are expected, without cases of commands.
    pub fn planned(&self) -> usize {
        self.planned
    }

    /// How many tests have any verdict, cases of commands included.
    pub fn finished(&self) -> usize {
        self.verdicts.iter().sum()
    }

    /// How many planned tests have no verdict.
    pub fn missing(&self) -> usize {
        self.planned.saturating_sub(self.finished() - self.cases)
    }

    /// How many verdicts are not as expected.
    pub fn unexpected(&self) -> usize {
        self.unexpected
    }

    /// How many known failures there are.
    pub fn known(&self) -> usize {
        self.known
    }

    /// How many tests passed only after a failed attempt.
    pub fn flaky(&self) -> usize {
        self.flaky
    }

    fn take(&mut self, result: &TestResult) {
        let bad = !matches!(result.verdict, Verdict::Pass | Verdict::Skip);
        self.verdicts[result.verdict as usize] += 1;
        self.cases += usize::from(result.case_of.is_some());
        self.unexpected += usize::from(!result.is_expected());
        self.known += usize::from(bad && result.is_expected());
        self.flaky += usize::from(result.flaky);
    }

    fn add(&mut self, other: &Self) {
        // Files may contain any number here; the other numbers count existing events.
        self.planned = self.planned.saturating_add(other.planned);
        for (sum, count) in self.verdicts.iter_mut().zip(other.verdicts) {
            *sum += count;
        }
        self.cases += other.cases;
        self.unexpected += other.unexpected;
        self.known += other.known;
        self.flaky += other.flaky;
    }
}

/// The verdicts of one suite on one kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SuiteTally {
    /// Name of the suite in `kernels.toml`.
    pub suite: String,
    /// Its verdicts.
    pub counts: Counts,
}

/// The verdicts of one kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KernelTally {
    /// Name of the kernel.
    pub kernel: String,
    /// By suite, in the order of the run's.
    pub suites: Vec<SuiteTally>,
    /// Of all suites.
    pub counts: Counts,
    /// It is not available: none of its tests run.
    pub failed: bool,
    /// Kernel reports that fail no test, because none was running.
    pub reports: usize,
}

impl std::ops::Deref for KernelTally {
    type Target = Counts;

    fn deref(&self) -> &Counts {
        &self.counts
    }
}

impl KernelTally {
    fn suite(&mut self, name: &str) -> &mut SuiteTally {
        let found = self.suites.iter().position(|tally| tally.suite == name);
        let index = found.unwrap_or_else(|| {
            self.suites.push(SuiteTally {
                suite: name.to_owned(),
                counts: Counts::default(),
            });
            self.suites.len() - 1
        });
        &mut self.suites[index]
    }

    fn plan(&mut self, plan: &KernelPlan, suites: &[String]) {
        self.counts.planned = plan.tests;
        // A file from before the counts by suite has them for one suite only.
        let alone = [plan.tests];
        let planned: &[usize] = match suites {
            [_] => &alone,
            _ => &plan.suites,
        };
        for (name, planned) in suites.iter().zip(planned) {
            self.suite(name).counts.planned = *planned;
        }
    }
}

/// The verdicts of a run so far: a fold over its events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// In the order the run names its kernels.
    pub kernels: Vec<KernelTally>,
    /// The run ended before its last test, because of an option.
    stopped: bool,
}

impl Tally {
    /// Takes the next event into account.
    pub fn observe(&mut self, event: &Event) {
        match event {
            Event::RunStarted(start) => {
                for kernel in &start.kernels {
                    self.kernel(&kernel.name).plan(kernel, &start.suites);
                }
            }
            Event::TestFinished(result) => {
                let kernel = self.kernel(&result.kernel);
                kernel.counts.take(result);
                kernel.suite(&result.suite).counts.take(result);
            }
            Event::KernelFailed(failed) => self.kernel(&failed.kernel).failed = true,
            Event::KernelReport(report) if report.fails => {
                self.kernel(&report.kernel).reports += 1;
            }
            Event::RunStopped(_) => self.stopped = true,
            _ => {}
        }
    }

    fn kernel(&mut self, name: &str) -> &mut KernelTally {
        let found = self.kernels.iter().position(|tally| tally.kernel == name);
        let index = found.unwrap_or_else(|| {
            self.kernels.push(KernelTally {
                kernel: name.to_owned(),
                ..KernelTally::default()
            });
            self.kernels.len() - 1
        });
        &mut self.kernels[index]
    }

    /// The verdicts of all kernels.
    pub fn total(&self) -> Counts {
        let mut total = Counts::default();
        for kernel in &self.kernels {
            total.add(&kernel.counts);
        }
        total
    }

    /// Names of all suites, in the order of the run.
    pub fn suites(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for suite in self.kernels.iter().flat_map(|kernel| &kernel.suites) {
            if !names.contains(&suite.suite.as_str()) {
                names.push(&suite.suite);
            }
        }
        names
    }

    /// How many tests, over all kernels, have this verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.total().count(verdict)
    }

    /// How many verdicts the run has, over all kernels.
    pub fn finished(&self) -> usize {
        self.total().finished()
    }

    /// How many verdicts the run should have, without cases of commands.
    pub fn planned(&self) -> usize {
        self.total().planned()
    }

    /// How many planned tests have no verdict, over all kernels: too many on one do not make up for
    /// others.
    pub fn missing(&self) -> usize {
        let missing = self.kernels.iter().map(|kernel| kernel.missing());
        missing.fold(0, usize::saturating_add)
    }

    /// How many verdicts are not as expected.
    pub fn unexpected(&self) -> usize {
        self.total().unexpected()
    }

    /// Whether the run ended before its last test, because of an option.
    pub fn stopped(&self) -> bool {
        self.stopped
    }

    /// The run's exit code for these verdicts; an interrupted run has [`exit_code::INTERRUPTED`]
    /// whatever they are.
    ///
    /// Lost VMs and unavailable kernels outweigh failed tests, because they mean that the result is
    /// incomplete. A run that ended early has failed, at least because of the missing rest; so has
    /// one with a kernel report between tests.
    pub fn exit_code(&self) -> u8 {
        let provided = self.kernels.iter().filter(|tally| !tally.failed);
        let missing = provided
            .map(|tally| tally.missing())
            .fold(0, usize::saturating_add);
        if self.planned() == 0 {
            exit_code::NOTHING_SELECTED
        } else if self.count(Verdict::Lost) > 0 || (missing > 0 && !self.stopped) {
            exit_code::VM_LOST
        } else if self.kernels.iter().any(|tally| tally.failed) {
            exit_code::SETUP_FAILED
        } else if self.unexpected() > 0
            || self.missing() > 0
            || self.kernels.iter().any(|tally| tally.reports > 0)
        {
            exit_code::TESTS_FAILED
        } else {
            exit_code::OK
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples::{finished, started};
    use crate::run::event::{KernelFailed, RunStopped};

    fn tally(tests: usize, verdicts: &[(&str, Verdict)]) -> Tally {
        let mut tally = Tally::default();
        tally.observe(&started(&["5.10", "6.1"], tests).event);
        for (kernel, verdict) in verdicts {
            // Some suites have two tests of the same name.
            tally.observe(&finished(kernel, "a.b", *verdict, "").event);
        }
        tally
    }

    #[test]
    fn the_cases_of_a_command_count_beside_the_planned_tests() {
        let mut tally = tally(1, &[("5.10", Verdict::Pass), ("6.1", Verdict::Pass)]);
        let mut record = finished("6.1", "a.case", Verdict::Fail, "");
        if let Event::TestFinished(result) = &mut record.event {
            result.case_of = Some("a.b".into());
        }
        tally.observe(&record.event);
        assert_eq!((tally.finished(), tally.missing()), (3, 0));
        assert_eq!(tally.exit_code(), exit_code::TESTS_FAILED);
    }

    #[test]
    fn tests_of_the_same_name_are_counted_separately() {
        let tally = tally(2, &[("6.1", Verdict::Pass), ("6.1", Verdict::Pass)]);
        assert_eq!(tally.kernels[1].count(Verdict::Pass), 2);
        assert_eq!(tally.missing(), 2);
    }

    #[test]
    fn skips_and_passes_are_as_expected() {
        let tally = tally(1, &[("5.10", Verdict::Skip), ("6.1", Verdict::Pass)]);
        assert_eq!(tally.exit_code(), exit_code::OK);
    }

    #[test]
    fn every_bad_verdict_has_its_exit_code() {
        for (verdict, code) in [
            (Verdict::Fail, exit_code::TESTS_FAILED),
            (Verdict::Timeout, exit_code::TESTS_FAILED),
            (Verdict::Error, exit_code::TESTS_FAILED),
            (Verdict::Lost, exit_code::VM_LOST),
        ] {
            let tally = tally(1, &[("5.10", Verdict::Pass), ("6.1", verdict)]);
            assert_eq!(tally.exit_code(), code, "{verdict}");
        }
    }

    #[test]
    fn a_test_without_a_verdict_did_not_pass() {
        let tally = tally(1, &[("5.10", Verdict::Pass)]);
        assert_eq!(tally.exit_code(), exit_code::VM_LOST);
    }

    #[test]
    fn an_unavailable_kernel_outweighs_failures_but_not_a_lost_vm() {
        let failed = Event::KernelFailed(KernelFailed {
            kernel: "5.10".into(),
            reason: "gone".into(),
            hints: Vec::new(),
        });
        for (verdict, code) in [
            (Verdict::Pass, exit_code::SETUP_FAILED),
            (Verdict::Fail, exit_code::SETUP_FAILED),
            (Verdict::Lost, exit_code::VM_LOST),
        ] {
            let mut tally = tally(1, &[("6.1", verdict)]);
            tally.observe(&failed);
            assert_eq!(tally.exit_code(), code, "{verdict}");
            assert_eq!(tally.missing(), 1, "its tests did not run");
        }
        let mut tally = tally(2, &[("6.1", Verdict::Pass)]);
        tally.observe(&failed);
        assert_eq!(tally.exit_code(), exit_code::VM_LOST, "6.1 lacks one");
    }

    #[test]
    fn a_run_that_was_to_end_early_has_lost_nothing_and_not_passed() {
        let mut tally = tally(1, &[("5.10", Verdict::Pass)]);
        tally.observe(&Event::RunStopped(RunStopped {
            why: crate::run::event::StopReason::GlobalTimeout,
            message: String::new(),
        }));
        assert_eq!(tally.exit_code(), exit_code::TESTS_FAILED);
    }

    #[test]
    fn no_test_at_all_is_an_error() {
        assert_eq!(Tally::default().exit_code(), exit_code::NOTHING_SELECTED);
    }

    #[test]
    fn suites_count_apart() {
        let mut tally = Tally::default();
        let mut start = started(&["6.1"], 3).event;
        if let Event::RunStarted(start) = &mut start {
            start.suites = vec!["bpftrace".into(), "bcc".into()];
            start.kernels[0].suites = vec![1, 2];
        }
        tally.observe(&start);
        tally.observe(&finished("6.1", "a.b", Verdict::Pass, "").event);
        assert_eq!(tally.suites(), ["bpftrace", "bcc"]);
        let missing: Vec<_> = tally.kernels[0]
            .suites
            .iter()
            .map(|suite| suite.counts.missing())
            .collect();
        assert_eq!(missing, [0, 2]);
    }
}
