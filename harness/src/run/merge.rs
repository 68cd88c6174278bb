//! Joins several runs into one, for `kiln merge`.
//!
//! The events stay the same, except that VMs get new numbers and times count from the start of the
//! first run. The plans are added up.

mod facts;
mod parts;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use chrono::{DateTime, FixedOffset};
use thiserror::Error;

use super::event::{Event, KernelPlan, Record, RunFinished, RunStarted, SCHEMA, Verdict, Warning};
use super::event_log::RunLog;
use super::tally::Tally;
use crate::exit_code;
use crate::hint::Hint;
use facts::{Facts, Key, keep, key, of_the_run, vm_of};
use parts::{loses_tests, missing_parts, part_of, tests_asked_for};

/// Contradictions to list.
const MAX_TOLD: usize = 5;

/// Why runs cannot be joined.
#[derive(Debug, Error)]
pub enum MergeError {
    /// Two runs have different verdicts on the same tests.
    #[error("{} and {} disagree on {}", first.display(), second.display(), told.join(", "))]
    Contradiction {
        /// The run named first.
        first: PathBuf,
        /// The run named later.
        second: PathBuf,
        /// `KERNEL TEST (VERDICT, VERDICT)`, some of them.
        told: Vec<String>,
    },
}

impl Hint for MergeError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Contradiction { .. } => vec![
                "parts of one run (--shard) have no test in common; leave out the run that does \
                 not count"
                    .to_owned(),
            ],
        }
    }
}

/// Joined runs.
#[derive(Debug)]
pub struct Merged {
    /// The events of the joined run, from its start to its end.
    pub records: Vec<Record>,
    /// The exit code of the joined run.
    pub exit_code: u8,
}

/// Joins several runs into one, with the kernels in the order given.
///
/// `command` is kiln's command line. A test that several runs have with the
/// same verdict counts once, and a warning says so.
///
/// # Errors
///
/// [`MergeError::Contradiction`] if two runs disagree on a test.
pub fn merge(runs: &[RunLog], command: Vec<String>) -> Result<Merged, MergeError> {
    let mut warnings: Vec<Warning> = Vec::new();
    for run in runs {
        warnings.extend(run_warnings(run));
    }
    let repeated = repeated(runs)?;
    let mut body: Vec<(u64, Event)> = Vec::new();
    let origin = runs.iter().filter_map(started).min();
    let mut facts = Facts::default();
    let mut next_vm = 0;
    for (run, dropped) in runs.iter().zip(&repeated) {
        let offset = match (origin, started(run)) {
            (Some(origin), Some(start)) => {
                u64::try_from((start - origin).num_milliseconds()).unwrap_or(0)
            }
            _ => 0,
        };
        let first_vm = next_vm;
        for record in &run.records {
            let mut event = record.event.clone();
            if let Some(vm) = vm_of(&mut event) {
                *vm = vm.saturating_add(first_vm);
                next_vm = next_vm.max(vm.saturating_add(1));
            }
            if keep(&event, dropped, &mut facts, &mut warnings) {
                body.push((offset.saturating_add(record.at_ms), event));
            }
        }
        if let Some((example, count)) = dropped.first().map(|key| (&key.2, dropped.len())) {
            warnings.push(of_the_run(format!(
                "{}: {count} tests ({example}, …) are also in an earlier run; they count once",
                run.path.display()
            )));
        }
    }
    // Stable: events of one run at the same time stay in order.
    body.sort_by_key(|(at_ms, _)| *at_ms);
    let missing = missing_parts(runs);
    for part in &missing {
        warnings.push(of_the_run(format!("no run has the part {part}")));
    }

    let mut records = vec![Record {
        at_ms: 0,
        event: start(runs, &repeated, origin, command),
    }];
    records.extend(warnings.into_iter().map(|warning| Record {
        at_ms: 0,
        event: Event::Warning(warning),
    }));
    let end = body.last().map_or(0, |(at_ms, _)| *at_ms);
    records.extend(
        body.into_iter()
            .map(|(at_ms, event)| Record { at_ms, event }),
    );
    let mut tally = Tally::default();
    for record in &records {
        tally.observe(&record.event);
    }
    let exit_code = match tally.exit_code() {
        // The result is incomplete.
        exit_code::OK | exit_code::TESTS_FAILED if !missing.is_empty() => exit_code::VM_LOST,
        exit_code::TESTS_FAILED if tally.missing() > 0 && loses_tests(runs) => exit_code::VM_LOST,
        code => code,
    };
    records.push(Record {
        at_ms: end,
        event: Event::RunFinished(RunFinished {
            exit_code,
            duration_ms: end,
        }),
    });
    Ok(Merged { records, exit_code })
}

