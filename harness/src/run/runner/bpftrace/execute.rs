//! Runs one of bpftrace's runtime tests in a guest: its processes, in order, within its limits.

use std::collections::BTreeSet;
use std::time::Duration;

use guest_init::message::ProcessId;
use nix::sys::signal::Signal;

use super::super::exit::exit;
use super::befores::start_befores;
use super::context::TestContext;
use crate::run::driver::{Driver, MAX_OUTPUT, SpawnOptions};
use crate::run::helper::{Helped, Helper};
use crate::run::leftovers;
use crate::run::stay::{Moment, Still};
use crate::suite::bpftrace::{
    CommandOutcome, End, Job, Limit, LimitEnd, Observation, Rule, Rules, ShellCommand, UNLIMITED,
};
use crate::suite::{Exit, Verdict};
use crate::vm::control::{Control, Error};

// All in the guest's own time.

/// Limit of a REQUIRES, SETUP or CLEANUP. Upstream has none.
const AUXILIARY_LIMIT: Duration = Duration::from_secs(10);
/// Time between SIGTERM and SIGKILL, and for output that descendants still hold open. Upstream's
/// engine waits as long (v0.23, `runner.py`).
const GRACE: Duration = Duration::from_secs(1);
/// How long a command may take to end after SIGTERM where upstream waits forever.
const TERM_LIMIT: Duration = Duration::from_secs(5);
/// The same on the host's clock: what has not ended by then never will.
const MAX_TERM_LIMIT: Duration = Duration::from_secs(30);
/// How long a ready BEFORE runs before it is held: long enough to load its libraries, short enough
/// for programs that act once after a second.
const RUN_UP: Duration = Duration::from_millis(350);
/// What the guest observed, and warnings.
#[derive(Debug)]
pub(super) struct Executed {
    /// For the judge.
    pub(super) observation: Observation,
    /// Warnings, one line each.
    pub(super) notes: Vec<String>,
    /// Something of the test remains in the VM.
    pub(super) unclean: bool,
    /// The rules that made its execution differ from upstream's.
    pub(super) rules: Vec<Rule>,
}

/// Executes a test. `verdict` judges what was observed so far. An error means that the VM is no
/// longer usable.
pub(super) async fn execute(
    control: &mut Control,
    job: &Job,
    context: &TestContext<'_>,
    verdict: &impl AsyncFn(Rules, &Observation) -> Verdict,
    moment: Option<&Moment>,
) -> Result<Executed, Error> {
    let mut executed = Executed {
        observation: Observation::default(),
        notes: Vec::new(),
        unclean: false,
        rules: job.rules.clone(),
    };
    let mut driver = Driver::open(control)?;
    let ready = prepare(&mut driver, job, context, &mut executed.observation).await?;
    // What SETUP leaves running is for the test, and for CLEANUP to end.
    let mut setup = None;
    if job.setup.is_some() {
        setup = Some(driver.leave());
        driver = Driver::open(control)?;
    }
    let process = if ready {
        // `probe.software` waits for one of anybody's.
        driver.cause_page_faults().await?;
        main_part(&mut driver, job, context, &mut executed).await?
    } else {
        None
    };
    if let Some(moment) = context.local_time {
        executed.observation.utc_offset = utc_offset(&mut driver, job, context, moment).await?;
    }
    // We always end BEFORE and AFTER, and a command that reached a limit.
    let at_limit = matches!(executed.observation.end, Some(End::Killed(_)));
    let own = driver.pids_except(process.filter(|_| !at_limit).as_slice());
    if let Some(moment) = moment {
        let verdict = verdict(context.rules, &executed.observation).await;
        if moment.after(verdict).await == Still::Gone {
            executed.unclean = true;
            return Ok(executed);
        }
    }
    let mut remnants = Vec::new();
    let mut over = if let Some(cleanup) = &job.cleanup
        && executed.wants_cleanup(context.rules, verdict).await
    {
        // BEFORE and AFTER have a moment to end by themselves, as with upstream, because CLEANUP
        // may undo what they do last. CLEANUP has its own job, because the test's processes have
        // ended by then.
        driver.until(driver.grace(GRACE), Driver::all_over).await?;
        remnants = leftovers::of_test(driver.close().await?, &own).collect();
        let mut driver = Driver::open(control)?;
        // The test has run: if this cannot be started, the test fails, as with a shell.
        let outcome = auxiliary(&mut driver, cleanup, context).await?;
        executed.observation.cleanup = Some(outcome.unwrap_or_else(|why| CommandOutcome {
            exit: Some(Exit::Code(127)),
            output: why.into_bytes(),
        }));
        vec![(driver.leave(), BTreeSet::new())]
    } else {
        vec![(driver.leave(), own)]
    };
    over.extend(setup.map(|setup| (setup, BTreeSet::new())));
    remnants.extend(leftovers::undo(control, over).await?);
    // Then others cannot be started either, for example because their directory is gone.
    executed.unclean = leftovers::stay(&remnants) || executed.observation.not_started.is_some();
    executed.notes.extend(leftovers::notes(remnants));
    Ok(executed)
}

