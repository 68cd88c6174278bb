//! A test with what both engines made of it.

use crate::verdicts::{Results, Said};

/// A test and every verdict that both engines gave it.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) id: String,
    /// The first is of the whole run, the others of runs of what differed.
    pub(crate) upstream: Vec<Said>,
    pub(crate) ours: Vec<Said>,
    /// Ours without any of our rules, of rows where a rule had a part.
    pub(crate) compat: Option<Said>,
}

impl Row {
    /// Another run of both.
    pub(crate) fn add(&mut self, upstream: &Results, ours: &Results) {
        let of = |results: &Results| results.said.get(&self.id).cloned().unwrap_or_default();
        self.upstream.push(of(upstream));
        self.ours.push(of(ours));
    }

    /// Whether the first verdicts differ.
    pub(crate) fn differs(&self) -> bool {
        let first = |said: &[Said]| said.first().map(|said| said.verdicts.clone());
        first(&self.upstream) != first(&self.ours)
    }

    /// Whether a rule may be why it differs: then a run without rules tells.
    pub(crate) fn may_be_a_rule(&self) -> bool {
        self.differs() && self.ours.first().is_some_and(|said| !said.rules.is_empty())
    }
}
