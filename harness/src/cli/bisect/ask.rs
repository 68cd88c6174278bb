//! Asks one kernel: runs the tests or the command on it once, and says what that means.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use futures::channel::mpsc;
use nix::sys::signal::{Signal, killpg};
use tokio::sync::watch;

use super::super::Failure;
use super::super::context::Context;
use super::super::guest_command::{Errand, in_vm};
use super::super::input::Interrupts;
use super::super::streams::{Chunk, Streams};
use super::super::vm_args::VmArgs;
use super::place::STEPS;
use crate::bisect::{Answer, Verdict};
use crate::child::Supervised;
use crate::config::Selected;
use crate::duration::millis;
use crate::exit_code;
use crate::run::command::{Command, Environment};
use crate::run::event::{Event, Record, TestResult};
use crate::run::event_log::RunLog;
use crate::vm::machine::is_panic;

/// What the tests or the command printed, in the directory of a step.
pub(super) const OUTPUT: &str = "output.txt";
/// The run of the tests.
pub(super) const RUN: &str = "run";
/// What kiln said.
const SAID: &str = "kiln.txt";
/// The logs of the VM of a command.
const LOGS: &str = "vm";
/// How long a run that is being ended may take to stop its VMs.
const GRACE: Duration = Duration::from_secs(15);
/// Tests to name in a reason.
const MAX_NAMED: usize = 3;

/// What is asked of each kernel.
pub(super) enum Question {
    /// `kiln run` with these words, without the kernel, before these suites.
    Tests {
        words: Vec<OsString>,
        variables: Environment,
    },
    /// A command.
    Command { command: Command, vm: Box<VmArgs> },
}

/// What one run on a kernel says.
struct Told {
    verdict: Verdict,
    reason: String,
    booted: bool,
}

impl Told {
    fn new(verdict: Verdict, reason: impl Into<String>) -> Self {
        Self {
            verdict,
            reason: reason.into(),
            booted: true,
        }
    }
}

/// How one try ended.
enum Tried {
    Told(Told),
    /// The VM was lost: the kernel's fault, or somebody else's.
    Lost(String),
}

/// Asks `kernel`, in the directory `name` in `dir`; `None` if it was cancelled. A failure is one
/// that no other kernel would be without.
pub(super) async fn ask(
    (context, question): (&Context, &Question),
    kernel: &str,
    attempt: u32,
    dir: &Path,
    interrupts: Interrupts,
    mut cancelled: watch::Receiver<bool>,
) -> Result<Option<Answer>, Failure> {
    let began = Instant::now();
    let asked = asked(
        context,
        question,
        kernel,
        dir,
        &interrupts,
        cancelled.clone(),
    );
    let cancelled = async {
        // The run of the tests ends itself, and then there is an answer after all.
        let _ = cancelled.wait_for(|cancelled| *cancelled).await;
        if matches!(question, Question::Tests { .. }) {
            tokio::time::sleep(2 * GRACE).await;
        }
    };
    let told = tokio::select! {
        told = asked => told?,
        () = cancelled => None,
    };
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    Ok(told.map(|told| Answer {
        kernel: kernel.to_owned(),
        attempt,
        verdict: told.verdict,
        reason: told.reason,
        took_ms: millis(began.elapsed()),
        booted: told.booted,
        dir: format!("{STEPS}/{name}"),
    }))
}

