//! The report on the terminal: what happens as it happens, then the whole.

use std::io::{self, Write};
use std::path::PathBuf;

use indicatif::MultiProgress;

use super::doing::Doing;
use super::ending::ending;
use super::live::Live;
use super::text::{Keep, quote};
use super::words::seconds;
use super::{History, Levels, Report, ReportError, StatusLevel, TerminalStyle, lines};
use crate::run::event::{Event, Record};

/// Lines shown at once of what a kernel said is wrong with it: enough to know
/// it by. The end has more.
const REPORT_LINES: usize = 3;

/// Writes the report to `out` and a line per running VM to the standard error.
pub struct Terminal<W> {
    out: W,
    style: TerminalStyle,
    levels: Levels,
    results: PathBuf,
    live: Live,
    doing: Doing,
}

impl<W: Write + Send> Terminal<W> {
    /// A report that tells verdicts by `levels`, and names `results` at its end
    /// as the run's directory. Its live lines are among `drawn`, which others
    /// draw on too.
    pub fn new(
        out: W,
        style: TerminalStyle,
        drawn: MultiProgress,
        levels: Levels,
        results: impl Into<PathBuf>,
    ) -> Self {
        Self {
            out,
            style,
            levels,
            results: results.into(),
            live: Live::new(drawn, style),
            doing: Doing::default(),
        }
    }

    /// Writes whole lines, with the lines of the VMs out of the way.
    fn say(&mut self, text: &str) -> Result<(), ReportError> {
        let Self { out, live, .. } = self;
        live.suspend(|| {
            out.write_all(text.as_bytes())?;
            out.flush()
        })
        .map_err(ReportError::Output)
    }

    /// What is said of an event, and at which level.
    fn line(&self, event: &Event) -> Option<(StatusLevel, String)> {
        let style = self.style;
        Some(match event {
            Event::RunStarted { kernels, .. } => (StatusLevel::None, lines::started(kernels)),
            Event::VmStarted {
                kernel,
                release,
                accelerator,
                qemu,
                boot_ms,
                vm,
                addr_no_randomize,
            } => {
                let took = seconds(*boot_ms);
                // The rest is the distribution's name of it, and fills a line.
                let qemu = qemu.split_whitespace().next().unwrap_or_default();
                let aslr = if *addr_no_randomize { ", no ASLR" } else { "" };
                let what = format!("{release} up in {took} ({accelerator}, QEMU {qemu}{aslr})");
                (StatusLevel::Pass, lines::vm(style, kernel, *vm, &what))
            }
            Event::SpeedMeasured { kernel, vm, factor } => {
                let what = format!("time limits are multiplied by {factor:.1}");
                (StatusLevel::Pass, lines::vm(style, kernel, *vm, &what))
            }
            Event::TestFinished(result) => (StatusLevel::of(result), lines::verdict(style, result)),
            Event::AttemptFinished(result) => (
                StatusLevel::of_attempt(result),
                lines::attempt(style, result),
            ),
            Event::TestSlow {
                kernel,
                id,
                elapsed_ms,
                ..
            } => (
                StatusLevel::Slow,
                lines::slow(style, kernel, id, *elapsed_ms),
            ),
            Event::KernelReport {
                kernel,
                kind,
                test,
                text,
                allowed,
                denied,
                ..
            } => {
                let kind = lines::report_kind(kind, allowed.as_deref(), denied.as_deref());
                let mut shown = lines::kernel_report(style, kernel, &kind, test.as_deref());
                quote(&mut shown, text, &Keep::First(REPORT_LINES), None);
                (StatusLevel::Fail, shown)
            }
            Event::VmLost {
                kernel,
                vm,
                reason,
                test,
                qmp_status,
                ..
            } => {
                let shown = lines::vm_lost(
                    style,
                    kernel,
                    *vm,
                    reason,
                    test.as_deref(),
                    qmp_status.as_deref(),
                );
                (StatusLevel::Fail, shown)
            }
            Event::Warning { kernel, message } => (
                StatusLevel::None,
                lines::warning(style, kernel.as_deref(), message),
            ),
            Event::RunStopped { message, .. } => {
                (StatusLevel::None, lines::stopped(style, message))
            }
            Event::KernelFailed {
                kernel,
                reason,
                hints,
            } => (
                StatusLevel::Fail,
                lines::no_kernel(style, kernel, reason, hints),
            ),
            _ => return None,
        })
    }
}

impl<W: Write + Send> Report for Terminal<W> {
    fn record(&mut self, record: &Record, history: &History) -> Result<(), ReportError> {
        self.doing.observe(record);
        self.live.observe(&record.event, history, &self.doing);
        match self.line(&record.event) {
            Some((level, text)) if level <= self.levels.status => self.say(&text),
            _ => Ok(()),
        }
    }

    fn tell(&mut self, now_ms: u64) {
        let text = self.doing.text(now_ms);
        // For who asked, wherever the report goes; nobody asks twice if it is
        // closed.
        self.live
            .suspend(|| drop(io::stderr().write_all(text.as_bytes())));
    }

    fn finish(&mut self, history: &History) -> Result<(), ReportError> {
        self.live.clear();
        let text = ending(self.style, self.levels.at_end, history, &self.results);
        super::put(&mut self.out, &text)
    }
}

#[cfg(test)]
#[path = "terminal_tests.rs"]
mod tests;
