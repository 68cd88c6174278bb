//! Which verdicts the terminal tells, while the run goes on and at its end.

use clap::ValueEnum;

use super::class::Class;
use crate::run::event::TestResult;

/// Which lines a run shows as it goes on. Each level shows what those before it
/// show. The names are cargo-nextest's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum StatusLevel {
    /// No verdict
    None,
    /// Verdicts that are not as expected
    Fail,
    /// Flaky tests, and attempts that failed and are tried again
    #[value(alias = "flaky")]
    Retry,
    /// Tests that run for most of their time limit
    Slow,
    /// Passes, known failures, and VMs that are up
    Pass,
    /// Skipped tests
    Skip,
    /// Everything
    All,
}

/// Which verdicts are told when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Levels {
    /// As they happen.
    pub status: StatusLevel,
    /// Again at the end: those that are not as expected in full.
    pub at_end: StatusLevel,
}

impl StatusLevel {
    /// The lowest level that shows this verdict.
    pub(super) fn of(result: &TestResult) -> Self {
        match Class::of(result) {
            Class::Pass | Class::XFail => Self::Pass,
            Class::Skip => Self::Skip,
            Class::Flaky => Self::Retry,
            Class::XPass | Class::Fail | Class::Timeout | Class::Lost | Class::Error => Self::Fail,
        }
    }

    /// The lowest level that shows an attempt that another one follows.
    pub(super) fn of_attempt(result: &TestResult) -> Self {
        match Self::of(result) {
            Self::Fail => Self::Retry,
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples::{known, result};
    use crate::run::event::{KnownResult, Verdict};

    #[test]
    fn each_verdict_has_its_level() {
        let fail = result("6.1", "a.b", Verdict::Fail, "");
        assert_eq!(StatusLevel::of(&fail), StatusLevel::Fail);
        assert_eq!(StatusLevel::of_attempt(&fail), StatusLevel::Retry);
        let known = known(fail, KnownResult::Fail);
        assert_eq!(StatusLevel::of(&known), StatusLevel::Pass);
        let flaky = TestResult {
            flaky: true,
            ..result("6.1", "a.b", Verdict::Pass, "")
        };
        assert_eq!(StatusLevel::of(&flaky), StatusLevel::Retry);
        let skip = result("6.1", "a.b", Verdict::Skip, "");
        assert_eq!(StatusLevel::of(&skip), StatusLevel::Skip);
    }
}
