//! Recognises runs that are parts (`--shard`) of the same run.

use std::collections::{BTreeMap, BTreeSet};

use crate::run::event_log::RunLog;
use crate::run::tally::Tally;

/// Whether some part lacks verdicts that it should have: another part that ended early
/// (`--max-fail`) is no excuse.
pub(super) fn loses_tests(runs: &[RunLog]) -> bool {
    // How many verdicts of each part are missing after its best run; none if one of its runs ended
    // early because of an option.
    let mut parts: BTreeMap<_, usize> = BTreeMap::new();
    for (index, run) in runs.iter().enumerate() {
        let Some(start) = run.start() else {
            continue;
        };
        let mut tally = Tally::default();
        for record in &run.records {
            tally.observe(&record.event);
        }
        let names: Vec<_> = start.kernels.iter().map(|kernel| &kernel.name).collect();
        // Runs that are not parts count on their own.
        let own = start.shard.is_none().then_some(index);
        let missing = if tally.stopped() { 0 } else { tally.missing() };
        let tests = tests_asked_for(&start.command);
        parts
            .entry((&start.shard, &start.suites, names, tests, own))
            .and_modify(|least| *least = (*least).min(missing))
            .or_insert(missing);
    }
    parts.into_values().any(|missing| missing > 0)
}

/// The run to which a part belongs.
///
/// Each job of `kiln matrix` has one kernel, and others may have one suite each: the selection
/// distinguishes parts with the same number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Whole<'r> {
    kind: &'r str,
    parts: u32,
    kernels: String,
    suites: &'r [String],
    tests: Vec<&'r str>,
}

/// The run to which a part belongs, and which part it is; `None` for a whole run.
pub(super) fn part_of(run: &RunLog) -> Option<(Whole<'_>, u32)> {
    let start = run.start()?;
    let (kind, numbers) = start.shard.as_ref()?.split_once(':')?;
    let (part, parts) = numbers.split_once('/')?;
    let whole = Whole {
        kind,
        parts: parts.parse().ok()?,
        kernels: kernels_asked_for(&start.command),
        suites: &start.suites,
        tests: tests_asked_for(&start.command),
    };
    Some((whole, part.parse().ok()?))
}

impl Whole<'_> {
    /// Whether tests of the same name may be in different parts: a hash keeps them together.
    pub(super) fn parts_namesakes(&self) -> bool {
        self.kind == "slice"
    }
}

/// The missing parts (`slice:2/3`) of runs of which some part is present.
pub(super) fn missing_parts(runs: &[RunLog]) -> Vec<String> {
    let mut seen: BTreeMap<Whole<'_>, BTreeSet<u32>> = BTreeMap::new();
    for (whole, part) in runs.iter().filter_map(part_of) {
        seen.entry(whole).or_default().insert(part);
    }
    let several_suites = seen.keys().any(|whole| {
        seen.keys()
            .any(|other| other.suites != whole.suites && other.kernels == whole.kernels)
    });
    let mut missing = Vec::new();
    for (whole, have) in seen {
        let Whole {
            kind,
            parts,
            kernels,
            suites,
            ..
        } = whole;
        let mut of = vec![kernels];
        if several_suites {
            of.push(suites.join(" "));
        }
        of.retain(|words| !words.is_empty());
        // A file may contain anything, so limit the list.
        let lacking = (1..=parts).filter(|part| !have.contains(part)).take(20);
        missing.extend(lacking.map(|part| match of.join(", ").as_str() {
            "" => format!("{kind}:{part}/{parts}"),
            of => format!("{kind}:{part}/{parts} of {of}"),
        }));
    }
    missing
}

/// The values of `-k` on a command line of `kiln run`.
fn kernels_asked_for(command: &[String]) -> String {
    values(command, "-k", &["--kernel"]).join(" ")
}

/// The options that select tests on a command line of `kiln run`. Runs of the same part with
/// different options, such as those of `kiln ci`, are parts of two runs.
pub(super) fn tests_asked_for(command: &[String]) -> Vec<&str> {
    let mut asked = values(command, "-t", &["--filter", "--allowlist"]);
    asked.sort_unstable();
    asked.extend(
        command
            .iter()
            .find(|argument| *argument == "--aot")
            .map(String::as_str),
    );
    asked
}

/// The values of an option, which may follow its short name.
fn values<'c>(command: &'c [String], short: &str, long: &[&str]) -> Vec<&'c str> {
    let mut values = Vec::new();
    let mut arguments = command.iter();
    while let Some(argument) = arguments.next() {
        if argument == short || long.contains(&argument.as_str()) {
            values.extend(arguments.next().map(String::as_str));
        } else if let Some((name, value)) = argument.split_once('=')
            && long.contains(&name)
        {
            values.push(value);
        } else if let Some(value) = argument.strip_prefix(short) {
            values.push(value.trim_start_matches('='));
        }
    }
    values
}
