//! Tests over many runs: when they passed, how often they flake, how long they take.

mod flake;
mod point;
mod words;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use thiserror::Error;
use walkdir::WalkDir;

use super::class::Class;
use super::kernel_order::version_key;
use super::results::RunResults;
use crate::hint::{Hint, with_causes};
use crate::run::event_log::EVENTS;
use flake::Rate;
use point::Point;

pub use words::TrendFormat;

/// Directories below that of the runs: downloaded artifacts have one each.
const MAX_DEPTH: usize = 4;

/// Why there is nothing to show.
#[derive(Debug, Error)]
pub enum TrendError {
    /// There are no runs.
    #[error("there are no runs in {}", joined(.places))]
    NoRuns {
        /// Where they were looked for.
        places: Vec<PathBuf>,
    },
    /// No run has a test of these.
    #[error("none of {runs} runs has a verdict of {}", .asked.join(" or "))]
    NoTest {
        /// How many runs there are.
        runs: usize,
        /// What the user named.
        asked: Vec<String>,
    },
}

fn joined(places: &[PathBuf]) -> String {
    let places: Vec<String> = places
        .iter()
        .map(|place| place.display().to_string())
        .collect();
    places.join(" and ")
}

impl Hint for TrendError {
    fn hints(&self) -> Vec<String> {
        vec![match self {
            Self::NoRuns { .. } => {
                "kiln run makes one; name the directory of others, such as downloaded artifacts, \
                 with --runs DIR"
                    .to_owned()
            }
            Self::NoTest { .. } => {
                "a TEST is an id as `kiln list` prints it, or a filter as -t takes it".to_owned()
            }
        }]
    }
}

/// One test on one kernel, in the runs that have it.
#[derive(Debug, Default)]
pub(super) struct Series {
    /// For each: the run, the result, how long it took in milliseconds, and which runs had the
    /// same image and the same program.
    points: Vec<Point>,
}

/// Which test: suite and id.
type Name = (String, String);

/// Tests over many runs.
#[derive(Debug, Default)]
pub struct Trend {
    /// The runs, the oldest first.
    pub(super) runs: Vec<RunFacts>,
    /// By test, then by kernel, by version.
    pub(super) tests: BTreeMap<Name, Vec<(String, Series)>>,
    /// Runs that could not be read, and why.
    pub warnings: Vec<String>,
}

/// A run of a trend.
#[derive(Debug)]
pub(super) struct RunFacts {
    pub(super) name: String,
    pub(super) started: chrono::DateTime<chrono::Utc>,
}

/// The run directories in a directory and below.
fn directories(place: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut entries = WalkDir::new(place).max_depth(MAX_DEPTH).into_iter();
    while let Some(entry) = entries.next() {
        // What cannot be read is no run.
        let Ok(entry) = entry else {
            continue;
        };
        if entry.file_type().is_dir() && entry.path().join(EVENTS).is_file() {
            found.push(entry.into_path());
            entries.skip_current_dir();
        }
    }
    found
}

