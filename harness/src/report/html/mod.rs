//! `report.html`: a run as one page, for a browser.
//!
//! The page is one file that loads nothing. Rust writes what does not change (the heading, the
//! kernels, what ran) and the run's results as JSON in a data block; `*.js` shows them. What a guest
//! printed reaches the page as text only: escaped by the template, or by [`script_json`] and then
//! set as `textContent`; a policy in the page forbids any other script.

mod build;
mod model;
mod page;
mod script_json;
mod texts;
mod timeline;

use std::sync::Arc;

use super::compare::Baseline;
use super::history::History;
use super::interface::{Report, ReportError};
use crate::run::dir::RunDir;
use crate::run::event::Record;

pub(super) use page::{STYLE, page};
pub(super) use timeline::Timeline;

/// Writes `report.html` into the directory of a run at its end.
pub struct Html {
    dir: RunDir,
    timeline: Timeline,
    baseline: Option<Arc<Baseline>>,
}

impl Html {
    /// For the run of this directory.
    pub fn new(dir: RunDir, baseline: Option<Arc<Baseline>>) -> Self {
        Self {
            dir,
            baseline,
            timeline: Timeline::default(),
        }
    }
}

impl Report for Html {
    fn record(&mut self, record: &Record, _history: &History) -> Result<(), ReportError> {
        self.timeline.observe(record);
        Ok(())
    }

    fn finish(&mut self, history: &History) -> Result<(), ReportError> {
        let baseline = self.baseline.as_ref();
        let (comparison, notes) = match baseline.map(|baseline| baseline.compare(history)) {
            None => (None, Vec::new()),
            Some(Ok(comparison)) => (Some(comparison), comparison.notes.clone()),
            Some(Err(error)) => (None, vec![error.to_string()]),
        };
        let text = page(history, &self.timeline, &notes, comparison)?;
        self.dir.write(&self.dir.html(), text.as_bytes())?;
        Ok(())
    }
}
