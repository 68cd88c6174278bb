//! How often a test runs, and when a run ends before its last test.

use std::time::Duration;

use clap::Args;

use crate::run::policy::{FlakyResult, Policies, Repeat};

/// How often a test runs.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Policies")]
pub(super) struct PolicyArgs {
    /// Retry a failed test up to N times; if it then passes, report it as flaky
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with = "repeat")]
    retries: u32,
    /// Whether a flaky test counts as a pass or a failure
    #[arg(long, value_enum, default_value_t, value_name = "RESULT")]
    flaky_result: FlakyResult,
    /// Stop starting tests once N have failed
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_fail: Option<u32>,
    /// The same as --max-fail 1
    #[arg(long, conflicts_with = "max_fail")]
    fail_fast: bool,
    /// Run each test N times; one failure fails the test
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    repeat: Option<u32>,
    /// Repeat all tests until one fails; --repeat limits the rounds
    #[arg(long, conflicts_with = "retries")]
    repeat_until_fail: bool,
    /// End the whole run after this time, such as 90s, 30m or 2h
    #[arg(long, value_name = "TIME", value_parser = crate::duration::parse)]
    global_timeout: Option<Duration>,
    /// Report a test as slow after this time [default: three quarters of its limits]
    #[arg(long, value_name = "TIME", value_parser = crate::duration::parse)]
    slow_timeout: Option<Duration>,
    /// Boot a new VM for each test
    #[arg(long)]
    fresh_vm: bool,
}

impl PolicyArgs {
    /// The policy that the options set.
    pub(super) fn policies(&self) -> Policies {
        Policies {
            retries: self.retries,
            flaky_result: self.flaky_result,
            repeat: match (self.repeat, self.repeat_until_fail) {
                (times, true) => Repeat::UntilFail(times),
                (Some(times), false) => Repeat::Times(times),
                (None, false) => Repeat::Once,
            },
            max_fail: if self.fail_fast {
                Some(1)
            } else {
                self.max_fail
            },
            global_timeout: self.global_timeout,
            slow_timeout: self.slow_timeout,
            fresh_vm: self.fresh_vm,
        }
    }
}