impl Executed {
    /// Whether to run CLEANUP: whenever something of the test ran, including SETUP. Upstream's
    /// engine skips it after a failed SETUP and after a timeout.
    async fn wants_cleanup(
        &mut self,
        rules: Rules,
        verdict: &impl AsyncFn(Rules, &Observation) -> Verdict,
    ) -> bool {
        let nothing_ran =
            self.observation.not_started.is_some() && self.observation.setup.is_none();
        if self.observation.unmet.is_some() || nothing_ran {
            return false;
        }
        let setup_failed = self
            .observation
            .setup
            .as_ref()
            .is_some_and(|setup| setup.exit != Some(Exit::Code(0)));
        // Upstream's verdict decides whether it runs CLEANUP.
        let upstream = Rules::new(rules.dialect, true);
        let as_upstream =
            !setup_failed && verdict(upstream, &self.observation).await != Verdict::Timeout;
        if !as_upstream && rules.hold(Rule::CleanupAlways) {
            self.rules.push(Rule::CleanupAlways);
            return true;
        }
        as_upstream
    }
}

/// Runs REQUIRES and SETUP; false if the test ends with them.
async fn prepare(
    driver: &mut Driver<'_>,
    job: &Job,
    context: &TestContext<'_>,
    observation: &mut Observation,
) -> Result<bool, Error> {
    for (index, requirement) in job.requires.iter().enumerate() {
        // It runs bpftrace.
        match auxiliary_with(driver, requirement, context, context.options()).await? {
            Ok(outcome) if outcome.succeeded() => {}
            Ok(_) => {
                observation.unmet = Some(index);
                return Ok(false);
            }
            Err(why) => {
                observation.not_started = Some(why);
                return Ok(false);
            }
        }
    }
    if let Some(setup) = &job.setup {
        match auxiliary(driver, setup, context).await? {
            Ok(outcome) => {
                let succeeded = outcome.succeeded();
                observation.setup = Some(outcome);
                return Ok(succeeded);
            }
            Err(why) => {
                observation.not_started = Some(why);
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// From BEFORE to the end of the test's command; returns that if the command ran.
async fn main_part(
    driver: &mut Driver<'_>,
    job: &Job,
    context: &TestContext<'_>,
    executed: &mut Executed,
) -> Result<Option<ProcessId>, Error> {
    let observation = &mut executed.observation;
    let befores = match start_befores(driver, job, context).await? {
        Ok(befores) => befores,
        Err(why) => {
            observation.before_failure = Some(why);
            return Ok(None);
        }
    };
    let held = context.holds_befores(job);
    if held {
        executed.rules.push(Rule::HeldBefore);
        driver.until(driver.limit(RUN_UP), |_| false).await?;
        for &before in &befores.processes {
            driver.signal(before, Signal::SIGSTOP).await?;
        }
    }
    let prefix = befores.namespace.map(Job::nsenter_argv);
    let before_pid = befores.first_pid.and_then(|pid| u32::try_from(pid).ok());
    let mut command = job.command_with(before_pid);
    if let Some(prefix) = &prefix {
        command = format!("{} {command}", prefix.join(" "));
    }
    let process = driver
        .spawn_with(&shell(&command), &job.env, context.cwd, context.options())
        .await?;
    if let Some(failure) = &driver.process(process).failure {
        observation.not_started = Some(failure.clone());
        return Ok(None);
    }
    let held: &[ProcessId] = if held { &befores.processes } else { &[] };
    let watched = watch(driver, job, context, process, prefix.as_ref(), held).await?;
    let state = driver.process(process);
    observation.end = Some(watched.end);
    observation.at_limit = watched.at_limit;
    let befores = befores.processes.iter().map(|&process| ("BEFORE", process));
    let after = watched.after.map(|process| ("AFTER", process));
    observation.beside = befores
        .chain(after)
        .map(|(directive, process)| (directive, driver.process(process).output.clone()))
        .collect();
    observation.output.clone_from(&state.output);
    if state.dropped > 0 {
        executed.notes.push(format!(
            "printed {} bytes more than the limit of {MAX_OUTPUT}",
            state.dropped
        ));
    }
    Ok(Some(process))
}

fn shell(command: &str) -> [String; 3] {
    ["/bin/sh", "-c", command].map(str::to_owned)
}

/// Runs a SETUP, CLEANUP or REQUIRES; returns why it could not be started.
async fn auxiliary(
    driver: &mut Driver<'_>,
    command: &ShellCommand,
    context: &TestContext<'_>,
) -> Result<Result<CommandOutcome, String>, Error> {
    auxiliary_with(driver, command, context, SpawnOptions::default()).await
}

async fn auxiliary_with(
    driver: &mut Driver<'_>,
    command: &ShellCommand,
    context: &TestContext<'_>,
    options: SpawnOptions,
) -> Result<Result<CommandOutcome, String>, Error> {
    let helper = Helper {
        argv: &shell(&command.text),
        env: &command.env,
        cwd: context.cwd,
        options,
        limit: AUXILIARY_LIMIT,
        grace: GRACE,
        // SETUP may start what the test traces.
        leaves_others: true,
    };
    let (exit, said) = match helper.run(driver).await? {
        Helped::NotStarted(why) => return Ok(Err(why)),
        Helped::TooLong(said) => (None, said),
        Helped::Ended(status, said) => (Some(exit(status)), said),
    };
    Ok(Ok(CommandOutcome {
        exit,
        output: said.output,
    }))
}

/// The guest's UTC offset at a given time, in seconds, as bpftrace sees it: without `TZ`.
async fn utc_offset(
    driver: &mut Driver<'_>,
    job: &Job,
    context: &TestContext<'_>,
    moment: i64,
) -> Result<Option<i32>, Error> {
    let path = job.before_env.iter().filter(|(name, _)| name == "PATH");
    let command = ShellCommand {
        text: format!("date -d @{moment} +%z"),
        env: path.cloned().collect(),
    };
    let outcome = auxiliary(driver, &command, context).await?.ok();
    Ok(outcome.and_then(|outcome| parse_offset(&String::from_utf8_lossy(&outcome.output))))
}

/// `+0530` in seconds.
fn parse_offset(text: &str) -> Option<i32> {
    let (sign, digits) = match text.trim().split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let number: i32 = digits.parse().ok().filter(|_| digits.len() == 4)?;
    Some(sign * (number / 100 * 3600 + number % 100 * 60))
}

/// The result of the test's command.
struct Watched {
    end: End,
    /// How many bytes had been printed when a limit passed.
    at_limit: Option<usize>,
    after: Option<ProcessId>,
}

/// Watches the test's command: the marker, AFTER, both limits, the end. Continues held processes at
/// the marker.
async fn watch(
    driver: &mut Driver<'_>,
    job: &Job,
    context: &TestContext<'_>,
    process: ProcessId,
    prefix: Option<&[String; 5]>,
    held: &[ProcessId],
) -> Result<Watched, Error> {
    let mut after = None;
    let mut scanner = MarkerScanner::default();
    let attach_limit = driver.limit(job.attach_limit);
    let mut attached = |driver: &Driver<'_>| {
        let state = driver.process(process);
        scanner.found(&state.output, job.marker) || state.over()
    };
    // A pipe may swallow the marker: after half of the time bpftrace should be attached, and the
    // rest is for what BEFORE then does.
    let marked = if job.redirected && !held.is_empty() {
        let half = driver.limit(job.attach_limit / 2);
        let early = driver.until(half, &mut attached).await?;
        release(driver, held).await?;
        early || driver.until(attach_limit, &mut attached).await?
    } else {
        driver.until(attach_limit, &mut attached).await?
    };
    if !marked {
        let printed = driver.process(process).output.len();
        release(driver, held).await?;
        end_at_limit(driver, job, process).await?;
        return Ok(Watched {
            end: End::Killed(Limit::Attach),
            at_limit: Some(printed),
            after,
        });
    }
    release(driver, held).await?;
    // Also if the command exited at once: upstream starts AFTER whenever it sees the marker.
    if scanner.found(&driver.process(process).output, job.marker)
        && let Some(command) = &job.after
    {
        // The whole command, not its first word, runs in the namespace.
        let argv: Vec<String> = prefix.into_iter().flatten().cloned().collect();
        let argv = [argv, shell(&command.text).to_vec()].concat();
        after = Some(driver.spawn(&argv, &command.env, context.cwd).await?);
    }
    let limit = driver.limit(job.timeout.unwrap_or(UNLIMITED));
    let over = |driver: &Driver<'_>| driver.process(process).over();
    if !driver.until(limit, over).await? {
        let printed = driver.process(process).output.len();
        end_at_limit(driver, job, process).await?;
        return Ok(Watched {
            end: End::Killed(Limit::Timeout),
            at_limit: Some(printed),
            after,
        });
    }
    driver.drain(process, GRACE).await?;
    let exit = match driver.process(process).outcome {
        Some(outcome) => exit(outcome.status),
        None => Exit::Code(127),
    };
    Ok(Watched {
        end: End::Exited(exit),
        at_limit: None,
        after,
    })
}

/// Ends a command that reached a limit, as the engine of its dialect does.
async fn end_at_limit(driver: &mut Driver<'_>, job: &Job, process: ProcessId) -> Result<(), Error> {
    let patience = match job.limit_end {
        LimitEnd::Kill => None,
        LimitEnd::Term => Some(driver.limit(TERM_LIMIT).at_most(MAX_TERM_LIMIT)),
        LimitEnd::TermThenKill => Some(driver.grace(GRACE)),
    };
    driver.end_after(process, patience, GRACE).await
}

/// Continues held processes; harmless if repeated.
async fn release(driver: &mut Driver<'_>, held: &[ProcessId]) -> Result<(), Error> {
    for &process in held {
        driver.signal(process, Signal::SIGCONT).await?;
    }
    Ok(())
}

/// Looks for the marker's line in growing output, without reading any line twice.
#[derive(Debug, Default)]
struct MarkerScanner {
    /// Start of the first line that is not complete yet.
    from: usize,
    found: bool,
}

impl MarkerScanner {
    fn found(&mut self, output: &[u8], marker: &[u8]) -> bool {
        while !self.found {
            let Some(rest) = output.get(self.from..) else {
                break;
            };
            let Some(length) = rest.iter().position(|&byte| byte == b'\n') else {
                break;
            };
            self.found = rest[..length].trim_ascii_end() == marker;
            self.from += length + 1;
        }
        self.found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_has_hours_and_minutes() {
        assert_eq!(parse_offset("+0530\n"), Some(19_800));
        assert_eq!(parse_offset("-0300"), Some(-10_800));
        assert_eq!(parse_offset("date: not found"), None);
        assert_eq!(parse_offset(""), None);
    }

    #[test]
    fn the_marker_is_a_whole_line() {
        let mut scanner = MarkerScanner::default();
        assert!(!scanner.found(b"xMARK\nMAR", b"MARK"));
        assert!(!scanner.found(b"xMARK\nMARK", b"MARK"));
        assert!(scanner.found(b"xMARK\nMARK\n", b"MARK"));
        assert!(scanner.found(b"xMARK\nMARK\nmore", b"MARK"));
    }
}
