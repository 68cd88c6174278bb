//! Reads what is compared: run directories, JUnit files, and the runs before.

use std::path::Path;

use chrono::{DateTime, Utc};

use super::error::CompareError;
use super::junit_side;
use crate::report::results::RunResults;
use crate::run::run_names;

/// Earlier runs that are read for the noise of times.
const MAX_EARLIER: usize = 10;

/// A run by its directory, or a JUnit file.
pub(super) fn read_side(path: &Path, name: &str) -> Result<RunResults, CompareError> {
    if path.is_dir() {
        Ok(RunResults::read(path, name, |_, _| true)?)
    } else {
        junit_side::read(path, name)
    }
}

/// The runs beside the one before, without the two, that are no newer than the one after.
pub(super) fn earlier_runs(before: &Path, after: &Path, until: DateTime<Utc>) -> Vec<RunResults> {
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
