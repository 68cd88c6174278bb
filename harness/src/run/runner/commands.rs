//! Runs a suite's command in a VM, from its start to its results.

use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::{LocalBoxFuture, ready};
use guest_init::message::{OutputMode, Status};

use super::exit;
use super::interface::{Ended, EndedCase, Prepared, Runner, Suite};
use crate::blocking::blocking;
use crate::run::driver::{Driver, MAX_OUTPUT, SpawnOptions};
use crate::run::helper::{Helped, Helper};
use crate::run::leftovers;
use crate::run::session::Session;
use crate::run::settings::Settings;
use crate::run::stay::{Moment, Still};
use crate::suite::command::{Case, CommandSuite, CommandTest, End, Observation, judge};
use crate::suite::{Facts, Location, TestId};
use crate::vm::control::{Control, Error};

/// Limit of our own work before and after the command, in the guest's own time.
const AUXILIARY_LIMIT: Duration = Duration::from_secs(10);
/// Time between SIGTERM and SIGKILL, and for output that descendants still hold open, likewise.
const GRACE: Duration = Duration::from_secs(5);

impl Suite for CommandSuite {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn subject(&self, tests: &[usize]) -> String {
        self.programs(tests).join(", ")
    }

    fn prepare<'s: 'v, 'v>(
        &'s self,
        _vm: &'v mut Session,
        settings: &'s Settings,
        _tests: &'v [usize],
    ) -> LocalBoxFuture<'v, Result<Prepared<'s>, Error>> {
        let suite = self;
        let runner = Box::new(CommandRunner { suite, settings });
        let warnings = Vec::new();
        ready(Ok(Prepared { runner, warnings })).boxed_local()
    }
}

/// A suite of commands in one VM.
struct CommandRunner<'s> {
    suite: &'s CommandSuite,
    settings: &'s Settings,
}

impl Runner for CommandRunner<'_> {
    fn run<'v>(
        &'v mut self,
        vm: &'v mut Session,
        test: usize,
    ) -> LocalBoxFuture<'v, Result<Ended, Error>> {
        command(vm, self.settings, &self.suite.tests[test]).boxed_local()
    }
}

async fn command(
    vm: &mut Session,
    settings: &Settings,
    test: &Arc<CommandTest>,
) -> Result<Ended, Error> {
    let mut env: Vec<(String, OsString)> = Vec::new();
    for (name, value) in &settings.env {
        if !test.env.iter().any(|(own, _)| own == name) {
            env.push((name.clone(), value.into()));
        }
    }
    env.extend(test.env.iter().cloned());
    let without_aslr = settings.aslr.is_off_for_commands();
    let mut executed = {
        let (control, lost) = vm.vm.watched();
        let moment = vm.moment.as_ref();
        tokio::select! {
            executed = execute(control, test, &env, without_aslr, moment) => executed?,
            loss = Moment::watch(moment, lost) => return Err(loss.into()),
        }
    };
    vm.unclean |= executed.unclean;
    if let End::Exited(exit) = executed.observation.end {
        executed.notes.extend(exit::note(vm, exit));
    }
    let (judged, observation) = (Arc::clone(test), executed.observation);
    let (judgement, cases) = blocking(move || judge(&judged, &observation)).await;
    Ok(Ended {
        judgement,
        output: executed.output,
        notes: executed.notes,
        cases: cases.into_iter().map(|case| ended(test, case)).collect(),
    })
}

struct Executed {
    observation: Observation,
    output: Vec<u8>,
    notes: Vec<String>,
    /// Something of the command remains in the VM.
    unclean: bool,
}

