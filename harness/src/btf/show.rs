//! `kiln btf show`: the answers of several kernels, those that agree in one line.

use std::collections::{HashMap, HashSet};

use serde::Serialize;

use super::answer::{Answer, Answers};
use super::kernel::KernelBtf;
use super::query::{Query, Step};
use super::versions::{Versions, sort_by_release};

/// What one kernel said.
#[derive(Debug)]
pub struct Said {
    /// The kernel's name.
    pub kernel: String,
    /// Its release, where it is known.
    pub release: Option<String>,
    /// Its answers; `None` if it has no BTF, or why it could not be asked.
    pub answers: Result<Option<Answers>, String>,
}

/// All things that were asked for, over all kernels.
#[derive(Debug, Serialize)]
pub struct Shown {
    /// The question.
    pub query: String,
    /// The kernels in the order of their versions.
    pub kernels: Vec<String>,
    /// The things.
    pub items: Vec<Item>,
}

/// One thing, over all kernels.
#[derive(Debug, Serialize)]
pub struct Item {
    /// Its name, such as `task_struct.pid`.
    pub name: String,
    /// The kernels by what they have, in the order of versions.
    pub groups: Vec<Group>,
}

/// Kernels that agree.
#[derive(Debug, Serialize)]
pub struct Group {
    /// Their names as ranges: `6.1 to 6.12`.
    pub range: String,
    /// Their names.
    pub kernels: Vec<String>,
    /// What they have.
    #[serde(flatten)]
    pub state: State,
}

/// What a kernel has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum State {
    /// The thing; several where units differ.
    Found {
        /// Each of them.
        answers: Vec<Answer>,
    },
    /// Not this thing.
    Absent,
    /// No BTF.
    NoBtf,
    /// Nothing, since it could not be read.
    Failed {
        /// Why.
        reason: String,
    },
}

impl Shown {
    /// Groups what kernels said.
    pub fn new(query: &Query, mut said: Vec<Said>) -> Self {
        sort_by_release(&mut said, |said| said.release.as_deref());
        let kernels: Vec<String> = said.iter().map(|said| said.kernel.clone()).collect();
        let versions = Versions::new(
            kernels.clone(),
            said.iter().filter(|said| said.release.is_some()).count(),
        );
        // In the order of the newest kernel that has them; what only older ones have comes behind.
        let mut names: Vec<&str> = Vec::new();
        let mut known = HashSet::new();
        for said in said.iter().rev() {
            for (name, _) in said.answers.iter().flatten().flatten() {
                if known.insert(name) {
                    names.push(name);
                }
            }
        }
        if names.is_empty() {
            names.push(&query.text);
        }
        let by_name: Vec<_> = said.iter().map(Said::by_name).collect();
        let states = |name: &str| -> Vec<State> {
            let all = said.iter().zip(&by_name);
            all.map(|(said, by_name)| said.state(by_name.get(name).copied()))
                .collect()
        };
        let items = names
            .into_iter()
            .map(|name| Item {
                name: name.to_owned(),
                groups: groups(&versions, states(name).into_iter()),
            })
            .collect();
        Self {
            query: query.text.clone(),
            kernels,
            items,
        }
    }

    /// Whether a kernel has one of the things.
    pub fn is_anything_found(&self) -> bool {
        self.any(|state| matches!(state, State::Found { .. }))
    }

    /// Whether a kernel could be asked.
    pub fn is_anything_known(&self) -> bool {
        self.any(|state| matches!(state, State::Found { .. } | State::Absent))
    }

    /// Whether a kernel could not be read.
    pub fn has_failed(&self) -> bool {
        self.any(|state| matches!(state, State::Failed { .. }))
    }

    fn any(&self, is: impl Fn(&State) -> bool) -> bool {
        let groups = self.items.iter().flat_map(|item| &item.groups);
        groups.map(|group| &group.state).any(is)
    }

    /// As a table for each thing; with `c`, definitions below each line.
    pub fn text(&self, c: bool) -> String {
        let mut text = String::new();
        for (number, item) in self.items.iter().enumerate() {
            if number > 0 {
                text.push('\n');
            }
            text.push_str(&item.text(c));
        }
        text
    }
}

impl Said {
    fn by_name(&self) -> HashMap<&str, &[Answer]> {
        let answers = self.answers.iter().flatten().flatten();
        answers
            .map(|(name, answers)| (name.as_str(), answers.as_slice()))
            .collect()
    }

    /// What it has, where `answers` are all that it said of the thing.
    fn state(&self, answers: Option<&[Answer]>) -> State {
        match (&self.answers, answers) {
            (Err(reason), _) => State::Failed {
                reason: reason.clone(),
            },
            (Ok(None), _) => State::NoBtf,
            (Ok(Some(_)), None) => State::Absent,
            (Ok(Some(_)), Some(answers)) => State::Found {
                answers: answers.to_vec(),
            },
        }
    }
}

fn groups(versions: &Versions, states: impl Iterator<Item = State>) -> Vec<Group> {
    let mut groups: Vec<(State, Vec<usize>)> = Vec::new();
    for (kernel, state) in states.enumerate() {
        match groups.iter_mut().find(|(other, _)| *other == state) {
            Some((_, kernels)) => kernels.push(kernel),
            None => groups.push((state, vec![kernel])),
        }
    }
    groups
        .into_iter()
        .map(|(state, kernels)| Group {
            range: versions.range(&kernels),
            kernels: kernels
                .iter()
                .map(|&k| versions.name(k).to_owned())
                .collect(),
            state,
        })
        .collect()
}

