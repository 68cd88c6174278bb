//! Executes a plan. The run has its own thread. A second one writes each event to the run directory
//! and passes it to the reports. A third one writes to the terminal. This module connects them, and
//! stops the run on Ctrl-C.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::oneshot;

use super::Failure;
use super::again;
use super::input::{self, Interrupts};
use super::status_request::StatusRequests;
use super::visit;
use crate::blocking::blocking;
use crate::exit_code;
use crate::report::{Baseline, Levels, Outlet, Queue, ReportError, Reports, TerminalStyle};
use crate::run::background::Background;
use crate::run::command::Environment;
use crate::run::dir::RunDir;
use crate::run::event::{Event, KernelPlan, RunFinished, RunStarted, SCHEMA};
use crate::run::event_log::EventWriter;
use crate::run::plan::Plan;
use crate::run::stay::Visit;

/// How long the terminal may take to print the rest after a signal has ended the run.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// The VMs that wait for a shell, and the shells' environment.
type Visits = (UnboundedReceiver<Visit>, Environment);

/// Runs the plan, which these words run again; writes every event, then shows it through `outlet`.
pub(super) async fn execute(
    (plan, again): (Plan, Vec<String>),
    run_dir: &RunDir,
    levels: Levels,
    (style, outlet, baseline): (TerminalStyle, Outlet, Option<Arc<Baseline>>),
    visits: Visits,
    interrupts: &mut Interrupts,
) -> Result<u8, Failure> {
    let shown = outlet.queue();
    let reports = Reports::of_run(run_dir, style, levels, &shown, baseline.as_ref());
    let ended = run((plan, again), run_dir, (reports, shown), visits, interrupts).await;
    let by_signal = match &ended {
        Ok(ended) => ended.by_signal,
        Err(_) => interrupts.seen(),
    };
    let shown = drain(outlet.finished(), by_signal, interrupts).await;
    let code = ended?.code;
    Ok(shown?.unwrap_or(code))
}

/// How a run has ended.
struct Ended {
    code: u8,
    /// Whether a signal ended it. One that comes after its last event did not.
    by_signal: bool,
}

async fn run(
    (plan, again): (Plan, Vec<String>),
    run_dir: &RunDir,
    (reports, shown): (Reports, Queue),
    (mut visits, env): Visits,
    interrupts: &mut Interrupts,
) -> Result<Ended, Failure> {
    let mut sink = Sink {
        log: EventWriter::create(&run_dir.events())?,
        reports,
    };
    sink.take(started(&plan, again, &sink))?;
    for suite in plan.ready() {
        sink.take(Event::SuiteReady(suite))?;
    }
    let (sender, events) = unbounded_channel();
    let (request_status, requests) = unbounded_channel();
    let mut writing = start_writer(sink, events, requests)?;
    let mut run = Background::start(plan, sender).map_err(|error| no_thread(&error))?;
    let mut status_requests = StatusRequests::listen();
    let mut interrupted = None;
    let written = loop {
        tokio::select! {
            biased;
            written = &mut writing => break written,
            signal = interrupts.next(), if interrupted.is_none() => {
                interrupted = Some(signal);
                run.stop();
            }
            // The run goes on meanwhile, except for this VM.
            Some(visit) = visits.recv(), if interrupted.is_none() => {
                status_requests.leave_keys();
                visit::visit(visit, &shown, env.clone(), interrupts).await;
                status_requests.take_keys();
            }
            // There is no answer after the last event.
            () = status_requests.next() => drop(request_status.send(())),
        }
    };
    drop(status_requests);
    run.join();
    let Ok((mut sink, taken)) = written else {
        return Err(Failure::new(
            exit_code::SETUP_FAILED,
            "the thread that writes events.jsonl has ended",
        ));
    };
    let code = match interrupted {
        Some(signal) => input::code_of(signal),
        None => sink.exit_code(),
    };
    blocking(move || match taken {
        Ok(()) => sink.finish(code),
        // The reports show what is known.
        Err(failure) => {
            sink.reports.finish()?;
            Err(failure)
        }
    })
    .await?;
    Ok(Ended {
        code,
        by_signal: interrupted.is_some(),
    })
}