async fn execute(
    control: &mut Control,
    test: &Arc<CommandTest>,
    env: &[(String, OsString)],
    addr_no_randomize: bool,
    moment: Option<&Moment>,
) -> Result<Executed, Error> {
    let mut driver = Driver::open(control)?;
    // An old file, in the root or from another test, must not count as this command's report. The
    // host's file stays, because the guest's root is an overlay.
    let removed = match &test.results_file {
        Some(file) => {
            let argv = ["rm", "-f", "--", file].map(str::to_owned);
            let removed = auxiliary(&mut driver, &argv, test, env).await?;
            removed.map(|_| ()).map_err(|why| {
                format!("what was left in its results file {file} could not be removed: {why}")
            })
        }
        None => Ok(()),
    };
    let mode = if test.results.is_printed() && test.results_file.is_none() {
        OutputMode::Separate
    } else {
        OutputMode::Merged
    };
    let options = SpawnOptions {
        output: mode,
        addr_no_randomize,
    };
    let process = driver
        .spawn_with(&test.argv, env, &test.cwd, options)
        .await?;
    let start = Instant::now();
    let over = |driver: &Driver<'_>| driver.process(process).over();
    let ended = driver.until(driver.limit(test.timeout), over).await?;
    let took = start.elapsed();
    if ended {
        driver.drain(process, GRACE).await?;
    } else {
        driver.end(process, GRACE).await?;
    }
    let state = driver.process(process);
    let end = match (&state.failure, &state.outcome) {
        (Some(why), _) => End::NotStarted(why.clone()),
        (None, Some(outcome)) if ended => End::Exited(exit::exit(outcome.status)),
        _ => End::Killed {
            limit: test.timeout,
            took,
        },
    };
    let output = state.output.clone();
    let stdout = state.stdout.clone();
    let mut dropped = state.stdout_dropped;
    let mut notes = Vec::new();
    if state.dropped > 0 {
        notes.push(format!(
            "printed {} bytes more than the limit of {MAX_OUTPUT}",
            state.dropped
        ));
    }
    let results = match (&test.results_file, removed) {
        (None, _) => Ok(stdout),
        (Some(_), Err(why)) => Err(why),
        (Some(_), Ok(())) if matches!(end, End::NotStarted(_)) => Ok(Vec::new()),
        (Some(file), Ok(())) => {
            let argv = ["cat", "--", file].map(str::to_owned);
            match auxiliary(&mut driver, &argv, test, env).await? {
                Ok((bytes, too_many)) => {
                    dropped = too_many;
                    Ok(bytes)
                }
                Err(why) => Err(format!("its results file cannot be read: {why}")),
            }
        }
    };
    let ours = match end {
        End::Killed { .. } => driver.pids_except(&[]),
        _ => driver.pids_except(&[process]),
    };
    let over = vec![(driver.leave(), ours)];
    let mut executed = Executed {
        observation: Observation {
            end,
            results,
            dropped,
        },
        output,
        notes,
        unclean: true,
    };
    if let Some(moment) = moment {
        let (judged, observation) = (Arc::clone(test), executed.observation.clone());
        let (judgement, _) = blocking(move || judge(&judged, &observation)).await;
        if moment.after(judgement.verdict).await == Still::Gone {
            return Ok(executed);
        }
    }
    let remnants = leftovers::undo(control, over).await?;
    executed.unclean = leftovers::stay(&remnants);
    executed.notes.extend(leftovers::notes(remnants));
    Ok(executed)
}

/// Runs one of our own commands in the test's directory; returns what it printed, and how much of
/// that is missing.
async fn auxiliary(
    driver: &mut Driver<'_>,
    argv: &[String],
    test: &CommandTest,
    env: &[(String, OsString)],
) -> Result<Result<(Vec<u8>, u64), String>, Error> {
    let helper = Helper {
        argv,
        env,
        cwd: &test.cwd,
        options: SpawnOptions::default(),
        limit: AUXILIARY_LIMIT,
        grace: GRACE,
        leaves_others: false,
    };
    Ok(match helper.run(driver).await? {
        Helped::NotStarted(why) => Err(why),
        Helped::TooLong(_) => Err(format!("{} took too long", argv.join(" "))),
        Helped::Ended(Status::Exited(0), said) => Ok((said.output, said.dropped)),
        Helped::Ended(_, said) => {
            let said = String::from_utf8_lossy(&said.output);
            Err(said.lines().next().unwrap_or("it failed").to_owned())
        }
    })
}

/// A case that `test` reported.
fn ended(test: &CommandTest, case: Case) -> EndedCase {
    let id = &test.id;
    let name = if test.only {
        case.name
    } else {
        format!("{}: {}", id.name, case.name)
    };
    let cwd = Path::new(&test.cwd);
    EndedCase {
        id: TestId::new(&id.suite, name),
        source: case.source.map(|source| seen_from(cwd, &source)),
        verdict: case.verdict,
        reason: case.reason,
        duration: Duration::try_from_secs_f64(case.seconds.unwrap_or(0.0)).unwrap_or_default(),
        details: case.details,
    }
}

/// The location of a case, if it is relative to the directory of its command. Nothing is looked up,
/// because the path is the guest's.
fn seen_from(cwd: &Path, source: &Location) -> Location {
    let mut path = PathBuf::new();
    for part in cwd.join(&source.file).components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                path.pop();
            }
            part => path.push(part),
        }
    }
    Location {
        file: path.to_string_lossy().into_owned(),
        line: source.line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_source_of_a_case_is_relative_to_its_command() {
        let file = |file: &str| {
            let source = Location {
                file: file.to_owned(),
                line: 3,
            };
            seen_from(Path::new("/w/build"), &source).file
        };
        assert_eq!(file("../src/a.cpp"), "/w/src/a.cpp");
        assert_eq!(file("./t.py"), "/w/build/t.py");
        assert_eq!(file("/abs/x.c"), "/abs/x.c");
        assert_eq!(file("../../../../x.c"), "/x.c");
    }
}
