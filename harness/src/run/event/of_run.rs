//! Events about a run as a whole.

use serde::{Deserialize, Serialize};

/// A kernel of a run and its number of tests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelPlan {
    /// Its name in `kernels.toml`.
    pub name: String,
    /// How many tests it will run, without the cases that a command reports, which are not known
    /// yet.
    pub tests: usize,
    /// The same for each suite, in the order of the run's suites; empty in files older than this
    /// field.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suites: Vec<usize>,
    /// How long its tests took in earlier runs, in milliseconds, if that is known of any; those of
    /// which it is not count as the mean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_ms: Option<u64>,
}

/// The plan is complete; nothing has booted yet. Always the first event.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunStarted {
    /// [`SCHEMA`](super::SCHEMA).
    pub schema: u32,
    /// Version of kiln.
    pub version: String,
    /// Start time, as RFC 3339 in UTC; records count from here.
    pub started_at: String,
    /// kiln's command line.
    #[serde(default)]
    pub command: Vec<String>,
    /// The same without options that select kernels and tests, or only say how often and where to
    /// run: with a kernel and a test added, it runs that test again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub again: Vec<String>,
    /// The working directory; relative paths are relative to it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cwd: String,
    /// The kernels, in report order.
    pub kernels: Vec<KernelPlan>,
    /// The suites, by their names in `kernels.toml`.
    pub suites: Vec<String>,
    /// The part of the tests that this run has, as `--shard` names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<String>,
    /// `started_at` of the run that this one repeats: all its tests are tests of that run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rerun_of: Option<String>,
}

/// The program that a suite tests, and how its tests are read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuiteReady {
    /// Name of the suite.
    pub suite: String,
    /// The program under test, in the guest.
    pub subject: String,
    /// Its version, if kiln can find it on the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Language of the tests, for bpftrace's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dialect: Option<String>,
    /// The options of `kiln run` that only suites of this kind take, as
    /// `--name`: the line that reproduces a test of another kind of suite
    /// leaves them out. Empty in files that are older than this field.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

/// Why a run ends before its last test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// `--max-fail` tests have failed.
    MaxFail,
    /// The time of `--global-timeout` is over.
    GlobalTimeout,
}

/// The run ends before its last test, because of an option; tests without a verdict get none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunStopped {
    /// Why.
    pub why: StopReason,
    /// Why, in one line, for people.
    pub message: String,
}

/// Something that the user should know; the run continues.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// Name of the kernel it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// What, in one line.
    pub message: String,
}

/// The run is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunFinished {
    /// kiln's exit code, see [`crate::exit_code`].
    pub exit_code: u8,
    /// Wall time of the run, in milliseconds.
    pub duration_ms: u64,
}