async fn asked(
    context: &Context,
    question: &Question,
    kernel: &str,
    dir: &Path,
    interrupts: &Interrupts,
    cancelled: watch::Receiver<bool>,
) -> Result<Option<Told>, Failure> {
    let selected = match at_hand(context, kernel).await {
        Ok(selected) => selected,
        Err(failure) => {
            let reason = first_line(&failure.message);
            return Ok(Some(Told {
                booted: false,
                ..Told::new(Verdict::Unavailable, reason)
            }));
        }
    };
    let mut lost = None;
    for dir in [dir.to_owned(), again(dir)] {
        make(&dir)?;
        let tried = match question {
            Question::Tests { words, variables } => {
                tests((words, variables), kernel, &dir, cancelled.clone()).await?
            }
            Question::Command { command, vm } => {
                let tried = run_command(context, (command, vm), &selected, &dir, interrupts);
                Some(tried.await?)
            }
        };
        match tried {
            None => return Ok(None),
            Some(Tried::Told(told)) => return Ok(Some(told)),
            Some(Tried::Lost(reason)) if is_panic(&reason) => {
                return Ok(Some(Told::new(Verdict::Bad, reason)));
            }
            // QEMU may have been killed: another VM tells.
            Some(Tried::Lost(reason)) => lost = Some(reason),
        }
    }
    let reason = format!("two VMs were lost: {}", lost.unwrap_or_default());
    Ok(Some(Told::new(Verdict::Bad, reason)))
}

/// Finds the kernel, and fetches it if it is not in the cache.
async fn at_hand(context: &Context, kernel: &str) -> Result<Selected, Failure> {
    let mut selected = context.select(&[kernel.to_owned()]).await?;
    let selected = selected.pop().ok_or_else(|| {
        Failure::new(
            exit_code::SETUP_FAILED,
            format!("there is no kernel {kernel}"),
        )
    })?;
    context.provide(&selected).await?;
    Ok(selected)
}

/// Where the second try goes.
fn again(dir: &Path) -> PathBuf {
    let mut name = dir.as_os_str().to_owned();
    name.push("-again");
    PathBuf::from(name)
}

fn make(dir: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(dir).map_err(|error| {
        Failure::new(
            exit_code::SETUP_FAILED,
            format!("cannot create {}: {error}", dir.display()),
        )
    })
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

/// A failure to write into the directory of a step.
fn unwritten(path: &Path) -> impl Fn(std::io::Error) -> Failure {
    move |error| {
        Failure::new(
            exit_code::SETUP_FAILED,
            format!("cannot write {}: {error}", path.display()),
        )
    }
}

/// Runs the tests with a `kiln run` of their own, whose directory has all that it says.
async fn tests(
    (words, variables): (&[OsString], &Environment),
    kernel: &str,
    dir: &Path,
    mut cancelled: watch::Receiver<bool>,
) -> Result<Option<Tried>, Failure> {
    let said = dir.join(SAID);
    let log = std::fs::File::create(&said).map_err(unwritten(&said))?;
    let errors = log.try_clone().map_err(unwritten(&said))?;
    let mut child = tokio::process::Command::new("/proc/self/exe");
    child
        .args(words.iter().take(1))
        .arg(format!("--kernel={kernel}"))
        .arg("--run-dir")
        .arg(dir.join(RUN))
        .args(words.iter().skip(1))
        .envs(variables.iter().map(|(key, value)| {
            (
                OsString::from_vec(key.clone()),
                OsString::from_vec(value.clone()),
            )
        }))
        .env_remove("GITHUB_ACTIONS")
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors);
    let failed = |error: std::io::Error| {
        Failure::new(
            exit_code::SETUP_FAILED,
            format!("cannot run kiln for kernel {kernel}: {error}"),
        )
    };
    let mut child = Supervised::spawn(child).await.map_err(failed)?;
    let ended = tokio::select! {
        status = child.wait() => Some(status.map_err(failed)?),
        _ = cancelled.wait_for(|cancelled| *cancelled) => None,
    };
    if ended.is_none() {
        // It stops its VMs and removes their directories.
        let _ = killpg(child.pid(), Signal::SIGTERM);
        child.stop(GRACE).await.map_err(failed)?;
        return Ok(None);
    }
    let Ok(log) = RunLog::read(&dir.join(RUN)) else {
        // It refused its arguments before anything ran, as it would on each kernel.
        let text = std::fs::read_to_string(&said).unwrap_or_default();
        let text = text.lines().find_map(|line| line.strip_prefix("error: "));
        return Err(Failure::new(
            exit_code::SETUP_FAILED,
            format!(
                "the tests cannot run: {}",
                text.unwrap_or("kiln run ended without a word")
            ),
        )
        .hint(format!("{} has what kiln said", said.display())));
    };
    let output = dir.join(OUTPUT);
    std::fs::write(&output, printed(&log.records)).map_err(unwritten(&output))?;
    Ok(Some(judge(&log.records)))
}

