//! Events → what people and machines read; knows no VM and no suite.
//!
//! A report is fed every [`Record`] as it happens and finishes once. Text that
//! came from a guest passes [`escape`] on its way out.

pub mod escape;
mod junit;
mod table;
mod terminal;
mod terminal_style;

use std::io;

use thiserror::Error;

use crate::hint::Hint;
use crate::run::dir::RunDirError;
use crate::run::event::Record;

pub use junit::Junit;
pub use terminal::Terminal;
pub use terminal_style::TerminalStyle;

/// A fold over the events of a run.
pub trait Report: Send {
    /// Takes the next event.
    fn record(&mut self, record: &Record) -> Result<(), ReportError>;

    /// Says what stands at the end; also after a run that was cut short.
    fn finish(&mut self) -> Result<(), ReportError>;
}

/// What can go wrong with a report.
#[derive(Debug, Error)]
pub enum ReportError {
    /// The terminal, or what stands in its place, takes no text.
    #[error("cannot write the report to the standard output: {0}")]
    Output(#[source] io::Error),
    /// The JUnit report cannot be put into words.
    #[error("cannot write the JUnit report: {0}")]
    Junit(#[from] quick_junit::SerializeError),
    /// A report's file cannot be written.
    #[error(transparent)]
    File(#[from] RunDirError),
}

impl Hint for ReportError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::File(error) => error.hints(),
            Self::Output(_) | Self::Junit(_) => {
                vec!["the verdicts so far are in events.jsonl of the run's directory".to_owned()]
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod samples {
    //! Runs to test reports with.

    use crate::run::event::{Event, Record, Verdict};

    pub(crate) fn at(at_ms: u64, event: Event) -> Record {
        Record { at_ms, event }
    }

    pub(crate) fn started(kernels: &[&str], tests: usize) -> Record {
        at(
            0,
            Event::RunStarted {
                version: "0.1.0".into(),
                started_at: "2026-11-22T16:00:00.000Z".into(),
                kernels: kernels.iter().map(|kernel| (*kernel).to_owned()).collect(),
                suites: vec!["bpftrace".into()],
                tests,
            },
        )
    }

    pub(crate) fn finished(kernel: &str, id: &str, verdict: Verdict, reason: &str) -> Record {
        at(
            5000,
            Event::TestFinished {
                kernel: kernel.into(),
                id: id.into(),
                verdict,
                reason: (!reason.is_empty()).then(|| reason.to_owned()),
                duration_ms: 3100,
                output: String::new(),
                details: String::new(),
            },
        )
    }

    /// `record` with this output and these details.
    pub(crate) fn with_texts(mut record: Record, said: &str, judged: &str) -> Record {
        if let Event::TestFinished {
            output, details, ..
        } = &mut record.event
        {
            said.clone_into(output);
            judged.clone_into(details);
        }
        record
    }
}
