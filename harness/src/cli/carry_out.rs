//! Carries a plan out: every event is written to the run's directory, then
//! shown; Ctrl-C takes the VMs down.

use std::time::Duration;

use indicatif::MultiProgress;
use tokio::sync::mpsc;

use super::Failure;
use super::again;
use super::asked::Asked;
use super::input::{self, Interrupts};
use crate::report::{Levels, Reports, TerminalStyle};
use crate::run::dir::RunDir;
use crate::run::event::{Event, KernelPlan, SCHEMA};
use crate::run::event_log::EventWriter;
use crate::run::plan::{Plan, PlannedRunner, PlannedSuite};
use crate::run::pool;

/// Runs the plan; every event is written, then shown. `lines` are those of
/// `style`, on which the plan's downloads are shown too.
pub(super) async fn carry_out(
    plan: &Plan,
    run_dir: &RunDir,
    levels: Levels,
    (style, lines): (TerminalStyle, MultiProgress),
    interrupts: &mut Interrupts,
) -> Result<u8, Failure> {
    let mut sink = Sink {
        log: EventWriter::create(&run_dir.events())?,
        reports: Reports::of_run(run_dir, style, lines, levels),
    };
    sink.take(Event::RunStarted {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at: sink.log.started_at(),
        schema: SCHEMA,
        command: again::command_line(),
        again: again::options(std::env::args_os()),
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
            })
            .collect(),
        suites: plan.suites.iter().map(|suite| suite.name.clone()).collect(),
        shard: plan.shard.map(|shard| shard.to_string()),
    })?;
    for suite in &plan.suites {
        sink.take(ready(plan, suite))?;
    }
    let (sender, mut events) = mpsc::unbounded_channel();
    let mut pool = Box::pin(pool::run(plan, sender));
    let mut asked = Asked::listen();
    let mut interrupted = None;
    let mut running = true;
    let mut broken = None;
    // Dropping the pool takes every VM down.
    while running {
        tokio::select! {
            biased;
            Some(event) = events.recv() => {
                if let Err(failure) = sink.take(event) {
                    broken = Some(failure);
                    break;
                }
            }
            () = &mut pool => running = false,
            () = asked.next() => sink.tell(),
            signal = interrupts.next() => {
                interrupted = Some(signal);
                break;
            }
        }
    }
    drop(pool);
    drop(asked);
    while let Ok(event) = events.try_recv() {
        if broken.is_none() {
            broken = sink.take(event).err();
        }
    }
    if let Some(failure) = broken {
        sink.reports.finish()?;
        return Err(failure);
    }
    let code = match interrupted {
        Some(signal) => input::code_of(signal),
        None => sink.reports.history().tally.exit_code(),
    };
    let duration = Duration::from_millis(sink.log.elapsed_ms());
    sink.take(Event::RunFinished {
        exit_code: code,
        duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
    })?;
    sink.reports.finish()?;
    Ok(code)
}

/// What a suite tests.
fn ready(plan: &Plan, suite: &PlannedSuite) -> Event {
    let (subject, version, dialect) = match &suite.runner {
        PlannedRunner::Bpftrace(runner) => (
            runner.bpftrace.to_string_lossy().into_owned(),
            Some(runner.version.clone()),
            Some(runner.vocabulary.dialect.name.to_owned()),
        ),
        PlannedRunner::Command => (plan.programs(&suite.name).join(", "), None, None),
    };
    Event::SuiteReady {
        suite: suite.name.clone(),
        subject,
        version,
        dialect,
    }
}

/// Where events go: first the log, then whoever tells of them.
struct Sink {
    log: EventWriter,
    reports: Reports,
}

impl Sink {
    fn take(&mut self, event: Event) -> Result<(), Failure> {
        let record = self.log.write(event)?;
        self.reports.record(&record)?;
        Ok(())
    }

    fn tell(&mut self) {
        self.reports.tell(self.log.elapsed_ms());
    }
}