/// What the tests printed, and their verdicts.
fn printed(records: &[Record]) -> String {
    let mut text = String::new();
    for result in results(records) {
        let reason = result.reason.as_deref().unwrap_or_default();
        let separator = if reason.is_empty() { "" } else { ": " };
        let _ = writeln!(text, "{}: {}{separator}{reason}", result.id, result.verdict);
        for block in [&result.details, &result.output] {
            if !block.is_empty() {
                text.push_str(block.trim_end());
                text.push('\n');
            }
        }
    }
    text
}

fn results(records: &[Record]) -> impl Iterator<Item = &TestResult> {
    records.iter().filter_map(|record| match &record.event {
        Event::TestFinished(result) => Some(result),
        _ => None,
    })
}

/// A failure of any test counts; a kernel on which none passes or fails cannot say.
fn judge(records: &[Record]) -> Tried {
    use crate::suite::Verdict as Of;

    let with = |wanted: &[Of]| -> Vec<&TestResult> {
        results(records)
            .filter(|result| wanted.contains(&result.verdict))
            .collect()
    };
    let failed = with(&[Of::Fail, Of::Timeout]);
    if !failed.is_empty() {
        return Tried::Told(Told::new(Verdict::Bad, named(&failed)));
    }
    let lost = with(&[Of::Lost]);
    if let Some(lost) = lost.first() {
        return Tried::Lost(lost.reason.clone().unwrap_or_default());
    }
    let broken = with(&[Of::Error]);
    if !broken.is_empty() {
        return Tried::Told(Told::new(Verdict::Skip, named(&broken)));
    }
    if !with(&[Of::Pass]).is_empty() {
        return Tried::Told(Told::new(Verdict::Good, ""));
    }
    let skipped = with(&[Of::Skip]);
    if !skipped.is_empty() {
        return Tried::Told(Told::new(Verdict::Skip, named(&skipped)));
    }
    let why = records.iter().find_map(|record| match &record.event {
        Event::KernelFailed(failed) => Some(failed.reason.clone()),
        Event::VmLost(lost) => Some(lost.reason.clone()),
        _ => None,
    });
    let booted = |record: &Record| matches!(record.event, Event::VmStarting(_));
    Tried::Told(Told {
        booted: records.iter().any(booted),
        ..Told::new(
            Verdict::Skip,
            why.unwrap_or_else(|| "no test ran".to_owned()),
        )
    })
}

fn named(results: &[&TestResult]) -> String {
    let texts: Vec<String> = results
        .iter()
        .take(MAX_NAMED)
        .map(|result| match &result.reason {
            Some(reason) => format!("{}: {reason}", result.id),
            None => result.id.clone(),
        })
        .collect();
    let more = results.len().saturating_sub(MAX_NAMED);
    let more = if more > 0 {
        format!(", and {more} more")
    } else {
        String::new()
    };
    format!("{}{more}", texts.join(", "))
}

