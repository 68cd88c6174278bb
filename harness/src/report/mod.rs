//! Events → what people and machines read; knows no VM and no suite.
//!
//! A report gets every [`Record`] as it happens, and finishes once. Text from a guest goes through
//! [`escape`].

mod activity;
mod cause;
mod class;
mod compare;
mod differences;
mod ending;
pub mod escape;
mod forecast;
mod format;
pub mod github;
mod github_log;
mod history;
mod html;
mod json;
mod junit;
mod lines;
mod live;
pub mod markdown;
mod outlet;
mod output_files;
mod painter;
mod reproduce;
mod results;
mod screen;
mod status;
mod summary;
mod table;
mod tap;
mod terminal;
mod terminal_style;
mod text;
mod trend;
mod words;

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;

use crate::hint::Hint;
use crate::run::dir::{RunDir, RunDirError};
use crate::run::event::Record;

pub use compare::{Baseline, CompareFormat, Comparison, compare_junit};
pub use format::{Format, ReadRun};
pub use github_log::GithubLog;
pub use history::History;
pub use html::Html;
pub use junit::Junit;
pub use outlet::{Outlet, Queue};
pub use output_files::OutputFiles;
pub use status::{Levels, StatusLevel};
pub use summary::Summary;
pub use terminal::Terminal;
pub use terminal_style::TerminalStyle;
pub use trend::{Trend, TrendFormat};

/// Writes the end of a report at once.
fn put(out: &mut impl Write, text: &str) -> Result<(), ReportError> {
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .or_else(|error| match error.kind() {
            // The reader has gone, which is not a failure of the run.
            io::ErrorKind::BrokenPipe => Ok(()),
            _ => Err(ReportError::Output(error)),
        })
}

/// A report on a run, for people or machines.
pub trait Report: Send {
    /// Takes the next event, which `history` has taken in already.
    fn record(&mut self, record: &Record, history: &History) -> Result<(), ReportError>;

    /// The user asks for a status report, this many milliseconds after the start.
    fn report_status(&mut self, _now_ms: u64) {}

    /// Writes the end of the report, also after a run that was cut short.
    fn finish(&mut self, history: &History) -> Result<(), ReportError>;
}

/// A run and its reports.
pub struct Reports {
    history: History,
    reports: Vec<Box<dyn Report>>,
}

impl Reports {
    /// The reports of the run in this directory: its files, standard output through `shown`, and
    /// GitHub if kiln runs there. None of them waits for standard output. With a baseline they say what
    /// has changed.
    pub fn of_run(
        dir: &RunDir,
        style: TerminalStyle,
        levels: Levels,
        shown: &Queue,
        baseline: Option<&Arc<Baseline>>,
    ) -> Self {
        let mut reports: Vec<Box<dyn Report>> = Vec::new();
        // Before the terminal, which comes last.
        if let Some(github) = github::Github::detect() {
            reports.push(Box::new(GithubLog::new(
                shown.clone(),
                github,
                baseline.cloned(),
            )));
        }
        let terminal = Terminal::over(shown.clone(), style, levels, dir.path());
        reports.push(Box::new(terminal));
        reports.push(Box::new(OutputFiles::new(dir.clone())));
        reports.push(Box::new(Junit::new(dir.clone())));
        reports.push(Box::new(Summary::new(dir.clone(), baseline.cloned())));
        reports.push(Box::new(Html::new(dir.clone(), baseline.cloned())));
        Self {
            history: History::default(),
            reports,
        }
    }

    /// What has happened so far.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// Passes the next event to all reports, up to the first error.
    pub fn record(&mut self, record: &Record) -> Result<(), ReportError> {
        self.history.observe(record);
        for report in &mut self.reports {
            report.record(record, &self.history)?;
        }
        Ok(())
    }

    /// Lets all reports answer a user who asks for a status report, this many milliseconds after
    /// the start.
    pub fn report_status(&mut self, now_ms: u64) {
        for report in &mut self.reports {
            report.report_status(now_ms);
        }
    }

