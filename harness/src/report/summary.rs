//! `summary.md`: a run on one page, for people and for pull requests.

use std::fmt::Write as _;
use std::sync::Arc;

use super::compare::Baseline;
use super::differences::differences;
use super::github::MAX_SUMMARY;
use super::history::{History, Outcome};
use super::interface::{Report, ReportError};
use super::markdown::{block, code, link, literal};
use super::words::{counted, minutes, report_kind, seconds};
use super::{escape, reproduce};
use crate::run::dir::RunDir;
use crate::run::event::{Record, TestResult, VERDICTS, Verdict};
use crate::run::tally::Counts;

/// Characters of one failure's evidence to show; the rest is in its output file.
const MAX_EVIDENCE: usize = 6000;
/// Bytes of all failures with their evidence: GitHub refuses a summary of more than a mebibyte.
const MAX_FAILURES: usize = 600 * 1024;
/// Bytes of a page that are kept for notes on what is missing.
const NOTES: usize = 24 * 1024;
/// In place of a section that does not fit.
const LEFT_OUT: &str = "A part of this page is left out: it is too long.\n";
/// Entries of the other lists to show.
const MAX_ENTRIES: usize = 200;
/// Characters of one line of text.
const MAX_LINE: usize = 400;

/// Writes `summary.md` into the directory of a run at its end.
pub struct Summary {
    dir: RunDir,
    baseline: Option<Arc<Baseline>>,
}

impl Summary {
    /// For the run of this directory.
    pub fn new(dir: RunDir, baseline: Option<Arc<Baseline>>) -> Self {
        Self { dir, baseline }
    }
}

impl Report for Summary {
    fn record(&mut self, _record: &Record, _history: &History) -> Result<(), ReportError> {
        Ok(())
    }

    fn finish(&mut self, history: &History) -> Result<(), ReportError> {
        let text = compared(history, self.baseline.as_deref(), MAX_SUMMARY);
        self.dir.write(&self.dir.summary(), text.as_bytes())?;
        Ok(())
    }
}

/// A line of the page. Writing to a string cannot fail.
macro_rules! say {
    ($page:expr, $($words:tt)*) => {
        let _ = writeln!($page, $($words)*);
    };
}

/// The page, with what its reader must know first.
pub(super) fn with_notes(history: &History, notes: &[String]) -> String {
    let mut page = String::new();
    for note in notes {
        say!(page, "> {}\n", literal(note));
    }
    page.push_str(&summary(history));
    page
}

/// The page, with what has changed since the baseline first. With `room` bytes for it, the later
/// sections are left out that do not fit.
pub(super) fn compared(history: &History, baseline: Option<&Baseline>, room: usize) -> String {
    let mut page = match baseline.map(|baseline| baseline.compare(history)) {
        None => String::new(),
        Some(Ok(comparison)) => comparison.markdown(),
        Some(Err(error)) => format!("> {}\n\n", code(&error.to_string())),
    };
    let most = room.saturating_sub(NOTES);
    if page.len() > most {
        page.clear();
        say!(page, "{LEFT_OUT}");
    }
    add_sections(&mut page, history, most);
    page
}

/// The page.
pub(super) fn summary(history: &History) -> String {
    compared(history, None, MAX_SUMMARY)
}

fn add_sections(page: &mut String, history: &History, most: usize) {
    let sections = [
        heading,
        table,
        failures,
        difference_table,
        flaky,
        known,
        no_kernels,
        kernel_reports,
        losses,
        warnings,
        what_ran,
    ];
    for section in sections {
        let before = page.len();
        section(page, history);
        if page.len() > most {
            page.truncate(before);
            say!(page, "{LEFT_OUT}");
        }
    }
}

