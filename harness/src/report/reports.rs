//! The reports of one run, and the history that they share.

use std::sync::Arc;

use super::{
    Baseline, GithubLog, History, Html, Junit, Levels, OutputFiles, Queue, Report, ReportError,
    Summary, Terminal, TerminalStyle, github,
};
use crate::run::dir::RunDir;
use crate::run::event::Record;

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
