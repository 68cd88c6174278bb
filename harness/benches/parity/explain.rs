//! Explanations of differing verdicts.

use std::fmt;

use kiln::internals::rule_names;

use crate::row::Row;
use crate::verdicts::Said;

/// Why a difference is not a bug in kiln.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Explanation {
    /// A rule of docs/verdicts.md: the only one that affected kiln's verdict, which without rules
    /// equals upstream's.
    Rule(String),
    /// Upstream's engine hangs, dies, or loses its VM: there is no verdict to
    /// differ from.
    NoVerdict,
    /// Run again, both gave the same verdict at least once.
    Flaky,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule(name) => write!(f, "`{name}`"),
            Self::NoVerdict => f.write_str("upstream gives no verdict"),
            Self::Flaky => f.write_str("flaky: the same in another run"),
        }
    }
}

/// Whether a row differs and nothing explains it.
pub(crate) fn is_unexplained(row: &Row) -> bool {
    row.differs() && explain(row).is_none()
}

/// The explanation of a row that differs.
pub(crate) fn explain(row: &Row) -> Option<Explanation> {
    if let Some(name) = rule(row) {
        return Some(Explanation::Rule(name));
    }
    let none = ["hang", "crash", "lost"];
    let gave_none = |said: &Said| {
        let mut verdicts = said.verdicts.iter();
        verdicts.any(|verdict| none.contains(&verdict.as_str()))
    };
    if row.upstream.iter().any(gave_none) {
        return Some(Explanation::NoVerdict);
    }
    let same = |ours: &Said| {
        !ours.verdicts.is_empty()
            && row
                .upstream
                .iter()
                .any(|upstream| upstream.verdicts == ours.verdicts)
    };
    row.ours.iter().any(same).then_some(Explanation::Flaky)
}

/// The single rule that changed the verdict. That kiln names a rule only says that the test ran
/// differently: a run without rules must give upstream's verdict.
fn rule(row: &Row) -> Option<String> {
    let (first, upstream) = (row.ours.first()?, row.upstream.first()?);
    let mut names = first.rules.iter();
    let (Some(name), None) = (names.next(), names.next()) else {
        return None;
    };
    let is_known = rule_names().any(|rule| rule == name);
    let is_turned = row.compat.as_ref()?.verdicts == upstream.verdicts;
    (is_known && is_turned).then(|| name.clone())
}