/// What is odd about one run.
fn run_warnings(run: &RunLog) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let path = run.path.display();
    if run.cut_off {
        warnings.push(of_the_run(format!(
            "{path}: skipped the last line, which is cut off"
        )));
    }
    let ended = |record: &Record| matches!(record.event, Event::RunFinished(_));
    if !run.records.last().is_some_and(ended) {
        warnings.push(of_the_run(format!(
            "{path}: the run did not end: kiln was killed, or still runs"
        )));
    }
    warnings
}

/// For each run, the tests that an earlier run also has. Different parts of one run have none in
/// common: there, tests of the same name are different tests, as in some of bpftrace's suites.
fn repeated(runs: &[RunLog]) -> Result<Vec<BTreeSet<Key>>, MergeError> {
    // The verdicts of tests of the same name, and their runs.
    let mut known: BTreeMap<Key, Vec<(usize, Vec<Verdict>)>> = BTreeMap::new();
    let parts: Vec<_> = runs.iter().map(part_of).collect();
    let disjoint = |one: usize, other: usize| match (&parts[one], &parts[other]) {
        (Some((whole, part)), Some((same, another))) => {
            whole == same && part != another && whole.parts_namesakes()
        }
        _ => false,
    };
    // Reruns last: what they repeat is planned by the run that they repeat.
    let mut order: Vec<usize> = (0..runs.len()).collect();
    order.sort_by_key(|&index| {
        let start = runs[index].start()?;
        start.rerun_of.as_ref().and(started(&runs[index]))
    });
    let mut all = vec![BTreeSet::new(); runs.len()];
    for index in order {
        let run = &runs[index];
        let mut own: BTreeMap<Key, Vec<Verdict>> = BTreeMap::new();
        for record in &run.records {
            if let Event::TestFinished(result) = &record.event {
                own.entry(key(result)).or_default().push(result.verdict);
            }
        }
        let mut dropped = BTreeSet::new();
        let mut told = Vec::new();
        let mut first = index;
        for (key, mut verdicts) in own {
            verdicts.sort_by_key(|verdict| *verdict as usize);
            let have = known.entry(key.clone()).or_default();
            let Some((other, before)) = have.iter().find(|(run, _)| !disjoint(index, *run)) else {
                have.push((index, verdicts));
                continue;
            };
            if *before != verdicts && (told.is_empty() || first == *other) {
                first = *other;
                told.push(format!(
                    "{} {} ({}, {})",
                    key.0,
                    key.2,
                    words(before),
                    words(&verdicts)
                ));
            }
            dropped.insert(key);
        }
        if !told.is_empty() {
            let more = told.len().saturating_sub(MAX_TOLD);
            told.truncate(MAX_TOLD);
            if more > 0 {
                told.push(format!("{more} more"));
            }
            return Err(MergeError::Contradiction {
                first: runs[first].path.clone(),
                second: run.path.clone(),
                told,
            });
        }
        all[index] = dropped;
    }
    Ok(all)
}

fn words(verdicts: &[Verdict]) -> String {
    let words: Vec<_> = verdicts.iter().map(Verdict::to_string).collect();
    words.join(" and ")
}

fn started(run: &RunLog) -> Option<DateTime<FixedOffset>> {
    DateTime::parse_from_rfc3339(&run.start()?.started_at).ok()
}

