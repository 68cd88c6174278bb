//! Why verdicts may differ.

use std::collections::BTreeSet;
use std::fmt;

use kiln::suite::bpftrace::Rule;

use crate::compare::Row;
use crate::verdicts::Said;

/// Why a difference is none of kiln's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Explanation {
    /// Rules of docs/verdicts.md; kiln says which had a part in its verdict.
    Rules(BTreeSet<String>),
    /// Upstream's engine hangs, dies, or loses its VM: there is no verdict to
    /// differ from.
    NoVerdict,
    /// Run again, both gave the same verdict at least once.
    Flaky,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rules(names) => {
                let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
                f.write_str(&names.join(", "))
            }
            Self::NoVerdict => f.write_str("upstream gives no verdict"),
            Self::Flaky => f.write_str("flaky: the same in another run"),
        }
    }
}

/// The explanation of a row that differs.
pub(crate) fn explain(row: &Row) -> Option<Explanation> {
    let known: BTreeSet<&str> = Rule::all().map(Rule::name).collect();
    let rules: BTreeSet<String> = row
        .ours
        .first()
        .into_iter()
        .flat_map(|said| &said.rules)
        .filter(|name| known.contains(name.as_str()))
        .cloned()
        .collect();
    if !rules.is_empty() {
        return Some(Explanation::Rules(rules));
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
