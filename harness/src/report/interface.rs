//! What every report is, and how writing one fails.

use std::io::{self, Write};
use std::path::PathBuf;

use thiserror::Error;

use super::history::History;
use crate::hint::Hint;
use crate::run::dir::RunDirError;
use crate::run::event::Record;

/// Writes the end of a report at once.
pub(super) fn put(out: &mut impl Write, text: &str) -> Result<(), ReportError> {
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
