//! Runs a helper command in a guest to its end: `bpftrace --info`, modprobe, preflight checks, a
//! test's REQUIRES, SETUP and CLEANUP.

use std::ffi::OsStr;
use std::time::Duration;

use guest_init::message::{ProcessId, Status};

use super::driver::{Driver, SpawnOptions};
use crate::vm::control::Error;

/// What to run, and for how long.
#[derive(Debug, Clone, Copy)]
pub(super) struct Helper<'a, V = String> {
    pub(super) argv: &'a [String],
    pub(super) env: &'a [(String, V)],
    pub(super) cwd: &'a str,
    pub(super) options: SpawnOptions,
    /// It is ended after this much of the guest's own time.
    pub(super) limit: Duration,
    /// Between SIGTERM and SIGKILL then, likewise.
    pub(super) grace: Duration,
    /// What it starts may keep running and hold its output open: do not wait for that.
    pub(super) leaves_others: bool,
}

/// The result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Helped {
    /// It could not be started, and why.
    NotStarted(String),
    /// It was ended at its limit.
    TooLong(Said),
    /// It ended by itself.
    Ended(Status, Said),
}

/// What it printed on both streams.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) output: Vec<u8>,
    /// Bytes dropped because there were too many.
    pub(super) dropped: u64,
}

impl<V: AsRef<OsStr>> Helper<'_, V> {
    /// Runs it. An error means that the VM is lost.
    pub(super) async fn run(self, driver: &mut Driver<'_>) -> Result<Helped, Error> {
        let process = driver
            .spawn_with(self.argv, self.env, self.cwd, self.options)
            .await?;
        let over = |driver: &Driver<'_>| {
            let state = driver.process(process);
            if self.leaves_others {
                state.over()
            } else {
                state.drained()
            }
        };
        let in_time = driver.until(driver.limit(self.limit), over).await?;
        if !in_time {
            driver.end(process, self.grace).await?;
        }
        Ok(outcome(driver, process, in_time))
    }
}

fn outcome(driver: &Driver<'_>, process: ProcessId, in_time: bool) -> Helped {
    let state = driver.process(process);
    let said = Said {
        output: state.output.clone(),
        dropped: state.dropped,
    };
    match (&state.failure, &state.outcome) {
        (Some(why), _) => Helped::NotStarted(why.clone()),
        (None, Some(outcome)) if in_time => Helped::Ended(outcome.status, said),
        (None, _) => Helped::TooLong(said),
    }
}