impl Trend {
    /// Reads the newest `limit` of the runs in `places`, and of them the tests that `wanted` takes
    /// by suite and id; `asked` says which those are.
    ///
    /// # Errors
    ///
    /// If there are no runs, or none has such a test.
    pub fn read(
        places: &[PathBuf],
        limit: usize,
        asked: &[String],
        wanted: impl Fn(&str, &str) -> bool + Sync,
    ) -> Result<Self, TrendError> {
        let dirs: Vec<PathBuf> = places.iter().flat_map(|place| directories(place)).collect();
        let (mut runs, warnings) = read_all(&dirs, &wanted);
        if runs.is_empty() {
            return Err(TrendError::NoRuns {
                places: places.to_vec(),
            });
        }
        runs.sort_by(|one, other| (one.started, &one.name).cmp(&(other.started, &other.name)));
        let old = runs.len().saturating_sub(limit);
        runs.drain(..old);
        let mut trend = Self {
            warnings,
            ..Self::default()
        };
        let mut materials: HashMap<(String, Option<String>), usize> = HashMap::new();
        let mut series: BTreeMap<Name, BTreeMap<(Order, String), Series>> = BTreeMap::new();
        for (index, run) in runs.into_iter().enumerate() {
            let image = |kernel: &str| {
                let image = run.images.iter().find(|image| image.kernel == kernel);
                // Without an image every run is its own.
                image.map_or_else(|| format!("run {index}"), |image| image.sha256.clone())
            };
            let version = |suite: &str| {
                let ready = run.suites.iter().find(|ready| ready.suite == suite);
                ready.and_then(|ready| ready.version.clone())
            };
            for one in &run.results {
                let next = materials.len();
                let material = (image(&one.kernel), version(&one.suite));
                let material = *materials.entry(material).or_insert(next);
                let name = (one.suite.clone(), one.id.clone());
                let kernel = (version_key(&one.kernel), one.kernel.clone());
                let point = Point {
                    run: index,
                    class: one.class,
                    ms: one.ms,
                    material,
                };
                series
                    .entry(name)
                    .or_default()
                    .entry(kernel)
                    .or_default()
                    .points
                    .push(point);
            }
            trend.runs.push(RunFacts {
                name: run.name,
                started: run.started,
            });
        }
        if series.is_empty() {
            return Err(TrendError::NoTest {
                runs: trend.runs.len(),
                asked: asked.to_vec(),
            });
        }
        trend.tests = series
            .into_iter()
            .map(|(name, kernels)| {
                let kernels = kernels
                    .into_iter()
                    .map(|((_, kernel), series)| (kernel, series));
                (name, kernels.collect())
            })
            .collect();
        Ok(trend)
    }

    /// The tests that have flaked, the worst first: by the least rate that is likely.
    fn flaky(&self) -> Vec<(&Name, &str, &Series, Rate)> {
        let all = self.tests.iter().flat_map(|(name, kernels)| {
            kernels
                .iter()
                .map(move |(kernel, series)| (name, kernel.as_str(), series, series.rate()))
        });
        let mut flaky: Vec<_> = all.filter(|(_, _, _, rate)| rate.flakes > 0).collect();
        flaky.sort_by(|one, other| other.3.low().total_cmp(&one.3.low()));
        flaky
    }
}

/// Orders kernels by version.
type Order = (bool, Vec<u64>);

/// Reads the runs on all processors: 200 runs are a hundred megabytes.
fn read_all(
    dirs: &[PathBuf],
    wanted: &(impl Fn(&str, &str) -> bool + Sync),
) -> (Vec<RunResults>, Vec<String>) {
    let next = AtomicUsize::new(0);
    let read = Mutex::new((Vec::new(), Vec::new()));
    let threads = std::thread::available_parallelism()
        .map_or(1, usize::from)
        .min(dirs.len());
    let work = || {
        while let Some(dir) = dirs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let name = dir.file_name().unwrap_or_default().to_string_lossy();
            let run = RunResults::read(dir, &name, wanted);
            let mut read = read.lock().unwrap_or_else(PoisonError::into_inner);
            match run {
                Ok(run) => {
                    // The rest of a run that is in progress is no fault.
                    read.1.extend(run.damaged.and(run.notes().first().cloned()));
                    read.0.push(run);
                }
                Err(error) => read.1.push(with_causes(&error)),
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let (runs, mut warnings) = read.into_inner().unwrap_or_else(PoisonError::into_inner);
    warnings.sort();
    (runs, warnings)
}

impl Series {
    fn rate(&self) -> Rate {
        Rate::of(&self.points)
    }

    /// The middle of the times of passes, in milliseconds, and the newest.
    fn times(&self) -> Option<(u64, u64)> {
        let passes = self
            .points
            .iter()
            .filter(|point| matches!(point.class, Class::Pass | Class::Flaky));
        let mut times: Vec<u64> = passes.map(|point| point.ms).collect();
        let last = *times.last()?;
        times.sort_unstable();
        Some((times[times.len() / 2], last))
    }

    /// How many of the newest runs in a row were not as expected.
    fn failing(&self) -> usize {
        let newest = self.points.iter().rev();
        newest
            .take_while(|point| point.class.is_unexpected())
            .count()
    }
}
