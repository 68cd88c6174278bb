//! The end of the terminal's report: unexpected results in full, the table, differences between
//! kernels.

use std::collections::HashMap;
use std::path::Path;

use super::cause;
use super::class::Class;
use super::differences::differences;
use super::history::{History, Outcome};
use super::lines::{self, reason_of};
use super::table::table;
use super::text::{Keep, append, quote};
use super::words::{counted, minutes, report_kind};
use super::{Levels, StatusLevel, TerminalStyle, escape, output_files, reproduce};

/// Lines of a failure's text to show; the rest is in its file.
const MAX_LINES: usize = 60;
/// Lines of a kernel report to show.
const REPORT_LINES: usize = 40;
/// Lines to show of the console of a VM that was lost between tests.
const CONSOLE_LINES: usize = 20;
/// Where the rest of a text is.
const EVENTS: &str = "events.jsonl";
/// Failures to show with their texts; of more, only the first line.
const MAX_IN_FULL: usize = 40;
/// Tests to name in a group with the same reason.
const MAX_NAMED: usize = 20;

/// The end of a run's report: results from `level` on, failures in full, and the `results`
/// directory.
pub(super) fn ending(
    style: TerminalStyle,
    levels: Levels,
    history: &History,
    results: &Path,
) -> String {
    let level = levels.at_end;
    let mut text = String::from("\n");
    if level >= StatusLevel::Fail {
        failures(&mut text, style, history, levels.group);
        troubles(&mut text, style, history);
    }
    others(&mut text, style, level, history);
    text.push_str(&table(history, style.width));
    text.push_str("\n\n");
    differing(&mut text, style, history);
    append(
        &mut text,
        format_args!(
            "{} in {}\nresults: {}\n",
            counts(history),
            minutes(history.at_ms),
            escape::line(&results.to_string_lossy())
        ),
    );
    text
}

/// Unexpected results with the same cause.
struct Failure<'h> {
    first: &'h Outcome,
    /// Further results, which are not shown in full.
    others: Vec<&'h Outcome>,
}

/// By test, with the kernels of a test in the order of the run. With `group`, those with one cause
/// together; without, only those that have no text of their own, on each kernel.
fn sorted(history: &History, group: bool) -> Vec<Failure<'_>> {
    let kernels = &history.tally.kernels;
    let mut outcomes: Vec<&Outcome> = history.unexpected().collect();
    outcomes.sort_by_key(|outcome| {
        let result = &outcome.result;
        let kernel = kernels
            .iter()
            .position(|tally| tally.kernel == result.kernel);
        (&result.suite, &result.id, kernel)
    });
    let mut failures: Vec<Failure<'_>> = Vec::new();
    let mut alike = HashMap::new();
    for outcome in outcomes {
        let result = &outcome.result;
        let has_text = !(result.details.is_empty()
            && result.output.is_empty()
            && outcome.attempts.is_empty()
            && outcome.reports.is_empty());
        // If a kernel does not boot, all its tests have the same reason.
        let story = if group {
            (None, cause::key(outcome))
        } else {
            let reason = result.reason.clone().unwrap_or_default();
            (Some(&result.kernel), (Class::of(result), reason))
        };
        let apart = has_text && !group;
        match alike.get(&story) {
            Some(&index) if !apart => {
                let failure: &mut Failure<'_> = &mut failures[index];
                failure.others.push(outcome);
            }
            _ => {
                if !apart {
                    alike.insert(story, failures.len());
                }
                failures.push(Failure {
                    first: outcome,
                    others: Vec::new(),
                });
            }
        }
    }
    failures
}

fn failures(text: &mut String, style: TerminalStyle, history: &History, group: bool) {
    let failures = sorted(history, group);
    if failures.is_empty() {
        return;
    }
    append(text, format_args!("{}\n\n", style.mark("Not as expected:")));
    for (number, failure) in failures.iter().enumerate() {
        let outcome = failure.first;
        let result = &outcome.result;
        append(
            text,
            format_args!(
                "{}  ({})\n",
                lines::name(style, result),
                lines::took(result)
            ),
        );
        if let Some(reason) = reason_of(result) {
            text.push_str(&lines::indented(&reason));
        }
        if number < MAX_IN_FULL {
            story(text, history, outcome);
        } else if number == MAX_IN_FULL {
            append(
                text,
                format_args!("      [further texts are only in output/]\n"),
            );
        }
        for kernel in &history.tally.kernels {
            let of_kernel = |other: &&&Outcome| other.result.kernel == kernel.kernel;
            let others: Vec<_> = failure.others.iter().filter(of_kernel).collect();
            if others.is_empty() {
                continue;
            }
            let own = kernel.kernel == result.kernel;
            let name = if own {
                "this kernel".into()
            } else {
                escape::line(&kernel.kernel)
            };
            let count = counted(others.len(), "test");
            append(text, format_args!("      and {count} of {name}: "));
            named(text, others.iter().map(|other| other.result.id.as_str()));
        }
        append(
            text,
            format_args!("      again: {}\n\n", reproduce::line(history, outcome)),
        );
    }
}

