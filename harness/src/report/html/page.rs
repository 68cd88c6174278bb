//! Fills in the page's template.

use std::collections::HashMap;
// Writing to a string cannot fail.
use std::fmt::Write as _;

use askama::Template;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use super::model::{Model, kernel_order};
use super::script_json::script_json;
use super::texts::one_line;
use super::timeline::Timeline;
use crate::exit_code;
use crate::report::ReportError;
use crate::report::class::Class;
use crate::report::compare::Comparison;
use crate::report::escape;
use crate::report::history::History;
use crate::report::reproduce;
use crate::report::words::{counted, minutes, report_kind};

/// The style of all pages.
pub(in super::super) const STYLE: &str = include_str!("page.css");
/// In one scope, which the first line makes strict.
const SCRIPT: &str = concat!(
    include_str!("model.js"),
    include_str!("view.js"),
    include_str!("table.js"),
    include_str!("detail.js"),
    include_str!("charts.js"),
    include_str!("start.js"),
);
/// Entries of a list to show.
const MAX_ENTRIES: usize = 500;
/// Characters of a text in a list to show.
const MAX_TEXT: usize = 8000;

#[derive(Template)]
#[template(path = "page.html")]
struct Page<'p> {
    title: String,
    heading: String,
    facts: String,
    fine: bool,
    notes: Vec<String>,
    classes: Vec<&'static str>,
    kernels: Vec<KernelLine>,
    lists: Vec<List>,
    ran: Vec<(String, String)>,
    style: &'p str,
    style_hash: String,
    script: &'p str,
    script_hash: String,
    data: String,
}

struct KernelLine {
    name: String,
    release: String,
    counts: Vec<usize>,
    missing: usize,
    failed: Option<Failed>,
}

struct Failed {
    reason: String,
    hints: Vec<String>,
}

struct List {
    title: &'static str,
    lines: Vec<Line>,
}

struct Line {
    text: String,
    /// What a guest printed.
    more: String,
}

/// The page of a run as far as it is known; `notes` say what is wrong with it. With a comparison it
/// shows what has changed.
pub(in crate::report) fn page(
    history: &History,
    timeline: &Timeline,
    notes: &[String],
    baseline: Option<&Comparison>,
) -> Result<String, ReportError> {
    let model = Model::new(history, timeline, baseline);
    let mut notes: Vec<String> = notes.iter().map(|note| one_line(note)).collect();
    notes.extend(own_notes(history, timeline, &model));
    let heading = heading(history);
    let page = Page {
        title: format!("kiln: {heading}"),
        fine: history.exit_code == Some(exit_code::OK),
        heading,
        facts: facts(history),
        notes,
        classes: Class::ALL.iter().map(|class| class.word()).collect(),
        kernels: kernels(history),
        lists: lists(history),
        ran: what_ran(history),
        style: STYLE,
        style_hash: hash(STYLE),
        script: SCRIPT,
        script_hash: hash(SCRIPT),
        data: script_json(&model).map_err(|error| ReportError::Page(error.into()))?,
    };
    page.render()
        .map_err(|error| ReportError::Page(error.into()))
}

fn hash(text: &str) -> String {
    STANDARD.encode(Sha256::digest(text))
}

fn heading(history: &History) -> String {
    let total = history.tally.total();
    let missing = history.tally.missing();
    match (total.unexpected(), missing) {
        (0, 0) if history.exit_code.is_none() => "not finished".to_owned(),
        (0, 0) if history.exit_code == Some(exit_code::OK) => "all as expected".to_owned(),
        (0, 0) => "all tests as expected, but not the run".to_owned(),
        (0, _) => format!("{} did not run", counted(missing, "test")),
        (bad, 0) => format!("{} not as expected", counted(bad, "test")),
        (bad, _) => format!(
            "{} not as expected, {missing} did not run",
            counted(bad, "test")
        ),
    }
}

fn facts(history: &History) -> String {
    let total = history.tally.total();
    let start = &history.start;
    let mut facts = format!(
        "{} of {} on {} in {}, started {}",
        counted(total.finished(), "verdict"),
        counted(total.planned(), "planned test"),
        counted(history.tally.kernels.len(), "kernel"),
        minutes(history.at_ms),
        one_line(&start.started_at)
    );
    if let Some(shard) = &start.shard {
        let _ = write!(facts, ", part {}", one_line(shard));
    }
    if let Some(exit) = history.exit_code {
        let _ = write!(facts, ", exit code {exit}");
    }
    facts
}

