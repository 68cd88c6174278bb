//! The result of a test for a reader: its verdict, and whether that was expected.

use super::History;
use crate::run::event::{KnownResult, TestResult, Verdict, is_expected};

/// A result as the reader sees it; every test has exactly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Class {
    Pass,
    /// Passes, but not on the first attempt.
    Flaky,
    /// Passes, but is known to fail: pytest's term.
    XPass,
    Fail,
    Timeout,
    /// Does not pass, and is known not to: pytest's term.
    XFail,
    Skip,
    Lost,
    Error,
}

impl Class {
    /// In the order of reports.
    pub(super) const ALL: [Self; 9] = [
        Self::Pass,
        Self::Flaky,
        Self::XPass,
        Self::Fail,
        Self::Timeout,
        Self::XFail,
        Self::Skip,
        Self::Lost,
        Self::Error,
    ];

    pub(super) fn of(result: &TestResult) -> Self {
        let known = result.known.as_ref().map(|known| known.result);
        Self::given(result.verdict, known, result.flaky)
    }

    /// Of a verdict, what is known of the test, and whether its attempts differed.
    pub(super) fn given(verdict: Verdict, known: Option<KnownResult>, flaky: bool) -> Self {
        let expected = is_expected(verdict, known);
        match verdict {
            Verdict::Pass if !expected => Self::XPass,
            Verdict::Pass if flaky => Self::Flaky,
            Verdict::Pass => Self::Pass,
            Verdict::Skip => Self::Skip,
            _ if expected => Self::XFail,
            Verdict::Fail => Self::Fail,
            Verdict::Timeout => Self::Timeout,
            Verdict::Lost => Self::Lost,
            Verdict::Error => Self::Error,
        }
    }

    /// How many tests of a run have this result.
    pub(super) fn count(self, history: &History) -> usize {
        let outcomes = history.outcomes.iter();
        outcomes
            .filter(|outcome| Self::of(&outcome.result) == self)
            .count()
    }

    /// It needs attention.
    pub(super) fn is_unexpected(self) -> bool {
        matches!(
            self,
            Self::Fail | Self::Timeout | Self::Lost | Self::Error | Self::XPass
        )
    }

    /// Its column heading; at the start of a line it is in capitals.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Flaky => "flaky",
            Self::XPass => "xpass",
            Self::Fail => "fail",
            Self::Timeout => "timeout",
            Self::XFail => "xfail",
            Self::Skip => "skip",
            Self::Lost => "lost",
            Self::Error => "error",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples::{known, result};

    #[test]
    fn a_test_is_what_it_does_as_far_as_that_is_not_known() {
        for (verdict, unknown, fails) in [
            (Verdict::Pass, Class::Pass, Class::XPass),
            (Verdict::Fail, Class::Fail, Class::XFail),
            (Verdict::Timeout, Class::Timeout, Class::XFail),
            (Verdict::Skip, Class::Skip, Class::Skip),
            (Verdict::Lost, Class::Lost, Class::Lost),
            (Verdict::Error, Class::Error, Class::Error),
        ] {
            let result = result("6.1", "a.b", verdict, "");
            assert_eq!(Class::of(&result), unknown);
            assert_eq!(Class::of(&known(result, KnownResult::Fail)), fails);
        }
    }

    #[test]
    fn a_flaky_test_that_passes_is_flaky_and_one_that_fails_fails() {
        let flaky = |verdict| TestResult {
            flaky: true,
            ..result("6.1", "a.b", verdict, "")
        };
        assert_eq!(Class::of(&flaky(Verdict::Pass)), Class::Flaky);
        assert_eq!(Class::of(&flaky(Verdict::Fail)), Class::Fail);
    }
}
