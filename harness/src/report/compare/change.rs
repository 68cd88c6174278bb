//! What became of a test between two runs.

use super::entry::{Entry, Key};
use super::noise::Noise;
use crate::report::class::Class;

/// What became of a test on a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Change {
    /// It needs attention, and did not before.
    Regressed,
    /// It is new and needs attention.
    NewFailure,
    /// It needed attention, and does not any more.
    Fixed,
    /// It passes, but not always, in one run or both.
    Flaky,
    /// It takes longer than noise explains.
    Slower,
    /// It needs attention in both.
    StillFailing,
    /// It had no verdict before.
    New,
    /// It has no verdict now, or is skipped.
    Gone,
    /// Nothing to tell.
    Same,
}

impl Change {
    /// In the order of reports.
    pub const ALL: [Self; 9] = [
        Self::Regressed,
        Self::NewFailure,
        Self::Fixed,
        Self::Flaky,
        Self::Slower,
        Self::StillFailing,
        Self::New,
        Self::Gone,
        Self::Same,
    ];

    /// In reports.
    pub fn word(self) -> &'static str {
        match self {
            Self::Regressed => "regressed",
            Self::NewFailure => "new failure",
            Self::Fixed => "fixed",
            Self::Flaky => "flaky",
            Self::Slower => "slower",
            Self::StillFailing => "still failing",
            Self::New => "new",
            Self::Gone => "gone",
            Self::Same => "same",
        }
    }

    pub(super) fn of(
        key: &Key,
        before: Option<&Entry>,
        after: Option<&Entry>,
        noise: &Noise,
    ) -> Self {
        let bad = |entry: &Entry| entry.class.is_unexpected();
        let runs = |entry: &&Entry| entry.class != Class::Skip;
        match (before, after) {
            (None, None) => Self::Same,
            (None, Some(after)) if bad(after) => Self::NewFailure,
            (None, Some(_)) => Self::New,
            (Some(_), None) => Self::Gone,
            (Some(before), Some(after)) => match (bad(before), bad(after)) {
                (true, true) => Self::StillFailing,
                (false, true) => Self::Regressed,
                _ if before.class == Class::Flaky || after.class == Class::Flaky => Self::Flaky,
                (true, false) if runs(&after) => Self::Fixed,
                _ if runs(&before) && !runs(&after) => Self::Gone,
                _ if !runs(&before) && runs(&after) => Self::New,
                _ if noise.is_slower(key, before.ms, after.ms) => Self::Slower,
                _ => Self::Same,
            },
        }
    }
}

/// What became of one test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    pub key: Key,
    pub change: Change,
    pub before: Option<Entry>,
    pub after: Option<Entry>,
    /// The other name of a test that is new or gone, and whether its place proves that.
    pub renamed: Option<(String, bool)>,
}