/// What a reader must know before any number.
fn own_notes(history: &History, timeline: &Timeline, model: &Model) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(stopped) = &history.stopped {
        let message = one_line(&stopped.message);
        notes.push(format!("The run ended before its last test: {message}"));
    }
    for (vm, id, since) in timeline.running().into_iter().take(MAX_ENTRIES) {
        notes.push(format!(
            "{} was running in VM {vm}, since {}.",
            one_line(id),
            minutes(since)
        ));
    }
    if model.cut > 0 {
        let texts = counted(model.cut, "long text");
        notes.push(format!(
            "{texts} are shortened here; events.jsonl has them."
        ));
    }
    if model.without_passes {
        notes.push("What passed tests printed is left out here; events.jsonl has it.".to_owned());
    }
    notes
}

fn kernels(history: &History) -> Vec<KernelLine> {
    let mut counts: HashMap<&str, [usize; Class::ALL.len()]> = HashMap::new();
    for outcome in &history.outcomes {
        let class = Class::of(&outcome.result);
        let of_kernel = counts.entry(&outcome.result.kernel).or_default();
        for (count, one) in of_kernel.iter_mut().zip(Class::ALL) {
            *count += usize::from(one == class);
        }
    }
    let order = kernel_order(history).into_iter();
    let line = |name: &str| {
        let tally = history
            .tally
            .kernels
            .iter()
            .find(|tally| tally.kernel == name);
        let image = history.images.iter().find(|image| image.kernel == name);
        let failed = history.failed.iter().find(|failed| failed.kernel == name);
        KernelLine {
            name: one_line(name),
            release: image.map_or_else(String::new, |image| one_line(&image.release)),
            counts: counts.get(name).copied().unwrap_or_default().to_vec(),
            missing: tally.map_or(0, |tally| tally.missing()),
            failed: failed.map(|failed| Failed {
                reason: one_line(&failed.reason),
                hints: failed.hints.iter().map(|hint| one_line(hint)).collect(),
            }),
        }
    };
    order.map(line).collect()
}

fn text(text: &str) -> String {
    escape::block(&escape::clip(text.trim_end(), MAX_TEXT)).into_owned()
}

/// What belongs to no test that needs attention.
fn lists(history: &History) -> Vec<List> {
    let during = |test: &Option<String>| {
        let test = test.as_ref();
        test.map_or_else(String::new, |test| format!(" in {}", one_line(test)))
    };
    let reports = history.other_reports().map(|report| Line {
        text: format!(
            "{}{}: {}",
            one_line(&report.kernel),
            during(&report.test),
            one_line(&report_kind(report))
        ),
        more: text(&report.text),
    });
    let losses = history.losses().map(|loss| Line {
        text: format!(
            "{}, VM {}{}: {}",
            one_line(&loss.kernel),
            loss.vm,
            during(&loss.test),
            one_line(&loss.reason)
        ),
        more: if loss.test.is_none() {
            text(&loss.console)
        } else {
            String::new()
        },
    });
    let warnings = history.warnings.iter().map(|warning| {
        let on = warning.kernel.as_ref();
        let on = on.map_or_else(String::new, |kernel| format!("{}: ", one_line(kernel)));
        Line {
            text: format!("{on}{}", one_line(&warning.message)),
            more: String::new(),
        }
    });
    let all = [
        (
            "Kernel reports beside failures",
            reports.take(MAX_ENTRIES).collect(),
        ),
        ("Lost VMs", losses.take(MAX_ENTRIES).collect()),
        ("Warnings", warnings.take(MAX_ENTRIES).collect::<Vec<_>>()),
    ];
    all.into_iter()
        .map(|(title, lines)| List { title, lines })
        .filter(|list| !list.lines.is_empty())
        .collect()
}

fn what_ran(history: &History) -> Vec<(String, String)> {
    let mut ran = Vec::new();
    for suite in &history.suites {
        let mut words = one_line(history.short_path(&suite.subject));
        if let Some(version) = &suite.version {
            let _ = write!(words, ", version {}", one_line(version));
        }
        if let Some(dialect) = &suite.dialect {
            let _ = write!(words, ", tests of {}", one_line(dialect));
        }
        ran.push((format!("suite {}", one_line(&suite.suite)), words));
    }
    for image in &history.images {
        let words = format!(
            "{}, SHA-256 {}",
            one_line(&image.release),
            one_line(&image.sha256)
        );
        ran.push((format!("kernel {}", one_line(&image.kernel)), words));
    }
    ran.push(("kiln".to_owned(), one_line(&history.start.version)));
    let command = reproduce::command_line(&history.command());
    ran.push(("command".to_owned(), one_line(&command)));
    if !history.start.cwd.is_empty() {
        ran.push(("directory".to_owned(), one_line(&history.start.cwd)));
    }
    ran
}