/// The start of the joined run, with the plans added up.
fn start(
    runs: &[RunLog],
    repeated: &[BTreeSet<Key>],
    origin: Option<DateTime<FixedOffset>>,
    command: Vec<String>,
) -> Event {
    let mut names: Vec<String> = Vec::new();
    let mut all_suites: Vec<String> = Vec::new();
    // By kernel and suite.
    let mut sums: BTreeMap<(String, String), usize> = BTreeMap::new();
    // A part that ran twice, perhaps the first time not to its end, counts once.
    let mut parts: BTreeMap<_, usize> = BTreeMap::new();
    for (run, dropped) in runs.iter().zip(repeated) {
        let Some(start) = run.start() else {
            continue;
        };
        let suites = &start.suites;
        let original = original_of(start, runs);
        for suite in suites {
            if !all_suites.contains(suite) {
                all_suites.push(suite.clone());
            }
        }
        for kernel in &start.kernels {
            if !names.contains(&kernel.name) {
                names.push(kernel.name.clone());
            }
            for (suite, tests) in planned(kernel, suites) {
                if original.is_some_and(|original| plans(original, &kernel.name, suite)) {
                    continue;
                }
                if let Some(shard) = &start.shard {
                    let (asked, kernel) = (tests_asked_for(&start.command), kernel.name.clone());
                    let part = (shard, suites, asked, kernel, suite.to_owned());
                    let most = parts.entry(part).or_default();
                    *most = (*most).max(tests);
                    continue;
                }
                let again = run.records.iter().filter(|record| {
                    matches!(&record.event, Event::TestFinished(result)
                        if result.kernel == kernel.name
                            && (suite.is_empty() || result.suite == suite)
                            && result.case_of.is_none()
                            && dropped.contains(&key(result)))
                });
                let own = tests.saturating_sub(again.count());
                let sum = sums.entry((kernel.name.clone(), suite.to_owned()));
                let sum = sum.or_default();
                *sum = sum.saturating_add(own);
            }
        }
    }
    for ((_, _, _, kernel, suite), tests) in parts {
        let sum = sums.entry((kernel, suite)).or_default();
        *sum = sum.saturating_add(tests);
    }
    let sum = |kernel: &str, suite: &str| {
        let key = (kernel.to_owned(), suite.to_owned());
        sums.get(&key).copied().unwrap_or(0)
    };
    Event::RunStarted(RunStarted {
        schema: SCHEMA,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at: origin
            .unwrap_or_default()
            .to_utc()
            .to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
        command,
        // The options that the runs have in common, if any.
        again: common(runs, |start| start.again.as_slice()).to_vec(),
        cwd: common(runs, |start| start.cwd.as_str()).to_owned(),
        kernels: names
            .into_iter()
            .map(|name| {
                let suites: Vec<usize> = all_suites.iter().map(|suite| sum(&name, suite)).collect();
                let unknown = sum(&name, "");
                KernelPlan {
                    tests: suites.iter().copied().fold(unknown, usize::saturating_add),
                    suites: if unknown == 0 { suites } else { Vec::new() },
                    expected_ms: None,
                    name,
                }
            })
            .collect(),
        suites: all_suites,
        shard: None,
        rerun_of: None,
    })
}

/// The run that the one that `start` began repeats, if it is among `runs`.
fn original_of<'r>(start: &RunStarted, runs: &'r [RunLog]) -> Option<&'r RunStarted> {
    let time = start.rerun_of.as_ref()?;
    let mut starts = runs.iter().filter_map(RunLog::start);
    starts.find(|original| original.started_at == *time && *original != start)
}

/// Whether a run planned tests of a suite on a kernel.
fn plans(start: &RunStarted, kernel: &str, suite: &str) -> bool {
    let mut kernels = start.kernels.iter().filter(|plan| plan.name == kernel);
    kernels.any(|plan| {
        let mut tests = planned(plan, &start.suites).into_iter();
        tests.any(|(name, tests)| name == suite && tests > 0)
    })
}

/// The value that the starts of all runs share, if they do.
fn common<'r, T: PartialEq + Default>(runs: &'r [RunLog], of: impl Fn(&'r RunStarted) -> T) -> T {
    let mut said = runs.iter().filter_map(RunLog::start).map(of);
    match said.next() {
        Some(first) if said.all(|other| other == first) => first,
        _ => T::default(),
    }
}

/// The planned tests of a kernel by suite, or without a suite if the file does not name it.
fn planned<'r>(kernel: &KernelPlan, suites: &'r [String]) -> Vec<(&'r str, usize)> {
    match suites {
        [only] => vec![(only, kernel.tests)],
        _ if kernel.suites.len() == suites.len() => {
            let suites = suites.iter().map(String::as_str);
            suites.zip(kernel.suites.iter().copied()).collect()
        }
        _ => vec![("", kernel.tests)],
    }
}

#[cfg(test)]
#[path = "merge_tests.rs"]
mod tests;
