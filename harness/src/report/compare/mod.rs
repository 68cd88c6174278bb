//! Two runs side by side: what has become worse, better, slower, and what is new or gone.

mod junit_side;
mod noise;
mod rename;
mod words;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use chrono::{DateTime, Utc};
use thiserror::Error;

use super::class::Class;
use super::history::History;
use super::results::{OneResult, RunResults};
use crate::hint::Hint;
use crate::run::event::TestResult;
use crate::run::event_log::EventLogError;
use crate::run::run_names;
use noise::Noise;

pub use words::CompareFormat;

/// Earlier runs that are read for the noise of times.
const MAX_EARLIER: usize = 10;

/// Why two runs cannot be compared.
#[derive(Debug, Error)]
pub enum CompareError {
    /// A run cannot be read.
    #[error(transparent)]
    Log(#[from] EventLogError),
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is no JUnit report.
    #[error("{} is not a JUnit file: {why}", path.display())]
    NotJunit {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The runs have no test in common.
    #[error("{before} and {after} have no test in common{why}")]
    NothingInCommon {
        /// The one run.
        before: String,
        /// The other.
        after: String,
        /// What they have instead.
        why: String,
    },
}

impl Hint for CompareError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Log(error) => error.hints(),
            Self::Read { .. } => Vec::new(),
            Self::NotJunit { .. } => {
                vec!["name a run directory, a run's id, last or last~1, or a JUnit file".to_owned()]
            }
            Self::NothingInCommon { .. } => vec![
                "tests are the same if kernel, suite and id are; `kiln runs` lists the runs with \
                 their kernels"
                    .to_owned(),
            ],
        }
    }
}

/// Which test on which kernel.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) kernel: String,
    pub(super) suite: String,
    pub(super) id: String,
}

/// A result on one side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) class: Class,
    pub(super) ms: u64,
    pub(super) reason: String,
    pub(super) source: Option<(String, usize)>,
}

impl Entry {
    #[cfg(test)]
    fn of(class: Class) -> Self {
        Self {
            class,
            ms: 0,
            reason: String::new(),
            source: None,
        }
    }
}

