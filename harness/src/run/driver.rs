//! Drives several processes of one job in a guest: which run, what they have printed, what is
//! awaited.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use guest_init::message::{
    GuestEvent, JobId, Leftover, OutputMode, ProcessExit, ProcessId, ProcessSpec, Request, Stdin,
    Stream,
};
use tokio::time::{Instant, timeout_at};

use super::command::{GUEST_REPLY, close_job};
use crate::vm::control::{Control, EVENT_BACKLOG, Error};
use crate::vm::exec_limit;
use crate::vm::guest_time::Limit;

/// Bytes of one process's output to keep; the rest is dropped with a message. The largest expected
/// output of any upstream test is far below.
pub(super) const MAX_OUTPUT: usize = 4 * 1024 * 1024;

/// For any guest, a longer grace is pointless.
const MAX_GRACE: Duration = Duration::from_secs(15);

/// If we notice a limit this much later, then we were late, not the guest.
const LATE: Duration = Duration::from_millis(500);
/// How long a guest's messages may then take to reach us from the socket, each time and at most.
const CATCH_UP: Duration = Duration::from_millis(200);
const CATCH_UP_AT_MOST: Duration = Duration::from_secs(2);

/// What is known about a process of the job.
#[derive(Debug, Default)]
pub(super) struct Process {
    /// Its pid, once it runs or has run.
    pub(super) pid: Option<i32>,
    /// Why it could not be started.
    pub(super) failure: Option<String>,
    /// What it printed, up to [`MAX_OUTPUT`].
    pub(super) output: Vec<u8>,
    /// Bytes that were dropped.
    pub(super) dropped: u64,
    /// How it ended.
    pub(super) outcome: Option<ProcessExit>,
    /// Its output is closed.
    pub(super) closed: bool,
    /// Its standard output alone, if the streams are separate.
    pub(super) stdout: Vec<u8>,
    /// Bytes of it that were dropped.
    pub(super) stdout_dropped: u64,
    /// The streams are separate.
    separate: bool,
    /// One of the two is closed.
    one_closed: bool,
}

impl Process {
    /// It has ended, or never ran.
    pub(super) fn over(&self) -> bool {
        self.outcome.is_some() || self.failure.is_some()
    }

    /// It has ended and all its output is here.
    pub(super) fn drained(&self) -> bool {
        self.failure.is_some() || (self.outcome.is_some() && self.closed)
    }
}

/// An open job.
pub(super) struct Driver<'c> {
    control: &'c mut Control,
    job: JobId,
    processes: BTreeMap<ProcessId, Process>,
    /// Awaited names that have appeared, with their pids, in order.
    comms: Vec<(String, i32)>,
}

/// How a process is started.
#[derive(Debug, Clone, Copy)]
pub(super) struct SpawnOptions {
    /// Where its output goes.
    pub(super) output: OutputMode,
    /// It runs without ASLR.
    pub(super) addr_no_randomize: bool,
}

impl Default for SpawnOptions {
    fn default() -> Self {
        Self {
            output: OutputMode::Merged,
            addr_no_randomize: false,
        }
    }
}

impl<'c> Driver<'c> {
    /// Opens a job.
    pub(super) fn open(control: &'c mut Control) -> Result<Self, Error> {
        let job = control.open_job()?;
        Ok(Self {
            control,
            job,
            processes: BTreeMap::new(),
            comms: Vec::new(),
        })
    }

    /// Starts a process with merged output and no stdin, and waits until it runs or has failed to
    /// start.
    pub(super) async fn spawn<A: AsRef<OsStr>, V: AsRef<OsStr>>(
        &mut self,
        argv: &[A],
        env: &[(String, V)],
        cwd: &str,
    ) -> Result<ProcessId, Error> {
        self.spawn_with(argv, env, cwd, SpawnOptions::default())
            .await
    }

