//! The parts (`--shard`) that several runs are of one.

use std::collections::{BTreeMap, BTreeSet};

use crate::run::event::Event;
use crate::run::event_log::RunLog;
use crate::run::tally::Tally;

/// Whether some part has tests without a verdict that it was not asked to leave
/// out: that another part was ended early (`--max-fail`) excuses nothing of it.
pub(super) fn loses_tests(runs: &[RunLog]) -> bool {
    // How many of each part are missing after its best run; none that anybody
    // has to ask for where one of its runs was to end early.
    let mut parts: BTreeMap<_, usize> = BTreeMap::new();
    for (index, run) in runs.iter().enumerate() {
        let Some(Event::RunStarted {
            kernels,
            suites,
            shard,
            ..
        }) = run.records.first().map(|record| &record.event)
        else {
            continue;
        };
        let mut tally = Tally::default();
        for record in &run.records {
            tally.observe(&record.event);
        }
        let names: Vec<_> = kernels.iter().map(|kernel| &kernel.name).collect();
        // Runs that are no parts are each their own.
        let own = shard.is_none().then_some(index);
        let missing = if tally.stopped() { 0 } else { tally.missing() };
        parts
            .entry((shard, suites, names, own))
            .and_modify(|least| *least = (*least).min(missing))
            .or_insert(missing);
    }
    parts.into_values().any(|missing| missing > 0)
}

/// The parts (`slice:2/3`) that no run is, of those that some run is one of.
///
/// The jobs of `kiln matrix` have a kernel each: what `-k` names keeps parts of
/// the same number apart.
pub(super) fn missing_parts(runs: &[RunLog]) -> Vec<String> {
    let mut seen: BTreeMap<(&str, u32, String), BTreeSet<u32>> = BTreeMap::new();
    for run in runs {
        if let Some(Event::RunStarted {
            shard: Some(shard),
            command,
            ..
        }) = run.records.first().map(|record| &record.event)
            && let Some((kind, numbers)) = shard.split_once(':')
            && let Some((part, parts)) = numbers.split_once('/')
            && let (Ok(part), Ok(parts)) = (part.parse(), parts.parse())
        {
            let whole = (kind, parts, kernels_asked_for(command));
            seen.entry(whole).or_default().insert(part);
        }
    }
    let mut missing = Vec::new();
    for ((kind, parts, kernels), have) in seen {
        // A file may say anything: no list is longer than what people read.
        let lacking = (1..=parts).filter(|part| !have.contains(part)).take(20);
        missing.extend(lacking.map(|part| match kernels.as_str() {
            "" => format!("{kind}:{part}/{parts}"),
            kernels => format!("{kind}:{part}/{parts} of {kernels}"),
        }));
    }
    missing
}

/// What `-k` names on a command line of `kiln run`.
fn kernels_asked_for(command: &[String]) -> String {
    let mut kernels = Vec::new();
    let mut arguments = command.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "-k" | "--kernel" => kernels.extend(arguments.next().map(String::as_str)),
            other => kernels.extend(
                other
                    .strip_prefix("--kernel=")
                    .or_else(|| other.strip_prefix("-k"))
                    .map(|kernel| kernel.trim_start_matches('=')),
            ),
        }
    }
    kernels.join(" ")
}
