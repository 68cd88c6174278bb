//! Events about a test, and its results.

use serde::{Deserialize, Serialize};

use crate::suite::{Location, Verdict};

/// Every verdict, in the order reports show them.
pub const VERDICTS: [Verdict; 6] = [
    Verdict::Pass,
    Verdict::Fail,
    Verdict::Timeout,
    Verdict::Skip,
    Verdict::Lost,
    Verdict::Error,
];

/// The known result of a test, from `expectations.toml`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KnownResult {
    /// It fails, or reaches its time limit; a pass is unexpected.
    Fail,
    /// It may pass or fail.
    Flaky,
    /// It does not run.
    Skip,
}

/// An entry of `expectations.toml` that matches a test.
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

/// A test starts.
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
    /// How long it took in earlier runs, in milliseconds; the mean of the kernel's tests if only
    /// that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_ms: Option<u64>,
}

/// A test has run for most of its time limits, or for `--slow-timeout`. At most once per attempt.
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
    /// The same in the guest's own time; `None` if an older kiln did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guest_ms: Option<u64>,
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
    /// Where it is defined, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Location>,
    /// Counts the attempts at this test on this kernel, from 1.
    pub attempt: u32,
    /// The verdict.
    pub verdict: Verdict,
    /// Why, in one line; `None` if a pass needs no reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Some of its attempts passed and some did not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub flaky: bool,
    /// The known result of this test, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known: Option<Known>,
    /// Wall time on the host, in milliseconds.
    pub duration_ms: u64,
    /// The guest's own time, in which limits count; `None` if it did not run in a VM, or the VM was
    /// lost, or an older kiln did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guest_ms: Option<u64>,
    /// What the test printed, limited by [`bounded_text`](super::bounded_text); untrusted.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub output: String,
    /// For people: the command, what was expected and what was found; untrusted.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub details: String,
    /// Names of the differences from upstream's engine that affected the verdict
    /// (docs/verdicts.md).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<String>,
    /// What came on the console while it ran, if it was not as expected; untrusted. A lost VM's
    /// console is in `details`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub console: String,
}

impl TestResult {
    /// Whether the verdict needs no attention: it is good, or it is the known result.
    pub fn is_expected(&self) -> bool {
        is_expected(self.verdict, self.known.as_ref().map(|known| known.result))
    }
}

/// Whether a verdict needs no attention where this is known of the test.
pub fn is_expected(verdict: Verdict, known: Option<KnownResult>) -> bool {
    let good = matches!(verdict, Verdict::Pass | Verdict::Skip);
    let bad = matches!(verdict, Verdict::Fail | Verdict::Timeout);
    match known {
        None => good,
        Some(KnownResult::Fail) => bad || verdict == Verdict::Skip,
        Some(KnownResult::Flaky) => good || bad,
        Some(KnownResult::Skip) => verdict == Verdict::Skip,
    }
}