    /// The same with options.
    pub(super) async fn spawn_with<A: AsRef<OsStr>, V: AsRef<OsStr>>(
        &mut self,
        argv: &[A],
        env: &[(String, V)],
        cwd: &str,
        options: SpawnOptions,
    ) -> Result<ProcessId, Error> {
        let SpawnOptions {
            output,
            addr_no_randomize,
        } = options;
        let bytes = |text: &OsStr| text.as_bytes().to_vec();
        let spec = ProcessSpec {
            argv: argv.iter().map(|word| bytes(word.as_ref())).collect(),
            env: env
                .iter()
                .map(|(key, value)| (key.clone().into_bytes(), bytes(value.as_ref())))
                .collect(),
            cwd: cwd.as_bytes().to_vec(),
            stdin: Stdin::Null,
            output,
            deadline_ms: None,
            addr_no_randomize,
            user: None,
        };
        if let Err(error) = exec_limit::check_spec(&spec) {
            let process = self.control.process_number();
            let state = Process {
                failure: Some(error.to_string()),
                ..Process::default()
            };
            self.processes.insert(process, state);
            return Ok(process);
        }
        let process = self.control.spawn(self.job, spec).await?;
        let state = Process {
            separate: output == OutputMode::Separate,
            ..Process::default()
        };
        self.processes.insert(process, state);
        let deadline = Instant::now() + GUEST_REPLY;
        let ready = |driver: &Self| {
            let process = driver.process(process);
            process.pid.is_some() || process.failure.is_some()
        };
        if self.until(deadline, ready).await? {
            Ok(process)
        } else {
            Err(Error::Deadline {
                what: format!(
                    "the start of {}",
                    argv.first()
                        .map_or_else(Default::default, |name| name.as_ref().to_string_lossy())
                ),
                waited: GUEST_REPLY,
            })
        }
    }

    /// What is known about a process.
    pub(super) fn process(&self, process: ProcessId) -> &Process {
        static UNKNOWN: Process = Process {
            pid: None,
            failure: None,
            output: Vec::new(),
            dropped: 0,
            outcome: None,
            closed: false,
            stdout: Vec::new(),
            stdout_dropped: 0,
            separate: false,
            one_closed: false,
        };
        self.processes.get(&process).unwrap_or(&UNKNOWN)
    }

    /// Starts to await a process of this name; see [`Self::pid_of`].
    pub(super) async fn await_comm(&mut self, comm: &str) -> Result<(), Error> {
        let request = Request::AwaitComm {
            job: self.job,
            comm: comm.to_owned(),
        };
        self.control.send(&request).await
    }

    /// From now on the job's processes see page faults, a few with each heartbeat.
    pub(super) async fn cause_page_faults(&mut self) -> Result<(), Error> {
        let request = Request::CausePageFaults { job: self.job };
        self.control.send(&request).await
    }

    /// How many awaited names have appeared.
    pub(super) fn comms_seen(&self) -> usize {
        self.comms.len()
    }

    /// The pid of the first process that had this awaited name.
    pub(super) fn pid_of(&self, comm: &str) -> Option<i32> {
        self.comms
            .iter()
            .find_map(|(seen, pid)| (seen == comm).then_some(*pid))
    }

    /// A limit that starts now, in the guest's own time.
    pub(super) fn limit(&self, limit: Duration) -> Limit {
        self.control.time.limit(limit)
    }

    /// How long it may take to end what has to end: this much of the guest's own time.
    pub(super) fn grace(&self, grace: Duration) -> Limit {
        self.limit(grace).at_most(MAX_GRACE)
    }

    /// Handles events until `done` is satisfied (true) or `limit` passes (false). Everything that
    /// the guest has sent by then counts, however late we read it.
    pub(super) async fn until(
        &mut self,
        limit: impl Into<Limit>,
        mut done: impl FnMut(&Self) -> bool,
    ) -> Result<bool, Error> {
        let limit = limit.into();
        let passed = limit.passed();
        tokio::pin!(passed);
        while !done(self) {
            let event = tokio::select! {
                // First: a guest that prints endlessly always has a next event.
                biased;
                late = &mut passed => return self.catch_up(late, done).await,
                event = self.control.next() => event,
            };
            self.take_next(event)?;
        }
        Ok(true)
    }

    /// Handles what was sent before a limit passed, so long ago. If kiln was stopped (SIGSTOP, a
    /// swapping host), it is still in a socket.
    async fn catch_up(
        &mut self,
        late: Duration,
        mut done: impl FnMut(&Self) -> bool,
    ) -> Result<bool, Error> {
        let on_time = late < LATE;
        let patience = if on_time { Duration::ZERO } else { CATCH_UP };
        let stop = Instant::now() + CATCH_UP_AT_MOST;
        for _ in 0..EVENT_BACKLOG {
            let Ok(event) =
                timeout_at(stop.min(Instant::now() + patience), self.control.next()).await
            else {
                break;
            };
            self.take_next(event)?;
            if done(self) {
                return Ok(true);
            }
        }
        Ok(done(self))
    }

    fn take_next(&mut self, event: Option<Result<GuestEvent, Error>>) -> Result<(), Error> {
        match event {
            None => Err(Error::Closed {
                what: "the next event of a job".to_owned(),
            }),
            Some(event) => {
                self.take(event?);
                Ok(())
            }
        }
    }

