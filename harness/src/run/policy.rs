//! How often a test runs, and when a run ends before its last test.

use std::time::Duration;

/// How to count a test that passed only after a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum FlakyResult {
    /// As a pass.
    #[default]
    Pass,
    /// As a failure.
    Fail,
}

/// How often to run each test, whatever its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Repeat {
    /// Once, apart from [`Policies::retries`].
    #[default]
    Once,
    /// This many times; one failing run fails the test.
    Times(u32),
    /// In rounds, until a test fails or, with a number, all have run this many times.
    UntilFail(Option<u32>),
}

/// How often a test runs, and when a run ends before its last test.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policies {
    /// How often to retry a failed test.
    pub retries: u32,
    /// How to count a test that passed only on a later attempt.
    pub flaky_result: FlakyResult,
    /// How often each test runs.
    pub repeat: Repeat,
    /// Start no more tests once this many have failed.
    pub max_fail: Option<u32>,
    /// The run ends after this time; tests still running time out.
    pub global_timeout: Option<Duration>,
    /// Report a test as slow after this time; by its own limits if not given.
    pub slow_timeout: Option<Duration>,
    /// Each test gets a VM in which nothing has run yet.
    pub fresh_vm: bool,
}
