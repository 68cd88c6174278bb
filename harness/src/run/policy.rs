//! How often a test runs, and when a run ends before its last test.

use std::time::Duration;

/// What a test means that passed only after an attempt that did not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum FlakyResult {
    /// It has passed.
    #[default]
    Pass,
    /// It has failed.
    Fail,
}

/// How often each test is to run, whatever comes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Repeat {
    /// Once, and again only by [`Policies::retries`].
    #[default]
    Once,
    /// So many times; one run that fails fails the test.
    Times(u32),
    /// Round after round, until a test fails or, where there is a number, all
    /// have run so many times.
    UntilFail(Option<u32>),
}

/// How often a test runs, and when a run ends before its last test.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policies {
    /// How often a test that failed is tried again.
    pub retries: u32,
    /// What a test means that passed only at a later attempt.
    pub flaky_result: FlakyResult,
    /// How often each test runs.
    pub repeat: Repeat,
    /// No test is started any more once so many have failed.
    pub max_fail: Option<u32>,
    /// The run ends after so long; what runs then has timed out.
    pub global_timeout: Option<Duration>,
    /// A test that has run for so long is told as slow; by its own limits if
    /// not given.
    pub slow_timeout: Option<Duration>,
    /// Each test gets a VM that nothing has run in.
    pub fresh_vm: bool,
}
