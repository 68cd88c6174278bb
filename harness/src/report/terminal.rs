//! The report on the terminal: events as they happen, then the whole run.

use std::io::Write;
use std::path::PathBuf;

use indicatif::MultiProgress;

use super::activity::Activity;
use super::ending::ending;
use super::interface::{Report, ReportError};
use super::live::View;
use super::painter::{Paint, Painter, Piece};
use super::text::{Keep, quote};
use super::{History, Levels, StatusLevel, TerminalStyle, lines};
use crate::run::event::{Event, Record};

/// Lines of a kernel report to show at once, enough to recognise it. The end has more.
const REPORT_LINES: usize = 3;

/// Decides what to show of each event, and how to word it. `P` writes it to the terminal.
pub struct Terminal<P> {
    paint: P,
    style: TerminalStyle,
    levels: Levels,
    results: PathBuf,
    activity: Activity,
}

impl<W: Write + Send> Terminal<Painter<W>> {
    /// A report that writes to `out` at once, shows verdicts by `levels`, and names `results` at
    /// its end as the run directory. Its live lines are among `drawn`.
    pub fn new(
        out: W,
        style: TerminalStyle,
        drawn: MultiProgress,
        levels: Levels,
        results: impl Into<PathBuf>,
    ) -> Self {
        Self::over(Painter::new(out, style, drawn), style, levels, results)
    }
}

impl<P: Paint> Terminal<P> {
    /// The same, shown by `paint`.
    pub fn over(
        paint: P,
        style: TerminalStyle,
        levels: Levels,
        results: impl Into<PathBuf>,
    ) -> Self {
        Self {
            paint,
            style,
            levels,
            results: results.into(),
            activity: Activity::default(),
        }
    }

    /// What to show of an event, and at which level.
    fn line(&self, event: &Event) -> Option<(StatusLevel, String)> {
        let style = self.style;
        Some(match event {
            Event::RunStarted(start) => (StatusLevel::None, lines::started(start)),
            Event::VmStarted(up) => (StatusLevel::Pass, lines::vm_started(style, up)),
            Event::SpeedMeasured(speed) => (StatusLevel::Pass, lines::speed(style, speed)),
            Event::TestFinished(result) => (StatusLevel::of(result), lines::verdict(style, result)),
            Event::AttemptFinished(result) => (
                StatusLevel::of_attempt(result),
                lines::attempt(style, result),
            ),
            Event::TestSlow(slow) => (StatusLevel::Slow, lines::slow(style, slow)),
            Event::KernelReport(report) => {
                let mut shown = lines::kernel_report(style, report);
                quote(&mut shown, &report.text, &Keep::First(REPORT_LINES), None);
                (StatusLevel::Fail, shown)
            }
            Event::VmLost(lost) => (StatusLevel::Fail, lines::vm_lost(style, lost)),
            Event::Warning(warning) => (StatusLevel::None, lines::warning(style, warning)),
            Event::RunStopped(stopped) => (StatusLevel::None, lines::stopped(style, stopped)),
            Event::KernelFailed(failed) => (StatusLevel::Fail, lines::no_kernel(style, failed)),
            _ => return None,
        })
    }
}

/// Whether even a slow reader must get this line: verdicts, and why some are missing. The rest is
/// also in the run directory.
fn stays(event: &Event) -> bool {
    matches!(
        event,
        Event::RunStarted(_)
            | Event::TestFinished(_)
            | Event::KernelFailed(_)
            | Event::RunStopped(_)
    )
}

impl<P: Paint> Report for Terminal<P> {
    fn record(&mut self, record: &Record, history: &History) -> Result<(), ReportError> {
        self.activity.observe(record);
        if self.style.progress {
            self.paint
                .paint(Piece::Live(View::of(history, &self.activity)))?;
        }
        match self.line(&record.event) {
            Some((level, text)) if level <= self.levels.status => {
                self.paint.paint(if stays(&record.event) {
                    Piece::Line(text)
                } else {
                    Piece::Remark(text)
                })
            }
            _ => Ok(()),
        }
    }

    fn report_status(&mut self, now_ms: u64) {
        // Ignore errors if it is closed.
        let _ = self.paint.paint(Piece::Note(self.activity.text(now_ms)));
    }

    fn finish(&mut self, history: &History) -> Result<(), ReportError> {
        let text = ending(self.style, self.levels, history, &self.results);
        self.paint.paint(Piece::End(text))
    }
}

#[cfg(test)]
#[path = "terminal_tests.rs"]
mod tests;