fn heading(page: &mut String, history: &History) {
    let total = history.tally.total();
    let missing = history.tally.missing();
    let what = match (total.unexpected(), missing) {
        (0, 0) if history.exit_code.is_none() => "interrupted".to_owned(),
        (0, 0) => "all as expected".to_owned(),
        (0, _) => format!("{} did not run", counted(missing, "test")),
        (bad, 0) => format!("{} not as expected", counted(bad, "test")),
        (bad, _) => format!(
            "{} not as expected, {missing} did not run",
            counted(bad, "test")
        ),
    };
    let fine = history.exit_code == Some(crate::exit_code::OK);
    let mark = if fine { PASSED } else { FAILED };
    say!(page, "### {mark} kiln: {what}\n");
    let kernels = counted(history.tally.kernels.len(), "kernel");
    let mut line = format!(
        "{} of {} on {kernels} in {}",
        counted(total.finished(), "verdict"),
        counted(total.planned(), "planned test"),
        minutes(history.at_ms)
    );
    if let Some(shard) = &history.start.shard {
        let _ = write!(line, ", part {}", code(shard));
    }
    if let Some(exit) = history.exit_code {
        let _ = write!(line, ", exit code {exit}");
    }
    say!(page, "{line}\n");
    if let Some(stopped) = &history.stopped {
        say!(
            page,
            "Ended before its last test: {}\n",
            code(&stopped.message)
        );
    }
}

const PASSED: &str = "\u{2705}";
const FAILED: &str = "\u{274c}";

/// Kernels × suites.
fn table(page: &mut String, history: &History) {
    let suites = history.tally.suites();
    let mut head = String::from("| kernel |");
    let mut line = String::from("| --- |");
    for suite in &suites {
        let _ = write!(head, " {} |", code(suite));
        line.push_str(" --- |");
    }
    say!(page, "{head}\n{line}");
    for kernel in &history.tally.kernels {
        let mut row = format!("| {} |", code(&kernel.kernel));
        for suite in &suites {
            let counts = kernel.suites.iter().find(|one| one.suite == *suite);
            let _ = write!(
                row,
                " {} |",
                counts.map_or(String::new(), |one| cell(&one.counts))
            );
        }
        say!(page, "{row}");
    }
    say!(page, "");
}

fn cell(counts: &Counts) -> String {
    let mut parts: Vec<String> = VERDICTS
        .into_iter()
        .filter(|verdict| counts.count(*verdict) > 0)
        .map(|verdict| format!("{} {verdict}", counts.count(verdict)))
        .collect();
    if counts.missing() > 0 {
        parts.push(format!("{} not run", counts.missing()));
    }
    if counts.known() > 0 {
        parts.push(format!("{} known", counts.known()));
    }
    if counts.flaky() > 0 {
        parts.push(format!("{} flaky", counts.flaky()));
    }
    let fine = counts.unexpected() == 0 && counts.missing() == 0;
    let mark = if fine { PASSED } else { FAILED };
    if parts.is_empty() {
        String::new()
    } else {
        format!("{mark} {}", parts.join(", "))
    }
}

fn clipped(text: &str) -> String {
    code(&escape::clip(text, MAX_LINE))
}

fn failures(page: &mut String, history: &History) {
    let failures: Vec<&Outcome> = history.unexpected().collect();
    if failures.is_empty() {
        return;
    }
    say!(page, "### Not as expected\n");
    let before = page.len();
    for (index, outcome) in failures.iter().enumerate() {
        if page.len() - before > MAX_FAILURES {
            let left = counted(failures.len() - index, "other");
            say!(page, "And {left}: see `output/` in the run directory.\n");
            break;
        }
        failure(page, history, outcome);
    }
}

