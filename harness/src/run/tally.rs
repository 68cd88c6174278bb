//! Counts verdicts, and says what they mean for the exit code.

use super::event::{Event, TestResult, Verdict};
use crate::exit_code;

/// How many tests of one kernel ended how.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KernelTally {
    /// Name of the kernel.
    pub kernel: String,
    /// How many verdicts it is to have, the cases of commands aside.
    planned: usize,
    counts: [usize; 6],
    /// Verdicts of cases that a command reported, counted above too.
    cases: usize,
    /// Verdicts that are not as expected.
    unexpected: usize,
    /// Tests that passed after a failed attempt.
    flaky: usize,
}

impl KernelTally {
    /// How many tests have this verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.counts[verdict as usize]
    }

    /// How many verdicts it is to have, cases of commands aside.
    pub fn planned(&self) -> usize {
        self.planned
    }

    /// How many tests have any verdict, cases of commands included.
    pub fn finished(&self) -> usize {
        self.counts.iter().sum()
    }

    /// How many planned tests have no verdict.
    pub fn missing(&self) -> usize {
        self.planned.saturating_sub(self.finished() - self.cases)
    }

    /// How many verdicts are not as expected.
    pub fn unexpected(&self) -> usize {
        self.unexpected
    }

    /// How many tests passed only after an attempt that did not.
    pub fn flaky(&self) -> usize {
        self.flaky
    }

    fn take(&mut self, result: &TestResult) {
        self.counts[result.verdict as usize] += 1;
        self.cases += usize::from(result.case_of.is_some());
        self.unexpected += usize::from(!result.is_expected());
        self.flaky += usize::from(result.flaky);
    }
}

/// The verdicts of a run so far: a fold over its events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// In the order the run names its kernels.
    pub kernels: Vec<KernelTally>,
    /// The run was ended before its last test, as the user wanted.
    stopped: bool,
}

impl Tally {
    /// Takes the next event into account.
    pub fn observe(&mut self, event: &Event) {
        match event {
            Event::RunStarted { kernels, .. } => {
                for kernel in kernels {
                    self.kernel(&kernel.name).planned = kernel.tests;
                }
            }
            Event::TestFinished(result) => self.kernel(&result.kernel).take(result),
            Event::RunStopped { .. } => self.stopped = true,
            _ => {}
        }
    }

    fn kernel(&mut self, name: &str) -> &mut KernelTally {
        let index = self
            .kernels
            .iter()
            .position(|tally| tally.kernel == name)
            .unwrap_or_else(|| {
                self.kernels.push(KernelTally {
                    kernel: name.to_owned(),
                    ..KernelTally::default()
                });
                self.kernels.len() - 1
            });
        &mut self.kernels[index]
    }

    /// How many tests, over all kernels, have this verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.kernels.iter().map(|tally| tally.count(verdict)).sum()
    }

    /// How many verdicts the run has, over all kernels.
    pub fn finished(&self) -> usize {
        self.kernels.iter().map(KernelTally::finished).sum()
    }

    /// How many verdicts the run is to have, cases of commands aside.
    pub fn planned(&self) -> usize {
        self.kernels.iter().map(|tally| tally.planned).sum()
    }

    /// How many planned tests have no verdict.
    pub fn missing(&self) -> usize {
        self.kernels.iter().map(KernelTally::missing).sum()
    }

    /// How many verdicts are not as expected.
    pub fn unexpected(&self) -> usize {
        self.kernels.iter().map(KernelTally::unexpected).sum()
    }

    /// How many tests passed only after an attempt that did not.
    pub fn flaky(&self) -> usize {
        self.kernels.iter().map(KernelTally::flaky).sum()
    }

    /// What the run's exit code says of these verdicts; an interrupted run has
    /// [`exit_code::INTERRUPTED`] whatever they are.
    ///
    /// A lost VM outweighs failed tests: it says that the picture is not whole.
    /// A run that was ended early has failed, for want of the rest at least.
    pub fn exit_code(&self) -> u8 {
        if self.planned() == 0 {
            exit_code::NOTHING_SELECTED
        } else if self.count(Verdict::Lost) > 0 || (self.missing() > 0 && !self.stopped) {
            exit_code::VM_LOST
        } else if self.unexpected() > 0 || self.missing() > 0 {
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

    fn tally(tests: usize, verdicts: &[(&str, Verdict)]) -> Tally {
        let mut tally = Tally::default();
        tally.observe(&started(&["5.10", "6.1"], tests).event);
        for (kernel, verdict) in verdicts {
            // Suites do have two tests of one name.
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
    fn tests_of_one_name_count_apart() {
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
    fn a_run_that_was_to_end_early_has_lost_nothing_and_not_passed() {
        let mut tally = tally(1, &[("5.10", Verdict::Pass)]);
        tally.observe(&Event::RunStopped {
            why: crate::run::event::StopReason::GlobalTimeout,
            message: String::new(),
        });
        assert_eq!(tally.exit_code(), exit_code::TESTS_FAILED);
    }

    #[test]
    fn no_test_at_all_is_an_error() {
        assert_eq!(Tally::default().exit_code(), exit_code::NOTHING_SELECTED);
    }
}
