//! The result for people: a table, then the reasons.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::on_kernel::{Cell, OnKernel, name_of};
use crate::bpf::{Finding, Level, Verdict};
use crate::btf::versions::Versions;
use crate::report::{escape, ruled_table};

/// More kernels make rows instead of columns.
const MAX_COLUMNS: usize = 8;

/// The table and the reasons. `all` also tells of what is guarded; `width` is in columns.
pub(super) fn render(
    files: &[PathBuf],
    kernels: &[OnKernel],
    all: bool,
    width: Option<u16>,
) -> String {
    let mut text = table(files, kernels, width);
    let is_unforeseen = |index: &usize| {
        let mut cells = kernels.iter().filter_map(|kernel| kernel.cells.get(*index));
        cells.any(Cell::is_unforeseen)
    };
    let (mut first, rest): (Vec<usize>, Vec<usize>) = (0..files.len()).partition(is_unforeseen);
    first.extend(rest);
    for index in first {
        if let Some(file) = files.get(index) {
            text.push_str(&reasons(file, index, kernels, all));
        }
    }
    text
}

fn table(files: &[PathBuf], kernels: &[OnKernel], width: Option<u16>) -> String {
    let mut table = ruled_table(width);
    let names = || {
        files
            .iter()
            .map(|file| escape::line(&name_of(file)).into_owned())
    };
    let kernel_names = || {
        kernels
            .iter()
            .map(|kernel| escape::line(&kernel.name).into_owned())
    };
    if kernels.len() > MAX_COLUMNS && files.len() < kernels.len() {
        table.set_header(std::iter::once("kernel".to_owned()).chain(names()));
        for (name, kernel) in kernel_names().zip(kernels) {
            table.add_row(std::iter::once(name).chain(kernel.cells.iter().map(cell_text)));
        }
    } else {
        let mut cells = kernels.iter().flat_map(|kernel| &kernel.cells);
        let is_all = cells.all(|cell| cell.is_script);
        let what = if is_all { "script" } else { "object" };
        table.set_header(std::iter::once(what.to_owned()).chain(kernel_names()));
        for (index, name) in names().enumerate() {
            let cells = kernels.iter().filter_map(|kernel| kernel.cells.get(index));
            table.add_row(std::iter::once(name).chain(cells.map(cell_text)));
        }
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 1));
    }
    format!("{}\n", table.trim_fmt())
}

/// A cell of the table.
fn cell_text(cell: &Cell) -> String {
    let mut text = word(cell.report.verdict).to_owned();
    if let Some(said) = cell.differing() {
        let _ = write!(text, ", but {}", word(said));
    }
    if cell.known.is_some() {
        text.push_str(" (known)");
    }
    text
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Loads => "loads",
        Verdict::Unattached => "no target",
        Verdict::Fails => "fails",
        Verdict::NoBtf => "no BTF",
    }
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

/// The reasons for one file.
fn reasons(file: &Path, index: usize, kernels: &[OnKernel], all: bool) -> String {
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
    let _ = writeln!(text, "\n{}", escape::line(&file.to_string_lossy()));
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
        let foreseen = if cell.is_unforeseen() {
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
