//! Events about a run as a whole.

use serde::{Deserialize, Serialize};

/// A kernel of a run and how much it is to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelPlan {
    /// Its name in `kernels.toml`.
    pub name: String,
    /// How many tests it is to run; the cases that a command reports are not
    /// known before and not among them.
    pub tests: usize,
    /// The same for each suite, in the order of the run's suites; empty in
    /// files of before this field.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suites: Vec<usize>,
}

/// The plan stands; nothing has booted yet. Always the first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunStarted {
    /// [`SCHEMA`](super::SCHEMA).
    pub schema: u32,
    /// Version of kiln.
    pub version: String,
    /// When, as RFC 3339 in UTC; offsets of records count from here.
    pub started_at: String,
    /// kiln's command line.
    #[serde(default)]
    pub command: Vec<String>,
    /// The same without what selects kernels and tests, and without what
    /// only says how often and where to run: with a kernel and a test
    /// added, it runs that one again.
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
}

/// What a suite tests, and how it is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuiteReady {
    /// Name of the suite.
    pub suite: String,
    /// The program under test, in the guest.
    pub subject: String,
    /// Its version, where it can be asked on the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Language of the tests, for bpftrace's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dialect: Option<String>,
}

/// Why a run ends before its last test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// As many tests have failed as the user wants to see fail.
    MaxFail,
    /// The time for the whole run is up.
    GlobalTimeout,
}

/// The run ends before its last test, as it was asked to; tests that have
/// no verdict by now get none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunStopped {
    /// Why.
    pub why: StopReason,
    /// Why, in one line for people.
    pub message: String,
}

/// Something the user should know, and the run goes on.
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
    /// kiln's exit code, of [`crate::exit_code`].
    pub exit_code: u8,
    /// Wall time of the run, in milliseconds.
    pub duration_ms: u64,
}
