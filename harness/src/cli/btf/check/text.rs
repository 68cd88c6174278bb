//! The result for people: a table, then the reasons.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::{Cell, OnKernel, name_of};
use crate::bpf::{Finding, Level, Verdict};
use crate::btf::versions::Versions;
use crate::report::{escape, ruled_table};

/// More kernels make rows instead of columns.
const MAX_COLUMNS: usize = 8;

/// The table and the reasons. `all` also tells of what is guarded; `width` is in columns.
pub(super) fn render(
    objects: &[PathBuf],
    kernels: &[OnKernel],
    all: bool,
    width: Option<u16>,
) -> String {
    let mut text = table(objects, kernels, width);
    text.push('\n');
    let differs = |index: &usize| {
        let mut cells = kernels.iter().filter_map(|kernel| kernel.cells.get(*index));
        cells.any(|cell| cell.differs() && cell.report.verdict.loads())
    };
    let (mut first, rest): (Vec<usize>, Vec<usize>) = (0..objects.len()).partition(differs);
    first.extend(rest);
    for index in first {
        if let Some(object) = objects.get(index) {
            text.push_str(&reasons(object, index, kernels, all));
        }
    }
    text
}

fn table(objects: &[PathBuf], kernels: &[OnKernel], width: Option<u16>) -> String {
    let mut table = ruled_table(width);
    let names = || {
        objects
            .iter()
            .map(|object| escape::line(&name_of(object)).into_owned())
    };
    let kernel_names = || {
        kernels
            .iter()
            .map(|kernel| escape::line(&kernel.name).into_owned())
    };
    if kernels.len() > MAX_COLUMNS && objects.len() < kernels.len() {
        table.set_header(std::iter::once("kernel".to_owned()).chain(names()));
        for (name, kernel) in kernel_names().zip(kernels) {
            table.add_row(std::iter::once(name).chain(kernel.cells.iter().map(word)));
        }
    } else {
        table.set_header(std::iter::once("object".to_owned()).chain(kernel_names()));
        for (index, name) in names().enumerate() {
            let cells = kernels.iter().filter_map(|kernel| kernel.cells.get(index));
            table.add_row(std::iter::once(name).chain(cells.map(word)));
        }
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 1));
    }
    format!("{}\n", table.trim_fmt())
}

/// A cell of the table.
fn word(cell: &Cell) -> String {
    let word = match cell.report.verdict {
        Verdict::Loads => "loads",
        Verdict::Unattached => "no target",
        Verdict::Fails => "fails",
        Verdict::NoBtf => "no BTF",
    };
    let mut text = word.to_owned();
    if cell.differs() {
        let said = if cell.loaded.as_ref().is_some_and(|loaded| loaded.loads) {
            "loads"
        } else {
            "fails"
        };
        let _ = write!(text, ", but {said}");
    }
    if cell.known.is_some() {
        text.push_str(" (known)");
    }
    text
}

/// Findings that are the same on several kernels, and those kernels.
struct Shared<'a> {
    finding: &'a Finding,
    /// By their index.
    kernels: Vec<usize>,
}

/// Whether two findings say the same of the same line.
fn is_same(one: &Finding, other: &Finding) -> bool {
    let insn = if one.source.is_some() {
        None
    } else {
        other.insn
    };
    let other = Finding {
        insn: insn.or(one.insn),
        ..other.clone()
    };
    *one == other
}

/// The reasons for one object.
fn reasons(object: &Path, index: usize, kernels: &[OnKernel], all: bool) -> String {
    let mut shared: Vec<Shared<'_>> = Vec::new();
    for (number, kernel) in kernels.iter().enumerate() {
        let Some(cell) = kernel.cells.get(index) else {
            continue;
        };
        for finding in &cell.report.findings {
            if finding.level == Level::Guarded && !all {
                continue;
            }
            match shared
                .iter_mut()
                .find(|shared| is_same(shared.finding, finding))
            {
                // Several instructions of one line make one reason.
                Some(shared) if shared.kernels.last() == Some(&number) => {}
                Some(shared) => shared.kernels.push(number),
                None => shared.push(Shared {
                    finding,
                    kernels: vec![number],
                }),
            }
        }
    }
    shared.sort_by_key(|shared| shared.finding.level);
    let mut text = String::new();
    let verifier = verifier(index, kernels);
    if shared.is_empty() && verifier.is_empty() {
        return text;
    }
    let _ = writeln!(text, "\n{}", escape::line(&object.to_string_lossy()));
    text.push_str(&verifier);
    let names = kernels.iter().map(|kernel| kernel.name.clone());
    let known = kernels.iter().take_while(|kernel| kernel.release.is_some());
    let versions = Versions::new(names.collect(), known.count());
    let mut heading = None;
    for shared in &shared {
        let line = format!(
            "  {} {}\n",
            level(shared.finding.level),
            versions.range(&shared.kernels)
        );
        if heading.as_ref() != Some(&line) {
            text.push_str(&escape::block(&line));
            heading = Some(line);
        }
        for line in shared.finding.to_string().lines() {
            let _ = writeln!(text, "    {}", escape::line(line));
        }
    }
    text
}

fn level(level: Level) -> &'static str {
    match level {
        Level::Refused => "fails on",
        Level::Unattached => "loads, but cannot be attached on",
        Level::Unsure => "not known without booting on",
        Level::Guarded => "absent, but checked for, on",
    }
}

/// What kernels said that static checks did not foresee, those that refuse it first.
fn verifier(index: usize, kernels: &[OnKernel]) -> String {
    let mut text = String::new();
    let cells = kernels
        .iter()
        .filter_map(|kernel| Some((kernel, kernel.cells.get(index)?)));
    for (kernel, cell) in cells {
        let Some(loaded) = cell.loaded.as_ref().filter(|loaded| !loaded.loads) else {
            continue;
        };
        let foreseen = if cell.differs() {
            ", which was not foreseen"
        } else {
            ""
        };
        let name = escape::line(&kernel.name);
        let _ = writeln!(
            text,
            "  {name} refuses it{foreseen}: {}",
            escape::line(&loaded.end)
        );
        for line in &loaded.log {
            let _ = writeln!(text, "    {}", escape::line(line));
        }
    }
    text
}