/// What became of a test on a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Change {
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
    pub(super) const ALL: [Self; 9] = [
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
    pub(super) fn word(self) -> &'static str {
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

    fn of(key: &Key, before: Option<&Entry>, after: Option<&Entry>, noise: &Noise) -> Self {
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
pub(super) struct Changed {
    pub(super) key: Key,
    pub(super) change: Change,
    pub(super) before: Option<Entry>,
    pub(super) after: Option<Entry>,
    /// The other name of a test that is new or gone, and whether its place proves that.
    pub(super) renamed: Option<(String, bool)>,
}

/// Two runs compared.
#[derive(Debug, Default)]
pub struct Comparison {
    pub(super) before: String,
    pub(super) after: String,
    /// Kernels of both, in the order of the run after.
    pub(super) kernels: Vec<String>,
    /// Every test on every kernel of both, in the order of the runs.
    pub(super) tests: Vec<Changed>,
    /// What a reader must know first.
    pub(super) notes: Vec<String>,
}

/// A run by its directory, or a JUnit file.
pub(super) fn read_side(path: &Path, name: &str) -> Result<RunResults, CompareError> {
    if path.is_dir() {
        Ok(RunResults::read(path, name, |_, _| true)?)
    } else {
        junit_side::read(path, name)
    }
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
    pub(super) fn compare(&self, history: &History) -> Result<&Comparison, &CompareError> {
        let compare = || {
            let after = RunResults::of(history, "this run");
            Comparison::new(&self.before, &after, &self.earlier)
        };
        self.compared.get_or_init(compare).as_ref()
    }
}

/// Compares a JUnit file with itself, in all formats; returns whether a test regressed.
pub fn compare_junit(file: &[u8]) -> Result<bool, String> {
    let run = junit_side::parse(file)?;
    let comparison = Comparison::new(&run, &run, &[]).map_err(|error| error.to_string())?;
    for format in [
        CompareFormat::Text,
        CompareFormat::Markdown,
        CompareFormat::Json,
    ] {
        comparison
            .text_in(format)
            .map_err(|error| error.to_string())?;
    }
    Ok(comparison.has_regressed())
}

/// The tests of a run; of several of one name on one kernel the worst counts.
fn entries(run: &RunResults) -> (Vec<Key>, HashMap<Key, Entry>) {
    let mut order = Vec::new();
    let mut entries: HashMap<Key, Entry> = HashMap::new();
    for one in &run.results {
        let OneResult {
            kernel,
            suite,
            id,
            class,
            ms,
            reason,
            source,
        } = one.clone();
        let key = Key { kernel, suite, id };
        let entry = Entry {
            class,
            ms,
            reason,
            source,
        };
        match entries.get_mut(&key) {
            Some(known) if known.class.is_unexpected() || !class.is_unexpected() => {}
            Some(known) => *known = entry,
            None => {
                order.push(key.clone());
                entries.insert(key, entry);
            }
        }
    }
    (order, entries)
}

impl Comparison {
    /// Compares two runs; `earlier` say how much times vary.
    pub(super) fn new(
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
    pub(super) fn with_baseline(
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
    pub(super) fn is_old(&self, result: &TestResult) -> bool {
        self.tests.iter().any(|test| {
            test.change == Change::StillFailing
                && test.key.kernel == result.kernel
                && test.key.suite == result.suite
                && test.key.id == result.id
        })
    }

    /// How many tests on this kernel have changed so.
    pub(super) fn count(&self, kernel: &str, change: Change) -> usize {
        self.tests
            .iter()
            .filter(|test| test.change == change && test.key.kernel == kernel)
            .count()
    }
}

/// The runs beside the one before, without the two, that are no newer than the one after.
fn earlier_runs(before: &Path, after: &Path, until: DateTime<Utc>) -> Vec<RunResults> {
    let same = |one: &Path, other: &Path| {
        one.canonicalize()
            .ok()
            .is_some_and(|one| other.canonicalize().ok() == Some(one))
    };
    let Some(place) = before
        .is_dir()
        .then(|| before.canonicalize().ok())
        .flatten()
    else {
        return Vec::new();
    };
    let Some(runs) = place
        .parent()
        .and_then(|place| run_names::newest_first(place).ok())
    else {
        return Vec::new();
    };
    runs.into_iter()
        .filter(|run| run.started <= until && !same(&run.path, before) && !same(&run.path, after))
        .take(MAX_EARLIER)
        // What cannot be read says nothing of times.
        .filter_map(|run| RunResults::read(&run.path, "", |_, _| true).ok())
        .collect()
}

fn nothing_in_common(before: &RunResults, after: &RunResults, common: &[String]) -> CompareError {
    let kernels = |run: &RunResults| match run.kernels.join(", ") {
        names if names.is_empty() => "none".to_owned(),
        names => names,
    };
    let why = if before.results.is_empty() || after.results.is_empty() {
        let empty = if before.results.is_empty() {
            before
        } else {
            after
        };
        format!(": {} has no verdict", empty.name)
    } else if common.is_empty() {
        format!(": kernels {} and {}", kernels(before), kernels(after))
    } else {
        String::new()
    };
    CompareError::NothingInCommon {
        before: before.name.clone(),
        after: after.name.clone(),
        why,
    }
}

/// Kernels and programs that are not the same under one name.
fn different(before: &RunResults, after: &RunResults, common: &[String]) -> Vec<String> {
    let mut notes = Vec::new();
    for kernel in common {
        let image = |run: &RunResults| {
            run.images
                .iter()
                .find(|image| image.kernel == *kernel)
                .cloned()
        };
        if let (Some(was), Some(is)) = (image(before), image(after))
            && was.sha256 != is.sha256
        {
            notes.push(if was.release == is.release {
                format!("kernel {kernel}: different images of {}", is.release)
            } else {
                format!(
                    "kernel {kernel}: {} before, {} after",
                    was.release, is.release
                )
            });
        }
    }
    for is in &after.suites {
        let was = before.suites.iter().find(|was| was.suite == is.suite);
        if let Some(was) = was
            && was.version != is.version
        {
            let word =
                |version: &Option<String>| version.clone().unwrap_or_else(|| "unknown".to_owned());
            notes.push(format!(
                "suite {}: version {} before, {} after",
                is.suite,
                word(&was.version),
                word(&is.version)
            ));
        }
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(name: &str, results: &[(&str, Class, u64)]) -> RunResults {
        RunResults {
            name: name.to_owned(),
            kernels: vec!["6.1".to_owned()],
            ended: true,
            results: results
                .iter()
                .map(|(id, class, ms)| OneResult {
                    kernel: "6.1".into(),
                    suite: "s".into(),
                    id: (*id).to_owned(),
                    class: *class,
                    ms: *ms,
                    reason: String::new(),
                    source: None,
                })
                .collect(),
            ..RunResults::default()
        }
    }

    fn changes(before: &RunResults, after: &RunResults) -> Vec<(String, Change)> {
        let comparison = Comparison::new(before, after, &[]).ok();
        let tests = comparison
            .into_iter()
            .flat_map(|comparison| comparison.tests);
        tests.map(|test| (test.key.id, test.change)).collect()
    }

    #[test]
    fn every_pair_of_results_has_its_change() {
        use Class::{Fail, Flaky, Pass, Skip, XFail, XPass};
        for (before, after, change) in [
            (Pass, Pass, Change::Same),
            (Pass, Fail, Change::Regressed),
            (Flaky, Fail, Change::Regressed),
            (Skip, Fail, Change::Regressed),
            (XFail, XPass, Change::Regressed),
            (Fail, Pass, Change::Fixed),
            (Fail, XFail, Change::Fixed),
            (Fail, Flaky, Change::Flaky),
            (Pass, Flaky, Change::Flaky),
            (Flaky, Pass, Change::Flaky),
            (Fail, Class::Timeout, Change::StillFailing),
            (Pass, Skip, Change::Gone),
            (Fail, Skip, Change::Gone),
            (Skip, Pass, Change::New),
            (Skip, Skip, Change::Same),
            (XFail, XFail, Change::Same),
        ] {
            let (was, is) = (
                run("a", &[("x.t", before, 100)]),
                run("b", &[("x.t", after, 100)]),
            );
            assert_eq!(
                changes(&was, &is),
                [("x.t".to_owned(), change)],
                "{before:?} {after:?}"
            );
        }
        let (was, is) = (
            run("a", &[("x.t", Pass, 1000), ("x.old", Pass, 1)]),
            run(
                "b",
                &[("x.t", Pass, 9000), ("x.bad", Fail, 1), ("y.fine", Pass, 1)],
            ),
        );
        let told = [
            ("x.t".to_owned(), Change::Slower),
            ("x.bad".to_owned(), Change::NewFailure),
            ("y.fine".to_owned(), Change::New),
            ("x.old".to_owned(), Change::Gone),
        ];
        assert_eq!(changes(&was, &is), told);
    }

    #[test]
    fn tests_that_a_run_did_not_reach_are_not_gone() {
        let was = run("a", &[("x.t", Class::Pass, 1), ("x.u", Class::Pass, 1)]);
        let mut is = run("b", &[("x.t", Class::Pass, 1)]);
        is.missing = 1;
        assert_eq!(changes(&was, &is), [("x.t".to_owned(), Change::Same)]);
    }

    #[test]
    fn the_worst_of_several_tests_of_one_name_counts() {
        let was = run("a", &[("x.t", Class::Pass, 1), ("x.t", Class::Pass, 1)]);
        let is = run("b", &[("x.t", Class::Fail, 1), ("x.t", Class::Pass, 1)]);
        assert_eq!(changes(&was, &is), [("x.t".to_owned(), Change::Regressed)]);
    }

    #[test]
    fn runs_without_a_common_test_say_what_they_have() {
        let was = run("a", &[("x.t", Class::Pass, 1)]);
        let mut is = run("b", &[("x.t", Class::Pass, 1)]);
        let error = |is: &RunResults| {
            Comparison::new(&was, is, &[])
                .err()
                .map(|error| error.to_string())
        };
        is.kernels = vec!["5.10".to_owned()];
        is.results[0].kernel = "5.10".to_owned();
        assert_eq!(
            error(&is).as_deref(),
            Some("a and b have no test in common: kernels 6.1 and 5.10")
        );
        is.results.clear();
        assert_eq!(
            error(&is).as_deref(),
            Some("a and b have no test in common: b has no verdict")
        );
    }
}
