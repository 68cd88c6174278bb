//! A whole run in one of several formats, for `kiln report`.

use std::path::Path;

use super::compare::{CompareError, Comparison};
use super::html::{Timeline, page};
use super::interface::ReportError;
use super::{History, json, junit, summary, tap};
use crate::run::event::Record;
use crate::run::event_log::EventLogError;
use crate::run::event_reader::EventReader;

/// What a report is written in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A page for a browser, in one file
    #[default]
    Html,
    /// For people and pull requests: as summary.md
    Markdown,
    /// As junit.xml
    Junit,
    /// For programs
    Json,
    /// Test Anything Protocol, version 14
    Tap,
}

/// A run that has been read, as far as it goes.
#[derive(Debug, Default)]
pub struct ReadRun {
    history: History,
    timeline: Timeline,
    /// What a reader must know of it.
    pub notes: Vec<String>,
    baseline: Option<Comparison>,
}

impl ReadRun {
    /// Reads the run in this directory.
    pub fn read(dir: &Path) -> Result<Self, EventLogError> {
        let mut run = Self::default();
        let extent = EventReader::open(dir)?.each(|record| run.observe(&record))?;
        run.notes.extend(extent.note());
        Ok(run)
    }

    /// The run of these events.
    pub fn of(records: &[Record]) -> Self {
        let mut run = Self::default();
        for record in records {
            run.observe(record);
        }
        run
    }

    /// Compares it with a run before, each by its path and the name that the user gave it; only
    /// the page shows that.
    pub fn compare_with(
        &mut self,
        before: (&Path, &str),
        own: (&Path, &str),
    ) -> Result<(), CompareError> {
        let comparison = Comparison::with_baseline(before, own, &self.history)?;
        self.notes.extend(comparison.notes.iter().cloned());
        self.baseline = Some(comparison);
        Ok(())
    }

    fn observe(&mut self, record: &Record) {
        self.history.observe(record);
        self.timeline.observe(record);
    }

    /// The run in this format.
    pub fn text(&self, format: Format) -> Result<String, ReportError> {
        Ok(match format {
            Format::Html => page(
                &self.history,
                &self.timeline,
                &self.notes,
                self.baseline.as_ref(),
            )?,
            Format::Markdown => summary::with_notes(&self.history, &self.notes),
            Format::Junit => junit::text(&self.history)?,
            Format::Json => json::text(&self.history, &self.notes)?,
            Format::Tap => tap::text(&self.history, &self.notes),
        })
    }
}
