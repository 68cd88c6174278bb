//! Events about a test, and its results.

use serde::{Deserialize, Serialize};

use crate::suite::{Source, Verdict};

/// Every verdict, in the order reports show them.
pub const VERDICTS: [Verdict; 6] = [
    Verdict::Pass,
    Verdict::Fail,
    Verdict::Timeout,
    Verdict::Skip,
    Verdict::Lost,
    Verdict::Error,
];

/// What a test is known to do, from `expectations.toml`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KnownResult {
    /// It fails, or runs into its time limit; a pass is unexpected.
    Fail,
    /// It may pass or fail.
    Flaky,
    /// It is not run.
    Skip,
}

/// An entry of `expectations.toml` that holds for a test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// What is known.
    pub result: KnownResult,
    /// Why, for people.
    pub reason: String,
    /// Where to read more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
}

/// A test begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestStarted {
    /// Name of the kernel.
    pub kernel: String,
    /// The VM.
    pub vm: u32,
    /// Name of the suite.
    pub suite: String,
    /// `suite.name`.
    pub id: String,
    /// Counts the attempts at this test on this kernel, from 1.
    pub attempt: u32,
}

/// A test has run for most of its time limits, or for `--slow-timeout`; at
/// most once an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestSlow {
    /// Name of the kernel.
    pub kernel: String,
    /// The VM.
    pub vm: u32,
    /// `suite.name`.
    pub id: String,
    /// How long it has run, in milliseconds.
    pub elapsed_ms: u64,
}

/// How one attempt at a test ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TestResult {
    /// Name of the kernel.
    pub kernel: String,
    /// The VM.
    pub vm: u32,
    /// Name of the suite in `kernels.toml`.
    pub suite: String,
    /// The test's id: `suite.name`.
    pub id: String,
    /// The test that reported this as one of its cases, by its id: a command
    /// that speaks TAP or writes a JUnit file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub case_of: Option<String>,
    /// Where it stands, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// Counts the attempts at this test on this kernel, from 1.
    pub attempt: u32,
    /// The verdict.
    pub verdict: Verdict,
    /// Why, in one line; `None` where a pass needs no reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Some of its attempts passed and some did not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub flaky: bool,
    /// What is known of this test, where something is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known: Option<Known>,
    /// Wall time on the host, in milliseconds.
    pub duration_ms: u64,
    /// What the test printed, bounded by [`bounded_text`](super::bounded_text); untrusted.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub output: String,
    /// For a reader: command, expectations against findings; untrusted.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub details: String,
    /// Names of the differences from upstream's engine that had a part in the
    /// verdict (docs/verdicts.md).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<String>,
}

impl TestResult {
    /// Whether the verdict is one that needs nobody's attention: as the test
    /// itself has it, or as it is known to end.
    pub fn is_expected(&self) -> bool {
        let good = matches!(self.verdict, Verdict::Pass | Verdict::Skip);
        let bad = matches!(self.verdict, Verdict::Fail | Verdict::Timeout);
        match self.known.as_ref().map(|known| known.result) {
            None => good,
            Some(KnownResult::Fail) => bad || self.verdict == Verdict::Skip,
            Some(KnownResult::Flaky) => good || bad,
            Some(KnownResult::Skip) => self.verdict == Verdict::Skip,
        }
    }
}
