//! A comparison as text, Markdown and JSON.

use std::fmt::Write as _;

use comfy_table::Table;
use comfy_table::presets::NOTHING;
use serde::Serialize;

use super::change::{Change, Changed};
use super::comparison::Comparison;
use super::entry::Entry;
use crate::report::escape;
use crate::report::markdown::code;
use crate::report::words::{counted, seconds};

/// Tests to name in one class.
const MAX_NAMED: usize = 200;
/// Characters of one line of text.
const MAX_LINE: usize = 300;

/// What a comparison is written in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum CompareFormat {
    /// For a terminal
    #[default]
    Text,
    /// For pull requests
    Markdown,
    /// For programs
    Json,
}

/// One test with the kernels on which it has changed in the same way.
struct Line<'c> {
    first: &'c Changed,
    kernels: Vec<&'c str>,
}

impl Comparison {
    /// The comparison in this format.
    pub fn text_in(&self, format: CompareFormat) -> Result<String, serde_json::Error> {
        Ok(match format {
            CompareFormat::Text => self.text(),
            CompareFormat::Markdown => self.markdown(),
            CompareFormat::Json => {
                let mut json = serde_json::to_string(&self.json())?;
                json.push('\n');
                json
            }
        })
    }

    /// The tests that have changed so; those that did the same on several kernels once.
    fn lines(&self, change: Change) -> Vec<Line<'_>> {
        let mut lines: Vec<Line<'_>> = Vec::new();
        let mut places = std::collections::HashMap::new();
        for test in self.tests.iter().filter(|test| test.change == change) {
            let place = *places
                .entry((&test.key.suite, &test.key.id, words(test)))
                .or_insert_with(|| {
                    lines.push(Line {
                        first: test,
                        kernels: Vec::new(),
                    });
                    lines.len() - 1
                });
            lines[place].kernels.push(&test.key.kernel);
        }
        // The tests are in the order of their verdicts.
        for line in &mut lines {
            line.kernels
                .sort_by_key(|name| self.kernels.iter().position(|kernel| kernel == name));
        }
        lines
    }

    /// Kernels × changes, each with its count.
    fn counts(&self) -> impl Iterator<Item = (&str, [usize; Change::ALL.len()])> {
        self.kernels.iter().map(|kernel| {
            (
                kernel.as_str(),
                Change::ALL.map(|change| self.count(kernel, change)),
            )
        })
    }

    fn heading(&self) -> String {
        let count = |change: Change| {
            self.tests
                .iter()
                .filter(|test| test.change == change)
                .count()
        };
        let words: Vec<String> = Change::ALL
            .into_iter()
            .filter(|change| *change != Change::Same && count(*change) > 0)
            .map(|change| format!("{} {}", count(change), change.word()))
            .collect();
        if words.is_empty() {
            "nothing has changed".to_owned()
        } else {
            words.join(", ")
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{} \u{2192} {}",
            escape::line(&self.before),
            escape::line(&self.after)
        );
        for note in &self.notes {
            let _ = writeln!(text, "note: {}", escape::line(note));
        }
        text.push('\n');
        for change in Change::ALL {
            let lines = self.lines(change);
            if lines.is_empty() || change == Change::Same {
                continue;
            }
            for line in lines.iter().take(MAX_NAMED) {
                let _ = writeln!(
                    text,
                    "{:<13}  {}  {}{}",
                    change.word().to_uppercase(),
                    escape::line(&line.kernels.join(", ")),
                    escape::line(&line.first.key.id),
                    after_colon(&escape::line(&words(line.first)))
                );
            }
            if lines.len() > MAX_NAMED {
                let _ = writeln!(text, "[{} more {}]", lines.len() - MAX_NAMED, change.word());
            }
        }
        let mut table = Table::new();
        table.load_style(NOTHING);
        let shown = self.columns();
        table.set_header(std::iter::once("kernel").chain(shown.iter().map(|change| change.word())));
        for (kernel, counts) in self.counts() {
            let counts = Change::ALL
                .into_iter()
                .zip(counts)
                .filter(|(change, _)| shown.contains(change));
            table.add_row(
                std::iter::once(escape::line(kernel).into_owned())
                    .chain(counts.map(|(_, count)| count.to_string())),
            );
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        for line in table.lines() {
            let _ = write!(text, "\n{}", line.trim_end());
        }
        let _ = writeln!(text, "\n\n{}", self.heading());
        text
    }

    /// The changes that occur, and `same`.
    fn columns(&self) -> Vec<Change> {
        let occurs = |change: &Change| {
            *change == Change::Same || self.tests.iter().any(|test| test.change == *change)
        };
        Change::ALL.into_iter().filter(occurs).collect()
    }

    pub(in crate::report) fn markdown(&self) -> String {
        let mut page = String::new();
        let mark = if self.has_regressed() {
            "\u{274c}"
        } else {
            "\u{2705}"
        };
        let _ = writeln!(page, "### {mark} kiln: {}\n", self.heading());
        let _ = writeln!(page, "Compared with {}.\n", code(&self.before));
        for note in &self.notes {
            let _ = writeln!(page, "> {}\n", code(note));
        }
        let shown = self.columns();
        let heads: Vec<&str> = shown.iter().map(|change| change.word()).collect();
        let _ = writeln!(
            page,
            "| kernel | {} |\n| --- |{}",
            heads.join(" | "),
            " ---: |".repeat(heads.len())
        );
        for (kernel, counts) in self.counts() {
            let counts = Change::ALL
                .into_iter()
                .zip(counts)
                .filter(|(change, _)| shown.contains(change));
            let counts: Vec<String> = counts.map(|(_, count)| count.to_string()).collect();
            let _ = writeln!(page, "| {} | {} |", code(kernel), counts.join(" | "));
        }
        page.push('\n');
        for change in Change::ALL {
            let lines = self.lines(change);
            if lines.is_empty() || change == Change::Same {
                continue;
            }
            let open = matches!(
                change,
                Change::Regressed | Change::NewFailure | Change::Fixed
            );
            let word = change.word();
            let count = counted(lines.len(), "test");
            let _ = writeln!(
                page,
                "<details{}><summary>{word}: {count}</summary>\n",
                if open { " open" } else { "" }
            );
            let _ = writeln!(page, "| test | kernels | |\n| --- | --- | --- |");
            for line in lines.iter().take(MAX_NAMED) {
                let clipped = |text: &str| code(&escape::clip(text, MAX_LINE));
                let how = words(line.first);
                let how = if how.is_empty() {
                    String::new()
                } else {
                    clipped(&how)
                };
                let _ = writeln!(
                    page,
                    "| {} | {} | {how} |",
                    clipped(&line.first.key.id),
                    clipped(&line.kernels.join(", "))
                );
            }
            if lines.len() > MAX_NAMED {
                let _ = writeln!(page, "\nAnd {} more.", lines.len() - MAX_NAMED);
            }
            page.push_str("\n</details>\n\n");
        }
        page
    }

    fn json(&self) -> Json<'_> {
        Json {
            format: 1,
            before: &self.before,
            after: &self.after,
            regressed: self.has_regressed(),
            notes: &self.notes,
            kernels: &self.kernels,
            tests: self.tests.iter().map(JsonTest::of).collect(),
        }
    }
}

