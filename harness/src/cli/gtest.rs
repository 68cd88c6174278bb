//! `kiln gtest`: the step `gtest` of `kiln ci`, inside the development shell.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use tokio::sync::mpsc::unbounded_channel;

use super::Failure;
use super::again;
use super::context::Context;
use super::execute::Sink;
use super::input::{self, Interrupts};
use super::level_args::LevelArgs;
use crate::ci::gtest::{self, Finished, Settings, UnitTest};
use crate::duration::millis;
use crate::exit_code;
use crate::report::{Outlet, ReportError, Reports, StatusLevel, TerminalStyle};
use crate::run::dir::RunDir;
use crate::run::event::{Event, KernelPlan, RunStarted, SCHEMA, TestResult};
use crate::run::event_log::EventWriter;
use crate::suite::{Filter, FilterError, TestId};

/// Arguments of `kiln gtest`.
#[derive(Debug, Args)]
pub(super) struct GtestArgs {
    /// Processes at the same time
    #[arg(short, long, value_name = "N", default_value = "1")]
    jobs: NonZeroUsize,
    /// Directory for events and reports [default: a new one below target/kiln/runs]
    #[arg(long, value_name = "DIR")]
    run_dir: Option<PathBuf>,
    /// How long one test may take
    #[arg(long, value_name = "TIME", value_parser = crate::duration::parse, default_value = "10m")]
    test_timeout: Duration,
    /// Filter for the tests' ids, unit.SUITE.NAME, as for kiln run
    #[arg(
        short = 't',
        long = "filter",
        value_name = "FILTER",
        allow_hyphen_values = true
    )]
    filters: Vec<String>,
    /// The name of this machine's kernel in reports
    #[arg(short, long, value_name = "NAME", default_value = "host")]
    kernel: String,
    #[command(flatten)]
    levels: LevelArgs,
    /// The GoogleTest program
    program: PathBuf,
    /// The name of its tests in reports
    #[arg(default_value = "unit")]
    suite: String,
}

impl GtestArgs {
    /// Runs the tests on this machine; returns the exit code.
    pub(super) async fn run(self, config: Option<PathBuf>) -> Result<u8, Failure> {
        let mut interrupts = Interrupts::listen()?;
        let tests = gtest::list(&self.program).await?;
        if tests.is_empty() {
            let message = format!("{} has no tests", self.program.display());
            return Err(Failure::new(exit_code::NOTHING_SELECTED, message));
        }
        let tests = self.selected(tests)?;
        let place = Context::load(config.as_deref())?.runs();
        let run_dir = RunDir::create(self.run_dir.as_deref(), &place)?;
        let style = TerminalStyle::detect();
        let outlet = Outlet::start(style).map_err(ReportError::Output)?;
        let levels = self.levels.levels(StatusLevel::Fail);
        let log = EventWriter::create(&run_dir.events())?;
        let reports = Reports::of_run(&run_dir, style, levels, &outlet.queue(), None);
        let mut sink = Sink { log, reports };
        sink.take(self.started(tests.len(), sink.log.started_at()))?;

        let settings = Settings {
            program: self.program.clone(),
            jobs: self.jobs.get(),
            limit: self.test_timeout,
        };
        let (sender, mut ended) = unbounded_channel();
        let running = async move { gtest::run(&settings, tests, &sender).await };
        let take_all = async {
            while let Some(finished) = ended.recv().await {
                sink.take(Event::TestFinished(self.result(finished)))?;
            }
            Ok::<(), Failure>(())
        };
        // An interrupt drops the processes, which ends them.
        let interrupted = tokio::select! {
            ((), taken) = async { tokio::join!(running, take_all) } => {
                taken?;
                None
            }
            signal = interrupts.next() => Some(signal),
        };
        let code = match interrupted {
            Some(signal) => input::code_of(signal),
            None => sink.exit_code(),
        };
        sink.finish(code)?;
        outlet.finished().await?;
        Ok(code)
    }

    /// The tests that `-t` leaves.
    fn selected(&self, mut tests: Vec<UnitTest>) -> Result<Vec<UnitTest>, Failure> {
        let filter = Filter::new(&self.filters)?;
        let total = tests.len();
        tests.retain(|test| {
            let id = TestId::new(&self.suite, &test.name);
            filter.selects(&id)
        });
        if tests.is_empty() {
            let filters = self.filters.clone();
            let failure = Failure::from(FilterError::NothingSelected { filters, total });
            return Err(failure.with_code(exit_code::NOTHING_SELECTED));
        }
        Ok(tests)
    }

    fn id(&self, name: &str) -> String {
        format!("{}.{name}", self.suite)
    }

    fn started(&self, tests: usize, started_at: String) -> Event {
        let program = self.program.to_string_lossy().into_owned();
        Event::RunStarted(RunStarted {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at,
            command: again::command_line(),
            again: ["kiln", "gtest", &program].map(str::to_owned).into(),
            cwd: std::env::current_dir()
                .map(|dir| dir.to_string_lossy().into_owned())
                .unwrap_or_default(),
            kernels: vec![KernelPlan {
                name: self.kernel.clone(),
                tests,
                suites: vec![tests],
                expected_ms: None,
            }],
            suites: vec![self.suite.clone()],
            shard: None,
            rerun_of: None,
        })
    }

    fn result(&self, finished: Finished) -> TestResult {
        TestResult {
            kernel: self.kernel.clone(),
            vm: 0,
            suite: self.suite.clone(),
            id: self.id(&finished.name),
            case_of: None,
            source: finished.source,
            attempt: 1,
            verdict: finished.verdict,
            reason: finished.reason,
            flaky: false,
            known: None,
            duration_ms: millis(finished.took),
            guest_ms: None,
            output: finished.output,
            details: String::new(),
            rules: Vec::new(),
            console: String::new(),
        }
    }
}
