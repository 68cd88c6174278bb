//! `[suites.NAME]`: a suite's runner and its settings.
//!
//! Each runner has a file here, which reads its keys.

mod bpftrace;
mod btf;
mod command;
mod table;

pub use bpftrace::BpftraceTable;
pub use btf::BtfTable;
pub use command::{CommandTable, ResultsFormat};
pub(super) use table::RawSuite;

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;

use self::table::Table;
use super::check::{Checker, explain, near};

/// `[suites.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuiteEntry {
    /// The name in the file.
    pub name: String,
    /// What runs the suite.
    pub runner: RunnerTable,
    /// Line of the suite in the file, from 1.
    pub line: usize,
}

/// A suite's runner and its keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunnerTable {
    /// bpftrace's runtime tests.
    BpftraceRuntime(BpftraceTable),
    /// Any command.
    Command(CommandTable),
    /// BPF objects.
    Btf(BtfTable),
}

/// A runner that a suite can have.
struct Kind {
    /// The value of `runner`.
    name: &'static str,
    /// The keys that it needs, for messages.
    with: &'static str,
    /// Its keys.
    keys: &'static [&'static str],
    /// Reads the keys; `None` after a problem.
    read: fn(&mut Checker<'_>, &mut Table) -> Option<RunnerTable>,
}

/// Every runner, in the order of messages.
const KINDS: [Kind; 3] = [
    Kind {
        name: "bpftrace-runtime",
        with: "with tests and bpftrace",
        keys: &bpftrace::KEYS,
        read: |checker, table| checker.bpftrace(table).map(RunnerTable::BpftraceRuntime),
    },
    Kind {
        name: "command",
        with: "with command",
        keys: &command::KEYS,
        read: |checker, table| checker.command(table).map(RunnerTable::Command),
    },
    Kind {
        name: "btf",
        with: "with objects",
        keys: &btf::KEYS,
        read: |checker, table| checker.btf(table).map(RunnerTable::Btf),
    },
];

/// `a, b and c`.
fn listed(names: &[String]) -> String {
    match names.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => names.concat(),
    }
}

impl Checker<'_> {
    pub(super) fn suite(&mut self, name: &Spanned<String>, raw: RawSuite) -> Option<SuiteEntry> {
        self.name("suite", name);
        let names = KINDS.map(|kind| format!("{:?} ({})", kind.name, kind.with));
        let runners = listed(&names);
        let mut table = Table::new(name, runners.clone());
        let mut places = BTreeMap::new();
        for (key, value) in raw {
            places.insert(key.get_ref().clone(), key.span());
            table.values.insert(key.into_inner(), value);
        }
        let Some(at) = places.remove("runner") else {
            self.problem(&name.span(), explain("missing field `runner`"));
            return None;
        };
        table.at = at;
        let runner = self.take::<String>(&mut table, "runner")?;
        let Some(kind) = KINDS.iter().find(|kind| kind.name == runner.get_ref()) else {
            let (label, runner) = (&table.label, runner.get_ref());
            let problem = format!("{label} has the unknown runner {runner:?}; allowed: {runners}");
            self.problem(&table.at, problem);
            return None;
        };
        for (key, at) in &places {
            self.check_key(kind, &table, key, at);
        }
        Some(SuiteEntry {
            name: name.get_ref().clone(),
            runner: (kind.read)(self, &mut table)?,
            line: self.line(&name.span()),
        })
    }

    /// A key that the suite's runner does not have.
    fn check_key(&mut self, kind: &Kind, table: &Table, key: &str, at: &Range<usize>) {
        if kind.keys.contains(&key) {
            return;
        }
        let other = KINDS.iter().find(|kind| kind.keys.contains(&key));
        let problem = if let Some(other) = other {
            let (label, name, allowed) = (&table.label, other.name, &table.runners);
            format!("{label} has {key}, a key of runner {name:?}; allowed: {allowed}")
        } else {
            let keys: Vec<String> = kind.keys.iter().map(|key| format!("`{key}`")).collect();
            let keys = keys.join(", ");
            let near = near(key, kind.keys.iter().copied());
            format!("unknown key `{key}`; allowed here: `runner`, {keys}{near}")
        };
        self.problem(at, problem);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use crate::config::{Catalogue, Origin};

    fn problems(keys: &str) -> Vec<String> {
        let text = format!("[suites.a]\n{keys}\n");
        let origin = Origin::File("/k/kernels.toml".into());
        let error = Catalogue::parse(&text, origin).unwrap_err().to_string();
        error.lines().map(str::to_owned).collect()
    }

    #[test]
    fn everything_wrong_with_a_suite_is_reported_with_its_line() {
        assert_eq!(
            problems(
                "runner = \"command\"\ncommand = 1\nresults = \"xml\"\ncolour = 2\ntests = \"t\""
            ),
            [
                "/k/kernels.toml:3: suite \"a\": command: invalid type: integer `1`; allowed here: a sequence",
                "/k/kernels.toml:4: suite \"a\": results: unknown variant `xml`; allowed here: `exit`, `tap`, `ktap`, `junit`, `gtest`, `libtest`, `go`",
                "/k/kernels.toml:5: unknown key `colour`; allowed here: `runner`, `command`, `results`, `results-file`, `cwd`, `env`, `env-pass`, `timeout`, `each`, `skip-code`",
                "/k/kernels.toml:6: suite \"a\" has tests, a key of runner \"bpftrace-runtime\"; allowed: \"bpftrace-runtime\" (with tests and bpftrace), \"command\" (with command) and \"btf\" (with objects)",
            ]
        );
    }

    #[test]
    fn a_suite_says_what_runs_it() {
        assert_eq!(
            problems("tests = \"t\""),
            ["/k/kernels.toml:1: missing key `runner`; it is required here"]
        );
        assert_eq!(
            problems("runner = 7"),
            [
                "/k/kernels.toml:2: suite \"a\": runner: invalid type: integer `7`; allowed here: a string"
            ]
        );
    }
}
