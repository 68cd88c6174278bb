//! The result of a bisection: as text, as JSON, as a page.

use std::fmt::Write as _;

use askama::Template;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::ReportError;
use super::escape;
use super::html::STYLE;
use super::reproduce;
use super::words::{counted, minutes, seconds};
use crate::bisect::{Answer, LookFor};
use crate::btf::diff::{self, Step};
use crate::kernel::ChangedOption;

/// Columns of each of two outputs side by side.
const COLUMN: usize = 58;
/// Lines of outputs, or of differences, to show as text.
const MAX_LINES: usize = 60;
/// Options to show as text.
const MAX_OPTIONS: usize = 20;

/// What a bisection found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Version of this object.
    pub format: u32,
    /// Whether there is a result.
    pub over: bool,
    /// What was looked for.
    pub look_for: LookFor,
    /// How often each kernel was asked.
    pub confirm: u32,
    /// How many kernels there were, with the ends.
    pub kernels: usize,
    /// The last kernel before the change; the oldest one if there is no result.
    pub before: Neighbour,
    /// The first one after it; the newest one if there is no result.
    pub after: Neighbour,
    /// Kernels between them that could not say.
    pub skipped: Vec<String>,
    /// How likely the result is if answers were flaky.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chance: Option<f64>,
    /// VMs that were started.
    pub boots: usize,
    /// How long all answers took together, in milliseconds.
    pub took_ms: u64,
    /// The answers, by kernel.
    pub answers: Vec<Answer>,
    /// What differs between the two.
    pub differences: Differences,
}

/// One side of the change.
#[derive(Debug, Default, Serialize)]
pub struct Neighbour {
    /// As `-k` takes it.
    pub kernel: String,
    /// Version of its package, or its release.
    pub version: String,
    /// What it is.
    pub verdict: Option<&'static str>,
    /// Why.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// What the tests or the command printed; untrusted.
    pub output: String,
    /// The command that shows it.
    pub command: String,
}

/// What differs between two kernels.
#[derive(Debug, Default, Serialize)]
pub struct Differences {
    /// Their configurations, if both are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub configuration: Option<Vec<ChangedOption>>,
    /// The types, functions and tracepoints that the question names, if both have BTF.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub types: Option<Step>,
    /// What the changelog of the newer one's package says of versions after the older one's, the
    /// newest first; untrusted.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub changelog: String,
}

/// A command line as a shell reads it.
pub fn command_line(words: &[&str]) -> String {
    reproduce::command_line(words)
}

impl Report {
    /// The result in a sentence or two.
    fn verdict(&self) -> String {
        let [before, after] = [&self.before, &self.after].map(|side| escape::line(&side.kernel));
        let (last, first) = match self.look_for {
            LookFor::Broken => ("good", "bad"),
            LookFor::Fixed => ("bad", "good"),
        };
        if self.skipped.is_empty() {
            return format!("{after} is the first {first} kernel, {before} the last {last} one");
        }
        format!(
            "the first {first} kernel is {after} or one of {} before it that cannot say; {before} is the last {last} one",
            counted(self.skipped.len(), "kernel")
        )
    }

    fn cost(&self) -> String {
        let mut text = format!(
            "{} of {}, {}",
            counted(self.boots, "boot"),
            counted(self.kernels, "kernel"),
            minutes(self.took_ms)
        );
        if let Some(chance) = self.chance {
            let _ = write!(
                text,
                "; answers were flaky: the result is right with a probability of {:.0} %",
                (chance * 100.0).floor()
            );
        }
        text
    }

    fn sides(&self) -> [&Neighbour; 2] {
        [&self.before, &self.after]
    }
}

/// The result for a terminal.
pub fn text(report: &Report) -> String {
    let mut text = format!("{}\n{}\n", report.verdict(), report.cost());
    if !report.skipped.is_empty() {
        let skipped = report.skipped.join(", ");
        let _ = writeln!(text, "could not say: {}", escape::line(&skipped));
    }
    text.push('\n');
    beside(report, &mut text);
    if let Some(options) = &report.differences.configuration {
        configuration(options, &mut text);
    }
    match &report.differences.types {
        Some(types) if !types.changes.is_empty() => {
            text.push_str("\nwhat it names, in the types of both: ");
            let differences = diff::text(std::slice::from_ref(types));
            cut(&differences, &mut text);
        }
        Some(_) => text.push_str("\nno type, function or tracepoint that it names differs\n"),
        None => {}
    }
    if !report.differences.changelog.is_empty() {
        text.push_str("\nthe changelog of the newer package since then:\n");
        cut(&report.differences.changelog, &mut text);
    }
    text.push('\n');
    for side in report.sides() {
        let verdict = side.verdict.unwrap_or_default();
        let _ = writeln!(
            text,
            "{verdict}:{:width$}{}",
            "",
            side.command,
            width = 5 - verdict.len().min(4)
        );
    }
    text
}

/// Both outputs side by side.
fn beside(report: &Report, text: &mut String) {
    let [left, right] = report.sides().map(|side| {
        let head = format!("{} ({})", side.kernel, side.verdict.unwrap_or_default());
        let lines = [head, side.reason.clone()]
            .into_iter()
            .filter(|line| !line.is_empty());
        let output = side.output.lines().map(str::to_owned);
        lines.chain(output).collect::<Vec<String>>()
    });
    let rows = left.len().max(right.len());
    for row in 0..rows.min(MAX_LINES) {
        let cell = |lines: &[String]| {
            let line = lines
                .get(row)
                .map_or("", String::as_str)
                .replace('\t', "  ");
            let line = escape::line(&line);
            line.chars().take(COLUMN).collect::<String>()
        };
        let line = format!("{:COLUMN$} | {}", cell(&left), cell(&right));
        let _ = writeln!(text, "{}", line.trim_end());
    }
    if rows > MAX_LINES {
        let _ = writeln!(
            text,
            "[kiln: {} more; the page has all]",
            counted(rows - MAX_LINES, "line")
        );
    }
}

