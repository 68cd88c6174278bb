//! What a command reported, whatever the format.

use std::collections::HashMap;

use crate::suite::Verdict;

/// Cases of one command that are kept.
pub(super) const MAX_CASES: usize = 20_000;
/// Bytes of a case's name that are kept.
const MAX_NAME: usize = 300;
/// Bytes of what is said about one case that are kept.
const MAX_DETAILS: usize = 16 * 1024;

/// One case; all its texts are the guest's.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// Its name, unlike that of any other case of the command.
    pub name: String,
    /// Its verdict.
    pub verdict: Verdict,
    /// Why, in one line; may be empty.
    pub reason: String,
    /// What is said about it; may be empty.
    pub details: String,
    /// How long it took, in seconds, where that is told.
    pub seconds: Option<f64>,
}

/// What a command reported.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Results {
    /// The cases, in their order.
    pub cases: Vec<Case>,
    /// Why none was run: a plan of none that says so.
    pub skip: Option<String>,
    /// What is wrong with the report itself: it is cut off, or contradicts
    /// itself.
    pub problems: Vec<String>,
}

impl Results {
    /// Adds a case, within bounds.
    pub(super) fn add(&mut self, mut case: Case) {
        if self.cases.len() == MAX_CASES {
            self.problem(format!("it reports more than {MAX_CASES} cases"));
            return;
        }
        clip(&mut case.name, MAX_NAME);
        clip(&mut case.reason, MAX_NAME);
        clip(&mut case.details, MAX_DETAILS);
        self.cases.push(case);
    }

    /// Notes a problem; a report can have thousands, a few say enough.
    pub(super) fn problem(&mut self, problem: impl Into<String>) {
        let problem = problem.into();
        if self.problems.len() < 5 && !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// Tells cases of one name apart: the second is `NAME #2`.
    pub(super) fn number_namesakes(&mut self) {
        let mut seen: HashMap<String, usize> = HashMap::new();
        for case in &mut self.cases {
            let count = seen.entry(case.name.clone()).or_default();
            *count += 1;
            if *count > 1 {
                case.name = format!("{} #{count}", case.name);
            }
        }
    }
}

/// Cuts a text to so many bytes, at a character.
pub(super) fn clip(text: &mut String, most: usize) {
    if text.len() > most {
        let end = (0..=most).rev().find(|&at| text.is_char_boundary(at));
        text.truncate(end.unwrap_or_default());
        text.push('…');
    }
}