    /// Lets all reports finish, even if one fails; returns the first error.
    pub fn finish(&mut self) -> Result<(), ReportError> {
        let mut first = Ok(());
        for report in &mut self.reports {
            let finished = report.finish(&self.history);
            if first.is_ok() {
                first = finished;
            }
        }
        first
    }
}

/// What can go wrong with a report.
#[derive(Debug, Error)]
pub enum ReportError {
    /// Writing to standard output failed.
    #[error("cannot write the report to standard output: {0}")]
    Output(#[source] io::Error),
    /// The JUnit report cannot be serialised.
    #[error("cannot write the JUnit report: {0}")]
    Junit(#[from] quick_junit::SerializeError),
    /// The JSON report cannot be serialised.
    #[error("cannot write the JSON report: {0}")]
    Json(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The page cannot be made.
    #[error("cannot make report.html: {0}")]
    Page(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The summary of a step cannot be written.
    #[error("cannot write the step's summary {}: {source}", path.display())]
    Summary {
        /// The file that GITHUB_STEP_SUMMARY names.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A report's file cannot be written.
    #[error(transparent)]
    File(#[from] RunDirError),
}

impl Hint for ReportError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::File(error) => error.hints(),
            Self::Output(_)
            | Self::Junit(_)
            | Self::Json(_)
            | Self::Page(_)
            | Self::Summary { .. } => {
                vec!["the verdicts so far are in events.jsonl in the run directory".to_owned()]
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod samples {
    //! Runs for tests of reports.

    use crate::run::event::{
        Event, KernelPlan, Known, KnownResult, Record, RunStarted, SCHEMA, TestResult, Verdict,
    };

    pub(crate) fn at(at_ms: u64, event: Event) -> Record {
        Record { at_ms, event }
    }

    /// Each kernel has `tests` tests.
    pub(crate) fn started(kernels: &[&str], tests: usize) -> Record {
        at(
            0,
            Event::RunStarted(RunStarted {
                schema: SCHEMA,
                version: "0.1.0".into(),
                started_at: "2026-11-22T16:00:00.000Z".into(),
                command: vec!["kiln".into(), "run".into()],
                again: vec!["kiln".into(), "run".into()],
                cwd: "/home/u/bpftrace".into(),
                kernels: kernels
                    .iter()
                    .map(|kernel| KernelPlan {
                        name: (*kernel).to_owned(),
                        tests,
                        suites: vec![tests],
                        expected_ms: None,
                    })
                    .collect(),
                suites: vec!["bpftrace".into()],
                shard: None,
            }),
        )
    }

    /// The run of these events.
    pub(crate) fn history(records: &[Record]) -> crate::report::History {
        let mut history = crate::report::History::default();
        for record in records {
            history.observe(record);
        }
        history
    }

    pub(crate) fn result(kernel: &str, id: &str, verdict: Verdict, reason: &str) -> TestResult {
        TestResult {
            kernel: kernel.into(),
            vm: 0,
            suite: "bpftrace".into(),
            id: id.into(),
            case_of: None,
            source: None,
            attempt: 1,
            verdict,
            reason: (!reason.is_empty()).then(|| reason.to_owned()),
            flaky: false,
            known: None,
            duration_ms: 3100,
            output: String::new(),
            details: String::new(),
            rules: Vec::new(),
            console: String::new(),
        }
    }

    /// `result` of a test with this known result, because of missing BTF.
    pub(crate) fn known(result: TestResult, known: KnownResult) -> TestResult {
        TestResult {
            known: Some(Known {
                result: known,
                reason: "no BTF".into(),
                link: None,
            }),
            ..result
        }
    }

    pub(crate) fn finished(kernel: &str, id: &str, verdict: Verdict, reason: &str) -> Record {
        at(
            5000,
            Event::TestFinished(result(kernel, id, verdict, reason)),
        )
    }

    /// `record` with this output and these details.
    pub(crate) fn with_texts(mut record: Record, said: &str, judged: &str) -> Record {
        if let Event::TestFinished(result) = &mut record.event {
            said.clone_into(&mut result.output);
            judged.clone_into(&mut result.details);
        }
        record
    }
}