fn configuration(options: &[ChangedOption], text: &mut String) {
    let matter = options.iter().filter(|option| option.matters.is_some());
    let _ = writeln!(
        text,
        "\n{} of the configuration differ{}, {} of them of matter to bpftrace",
        counted(options.len(), "option"),
        if options.len() == 1 { "s" } else { "" },
        matter.clone().count(),
    );
    let mut shown = 0;
    for option in matter.take(MAX_OPTIONS) {
        shown += 1;
        let _ = writeln!(
            text,
            "  {}: {} → {}",
            escape::line(&option.option),
            escape::line(&option.before),
            escape::line(&option.after)
        );
    }
    if options.len() > shown {
        let _ = writeln!(text, "  … and {} more in the page", options.len() - shown);
    }
}

/// The first lines of what the page has whole.
fn cut(differences: &str, text: &mut String) {
    let mut lines = differences.lines();
    for line in lines.by_ref().take(MAX_LINES) {
        let _ = writeln!(text, "{}", escape::line(line));
    }
    let more = lines.count();
    if more > 0 {
        let _ = writeln!(text, "  … and {} more in the page", counted(more, "line"));
    }
}

/// The answers so far.
pub fn log(report: &Report) -> String {
    let mut text = String::new();
    for answer in &report.answers {
        let reason = escape::line(&answer.reason).into_owned();
        let separator = if reason.is_empty() { "" } else { ": " };
        let _ = writeln!(
            text,
            "{:11}  {}  ({}){separator}{reason}",
            answer.verdict.word(),
            escape::line(&answer.kernel),
            seconds(answer.took_ms)
        );
    }
    if report.over {
        let _ = writeln!(text, "{}", report.verdict());
    }
    let _ = writeln!(text, "{}", report.cost());
    text
}

#[derive(Template)]
#[template(path = "bisect.html")]
struct Page<'p> {
    verdict: String,
    cost: String,
    report: &'p Report,
    sides: [&'p Neighbour; 2],
    types: String,
    style: &'static str,
    style_hash: String,
}

impl Page<'_> {
    fn shown(text: &str) -> String {
        escape::block(text).into_owned()
    }

    fn time(ms: u64) -> String {
        seconds(ms)
    }
}

/// The result as a page that loads nothing from elsewhere.
pub fn page(report: &Report) -> Result<String, ReportError> {
    let types = report.differences.types.as_ref();
    let types = types.filter(|types| !types.changes.is_empty());
    let page = Page {
        verdict: report.verdict(),
        cost: report.cost(),
        report,
        sides: report.sides(),
        types: types.map_or_else(String::new, |types| diff::text(std::slice::from_ref(types))),
        style: STYLE,
        style_hash: STANDARD.encode(Sha256::digest(STYLE)),
    };
    page.render()
        .map_err(|error| ReportError::Page(error.into()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn side(kernel: &str, verdict: &'static str, output: &str) -> Neighbour {
        Neighbour {
            kernel: kernel.into(),
            version: kernel.into(),
            verdict: Some(verdict),
            reason: String::new(),
            output: output.into(),
            command: format!("kiln exec -k {kernel} -- ./t"),
        }
    }

    fn report() -> Report {
        Report {
            format: 1,
            over: true,
            look_for: LookFor::Broken,
            confirm: 1,
            kernels: 9,
            before: side("6.1", "good", "one\ntwo\n"),
            after: side("6.12", "bad", "<b>\u{1b}[31mone\n"),
            skipped: Vec::new(),
            chance: None,
            boots: 5,
            took_ms: 61_000,
            answers: Vec::new(),
            differences: Differences::default(),
        }
    }

    #[test]
    fn of_many_differences_the_page_has_more() {
        let mut text = String::new();
        cut(&"x\n".repeat(MAX_LINES + 2), &mut text);
        assert_eq!(text.lines().count(), MAX_LINES + 1);
        assert!(
            text.ends_with("  … and 2 lines more in the page\n"),
            "{text}"
        );
        let mut text = String::new();
        cut("a\nb\n", &mut text);
        assert_eq!(text, "a\nb\n");
    }

    #[test]
    fn both_outputs_stand_side_by_side_with_the_commands_that_show_them() {
        let text = text(&report());
        assert!(text.starts_with(
            "6.12 is the first bad kernel, 6.1 the last good one\n5 boots of 9 kernels, 1 min 1 s\n"
        ));
        let line = text.lines().find(|line| line.starts_with("one")).unwrap();
        assert_eq!(line.split(" | ").nth(1), Some("<b>\\x1b[31mone"));
        assert!(
            text.contains("good: kiln exec -k 6.1 -- ./t\nbad:  kiln exec -k 6.12 -- ./t\n"),
            "{text}"
        );
    }

    #[test]
    fn what_could_not_say_and_what_was_flaky_is_told() {
        let flaky = Report {
            skipped: vec!["6.6".into()],
            chance: Some(0.876),
            look_for: LookFor::Fixed,
            ..report()
        };
        let text = text(&flaky);
        assert!(text.contains("the first good kernel is 6.12 or one of 1 kernel before it"));
        assert!(text.contains("right with a probability of 87 %"), "{text}");
        assert!(text.contains("could not say: 6.6"));
    }

    #[test]
    fn the_page_shows_what_a_guest_printed_as_text() {
        let page = page(&report()).unwrap();
        assert!(page.contains("&#60;b&#62;\\x1b[31mone"), "{page}");
        assert!(!page.contains("<b>"));
        assert!(page.contains("style-src 'sha256-"));
    }
}