fn after_colon(words: &str) -> String {
    if words.is_empty() {
        String::new()
    } else {
        format!(": {}", escape::clip(words, MAX_LINE))
    }
}

/// How a test has changed; not escaped.
fn words(test: &Changed) -> String {
    let (before, after) = (test.before.as_ref(), test.after.as_ref());
    let class = |entry: Option<&Entry>| entry.map_or("no verdict", |entry| entry.class.word());
    let reason = after.map_or("", |entry| entry.reason.lines().next().unwrap_or_default());
    let mut words = match test.change {
        Change::Same => String::new(),
        Change::Slower => {
            let ms = |entry: Option<&Entry>| entry.map_or(0, |entry| entry.ms);
            format!("{} \u{2192} {}", seconds(ms(before)), seconds(ms(after)))
        }
        Change::New | Change::NewFailure if before.is_none() => class(after).to_owned(),
        Change::Gone if after.is_none() => format!("was {}", class(before)),
        Change::StillFailing if class(before) == class(after) => class(after).to_owned(),
        _ => format!("{} \u{2192} {}", class(before), class(after)),
    };
    let reason = reason.strip_prefix("flaky: ").unwrap_or(reason);
    if !reason.is_empty() && !matches!(test.change, Change::Fixed | Change::New | Change::Slower) {
        let _ = write!(words, ": {reason}");
    }
    if let Some((other, proven)) = &test.renamed {
        let perhaps = if *proven { "" } else { "perhaps " };
        let direction = if after.is_some() {
            "renamed from"
        } else {
            "renamed to"
        };
        let _ = write!(words, ", {perhaps}{direction} {other}");
    }
    words
}

#[derive(Serialize)]
struct Json<'c> {
    format: u32,
    before: &'c str,
    after: &'c str,
    regressed: bool,
    notes: &'c [String],
    kernels: &'c [String],
    tests: Vec<JsonTest<'c>>,
}

#[derive(Serialize)]
struct JsonTest<'c> {
    kernel: &'c str,
    suite: &'c str,
    id: &'c str,
    change: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<JsonEntry<'c>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<JsonEntry<'c>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    renamed: Option<&'c str>,
}

#[derive(Serialize)]
struct JsonEntry<'c> {
    class: &'static str,
    duration_ms: u64,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'c str,
}

impl<'c> JsonTest<'c> {
    fn of(test: &'c Changed) -> Self {
        let entry = |entry: &'c Entry| JsonEntry {
            class: entry.class.word(),
            duration_ms: entry.ms,
            reason: &entry.reason,
        };
        Self {
            kernel: &test.key.kernel,
            suite: &test.key.suite,
            id: &test.key.id,
            change: test.change.word(),
            before: test.before.as_ref().map(entry),
            after: test.after.as_ref().map(entry),
            renamed: test.renamed.as_ref().map(|(other, _)| other.as_str()),
        }
    }
}