/// Runs the command in a VM of its own.
async fn run_command(
    context: &Context,
    (command, vm): (&Command, &VmArgs),
    selected: &Selected,
    dir: &Path,
    interrupts: &Interrupts,
) -> Result<Tried, Failure> {
    let (output, said) = (dir.join(OUTPUT), dir.join(SAID));
    // Both streams, in the order in which the guest sends them.
    let file = std::fs::File::options()
        .create(true)
        .append(true)
        .open(&output);
    let file = file.map_err(unwritten(&output))?;
    let errors = file.try_clone().map_err(unwritten(&output))?;
    let (notes, mut noted) = mpsc::channel(1);
    let mut streams = Streams::through(
        Box::new(tokio::fs::File::from_std(file)),
        Box::new(tokio::fs::File::from_std(errors)),
        notes,
    );
    let mut vm = vm.clone();
    vm.logs = Some(dir.join(LOGS));
    make(&dir.join(LOGS))?;
    let nothing = std::fs::File::open("/dev/null").map_err(unwritten(Path::new("/dev/null")))?;
    let mut interrupts = interrupts.another();
    let ended = in_vm(
        context,
        selected,
        &vm,
        Errand {
            command: command.clone(),
            stdin: nothing,
            visible: vec![context.cwd.clone()],
        },
        &mut interrupts,
        &mut streams,
    )
    .await;
    let mut text = Vec::new();
    while let Ok(Chunk { data, .. }) = noted.try_recv() {
        text.extend(data);
    }
    if let Err(failure) = &ended {
        text.extend(failure.render().into_bytes());
        text.push(b'\n');
    }
    let written = std::fs::File::create(&said).and_then(|mut file| file.write_all(&text));
    written.map_err(unwritten(&said))?;
    outcome(ended, selected.name())
}

/// What an exit code means, as for `git bisect run`.
fn outcome(ended: Result<u8, Failure>, kernel: &str) -> Result<Tried, Failure> {
    let told = |verdict, reason: String| Ok(Tried::Told(Told::new(verdict, reason)));
    match ended {
        Ok(0) => told(Verdict::Good, String::new()),
        Ok(125) => told(Verdict::Skip, "the command exited with 125".to_owned()),
        Ok(code @ 1..=127) => told(Verdict::Bad, format!("the command exited with {code}")),
        Ok(code) => Err(Failure::new(
            exit_code::SETUP_FAILED,
            format!("the command exited with {code} on {kernel}, which aborts a bisection"),
        )
        .hint("128 and above aborts, as in git bisect run: let the command exit with 1 to 127 for bad, and with 125 to skip")),
        Err(failure) => {
            let reason = first_line(&failure.message);
            match failure.code {
                exit_code::TIMED_OUT => told(Verdict::Bad, reason),
                exit_code::VM_LOST => {
                    let lost = format!("lost the VM of kernel {kernel}: ");
                    let reason = reason.strip_prefix(&lost).unwrap_or(&reason);
                    Ok(Tried::Lost(reason.to_owned()))
                }
                // It does not boot.
                exit_code::SETUP_FAILED => told(Verdict::Skip, reason),
                _ => Err(failure.with_code(exit_code::SETUP_FAILED)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(ended: Result<u8, Failure>) -> Option<Verdict> {
        match outcome(ended, "6.1") {
            Ok(Tried::Told(told)) => Some(told.verdict),
            _ => None,
        }
    }

    #[test]
    fn exit_codes_mean_what_they_mean_to_git() {
        for (code, expected) in [
            (0, Some(Verdict::Good)),
            (1, Some(Verdict::Bad)),
            (124, Some(Verdict::Bad)),
            (125, Some(Verdict::Skip)),
            (126, Some(Verdict::Bad)),
            (127, Some(Verdict::Bad)),
            (128, None),
            (255, None),
        ] {
            assert_eq!(verdict(Ok(code)), expected, "{code}");
        }
    }

    #[test]
    fn a_kernel_that_does_not_boot_cannot_say_and_a_missing_command_says_nothing_of_any() {
        let failure = |code| Err(Failure::new(code, "why"));
        assert_eq!(
            verdict(failure(exit_code::SETUP_FAILED)),
            Some(Verdict::Skip)
        );
        assert_eq!(verdict(failure(exit_code::TIMED_OUT)), Some(Verdict::Bad));
        assert_eq!(verdict(failure(exit_code::NOT_FOUND)), None);
        let lost = Failure::new(
            exit_code::VM_LOST,
            "lost the VM of kernel 6.1: the kernel panicked: oops\nmore",
        );
        let tried = outcome(Err(lost), "6.1");
        assert!(matches!(tried, Ok(Tried::Lost(reason)) if is_panic(&reason)));
    }
}
