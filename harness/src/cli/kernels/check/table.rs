//! The checked kernels for people: options as rows, kernels as columns.

use std::io::Write;

use console::measure_text_width;

use super::super::KernelsError;
use super::checked::{Checked, has, words};
use crate::kernel::check::Finding;
use crate::kernel::facts::Presence;
use crate::kernel::wants::{Wanted, WantedBy};
use crate::report::{TerminalStyle, escape};

/// What to do about a configuration that is not known.
pub(super) const UNKNOWN_CONFIG: &str = "its configuration is not known: put it beside the image \
    as config-RELEASE, or build the kernel with CONFIG_IKCONFIG; a kernel that an older kiln \
    cached has one when it is fetched into an empty cache";

/// Columns if nobody says how wide the terminal is.
const WIDTH: usize = 80;
/// Columns of the widest word for how a kernel has an option.
const WORD: usize = 9;
/// Between two columns.
const GAP: &str = "  ";
/// Above the names of options.
const OPTION: &str = "CONFIG_…";
/// The least that is left for what something costs.
const LEAST_COST: usize = 24;

/// Prints the table, and what each kernel comes to.
pub(super) fn print(
    all: &[Checked],
    style: TerminalStyle,
    out: &mut dyn Write,
) -> Result<(), KernelsError> {
    let width = style.width.map_or(WIDTH, usize::from).clamp(40, 120);
    let findings = all.iter().flat_map(|kernel| &kernel.findings);
    let longest = findings.map(|finding| finding.want.option.len()).max();
    let first = longest.unwrap_or_default().max(measure_text_width(OPTION));
    let table = Table {
        all,
        style,
        width,
        first,
        in_words: all.len() == 1 || first + all.len() * (WORD + GAP.len()) <= width,
    };
    for (number, kernel) in all.iter().enumerate() {
        table.summary(number, kernel, out)?;
    }
    table.rows(out)?;
    if all.len() > 1 {
        table.costs(out)?;
    }
    table.modules(out)?;
    table.legend(out)
}

struct Table<'a> {
    all: &'a [Checked],
    style: TerminalStyle,
    width: usize,
    /// Columns of the longest name.
    first: usize,
    /// There is room for words, else letters say how a kernel has an option.
    in_words: bool,
}

