//! The report on the terminal: each verdict as it happens, a table at the end.

use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;

use indicatif::ProgressDrawTarget;

use super::live::Live;
use super::table::table;
use super::words::{counted, minutes, seconds};
use super::{History, Report, ReportError, TerminalStyle, escape};
use crate::run::event::{Event, KernelPlan, Record, TestResult, VERDICTS, Verdict};
use crate::run::tally::Tally;

/// Lines of a guest's text shown under one verdict; the rest is in the events.
const MAX_LINES: usize = 40;
/// Characters of one such line.
const MAX_LINE: usize = 400;
/// Lines of the console shown when a VM is lost.
const CONSOLE_LINES: usize = 20;

/// Writes the report to `out` and a line per running VM to the standard error.
pub struct Terminal<W> {
    out: W,
    style: TerminalStyle,
    results: PathBuf,
    tally: Tally,
    live: Live,
    /// One line for each verdict that asks for attention, told again at the end.
    bad: Vec<String>,
    at_ms: u64,
}

impl<W: Write + Send> Terminal<W> {
    /// A report that names `results` at its end as the run's directory.
    pub fn new(out: W, style: TerminalStyle, results: impl Into<PathBuf>) -> Self {
        let target = if style.progress {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        Self {
            out,
            style,
            results: results.into(),
            tally: Tally::default(),
            live: Live::new(target),
            bad: Vec::new(),
            at_ms: 0,
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

    fn finished_test(&mut self, result: &TestResult) -> String {
        let TestResult {
            kernel,
            id,
            verdict,
            reason,
            duration_ms,
            output,
            details,
            ..
        } = result;
        let word = self.style.verdict(*verdict);
        let kernel = escape::line(kernel);
        let id = escape::line(id);
        let reason = reason
            .as_deref()
            .map(|reason| escape::clip(&escape::line(reason), MAX_LINE).into_owned());
        let mut text = format!("{word}  {kernel}  {id}  ({})", seconds(*duration_ms));
        match verdict {
            Verdict::Pass => text.push('\n'),
            Verdict::Skip => {
                if let Some(reason) = &reason {
                    text.push_str(": ");
                    text.push_str(reason);
                }
                text.push('\n');
            }
            Verdict::Fail | Verdict::Timeout | Verdict::Lost | Verdict::Error => {
                text.push('\n');
                let mut again = format!("{word}  {kernel}  {id}");
                if let Some(reason) = &reason {
                    text.push_str("      ");
                    text.push_str(reason);
                    text.push('\n');
                    again.push_str(": ");
                    again.push_str(reason);
                }
                self.bad.push(again);
                let shown = if details.is_empty() { output } else { details };
                quote(&mut text, shown, &Keep::First(MAX_LINES));
            }
        }
        text
    }

    fn lost_vm(&self, event: &Event) -> String {
        let Event::VmLost {
            kernel,
            vm,
            reason,
            test,
            console,
            qmp_status,
        } = event
        else {
            return String::new();
        };
        let mut text = format!(
            "{}  {}  VM {vm} lost: {}\n",
            self.style.mark("VM"),
            escape::line(kernel),
            escape::line(reason)
        );
        if let Some(test) = test {
            append(
                &mut text,
                format_args!("      it ran {}\n", escape::line(test)),
            );
        }
        if let Some(status) = qmp_status {
            append(
                &mut text,
                format_args!("      QMP status: {}\n", escape::line(status)),
            );
        }
        quote(&mut text, console, &Keep::Last(CONSOLE_LINES));
        text
    }

    fn summary(&self) -> String {
        let mut text = String::from("\n");
        if !self.bad.is_empty() {
            text.push_str(&self.style.mark("Not as expected:"));
            text.push('\n');
            for line in &self.bad {
                text.push_str(line);
                text.push('\n');
            }
            text.push('\n');
        }
        text.push_str(&table(&self.tally, self.style.width));
        text.push_str("\n\n");
        let mut counts: Vec<String> = VERDICTS
            .into_iter()
            .filter(|verdict| self.tally.count(*verdict) > 0)
            .map(|verdict| format!("{} {verdict}", self.tally.count(verdict)))
            .collect();
        if self.tally.missing() > 0 {
            counts.push(format!("{} not run", self.tally.missing()));
        }
        if counts.is_empty() {
            counts.push("no test".to_owned());
        }
        append(
            &mut text,
            format_args!("{} in {}\n", counts.join(", "), minutes(self.at_ms)),
        );
        append(
            &mut text,
            format_args!(
                "results: {}\n",
                escape::line(&self.results.to_string_lossy())
            ),
        );
        text
    }
}

impl<W: Write + Send> Report for Terminal<W> {
    fn record(&mut self, record: &Record, _history: &History) -> Result<(), ReportError> {
        self.tally.observe(&record.event);
        self.live.observe(&record.event, &self.tally);
        self.at_ms = record.at_ms;
        let text = match &record.event {
            Event::RunStarted { kernels, .. } => started(kernels),
            Event::VmStarted {
                kernel,
                release,
                accelerator,
                qemu,
                boot_ms,
                vm,
            } => format!(
                "{}  {}  VM {vm}: {} up in {} ({}, QEMU {})\n",
                self.style.mark("VM"),
                escape::line(kernel),
                escape::line(release),
                seconds(*boot_ms),
                escape::line(accelerator),
                escape::line(qemu)
            ),
            Event::SpeedMeasured { kernel, vm, factor } => format!(
                "{}  {}  VM {vm}: time limits are multiplied by {factor:.1}\n",
                self.style.mark("VM"),
                escape::line(kernel)
            ),
            Event::TestFinished(result) => self.finished_test(result),
            Event::VmLost { .. } => self.lost_vm(&record.event),
            Event::Warning { kernel, message } => {
                let on = kernel.as_deref().map_or(String::new(), |kernel| {
                    format!("{}: ", escape::line(kernel))
                });
                let mark = self.style.mark("warning:");
                format!("{mark} {on}{}\n", escape::line(message))
            }
            Event::RunStopped { message, .. } => {
                format!(
                    "{} {}\n",
                    self.style.mark("stopped:"),
                    escape::line(message)
                )
            }
            Event::KernelReady { .. }
            | Event::SuiteReady { .. }
            | Event::TestStarted { .. }
            | Event::TestSlow { .. }
            | Event::AttemptFinished(_)
            | Event::KernelReport { .. }
            | Event::VmStopped { .. }
            | Event::RunFinished { .. } => String::new(),
        };
        if text.is_empty() {
            return Ok(());
        }
        self.say(&text)
    }

    fn finish(&mut self, _history: &History) -> Result<(), ReportError> {
        self.live.clear();
        let text = self.summary();
        self.out
            .write_all(text.as_bytes())
            .and_then(|()| self.out.flush())
            .or_else(|error| match error.kind() {
                // Nobody reads any more: that is no failure of the run.
                io::ErrorKind::BrokenPipe => Ok(()),
                _ => Err(ReportError::Output(error)),
            })
    }
}

fn started(kernels: &[KernelPlan]) -> String {
    let names: Vec<_> = kernels.iter().map(|k| escape::line(&k.name)).collect();
    // Shards leave some kernels more than others.
    let most = kernels.iter().map(|kernel| kernel.tests).max().unwrap_or(0);
    format!(
        "{} on {}: {}\n",
        counted(most, "test"),
        counted(kernels.len(), "kernel"),
        names.join(", ")
    )
}

/// Which lines of a long text to show.
enum Keep {
    First(usize),
    Last(usize),
}

/// Adds a guest's text, each line behind a bar, so that no line of it can be
/// taken for one of ours, nor for a CI service's command.
fn quote(text: &mut String, quoted: &str, keep: &Keep) {
    let lines: Vec<&str> = quoted.trim_end().lines().collect();
    let (range, left_out) = match keep {
        Keep::First(most) if lines.len() > *most => (0..*most, lines.len() - most),
        Keep::Last(most) if lines.len() > *most => (lines.len() - most..lines.len(), 0),
        _ => (0..lines.len(), 0),
    };
    for line in &lines[range] {
        // Clipped first: escaping makes ten megabytes of controls forty.
        let line = escape::clip(line, MAX_LINE);
        text.push_str("      | ");
        text.push_str(escape::block(&line).trim_end());
        text.push('\n');
    }
    if left_out > 0 {
        append(
            text,
            format_args!(
                "      [{} more in events.jsonl]\n",
                counted(left_out, "line")
            ),
        );
    }
}

/// Writing to a string cannot fail.
fn append(text: &mut String, formatted: fmt::Arguments<'_>) {
    let _ = fmt::Write::write_fmt(text, formatted);
}

#[cfg(test)]
#[path = "terminal_tests.rs"]
mod tests;