/// Waits until the terminal has everything: as long as it may have a reader, or for [`DRAIN_TIMEOUT`]
/// if a signal has ended the run. One more signal ends the wait at once; returns its exit code.
async fn drain(
    finished: impl Future<Output = Result<(), ReportError>>,
    by_signal: bool,
    interrupts: &mut Interrupts,
) -> Result<Option<u8>, Failure> {
    let patience = async {
        if by_signal {
            tokio::time::sleep(DRAIN_TIMEOUT).await;
        } else {
            std::future::pending::<()>().await;
        }
    };
    let signals = if by_signal { 2 } else { 1 };
    tokio::select! {
        biased;
        shown = finished => shown?,
        signal = interrupts.at_least(signals) => return Ok(Some(input::code_of(signal))),
        () = patience => {}
    }
    Ok(None)
}

/// The sink, and the failure that ended the writing.
type Written = (Sink, Result<(), Failure>);

/// Starts the thread that writes each event before any report shows it. It ends after the last
/// event, or at the first that it cannot write.
fn start_writer(
    mut sink: Sink,
    mut events: UnboundedReceiver<Event>,
    mut requests: UnboundedReceiver<()>,
) -> Result<oneshot::Receiver<Written>, Failure> {
    let runtime = tokio::runtime::Handle::current();
    let (sender, written) = oneshot::channel();
    let next = async move {
        loop {
            tokio::select! {
                biased;
                event = events.recv() => match event.map(|event| sink.take(event)) {
                    Some(Ok(())) => {}
                    Some(failed) => return (sink, failed),
                    None => return (sink, Ok(())),
                },
                Some(()) = requests.recv() => sink.report_status(),
            }
        }
    };
    std::thread::Builder::new()
        .name("events".to_owned())
        .spawn(move || drop(sender.send(runtime.block_on(next))))
        .map_err(|error| no_thread(&error))?;
    Ok(written)
}

fn no_thread(error: &std::io::Error) -> Failure {
    Failure::new(
        exit_code::SETUP_FAILED,
        format!("cannot start a thread for the run: {error}"),
    )
}

fn started(plan: &Plan, again: Vec<String>, sink: &Sink) -> Event {
    Event::RunStarted(RunStarted {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at: sink.log.started_at(),
        schema: SCHEMA,
        command: again::command_line(),
        again,
        cwd: std::env::current_dir()
            .map(|dir| dir.to_string_lossy().into_owned())
            .unwrap_or_default(),
        kernels: plan
            .kernels
            .iter()
            .map(|kernel| KernelPlan {
                name: kernel.name.clone(),
                tests: kernel.tests.len(),
                suites: plan.count_by_suite(kernel),
                expected_ms: plan.expected_ms(kernel),
            })
            .collect(),
        suites: plan.names(),
        shard: plan.shard.map(|shard| shard.to_string()),
        rerun_of: plan.rerun_of.clone(),
    })
}

/// Where events go: first the log, then the reports.
pub(super) struct Sink {
    pub(super) log: EventWriter,
    pub(super) reports: Reports,
}

impl Sink {
    /// Takes the next event.
    pub(super) fn take(&mut self, event: Event) -> Result<(), Failure> {
        let record = self.log.write(event)?;
        self.reports.record(&record)?;
        Ok(())
    }

    /// The exit code of what has happened so far.
    pub(super) fn exit_code(&self) -> u8 {
        self.reports.history().tally.exit_code()
    }

    fn report_status(&mut self) {
        self.reports.report_status(self.log.elapsed_ms());
    }

    /// Writes the end of the run, and lets the reports finish.
    pub(super) fn finish(&mut self, exit_code: u8) -> Result<(), Failure> {
        self.take(Event::RunFinished(RunFinished {
            exit_code,
            duration_ms: self.log.elapsed_ms(),
        }))?;
        self.reports.finish()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::future::pending;

    #[tokio::test(start_paused = true)]
    async fn a_signal_ends_the_wait_for_a_reader_even_before_it_begins() {
        for (by_signal, signals, wanted) in [
            (false, 1, Some(exit_code::INTERRUPTED)),
            (true, 1, None),
            (true, 2, Some(exit_code::INTERRUPTED)),
        ] {
            let mut interrupts = Interrupts::after(signals);
            let code = drain(pending(), by_signal, &mut interrupts).await.unwrap();
            assert_eq!(code, wanted, "{by_signal}, {signals}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_terminal_has_taken_needs_no_wait() {
        let mut interrupts = Interrupts::after(1);
        let code = drain(async { Ok(()) }, false, &mut interrupts).await;
        assert_eq!(code.unwrap(), None);
    }
}
