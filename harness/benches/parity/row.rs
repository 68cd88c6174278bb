//! A test with what both engines made of it.

use crate::verdicts::{Results, Said};

/// A test and every verdict that both engines gave.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) id: String,
    /// The first is from the whole run, the others from reruns of differences.
    pub(crate) upstream: Vec<Said>,
    pub(crate) ours: Vec<Said>,
    /// Ours without our rules, for rows that a rule affected.
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

    /// Whether a rule may explain the difference: then a run without rules shows it.
    pub(crate) fn may_be_a_rule(&self) -> bool {
        self.differs() && self.ours.first().is_some_and(|said| !said.rules.is_empty())
    }
}
