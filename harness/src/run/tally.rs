//! Counts verdicts, and says what they mean for the exit code.

use super::event::{Event, Verdict};
use crate::exit_code;

/// How many tests of one kernel ended how.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KernelTally {
    /// Name of the kernel.
    pub kernel: String,
    counts: [usize; 6],
}

impl KernelTally {
    /// How many tests have this verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.counts[verdict as usize]
    }

    /// How many tests have any verdict.
    pub fn finished(&self) -> usize {
        self.counts.iter().sum()
    }
}

/// The verdicts of a run so far: a fold over its events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// In the order the run names its kernels.
    pub kernels: Vec<KernelTally>,
    tests: usize,
}

impl Tally {
    /// Takes the next event into account.
    pub fn observe(&mut self, event: &Event) {
        match event {
            Event::RunStarted { kernels, tests, .. } => {
                for kernel in kernels {
                    self.kernel(kernel);
                }
                self.tests = *tests;
            }
            Event::TestFinished {
                kernel, verdict, ..
            } => self.kernel(kernel).counts[*verdict as usize] += 1,
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

    /// How many verdicts the run is to have.
    pub fn planned(&self) -> usize {
        self.tests * self.kernels.len()
    }

    /// How many tests have no verdict.
    pub fn missing(&self) -> usize {
        self.planned().saturating_sub(self.finished())
    }

    /// What the run's exit code says of these verdicts; an interrupted run has
    /// [`exit_code::INTERRUPTED`] whatever they are.
    ///
    /// A lost VM outweighs failed tests: it says that the picture is not whole.
    pub fn exit_code(&self) -> u8 {
        let bad = [Verdict::Fail, Verdict::Timeout, Verdict::Error];
        if self.planned() == 0 {
            exit_code::NOTHING_SELECTED
        } else if self.count(Verdict::Lost) > 0 || self.missing() > 0 {
            exit_code::VM_LOST
        } else if bad.into_iter().any(|verdict| self.count(verdict) > 0) {
            exit_code::TESTS_FAILED
        } else {
            exit_code::OK
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(tests: usize, verdicts: &[(&str, Verdict)]) -> Tally {
        let mut tally = Tally::default();
        tally.observe(&Event::RunStarted {
            version: String::new(),
            started_at: String::new(),
            kernels: vec!["5.10".into(), "6.1".into()],
            suites: Vec::new(),
            tests,
        });
        for (kernel, verdict) in verdicts {
            tally.observe(&Event::TestFinished {
                kernel: (*kernel).to_owned(),
                // Suites do have two tests of one name.
                id: "a.b".into(),
                verdict: *verdict,
                reason: None,
                duration_ms: 0,
                output: String::new(),
                details: String::new(),
            });
        }
        tally
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
    fn no_test_at_all_is_an_error() {
        assert_eq!(Tally::default().exit_code(), exit_code::NOTHING_SELECTED);
    }
}