fn failure(page: &mut String, history: &History, outcome: &Outcome) {
    let result = &outcome.result;
    let mut title = format!(
        "{} on {}: {}",
        clipped(&result.id),
        clipped(&result.kernel),
        result.verdict
    );
    if let Some(reason) = &result.reason {
        let _ = write!(title, " {}", clipped(reason));
    }
    say!(page, "<details><summary>{title}</summary>\n");
    if let Some(source) = &result.source {
        let file = history.short_path(&source.file);
        say!(page, "{}\n", code(&format!("{file}:{}", source.line)));
    }
    let mut room = MAX_EVIDENCE;
    for attempt in &outcome.attempts {
        let heading = format!("Attempt {}: {}", attempt.attempt, attempt.verdict);
        let text = attempt_text(attempt);
        evidence(page, &heading, text, &mut room);
    }
    let what = match result.verdict {
        _ if result.details.is_empty() => "What it printed",
        Verdict::Lost => "How the VM was lost",
        _ => "What was expected and found",
    };
    evidence(page, what, attempt_text(result), &mut room);
    for report in outcome.reports_beside_details() {
        let heading = format!("The kernel reported: {}", code(&report_kind(report)));
        evidence(page, &heading, &report.text, &mut room);
    }
    if let Some(loss) = history.loss(result)
        && result.details.is_empty()
    {
        // The end says what happened.
        let tail = last(&loss.console, MAX_EVIDENCE / 2);
        evidence(page, "The VM's console", tail, &mut room);
    }
    say!(page, "Again:\n");
    say!(page, "{}", block(&reproduce::line(history, outcome)));
    say!(page, "</details>\n");
}

fn attempt_text(result: &TestResult) -> &str {
    if result.details.is_empty() {
        &result.output
    } else {
        &result.details
    }
}

/// The last characters, from the start of a line on.
fn last(text: &str, most: usize) -> &str {
    let text = text.trim_end();
    let Some((at, _)) = text.char_indices().rev().nth(most) else {
        return text;
    };
    let tail = &text[at..];
    tail.split_once('\n').map_or(tail, |(_, lines)| lines)
}

fn evidence(page: &mut String, heading: &str, text: &str, room: &mut usize) {
    let text = text.trim_end();
    if text.is_empty() || *room == 0 {
        return;
    }
    say!(page, "{heading}:\n");
    say!(page, "{}", block(&escape::clip(text, *room)));
    *room = room.saturating_sub(text.chars().count());
}

fn difference_table(page: &mut String, history: &History) {
    let all = differences(history);
    if all.is_empty() {
        return;
    }
    say!(page, "### Differences between kernels\n");
    say!(page, "| test | |\n| --- | --- |");
    for test in all.iter().take(MAX_ENTRIES) {
        say!(
            page,
            "| {} | {} |",
            clipped(test.id),
            clipped(&test.words())
        );
    }
    more(page, all.len(), "\n");
    say!(page, "");
}

/// How many entries of a list are left out.
fn more(page: &mut String, all: usize, before: &str) {
    if all > MAX_ENTRIES {
        let _ = write!(page, "{before}");
        say!(page, "And {} more: see `events.jsonl`.", all - MAX_ENTRIES);
    }
}

/// A list under a heading, if it is not empty.
fn list(page: &mut String, heading: &str, entries: &[String]) {
    if entries.is_empty() {
        return;
    }
    say!(page, "### {heading}\n");
    for entry in entries.iter().take(MAX_ENTRIES) {
        say!(page, "- {entry}");
    }
    more(page, entries.len(), "\n");
    say!(page, "");
}

fn on(result: &TestResult) -> String {
    format!("{} on {}", clipped(&result.id), clipped(&result.kernel))
}

fn flaky(page: &mut String, history: &History) {
    let entries: Vec<String> = history
        .flaky()
        .map(|outcome| {
            let result = &outcome.result;
            let reason = result.reason.as_deref().unwrap_or_default();
            format!("{}: {}", on(result), clipped(reason))
        })
        .collect();
    list(page, "Flaky", &entries);
}

fn known(page: &mut String, history: &History) {
    let entries: Vec<String> = history
        .known_failures()
        .map(|(outcome, known)| {
            let result = &outcome.result;
            let mut entry = format!(
                "{}: {}, {}",
                on(result),
                result.verdict,
                clipped(&known.reason)
            );
            if let Some(url) = &known.link {
                let _ = write!(entry, " ({})", link("link", url));
            }
            entry
        })
        .collect();
    list(page, "Known failures", &entries);
}