/// What a failed test printed, and its details.
fn story(text: &mut String, history: &History, outcome: &Outcome) {
    for attempt in &outcome.attempts {
        let reason = reason_of(attempt).map_or(String::new(), |reason| format!(": {reason}"));
        append(
            text,
            format_args!(
                "      attempt {}: {}{reason}\n",
                attempt.attempt, attempt.verdict
            ),
        );
    }
    let result = &outcome.result;
    let console = || history.loss(result).map(|loss| &loss.console);
    let shown = [&result.details, &result.output]
        .into_iter()
        .find(|text| !text.is_empty())
        .or_else(console)
        .map_or("", String::as_str);
    let file = output_files::usual_place(result);
    quote(text, shown, &Keep::First(MAX_LINES), Some(&file));
    for report in outcome.reports_beside_details() {
        append(
            text,
            format_args!(
                "      the kernel reports: {}\n",
                escape::line(&report_kind(report))
            ),
        );
        quote(text, &report.text, &Keep::First(REPORT_LINES), Some(&file));
    }
}

/// What went wrong apart from the tests.
fn troubles(text: &mut String, style: TerminalStyle, history: &History) {
    for report in history.other_reports() {
        text.push_str(&lines::kernel_report(style, report));
        quote(text, &report.text, &Keep::First(REPORT_LINES), Some(EVENTS));
        text.push('\n');
    }
    for failed in &history.failed {
        text.push_str(&lines::no_kernel(style, failed));
        text.push('\n');
    }
    for loss in history.losses_between_tests() {
        text.push_str(&lines::vm_lost(style, loss));
        quote(
            text,
            &loss.console,
            &Keep::Last(CONSOLE_LINES),
            Some(EVENTS),
        );
        text.push('\n');
    }
}

/// A line for each other verdict that the user wants repeated.
fn others(text: &mut String, style: TerminalStyle, level: StatusLevel, history: &History) {
    let before = text.len();
    for outcome in &history.outcomes {
        let of = StatusLevel::of(&outcome.result);
        if of > StatusLevel::Fail && of <= level {
            text.push_str(&lines::verdict(style, &outcome.result));
        }
    }
    if text.len() > before {
        text.push('\n');
    }
}

fn differing(text: &mut String, style: TerminalStyle, history: &History) {
    let several = history.tally.suites().len() > 1;
    // In the order in which they first occur.
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    for test in differences(history) {
        let how = test.words();
        let name = if several {
            format!("{}: {}", test.suite, test.id)
        } else {
            test.id.to_owned()
        };
        match groups.iter_mut().find(|(one, _)| *one == how) {
            Some((_, tests)) => tests.push(name),
            None => groups.push((how, vec![name])),
        }
    }
    if groups.is_empty() {
        return;
    }
    append(
        text,
        format_args!("{}\n", style.mark("Differences between kernels:")),
    );
    for (how, mut tests) in groups {
        tests.sort();
        append(text, format_args!("  {}\n", escape::line(&how)));
        for test in tests.iter().take(MAX_NAMED) {
            append(text, format_args!("    {}\n", escape::line(test)));
        }
        if tests.len() > MAX_NAMED {
            append(
                text,
                format_args!("    [{} more]\n", tests.len() - MAX_NAMED),
            );
        }
    }
    text.push('\n');
}

/// Ids in one line, and how many are left out.
fn named<'i>(text: &mut String, ids: impl Iterator<Item = &'i str>) {
    let mut ids: Vec<_> = ids.map(escape::line).collect();
    let more = ids.len().saturating_sub(MAX_NAMED);
    ids.truncate(MAX_NAMED);
    text.push_str(&ids.join(", "));
    if more > 0 {
        append(text, format_args!(", [{more} more]"));
    }
    text.push('\n');
}

fn counts(history: &History) -> String {
    let mut counts: Vec<String> = Class::ALL
        .into_iter()
        .map(|class| (class.count(history), class.word()))
        .chain([(history.tally.missing(), "not run")])
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    if counts.is_empty() {
        counts.push("no test".to_owned());
    }
    counts.join(", ")
}

#[cfg(test)]
#[path = "ending_tests.rs"]
mod tests;
