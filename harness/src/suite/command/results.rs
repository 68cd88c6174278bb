//! What a command reported, whatever the format.

use std::collections::{HashMap, HashSet};

use crate::suite::{Location, Verdict, decode};

/// Cases of one command to keep.
pub(super) const MAX_CASES: usize = 20_000;
/// Bytes of a line to look at.
const MAX_LINE: usize = 64 * 1024;
/// Bytes of a case's name to keep.
const MAX_NAME: usize = 300;
/// Bytes of a problem to keep.
const MAX_PROBLEM: usize = 500;
/// Bytes of a case's details to keep.
const MAX_DETAILS: usize = 16 * 1024;

/// One case; all its texts come from the guest.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// Its name, unlike that of any other case of the command.
    pub name: String,
    /// Its verdict.
    pub verdict: Verdict,
    /// Why, in one line; may be empty.
    pub reason: String,
    /// Details; may be empty.
    pub details: String,
    /// How long it took, in seconds, if reported.
    pub seconds: Option<f64>,
    /// Where it is defined, if reported: a path as in the report, absolute or relative to some
    /// directory.
    pub source: Option<Location>,
}

/// What a command reported.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Results {
    /// The cases, in their order.
    pub cases: Vec<Case>,
    /// Why nothing ran, from an empty plan.
    pub skip: Option<String>,
    /// What is wrong with the report itself, such as that it is cut off or contradicts itself.
    pub problems: Vec<String>,
    /// Whether it says that something failed, apart from its cases.
    pub fails: bool,
    /// What a reader of the report should know, without being a problem.
    pub notes: Vec<String>,
}

impl Results {
    /// Adds a case, within bounds.
    pub(super) fn add(&mut self, mut case: Case) {
        if self.cases.len() == MAX_CASES {
            self.problem(format!("it reports more than {MAX_CASES} cases"));
            return;
        }
        clip_name(&mut case.name);
        clip(&mut case.reason, MAX_NAME);
        clip(&mut case.details, MAX_DETAILS);
        self.cases.push(case);
    }

    /// Notes a problem that is a failure according to the report.
    pub(super) fn failure(&mut self, problem: impl Into<String>) {
        self.fails = true;
        self.problem(problem);
    }

    /// Notes a problem; a report can have thousands, but a few are enough.
    pub(super) fn problem(&mut self, problem: impl Into<String>) {
        let mut problem = problem.into();
        clip(&mut problem, MAX_PROBLEM);
        if self.problems.len() < 5 && !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// Makes repeated names unique: the second is `NAME #2`.
    pub(super) fn number_namesakes(&mut self) {
        self.number_beside(HashSet::new());
    }

    /// The same, where `taken` is also a used name.
    pub(super) fn keep_apart_from(&mut self, taken: &str) {
        self.number_beside(HashSet::from([taken.to_owned()]));
    }

    fn number_beside(&mut self, mut taken: HashSet<String>) {
        // Where the search for a free number starts, so that thousands of equal names are numbered
        // quickly.
        let mut next: HashMap<String, usize> = HashMap::new();
        for case in &mut self.cases {
            if taken.insert(case.name.clone()) {
                continue;
            }
            let number = next.entry(case.name.clone()).or_insert(2);
            // Also `a #2` may be the name of a case.
            case.name = loop {
                let name = format!("{} #{number}", case.name);
                *number += 1;
                if taken.insert(name.clone()) {
                    break name;
                }
            };
        }
    }
}

/// Cuts a name to what is kept of it.
pub(super) fn clip_name(name: &mut String) {
    clip(name, MAX_NAME);
}

/// A line of output without colours.
pub(super) fn without_colours(line: &[u8]) -> String {
    let line = decode(line);
    if line.contains('\u{1b}') {
        return console::strip_ansi_codes(&line).into_owned();
    }
    line
}

/// Cuts a line to what is looked at of it.
pub(super) fn clip_line(line: &mut String) {
    clip(line, MAX_LINE);
}

/// Cuts a text to so many bytes, at a character.
pub(super) fn clip(text: &mut String, most: usize) {
    if text.len() > most {
        let end = (0..=most).rev().find(|&at| text.is_char_boundary(at));
        text.truncate(end.unwrap_or_default());
        text.push('…');
    }
}

/// The cases, each as `VERDICT NAME REASON`, and the problems, for the tests of
/// this room.
#[cfg(test)]
pub(super) fn summary_of(results: Results) -> (Vec<String>, Vec<String>) {
    let case = |case: &Case| {
        format!("{} {} {}", case.verdict, case.name, case.reason)
            .trim_end()
            .to_owned()
    };
    (results.cases.iter().map(case).collect(), results.problems)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(names: &[&str], taken: &str) -> Vec<String> {
        let mut results = Results::default();
        for name in names {
            results.add(Case {
                name: (*name).to_owned(),
                verdict: Verdict::Pass,
                reason: String::new(),
                details: String::new(),
                seconds: None,
                source: None,
            });
        }
        results.number_namesakes();
        results.keep_apart_from(taken);
        results.cases.into_iter().map(|case| case.name).collect()
    }

    #[test]
    fn no_name_is_used_twice() {
        assert_eq!(
            numbered(&["a", "a #2", "a", "a", "a #2"], "b"),
            ["a", "a #2", "a #3", "a #4", "a #2 #2"]
        );
        assert_eq!(numbered(&["b", "a", "b"], "b"), ["b #2", "a", "b #2 #2"]);
    }
}