    /// Signals a process's group.
    pub(super) async fn signal(
        &mut self,
        process: ProcessId,
        signal: nix::sys::signal::Signal,
    ) -> Result<(), Error> {
        let request = Request::Signal {
            process,
            signal: signal as i32,
            group: true,
        };
        self.control.send(&request).await
    }

    /// Sends SIGTERM, then after `grace` SIGKILL, to a process's group; waits until it has ended,
    /// and as long again for its last output.
    pub(super) async fn end(&mut self, process: ProcessId, grace: Duration) -> Result<(), Error> {
        self.end_after(process, Some(self.grace(grace)), grace)
            .await
    }

    /// Sends SIGTERM, then after `patience` SIGKILL, to a process's group; without patience, only
    /// SIGKILL. Waits until it has ended, and for `grace` for its last output.
    pub(super) async fn end_after(
        &mut self,
        process: ProcessId,
        patience: Option<Limit>,
        grace: Duration,
    ) -> Result<(), Error> {
        use nix::sys::signal::Signal;
        let over = |driver: &Self| driver.process(process).over();
        let ended = match patience {
            None => false,
            Some(patience) => {
                self.signal(process, Signal::SIGTERM).await?;
                self.until(patience, over).await?
            }
        };
        if !ended {
            self.signal(process, Signal::SIGKILL).await?;
            if !self.until(Instant::now() + GUEST_REPLY, over).await? {
                return Err(Error::Deadline {
                    what: "the end of a killed process".to_owned(),
                    waited: GUEST_REPLY,
                });
            }
        }
        self.drain(process, grace).await
    }

    /// Waits for the last output of a process that has ended. A descendant may hold it open for
    /// ever.
    pub(super) async fn drain(&mut self, process: ProcessId, grace: Duration) -> Result<(), Error> {
        let drained = |driver: &Self| driver.process(process).drained();
        self.until(self.grace(grace), drained).await?;
        Ok(())
    }

    /// Whether every started process has ended.
    pub(super) fn all_over(&self) -> bool {
        self.processes.values().all(Process::over)
    }

    /// The pids of all started processes, except these.
    pub(super) fn pids_except(&self, except: &[ProcessId]) -> BTreeSet<i32> {
        self.processes
            .iter()
            .filter(|(process, _)| !except.contains(process))
            .filter_map(|(_, state)| state.pid)
            .collect()
    }

    /// Leaves the job as it is; [`close_job`] closes it.
    pub(super) fn leave(self) -> JobId {
        self.job
    }

    /// Closes the job; returns what still ran.
    pub(super) async fn close(self) -> Result<Vec<Leftover>, Error> {
        close_job(self.control, self.job).await
    }

    fn take(&mut self, event: GuestEvent) {
        if let GuestEvent::CommSeen { job, comm, pid } = event {
            if job == self.job {
                self.comms.push((comm, pid));
            }
            return;
        }
        let (GuestEvent::Started { process, .. }
        | GuestEvent::SpawnFailed { process, .. }
        | GuestEvent::Output { process, .. }
        | GuestEvent::Closed { process, .. }
        | GuestEvent::Exited { process, .. }) = &event
        else {
            return;
        };
        // Belongs to an earlier job: ignore it.
        let Some(state) = self.processes.get_mut(process) else {
            return;
        };
        match event {
            GuestEvent::Started { pid, .. } => state.pid = Some(pid),
            GuestEvent::SpawnFailed { message, .. } => state.failure = Some(message),
            GuestEvent::Output { data, stream, .. } => {
                if state.separate && stream == Stream::Stdout {
                    state.stdout_dropped += keep(&mut state.stdout, &data);
                }
                state.dropped += keep(&mut state.output, &data);
            }
            GuestEvent::Closed { .. } if state.separate && !state.one_closed => {
                state.one_closed = true;
            }
            GuestEvent::Closed { .. } => state.closed = true,
            GuestEvent::Exited { outcome, .. } => state.outcome = Some(outcome),
            _ => {}
        }
    }
}

/// Appends as much of `data` as [`MAX_OUTPUT`] allows; returns how many bytes were left out.
fn keep(output: &mut Vec<u8>, data: &[u8]) -> u64 {
    let kept = data.len().min(MAX_OUTPUT.saturating_sub(output.len()));
    output.extend_from_slice(&data[..kept]);
    (data.len() - kept) as u64
}

#[cfg(test)]
#[path = "driver_tests.rs"]
mod tests;