fn kernel_reports(page: &mut String, history: &History) {
    let entries: Vec<String> = history
        .other_reports()
        .map(|report| {
            let first = report.text.lines().next().unwrap_or_default();
            let during = match &report.test {
                Some(test) => format!(" in {}", clipped(test)),
                None => String::new(),
            };
            let (kernel, kind) = (clipped(&report.kernel), clipped(&report_kind(report)));
            format!("{kernel}{during}: {kind} {}", clipped(first))
        })
        .collect();
    list(page, "What kernels reported", &entries);
}

fn no_kernels(page: &mut String, history: &History) {
    let entries: Vec<String> = history
        .failed
        .iter()
        .map(|failed| format!("{}: {}", clipped(&failed.kernel), clipped(&failed.reason)))
        .collect();
    list(page, "Kernels that could not be provided", &entries);
}

fn losses(page: &mut String, history: &History) {
    let entries: Vec<String> = history
        .losses()
        .map(|loss| {
            let during = match &loss.test {
                Some(test) => format!(" in {}", clipped(test)),
                None => String::new(),
            };
            let (kernel, reason) = (clipped(&loss.kernel), clipped(&loss.reason));
            format!("{kernel}, VM {}{during}: {reason}", loss.vm)
        })
        .collect();
    list(page, "Lost VMs", &entries);
}

fn warnings(page: &mut String, history: &History) {
    let entries: Vec<String> = history
        .warnings
        .iter()
        .map(|warning| match &warning.kernel {
            Some(kernel) => format!("{}: {}", clipped(kernel), clipped(&warning.message)),
            None => clipped(&warning.message),
        })
        .collect();
    list(page, "Warnings", &entries);
}

/// The exact kernels, QEMU, programs and command line.
fn what_ran(page: &mut String, history: &History) {
    say!(page, "<details><summary>What ran</summary>\n");
    for suite in &history.suites {
        let mut line = format!(
            "- suite {}: {}",
            code(&suite.suite),
            code(history.short_path(&suite.subject))
        );
        if let Some(version) = &suite.version {
            let _ = write!(line, ", version {}", code(version));
        }
        if let Some(dialect) = &suite.dialect {
            let _ = write!(line, ", tests of {}", code(dialect));
        }
        say!(page, "{line}");
    }
    for image in &history.images {
        let (kernel, release) = (code(&image.kernel), code(&image.release));
        say!(
            page,
            "- kernel {kernel}: {release}, SHA-256 {}",
            code(&image.sha256)
        );
    }
    for vm in history.vms.iter().take(MAX_ENTRIES) {
        let mut line = format!("- VM {} of {}", vm.vm, code(&vm.kernel));
        match &vm.up {
            Some(up) => {
                let _ = write!(
                    line,
                    ": {}, QEMU {}, {}, up in {}",
                    code(&up.release),
                    code(&up.qemu),
                    code(&up.accelerator),
                    seconds(up.boot_ms)
                );
                if up.addr_no_randomize {
                    line.push_str(", runtime tests without ASLR");
                }
            }
            None => line.push_str(": did not come up"),
        }
        if let Some(factor) = vm.factor {
            let _ = write!(line, ", time limits times {factor:.1}");
        }
        say!(page, "{line}");
    }
    more(page, history.vms.len(), "");
    let start = &history.start;
    say!(
        page,
        "- kiln {}, started {}",
        code(&start.version),
        code(&start.started_at)
    );
    if !start.cwd.is_empty() {
        say!(page, "- in {}", code(&start.cwd));
    }
    say!(
        page,
        "\n{}",
        block(&reproduce::command_line(&history.command()))
    );
    say!(page, "</details>");
}

#[cfg(test)]
#[path = "summary_tests.rs"]
mod tests;
