//! One test on one kernel: its attempts so far, and their combined verdict.

use super::event::{TestResult, Verdict};
use super::policy::{FlakyResult, Policies, Repeat};

/// A test that loses this many VMs is not tried again, whatever the policies say.
const MOST_LOST: u32 = 2;

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Attempt {
    pub(super) result: TestResult,
    /// What a command reported, case by case.
    pub(super) cases: Vec<TestResult>,
}

impl From<TestResult> for Attempt {
    fn from(result: TestResult) -> Self {
        Self {
            result,
            cases: Vec::new(),
        }
    }
}

/// A name for files about an attempt at a test.
pub(super) fn file_name(id: &str, attempt: u32) -> String {
    let plain = |letter: char| match letter {
        letter if letter.is_ascii_alphanumeric() => letter,
        '.' | '-' => letter,
        _ => '_',
    };
    let id: String = id.chars().map(plain).take(100).collect();
    format!("{id}-{attempt}")
}

/// What to do after an attempt.
#[derive(Debug, PartialEq)]
pub(super) enum Next {
    /// Try it again at once.
    Retry,
    /// Run it again after all others.
    Repeat,
    /// It has its verdict.
    Done(Box<Attempt>),
}

/// The attempts at one test.
#[derive(Debug, Clone, Default)]
pub(super) struct Attempts {
    made: u32,
    failed: u32,
    lost: u32,
    first_failure: Option<Box<Attempt>>,
    /// The last one, until the next one starts.
    pending: Option<Box<Attempt>>,
    /// The last one that ended, while the next one runs.
    before: Option<Box<Attempt>>,
}

impl Attempts {
    /// The number of the next attempt, from 1.
    pub(super) fn next(&self) -> u32 {
        self.made + 1
    }

    /// Starts the next attempt; returns the previous one, which is now known not to be the last.
    pub(super) fn begin(&mut self) -> Option<Attempt> {
        self.before = self.pending.take();
        self.before.as_deref().cloned()
    }

    /// Whether an attempt has ended.
    pub(super) fn any(&self) -> bool {
        self.made > 0
    }

    /// Adds the result of an attempt. `go_on` is false once the run has no more time for
    /// repetitions.
    pub(super) fn take(&mut self, attempt: Attempt, policies: &Policies, go_on: bool) -> Next {
        self.made += 1;
        let result = &attempt.result;
        let failed = is_failure(result);
        if failed {
            self.failed += 1;
            self.first_failure
                .get_or_insert_with(|| Box::new(attempt.clone()));
        }
        self.lost += u32::from(result.verdict == Verdict::Lost);
        let again = match policies.repeat {
            _ if self.lost >= MOST_LOST || !go_on || result.verdict == Verdict::Skip => false,
            Repeat::Once => failed && self.made <= policies.retries,
            // Do not repeat the failure that ends the run.
            Repeat::Times(times) => {
                self.made < times && (self.failed == 0 || policies.max_fail.is_none())
            }
            Repeat::UntilFail(times) => !failed && times.is_none_or(|times| self.made < times),
        };
        self.pending = Some(Box::new(attempt));
        match (again, policies.repeat) {
            (true, Repeat::Once) => Next::Retry,
            (true, _) => Next::Repeat,
            (false, _) => match self.settle(policies) {
                Some(attempt) => Next::Done(Box::new(attempt)),
                // Set a few lines above.
                None => Next::Retry,
            },
        }
    }

    /// The verdict of a test that has run and will not run again, with the
    /// cases of the run that decided it; `None` if it has not run, or runs.
    pub(super) fn settle(&mut self, policies: &Policies) -> Option<Attempt> {
        let last = *self.pending.take()?;
        if policies.repeat == Repeat::Once {
            return Some(Attempt {
                result: self.after_retries(last.result, policies),
                cases: last.cases,
            });
        }
        let Some(first) = self.first_failure.take() else {
            return Some(last);
        };
        let Attempt {
            result: first,
            mut cases,
        } = *first;
        // It may have been lost before it reported any cases.
        if cases.is_empty() {
            cases = last.cases;
        }
        for case in &mut cases {
            case.attempt = self.made;
        }
        let result = TestResult {
            flaky: self.failed < self.made,
            reason: Some(if self.made == 1 {
                first.reason.unwrap_or_default()
            } else {
                format!(
                    "failed in {} of {} runs, at first in run {}: {}",
                    self.failed,
                    self.made,
                    first.attempt,
                    first.reason.as_deref().unwrap_or("no reason")
                )
            })
            .filter(|reason| !reason.is_empty()),
            attempt: self.made,
            ..first
        };
        Some(Attempt { result, cases })
    }

    /// The verdict of a test whose attempt was cut short by the end of the run: with repetitions,
    /// that of the earlier attempts, else `broken`.
    pub(super) fn break_off(&mut self, broken: TestResult, policies: &Policies) -> Attempt {
        if policies.repeat == Repeat::Once {
            return broken.into();
        }
        let Some(mut before) = self.before.take() else {
            return broken.into();
        };
        if before.result.verdict == Verdict::Pass {
            let reason = format!("{} runs ended before the run's time was up", self.made);
            before.result.reason = Some(reason);
        }
        self.pending = Some(before);
        let mut settled = self
            .settle(policies)
            .unwrap_or_else(|| broken.clone().into());
        for result in settled.cases.iter_mut().chain([&mut settled.result]) {
            result.attempt = broken.attempt;
        }
        settled
    }

    fn after_retries(&self, last: TestResult, policies: &Policies) -> TestResult {
        let Some(first) = self.first_failure.as_deref().map(|first| &first.result) else {
            return last;
        };
        if last.verdict != Verdict::Pass {
            return last;
        }
        let verdict = match policies.flaky_result {
            FlakyResult::Pass => Verdict::Pass,
            FlakyResult::Fail => Verdict::Fail,
        };
        TestResult {
            verdict,
            flaky: true,
            reason: Some(format!(
                "flaky: passed at attempt {}; attempt {} had {}: {}",
                last.attempt,
                first.attempt,
                first.verdict,
                first.reason.as_deref().unwrap_or("no reason")
            )),
            ..last
        }
    }
}

/// Whether to try again after an attempt, which is so for an unexpected failure. An unexpected pass
/// does not change if it is tried again.
fn is_failure(result: &TestResult) -> bool {
    !matches!(result.verdict, Verdict::Pass | Verdict::Skip) && !result.is_expected()
}

#[cfg(test)]
#[path = "attempts_tests.rs"]
mod tests;
