//! The table of differences between our verdicts and those of upstream's engine.
//!
//! Upstream's verdict counts, except if it comes from a bug in its engine rather than in bpftrace.
//! Each such difference has a name, applies to some dialects, and is off with `--compat`.
//! `docs/verdicts.md` lists them for users. If upstream's engine gives no verdict because it hangs
//! or dies, there is nothing to differ from, and so no rule here.

use std::fmt;

use super::Dialect;
use crate::suite::judgement::{AppliedRule, KERNEL_REPORT};

/// A named difference from upstream's verdicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// In a slow guest, BEFORE is held until the marker.
    HeldBefore,
    /// A BEFORE with arguments becomes ready.
    BeforeArguments,
    /// An unknown feature is not a missing one.
    UnknownFeature,
    /// What was printed before a limit passed is judged.
    KeptOutput,
    /// An unfinished last line is judged.
    PartialLine,
    /// An exit status that a test expects must occur.
    SeenExit,
    /// `true` is not `1`.
    JsonTypes,
    /// The message about ahead-of-time compilation must be a line.
    AotSign,
    /// AFTER runs inside the PID namespace.
    PidnsAfter,
    /// CLEANUP runs in any case.
    CleanupAlways,
    /// A kernel report fails the test.
    KernelReport,
}

/// A row of the table.
struct Row {
    rule: Rule,
    name: &'static str,
    /// The first dialect whose engine differs.
    since: &'static str,
    /// The last one; `None` if the newest still differs.
    until: Option<&'static str>,
}

/// Every rule, in the order of the enum.
const TABLE: [Row; 11] = [
    Row {
        rule: Rule::HeldBefore,
        name: "held-before",
        since: "0.14",
        until: None,
    },
    Row {
        rule: Rule::BeforeArguments,
        name: "before-arguments",
        since: "0.14",
        until: None,
    },
    Row {
        rule: Rule::UnknownFeature,
        name: "unknown-feature",
        since: "0.14",
        until: None,
    },
    Row {
        rule: Rule::KeptOutput,
        name: "kept-output",
        since: "0.14",
        until: Some("0.18"),
    },
    Row {
        rule: Rule::PartialLine,
        name: "partial-line",
        since: "0.14",
        until: None,
    },
    Row {
        rule: Rule::SeenExit,
        name: "seen-exit",
        since: "0.22",
        until: None,
    },
    Row {
        rule: Rule::JsonTypes,
        name: "json-types",
        since: "0.20",
        until: None,
    },
    Row {
        rule: Rule::AotSign,
        name: "aot-sign",
        since: "0.14",
        until: None,
    },
    Row {
        rule: Rule::PidnsAfter,
        name: "pidns-after",
        since: "0.20",
        until: None,
    },
    Row {
        rule: Rule::CleanupAlways,
        name: "cleanup-always",
        since: "0.19",
        until: None,
    },
    Row {
        rule: Rule::KernelReport,
        name: KERNEL_REPORT.name,
        since: "0.14",
        until: None,
    },
];

impl Rule {
    /// Every rule.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|row| row.rule)
    }

    fn row(self) -> &'static Row {
        // The table is in the order of the enum, as a test checks.
        &TABLE[self as usize]
    }

    /// Its name, for reports and for tools that compare verdicts.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// The first dialect whose engine differs, and the last one, if upstream fixed it.
    pub fn dialects(self) -> (&'static str, Option<&'static str>) {
        (self.row().since, self.row().until)
    }
}

impl From<Rule> for AppliedRule {
    fn from(rule: Rule) -> Self {
        Self {
            name: rule.name(),
            quiet: rule == Rule::HeldBefore,
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The rules that apply to a suite.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// The dialect of its tests.
    pub dialect: &'static Dialect,
    /// Only upstream's verdicts count: no rule applies.
    pub compat: bool,
    /// This one does not apply.
    off: Option<Rule>,
}

impl Rules {
    /// The rules of a dialect, all off under `compat`.
    pub fn new(dialect: &'static Dialect, compat: bool) -> Self {
        Self {
            dialect,
            compat,
            off: None,
        }
    }

    /// The same without one of them, to see what the verdict would be.
    #[must_use]
    pub fn without(self, rule: Rule) -> Self {
        Self {
            off: Some(rule),
            ..self
        }
    }

    /// Whether a rule applies.
    pub fn hold(&self, rule: Rule) -> bool {
        if self.compat || self.off == Some(rule) {
            return false;
        }
        let (since, until) = rule.dialects();
        let place = |name: &str| Dialect::names().position(|known| known == name);
        let here = place(self.dialect.name);
        here >= place(since) && until.is_none_or(|until| here <= place(until))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_rules() {
        for (index, row) in TABLE.iter().enumerate() {
            assert_eq!(row.rule as usize, index, "{}", row.name);
            let kebab = |c: char| c.is_ascii_lowercase() || c == '-';
            assert!(row.name.chars().all(kebab), "{}", row.name);
            for name in [Some(row.since), row.until].into_iter().flatten() {
                assert_eq!(Dialect::for_version(name).unwrap().name, name);
            }
        }
    }

    #[test]
    fn a_rule_holds_for_its_dialects_and_not_under_compat() {
        let rules = |name| Rules::new(Dialect::for_version(name).unwrap(), false);
        assert!(rules("0.17").hold(Rule::KeptOutput));
        assert!(!rules("0.19").hold(Rule::KeptOutput));
        assert!(!rules("0.17").hold(Rule::SeenExit));
        assert!(rules("head").hold(Rule::SeenExit));
        let compat = Rules::new(Dialect::newest(), true);
        assert!(!Rule::all().any(|rule| compat.hold(rule)));
    }

    /// The names in the first column of the table of differences, which comes before the first
    /// section.
    fn documented(text: &str) -> BTreeSet<(String, String)> {
        let table = text.split("\n## ").next().unwrap_or_default();
        table
            .lines()
            .filter_map(|line| {
                let mut cells = line.strip_prefix("| `")?.split('|');
                let name = cells.next()?.trim().strip_suffix('`')?;
                Some((name.to_owned(), cells.next()?.trim().to_owned()))
            })
            .collect()
    }

    #[test]
    fn the_documentation_lists_exactly_these_rules() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/verdicts.md");
        let listed = documented(&std::fs::read_to_string(path).unwrap());
        let known: BTreeSet<_> = Rule::all()
            .map(|rule| {
                let dialects = match rule.dialects() {
                    (since, Some(until)) => format!("{since} to {until}"),
                    ("0.14", None) => "all".to_owned(),
                    (since, None) => format!("since {since}"),
                };
                (rule.name().to_owned(), dialects)
            })
            .collect();
        assert_eq!(listed, known);
    }
}
