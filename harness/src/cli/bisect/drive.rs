//! Carries a bisection out: asks kernels until nothing is left to ask.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::sync::watch;

use super::super::context::Context;
use super::super::input::{self, Interrupts};
use super::super::{Failure, output};
use super::ask::{self, Question};
use super::place::{STEPS, resume_hint};
use crate::bisect::{Answer, Ends, Journal, State, Verdict};
use crate::report::escape;

/// What all steps have in common.
pub(super) struct Work<'w> {
    pub(super) context: &'w Context,
    pub(super) question: &'w Question,
    /// The directory of the bisection.
    pub(super) dir: &'w Path,
    /// How many kernels are asked at once.
    pub(super) jobs: usize,
}

/// Asks kernels until the answer is known; returns an exit code if a signal came first. Each answer
/// is in the journal before the next kernel is chosen.
pub(super) async fn drive(
    work: &Work<'_>,
    state: &mut State,
    journal: &mut Journal,
    interrupts: &mut Interrupts,
) -> Result<Option<u8>, Failure> {
    let mut cancels: BTreeMap<usize, watch::Sender<bool>> = BTreeMap::new();
    let mut asks = FuturesUnordered::new();
    let mut failed = None;
    loop {
        let over = failed.is_some() || interrupts.seen();
        for (kernel, cancel) in &cancels {
            if over || !state.wants(*kernel) {
                cancel.send_replace(true);
            }
        }
        if !over {
            let running: BTreeSet<usize> = cancels.keys().copied().collect();
            let free = work.jobs.saturating_sub(running.len());
            for kernel in state.next(&running, free) {
                let (cancel, cancelled) = watch::channel(false);
                cancels.insert(kernel, cancel);
                let name = state.name(kernel).to_owned();
                let attempt = u32::try_from(state.answers(kernel).len()).unwrap_or(0) + 1;
                let dir = step_dir(work.dir, &name)?;
                let interrupts = interrupts.another();
                asks.push(async move {
                    let both = (work.context, work.question);
                    let asked = ask::ask(both, &name, attempt, &dir, interrupts, cancelled);
                    (kernel, asked.await)
                });
            }
        }
        if asks.is_empty() {
            break;
        }
        let seen = interrupts.seen();
        tokio::select! {
            Some((kernel, answer)) = asks.next() => {
                cancels.remove(&kernel);
                match answer {
                    Ok(Some(answer)) if !over => {
                        journal.answer(&answer)?;
                        state.take(answer.clone());
                        tell(state, kernel, &answer);
                    }
                    Ok(_) => {}
                    Err(failure) => drop(failed.get_or_insert(failure)),
                }
            }
            _ = interrupts.next(), if !seen => {}
        }
    }
    if interrupts.seen() {
        output::note(&format!("kiln: interrupted; {}", resume_hint(work.dir)));
        return Ok(Some(input::code_of(interrupts.next().await)));
    }
    match failed {
        Some(failure) => Err(failure.hint(resume_hint(work.dir))),
        None => Ok(None),
    }
}

/// The directory of the next step, which exists from now on.
fn step_dir(dir: &Path, kernel: &str) -> Result<PathBuf, Failure> {
    let steps = dir.join(STEPS);
    let name: String = kernel
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || ".-+".contains(c) {
                c
            } else {
                '_'
            }
        })
        .collect();
    let failed = |error: std::io::Error| {
        Failure::new(
            crate::exit_code::SETUP_FAILED,
            format!("cannot create a directory in {}: {error}", steps.display()),
        )
    };
    std::fs::create_dir_all(&steps).map_err(failed)?;
    // Steps that a kill cut short have theirs, too.
    let mut number = std::fs::read_dir(&steps).map_err(failed)?.count();
    loop {
        number += 1;
        let path = steps.join(format!("{number:02}-{name}"));
        match std::fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(error)),
        }
    }
}

/// Says how a kernel answered, and how far the bisection is.
fn tell(state: &State, kernel: usize, answer: &Answer) {
    let word = match answer.verdict {
        Verdict::Good => "GOOD",
        Verdict::Bad => "BAD",
        Verdict::Skip => "SKIP",
        Verdict::Unavailable => "NOT TO BE HAD",
    };
    let seconds = std::time::Duration::from_millis(answer.took_ms).as_secs_f64();
    let reason = match answer.reason.as_str() {
        "" => String::new(),
        reason => format!(": {}", escape::line(reason)),
    };
    let confirm = state.asked().confirm;
    let attempt = if confirm > 1 {
        format!(", run {} of {confirm}", answer.attempt)
    } else {
        String::new()
    };
    let left = match (state.ends(), state.left()) {
        (Ends::Untried | Ends::Differ, left @ 1..) => format!("; at most {left} to go"),
        _ => String::new(),
    };
    output::note(&format!(
        "{word}  {}  ({seconds:.1} s{attempt}{left}){reason}",
        escape::line(&answer.kernel)
    ));
    if state.verdict(kernel).is_some() && state.is_flaky(kernel) {
        output::note(&format!(
            "kiln: {} is flaky: its runs differ; it counts as bad",
            escape::line(&answer.kernel)
        ));
    }
}
