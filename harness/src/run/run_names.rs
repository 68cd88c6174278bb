//! How a user names earlier runs: directories, ids, `last`, `last~1`.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::Deserialize;
use thiserror::Error;

use super::event_log::EVENTS;
use crate::hint::Hint;

/// Why a name is no run.
#[derive(Debug, Error)]
pub enum RunNameError {
    /// There are no runs.
    #[error("there are no runs in {}", place.display())]
    NoRuns {
        /// The directory of runs.
        place: PathBuf,
    },
    /// There are not as many runs.
    #[error("{name}: there are only {count} runs in {}", place.display())]
    TooFew {
        /// What the user named.
        name: String,
        /// How many there are.
        count: usize,
        /// The directory of runs.
        place: PathBuf,
    },
    /// It is neither a path nor an id.
    #[error("there is no run {name}: neither a path, nor a run in {}", place.display())]
    Unknown {
        /// What the user named.
        name: String,
        /// The directory of runs.
        place: PathBuf,
    },
    /// The directory of runs cannot be read.
    #[error("cannot read the runs in {}: {source}", place.display())]
    Read {
        /// The directory.
        place: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Hint for RunNameError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::NoRuns { .. } => {
                vec!["kiln run makes one; name a run elsewhere by its directory".to_owned()]
            }
            Self::TooFew { .. } | Self::Unknown { .. } => vec![
                "`kiln runs` lists them; `last` is the newest, `last~1` the one before, and a path \
                 names a run elsewhere"
                    .to_owned(),
            ],
            Self::Read { .. } => Vec::new(),
        }
    }
}

/// A run by its directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundRun {
    /// When it started.
    pub started: DateTime<Utc>,
    /// Its directory.
    pub path: PathBuf,
}

/// The path of what `name` names: a path as it is, `last`, `last~N`, or the id of a run in `place`.
pub fn find(name: &str, place: &Path) -> Result<PathBuf, RunNameError> {
    if let Some(back) = steps_back(name).filter(|_| !Path::new(name).exists()) {
        let runs = newest_first(place)?;
        let count = runs.len();
        return match runs.into_iter().nth(back) {
            Some(run) => Ok(run.path),
            None if count == 0 => Err(RunNameError::NoRuns {
                place: place.to_owned(),
            }),
            None => Err(RunNameError::TooFew {
                name: name.to_owned(),
                count,
                place: place.to_owned(),
            }),
        };
    }
    let path = PathBuf::from(name);
    if path.exists() {
        return Ok(path);
    }
    // An id is one name, not a way through directories.
    let is_id = path
        .file_name()
        .is_some_and(|last| last == path.as_os_str());
    let kept = place.join(&path);
    if is_id && kept.join(EVENTS).is_file() {
        return Ok(kept);
    }
    Err(RunNameError::Unknown {
        name: name.to_owned(),
        place: place.to_owned(),
    })
}

/// `last` is 0, `last~2` is 2.
fn steps_back(name: &str) -> Option<usize> {
    let rest = name.strip_prefix("last")?;
    match rest.strip_prefix('~') {
        Some(steps) => steps.parse().ok(),
        None => rest.is_empty().then_some(0),
    }
}

/// The runs of a directory, the newest first; none if there is no such directory. Reads only the
/// first line of each, and leaves out what has no start.
pub fn newest_first(place: &Path) -> Result<Vec<FoundRun>, RunNameError> {
    let failed = |source| RunNameError::Read {
        place: place.to_owned(),
        source,
    };
    let entries = match fs::read_dir(place) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut runs = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        if let Some(started) = started(&path.join(EVENTS)) {
            runs.push(FoundRun { started, path });
        }
    }
    runs.sort_by(|one, other| (other.started, &other.path).cmp(&(one.started, &one.path)));
    Ok(runs)
}

/// When the run of these events started.
fn started(events: &Path) -> Option<DateTime<Utc>> {
    #[derive(Deserialize)]
    struct Start {
        started_at: String,
    }
    let mut line = Vec::new();
    let mut reader = BufReader::new(File::open(events).ok()?);
    reader.read_until(b'\n', &mut line).ok()?;
    let start: Start = serde_json::from_slice(&line).ok()?;
    // Damaged times count as old: the run can still be named.
    let started = DateTime::parse_from_rfc3339(&start.started_at).unwrap_or_default();
    Some(started.to_utc())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn place() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (id, second) in [("b", 1), ("a", 3), ("c", 2)] {
            let run = dir.path().join(id);
            fs::create_dir(&run).unwrap();
            let start = format!("{{\"started_at\":\"2026-01-01T00:00:0{second}.000Z\"}}\n");
            fs::write(run.join(EVENTS), start).unwrap();
        }
        fs::create_dir(dir.path().join("no-run")).unwrap();
        dir
    }

    #[test]
    fn the_newest_runs_are_counted_back_from_the_last() {
        let dir = place();
        let named = |name: &str| find(name, dir.path());
        for (name, id) in [
            ("last", "a"),
            ("last~0", "a"),
            ("last~1", "c"),
            ("last~2", "b"),
            ("c", "c"),
        ] {
            assert_eq!(named(name).unwrap(), dir.path().join(id), "{name}");
        }
        assert!(matches!(
            named("last~3"),
            Err(RunNameError::TooFew { count: 3, .. })
        ));
        for name in ["last~", "last~x", "lasting", "no-run", "../x", "d"] {
            assert!(
                matches!(named(name), Err(RunNameError::Unknown { .. })),
                "{name}"
            );
        }
        let path = dir.path().join("b");
        assert_eq!(named(path.to_str().unwrap()).unwrap(), path);
        let none = dir.path().join("gone");
        assert!(matches!(
            find("last", &none),
            Err(RunNameError::NoRuns { .. })
        ));
    }
}