/// The columns of a table; the last one is not padded.
const COLUMNS: usize = 7;

impl Item {
    fn text(&self, c: bool) -> String {
        let mut header = ["KERNELS", "BYTE", "BIT", "SIZE", "PARTS", "IN", "TYPE"];
        let mut rows: Vec<([String; COLUMNS], &str)> = Vec::new();
        for group in &self.groups {
            match &group.state {
                State::Found { answers } => {
                    for (index, answer) in answers.iter().enumerate() {
                        header[COLUMNS - 1] = heading(answer.what.kind);
                        let range = if index == 0 { &group.range } else { "" };
                        rows.push((row(range, answer), &answer.what.definition));
                    }
                }
                State::Absent => rows.push((note(&group.range, "absent"), "")),
                State::NoBtf => rows.push((note(&group.range, "this kernel has no BTF"), "")),
                State::Failed { reason } => rows.push((note(&group.range, reason), "")),
            }
        }
        let mut widths = [0; COLUMNS];
        for (cells, _) in &rows {
            for (width, cell) in widths.iter_mut().zip(cells) {
                *width = (*width).max(cell.chars().count());
            }
        }
        for (width, name) in widths.iter_mut().zip(header) {
            // A column with nothing in it is left out.
            if *width > 0 {
                *width = (*width).max(name.len());
            }
        }
        let line = |cells: &[&str]| {
            let mut line = String::from(" ");
            for (cell, width) in cells.iter().zip(widths).filter(|(_, width)| *width > 0) {
                line.push(' ');
                line.push_str(cell);
                let missing = width - cell.chars().count().min(width);
                line.extend(std::iter::repeat_n(' ', missing + 1));
            }
            line.truncate(line.trim_end().len());
            line.push('\n');
            line
        };
        let mut text = format!("{}\n{}", self.name, line(&header));
        for (cells, definition) in &rows {
            let cells: Vec<&str> = cells.iter().map(String::as_str).collect();
            text.push_str(&line(&cells));
            if c && !definition.is_empty() {
                text.push('\n');
                text.push_str(definition);
                text.push_str("\n\n");
            }
        }
        text
    }
}

/// The heading of the last column.
fn heading(kind: &str) -> &'static str {
    match kind {
        "function" | "kfunc" => "PROTOTYPE",
        "tracepoint" => "ARGUMENTS",
        "value" => "VALUE",
        _ => "TYPE",
    }
}

fn note(range: &str, text: &str) -> [String; COLUMNS] {
    let mut cells = [const { String::new() }; COLUMNS];
    range.clone_into(&mut cells[0]);
    text.clone_into(&mut cells[COLUMNS - 1]);
    cells
}

fn row(range: &str, answer: &Answer) -> [String; COLUMNS] {
    let what = &answer.what;
    let mut text = what.text.clone();
    if what.kind == "typedef" {
        text = format!("typedef of {text}");
    }
    if let Some(within) = &what.within {
        text = format!("{text}, offset in {within}");
    }
    if what.is_kfunc.is_none() && what.kind == "kfunc" {
        text.push_str(", a function: this BTF marks no kfuncs");
    }
    let number = |value: Option<u64>| value.map_or_else(String::new, |value| value.to_string());
    let size = match (what.bitfield_bits, what.size) {
        (Some(1), _) => "1 bit".to_owned(),
        (Some(bits), _) => format!("{bits} bits"),
        (None, size) => number(size),
    };
    [
        range.to_owned(),
        number(what.bit_offset.map(|bits| bits / 8)),
        number(what.bit_offset),
        size,
        what.count
            .map_or_else(String::new, |count| count.to_string()),
        units(&answer.units),
        text,
    ]
}

/// The first of some modules, and how many more.
fn units(units: &[String]) -> String {
    const NAMED: usize = 2;
    match units.len() {
        0..=NAMED => units.join(", "),
        count => format!("{} and {} more", units[..NAMED].join(", "), count - NAMED),
    }
}

/// Names in a kernel that are like the one that was asked for, the nearest first.
pub fn near(kernel: &KernelBtf, query: &Query) -> Vec<String> {
    const ENOUGH: usize = 5;
    let subject = query.subject;
    let wanted = query.name.text.as_str();
    let known = kernel.names().get(&subject.in_btf(wanted));
    let known = known.filter(|entry| subject.covers(entry.meaning));
    let mut near: Vec<(f64, String)> = Vec::new();
    let mut members = false;
    for entry in known {
        // The type is there, so it is the member that is not.
        let Ok(ty) = kernel.ty(entry) else { continue };
        if let Some(Step::Member(member)) = query.path.first() {
            members = true;
            let mut add = |name: &str| {
                let likeness = strsim::jaro_winkler(&member.text, name);
                near.push((likeness, format!("{}{wanted}.{name}", subject.word())));
            };
            ty.each_member(&mut |found| {
                add(found.member.name);
                true
            });
            ty.enumerators().for_each(|value| add(value.name));
        }
    }
    if !members {
        for (name, mut entries) in kernel.names().all() {
            if let Some(shown) = subject.shown(name)
                && entries.any(|entry| subject.covers(entry.meaning))
            {
                let likeness = strsim::jaro_winkler(wanted, shown);
                near.push((likeness, format!("{}{shown}", subject.word())));
            }
        }
    }
    near.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    near.dedup();
    let names = near.into_iter().filter(|(likeness, _)| *likeness > 0.7);
    names.map(|(_, name)| name).take(ENOUGH).collect()
}
