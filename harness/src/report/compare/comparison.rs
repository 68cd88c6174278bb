//! Two runs compared.

use std::path::Path;
use std::sync::OnceLock;

use chrono::Utc;

use super::change::{Change, Changed};
use super::entry::{Key, entries};
use super::error::CompareError;
use super::noise::Noise;
use super::notes::{different, nothing_in_common};
use super::rename;
use super::sides::{earlier_runs, read_side};
use crate::report::class::Class;
use crate::report::history::History;
use crate::report::results::RunResults;
use crate::run::event::TestResult;

/// Two runs compared.
#[derive(Debug, Default)]
pub struct Comparison {
    pub before: String,
    pub after: String,
    /// Kernels of both, in the order of the run after.
    pub kernels: Vec<String>,
    /// Every test on every kernel of both, in the order of the runs.
    pub tests: Vec<Changed>,
    /// What a reader must know first.
    pub notes: Vec<String>,
}

/// A run to which another is compared while it is reported on.
#[derive(Debug)]
pub struct Baseline {
    before: RunResults,
    earlier: Vec<RunResults>,
    /// Several reports want it at the end of the run.
    compared: OnceLock<Result<Comparison, CompareError>>,
}

impl Baseline {
    /// Reads the run by its path, with the name that the user gave it.
    pub fn read(path: &Path, name: &str) -> Result<Self, CompareError> {
        Ok(Self {
            before: read_side(path, name)?,
            earlier: earlier_runs(path, path, Utc::now()),
            compared: OnceLock::new(),
        })
    }

    /// What has changed since then, up to the end of the run of this history.
    pub fn compare(&self, history: &History) -> Result<&Comparison, &CompareError> {
        let compare = || {
            let after = RunResults::of(history, "this run");
            Comparison::new(&self.before, &after, &self.earlier)
        };
        self.compared.get_or_init(compare).as_ref()
    }
}

impl Comparison {
    /// Compares two runs; `earlier` say how much times vary.
    pub(in crate::report) fn new(
        before: &RunResults,
        after: &RunResults,
        earlier: &[RunResults],
    ) -> Result<Self, CompareError> {
        let common: Vec<String> = after
            .kernels
            .iter()
            .filter(|kernel| before.kernels.contains(kernel))
            .cloned()
            .collect();
        let (order_before, was) = entries(before);
        let (order_after, is) = entries(after);
        if !order_after.iter().any(|key| was.contains_key(key)) {
            return Err(nothing_in_common(before, after, &common));
        }
        let mut noise = Noise::default();
        for run in earlier.iter().chain([before]) {
            for one in run.results.iter().filter(|one| one.class == Class::Pass) {
                let key = Key {
                    kernel: one.kernel.clone(),
                    suite: one.suite.clone(),
                    id: one.id.clone(),
                };
                noise.earlier(key, one.ms);
            }
        }
        noise.pairs(
            is.iter()
                .filter_map(|(key, after)| Some((key, was.get(key)?, after))),
        );
        // A run that lost tests has not lost them for good.
        let unknown = after.missing > 0 || !after.ended || after.damaged.is_some();
        let gone = order_before
            .into_iter()
            .filter(|key| !is.contains_key(key) && !unknown);
        let keys = order_after.into_iter().chain(gone).collect::<Vec<_>>();
        let mut tests: Vec<Changed> = keys
            .into_iter()
            .filter(|key| common.contains(&key.kernel))
            .map(|key| {
                let (before, after) = (was.get(&key), is.get(&key));
                Changed {
                    change: Change::of(&key, before, after, &noise),
                    before: before.cloned(),
                    after: after.cloned(),
                    renamed: None,
                    key,
                }
            })
            .collect();
        rename::find(&mut tests);
        let mut notes = before.notes();
        notes.extend(after.notes());
        if unknown {
            notes.push(format!(
                "{}: tests without a verdict do not count as gone",
                after.name
            ));
        }
        for (run, other) in [(before, after), (after, before)] {
            let only: Vec<_> = run
                .kernels
                .iter()
                .filter(|kernel| !other.kernels.contains(kernel))
                .cloned()
                .collect();
            if !only.is_empty() {
                notes.push(format!("only in {}: kernels {}", run.name, only.join(", ")));
            }
        }
        notes.extend(different(before, after, &common));
        Ok(Self {
            before: before.name.clone(),
            after: after.name.clone(),
            kernels: common,
            tests,
            notes,
        })
    }

    /// Compares two runs by their paths, with the names that the user gave; the runs beside the one
    /// before say how much times vary.
    pub fn of_paths(before: (&Path, &str), after: (&Path, &str)) -> Result<Self, CompareError> {
        let was = read_side(before.0, before.1)?;
        let is = read_side(after.0, after.1)?;
        let earlier = earlier_runs(before.0, after.0, is.started);
        Self::new(&was, &is, &earlier)
    }

    /// Compares a run that has been read with one before it.
    pub fn with_baseline(
        before: (&Path, &str),
        after: (&Path, &str),
        history: &History,
    ) -> Result<Self, CompareError> {
        let was = read_side(before.0, before.1)?;
        let is = RunResults::of(history, after.1);
        let earlier = earlier_runs(before.0, after.0, is.started);
        Self::new(&was, &is, &earlier)
    }

    /// Whether something needs attention that did not before.
    pub fn has_regressed(&self) -> bool {
        self.tests
            .iter()
            .any(|test| matches!(test.change, Change::Regressed | Change::NewFailure))
    }

    /// Whether a test that needs attention did so before.
    pub fn is_old(&self, result: &TestResult) -> bool {
        self.tests.iter().any(|test| {
            test.change == Change::StillFailing
                && test.key.kernel == result.kernel
                && test.key.suite == result.suite
                && test.key.id == result.id
        })
    }

    /// How many tests on this kernel have changed so.
    pub fn count(&self, kernel: &str, change: Change) -> usize {
        self.tests
            .iter()
            .filter(|test| test.change == change && test.key.kernel == kernel)
            .count()
    }
}

#[cfg(test)]
mod tests;