impl Table<'_> {
    /// The name of a column.
    fn label(&self, number: usize) -> String {
        let name = escape::line(&self.all[number].name);
        let short = self.in_words && measure_text_width(&name) <= WORD;
        if short {
            name.into_owned()
        } else {
            (number + 1).to_string()
        }
    }

    fn summary(
        &self,
        number: usize,
        kernel: &Checked,
        out: &mut dyn Write,
    ) -> Result<(), KernelsError> {
        let mark = if self.all.len() > 1 && self.label(number) != kernel.name {
            format!("{}: ", self.label(number))
        } else {
            String::new()
        };
        let about = format!(
            "{mark}{}, Linux {}, by {}",
            escape::line(&kernel.name),
            escape::line(&kernel.release),
            kernel.facts.source()
        );
        self.paragraph("", &about, out)?;
        match &kernel.boots {
            Ok(means) => {
                let how = format!("boots in kiln: {}", escape::line(&means.to_string()));
                self.paragraph(GAP, &how, out)
            }
            Err(refused) => {
                let why = format!("does not boot in kiln: {}", escape::line(&refused.why));
                self.paragraph(GAP, &why, out)?;
                refused.hints.iter().try_for_each(|hint| {
                    let hint = format!("hint: {}", escape::line(hint));
                    self.paragraph("    ", &hint, out)
                })
            }
        }
    }

    fn rows(&self, out: &mut dyn Write) -> Result<(), KernelsError> {
        let options = self.shown();
        for by in [WantedBy::Kiln, WantedBy::Bpftrace] {
            let of: Vec<usize> = options
                .iter()
                .copied()
                .filter(|row| self.all[0].findings[*row].want.by == by)
                .collect();
            if of.is_empty() {
                continue;
            }
            let who = match by {
                WantedBy::Kiln => "kiln",
                WantedBy::Bpftrace => "bpftrace and its tests",
            };
            writeln!(out, "\nWanted by {who}:\n")?;
            self.header(out)?;
            for row in of {
                self.row(row, out)?;
            }
        }
        Ok(())
    }

    /// The rows that are worth a line: what every kernel has is not if it is usual.
    fn shown(&self) -> Vec<usize> {
        let count = self.all.first().map_or(0, |kernel| kernel.findings.len());
        let worth = |row: &usize| {
            !self.all[0].findings[*row].want.usual
                || self
                    .findings(*row)
                    .any(|finding| finding.met == Some(false))
        };
        (0..count).filter(worth).collect()
    }

    /// An option of all kernels.
    fn findings(&self, row: usize) -> impl Iterator<Item = &Finding> {
        self.all.iter().map(move |kernel| &kernel.findings[row])
    }

    fn option(&self, row: usize) -> &'static str {
        self.all[0].findings[row].want.option
    }

    fn header(&self, out: &mut dyn Write) -> Result<(), KernelsError> {
        let first = self.first;
        let mut line = format!("{OPTION:first$}");
        if let [_] = self.all {
            line = format!("{line}{GAP}{:WORD$}{GAP}COSTS", "HAS");
        } else {
            for number in 0..self.all.len() {
                let label = self.label(number);
                line = format!("{line}{}{label:width$}", self.gap(), width = self.column());
            }
        }
        Ok(writeln!(out, "{}", line.trim_end())?)
    }

    /// What stands between the columns of kernels.
    fn gap(&self) -> &'static str {
        if self.in_words { GAP } else { " " }
    }

    /// Columns of the word or letter for a kernel.
    fn column(&self) -> usize {
        if self.in_words {
            WORD
        } else {
            self.all.len().to_string().len()
        }
    }

    fn row(&self, row: usize, out: &mut dyn Write) -> Result<(), KernelsError> {
        let first = self.first;
        let mut line = format!("{:first$}", self.option(row));
        for finding in self.findings(row) {
            let has = if self.in_words {
                has(finding).to_owned()
            } else {
                letter(finding).to_string()
            };
            let width = self.column();
            line.push_str(self.gap());
            line.push_str(&self.coloured(finding, &format!("{has:width$}")));
        }
        let [only] = self.all else {
            return Ok(writeln!(out, "{}", line.trim_end())?);
        };
        let Some(cost) = only.findings[row].cost() else {
            return Ok(writeln!(out, "{}", line.trim_end())?);
        };
        let indent = first + GAP.len() * 2 + WORD;
        let room = self.width.saturating_sub(indent);
        if room >= LEAST_COST {
            for (number, part) in wrapped(cost, room).iter().enumerate() {
                if number == 0 {
                    writeln!(out, "{line}{GAP}{part}")?;
                } else {
                    writeln!(out, "{:indent$}{part}", "")?;
                }
            }
            return Ok(());
        }
        writeln!(out, "{}", line.trim_end())?;
        self.paragraph("    ", cost, out)
    }

    /// What the kernels lack, and what that costs, where no column has room for it.
    fn costs(&self, out: &mut dyn Write) -> Result<(), KernelsError> {
        let mut title = Some("\nWhat it costs:\n");
        for row in self.shown() {
            let unmet = |number: &usize| self.all[*number].findings[row].met == Some(false);
            let of: Vec<String> = (0..self.all.len())
                .filter(unmet)
                .map(|number| self.label(number))
                .collect();
            if of.is_empty() {
                continue;
            }
            if let Some(title) = title.take() {
                writeln!(out, "{title}")?;
            }
            let want = self.all[0].findings[row].want;
            let text = format!("{} ({}): {}", want.option, of.join(", "), want.cost);
            self.paragraph("", &text, out)?;
        }
        Ok(())
    }

    fn modules(&self, out: &mut dyn Write) -> Result<(), KernelsError> {
        let mut title = Some("\nModules that are loaded before the tests that look for them:\n");
        for (number, kernel) in self.all.iter().enumerate() {
            for module in &kernel.modules {
                if let Some(title) = title.take() {
                    writeln!(out, "{title}")?;
                }
                let of = if self.all.len() > 1 {
                    format!("{}: ", self.label(number))
                } else {
                    String::new()
                };
                let text = format!(
                    "{of}{}: {} ({})",
                    escape::line(&module.name),
                    words(Some(module.presence)),
                    escape::line(&module.by)
                );
                self.paragraph("", &text, out)?;
            }
        }
        Ok(())
    }

    /// What the words mean that are not plain, and what is not known.
    fn legend(&self, out: &mut dyn Write) -> Result<(), KernelsError> {
        let rows = self.shown();
        let shows = |presence: Option<Presence>| {
            let mut findings = rows.iter().flat_map(|row| self.findings(*row));
            findings
                .any(|finding| finding.presence == presence && finding.want.wanted != Wanted::Off)
        };
        let mut lines = Vec::new();
        if self.in_words {
            if shows(Some(Presence::ModuleNotThere)) {
                lines.push("not there: built as a module, and no such module is there".to_owned());
            }
            if shows(None) {
                lines.push("too old: this version of Linux has no such option".to_owned());
            }
        } else {
            lines.push(
                "y: built in, m: module, !: built as a module that is not there, n: missing, \
                 -: not in this version of Linux, ?: unknown"
                    .to_owned(),
            );
        }
        for (number, kernel) in self.all.iter().enumerate() {
            let unknown = kernel.unknown();
            if unknown > 0 {
                let label = self.label(number);
                lines.push(format!(
                    "{label}: {unknown} options are unknown; {UNKNOWN_CONFIG}"
                ));
            }
        }
        if !lines.is_empty() {
            writeln!(out)?;
        }
        lines
            .iter()
            .try_for_each(|line| self.paragraph("", line, out))
    }

    /// Text in as many lines as it takes.
    fn paragraph(&self, indent: &str, text: &str, out: &mut dyn Write) -> Result<(), KernelsError> {
        let room = self.width.saturating_sub(indent.len() + GAP.len());
        for (number, part) in wrapped(text, room).iter().enumerate() {
            let more = if number == 0 { "" } else { GAP };
            writeln!(out, "{indent}{more}{part}")?;
        }
        Ok(())
    }

    fn coloured(&self, finding: &Finding, text: &str) -> String {
        use anstyle::{AnsiColor, Style};
        if !self.style.colours {
            return text.to_owned();
        }
        let colour = match finding.met {
            Some(true) => AnsiColor::Green,
            None => AnsiColor::Yellow,
            Some(false) if finding.replaced => AnsiColor::Yellow,
            Some(false) => AnsiColor::Red,
        };
        let style = Style::new().fg_color(Some(colour.into()));
        format!("{style}{text}{style:#}")
    }
}

/// How a kernel has an option, in a letter.
fn letter(finding: &Finding) -> char {
    match finding.presence {
        Some(Presence::BuiltIn) => 'y',
        Some(Presence::Module) => 'm',
        Some(Presence::ModuleNotThere) => '!',
        Some(Presence::Missing) => 'n',
        Some(Presence::Unknown) => '?',
        None => '-',
    }
}

/// Breaks a text at blanks into lines of at most `room` columns; a longer word has its own line.
fn wrapped(text: &str, room: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if measure_text_width(line) + 1 + measure_text_width(word) <= room => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
