//! Which verdicts the terminal shows, during the run and at its end.

use clap::ValueEnum;

use super::class::Class;
use crate::run::event::TestResult;

/// Which lines a run shows. Each level includes the ones before it. The names are those of
/// cargo-nextest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum StatusLevel {
    /// No verdicts
    None,
    /// Verdicts that are not as expected
    Fail,
    /// Flaky tests, and failed attempts that are retried
    #[value(alias = "flaky")]
    Retry,
    /// Tests that take most of their time limit
    Slow,
    /// Passes, known failures, and VMs that are up
    Pass,
    /// Skipped tests
    Skip,
    /// Everything
    All,
}

/// Which verdicts to show when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Levels {
    /// As they happen.
    pub status: StatusLevel,
    /// Again at the end, with unexpected ones in full.
    pub at_end: StatusLevel,
    /// At the end, show failures with one cause once.
    pub group: bool,
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

    /// The lowest level that shows an attempt that another attempt follows.
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
