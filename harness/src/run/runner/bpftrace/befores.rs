//! BEFORE: starts the processes that run beside a test, and waits until they are ready.

use guest_init::message::{ProcessId, Status};

use super::context::TestContext;
use crate::run::driver::Driver;
use crate::suite::bpftrace::{Job, UNLIMITED};
use crate::vm::control::Error;

/// The processes that run beside a test.
#[derive(Debug, Default)]
pub(super) struct Befores {
    /// Pid of the first, by its name.
    pub(super) first_pid: Option<i32>,
    /// The first process of the namespace that the others enter.
    pub(super) namespace: Option<u32>,
    pub(super) processes: Vec<ProcessId>,
}

/// Starts every BEFORE and waits until each has its name; returns why not.
///
/// What we start has its name as soon as it runs, because execve sets it. Only the program that a
/// wrapper starts must be awaited.
pub(super) async fn start_befores(
    driver: &mut Driver<'_>,
    job: &Job,
    context: &TestContext<'_>,
) -> Result<Result<Befores, String>, Error> {
    let mut befores = Befores::default();
    let limit = job.timeout.unwrap_or(UNLIMITED);
    let by = driver.limit(limit);
    let mut awaited = 0;
    for (index, before) in job.befores.iter().enumerate() {
        let (argv, direct) = match (job.new_pidns, index, befores.namespace) {
            (true, 0, _) => (Job::unshare_argv(before), false),
            (true, _, Some(pid)) => {
                let argv = Job::nsenter_argv(pid).into_iter();
                (argv.chain(before.argv.iter().cloned()).collect(), false)
            }
            _ => (before.argv.clone(), before.direct),
        };
        if !direct {
            awaited += 1;
            driver.await_comm(&before.comm).await?;
        }
        let process = driver.spawn(&argv, &job.before_env, context.cwd).await?;
        let state = driver.process(process);
        if let Some(failure) = &state.failure {
            return Ok(Err(format!("it could not be started: {failure}")));
        }
        let started = state.pid.filter(|_| direct);
        befores.processes.push(process);
        let processes = &befores.processes;
        // The others need the namespace that the first one creates, and the command needs its pid.
        let all = index + 1 == job.befores.len();
        let wanted = if index == 0 || all { awaited } else { 0 };
        let ready = |driver: &Driver<'_>| {
            driver.comms_seen() >= wanted
                || processes.iter().any(|&process| failed(driver, process))
        };
        if !driver.until(by.clone(), ready).await? {
            return Ok(Err(format!(
                "no process `{}` within {:.0} s",
                before.comm,
                limit.as_secs_f64()
            )));
        }
        if driver.comms_seen() < wanted
            && let Some(&process) = processes.iter().find(|&&process| failed(driver, process))
        {
            let output = String::from_utf8_lossy(&driver.process(process).output).into_owned();
            return Ok(Err(format!("it ended before it was ready: {output}")));
        }
        if index == 0 {
            befores.first_pid = started.or_else(|| driver.pid_of(&before.comm));
            if job.new_pidns {
                befores.namespace = befores.first_pid.and_then(|pid| u32::try_from(pid).ok());
            }
        }
    }
    Ok(Ok(befores))
}

/// A BEFORE that failed; one that succeeded may just be quick.
fn failed(driver: &Driver<'_>, process: ProcessId) -> bool {
    driver
        .process(process)
        .outcome
        .is_some_and(|outcome| outcome.status != Status::Exited(0))
}
