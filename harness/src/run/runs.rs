//! Lists and removes the runs in a directory.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};
use nix::fcntl::{Flock, FlockArg};
use thiserror::Error;

use super::event::Event;
use super::event_log::{EVENTS, EventLogError, RunLog};
use super::tally::Tally;
use crate::hint::Hint;

/// What can go wrong with earlier runs.
#[derive(Debug, Error)]
pub enum RunsError {
    /// The directory cannot be read.
    #[error("cannot read the runs in {}: {source}", path.display())]
    Read {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A run cannot be removed.
    #[error("cannot remove {}: {source}", path.display())]
    Remove {
        /// The run's directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Hint for RunsError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Read { source, .. } if source.kind() == io::ErrorKind::NotADirectory => {
                vec!["name the directory that holds the runs with --dir DIR".to_owned()]
            }
            Self::Read { .. } | Self::Remove { .. } => Vec::new(),
        }
    }
}

/// How far a run got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It ended with this exit code.
    Ended(u8),
    /// It is in progress.
    Running,
    /// kiln was killed, or its disk was full.
    Unfinished,
}

/// An earlier run.
#[derive(Debug)]
pub struct KeptRun {
    /// The name of its directory.
    pub id: String,
    /// Its directory.
    pub path: PathBuf,
    /// When it started.
    pub started: DateTime<Utc>,
    /// Its verdicts.
    pub tally: Tally,
    /// How far it got.
    pub state: State,
}

/// Runs of a directory.
#[derive(Debug, Default)]
pub struct Kept {
    /// The newest first.
    pub runs: Vec<KeptRun>,
    /// Directories that look like runs but cannot be read.
    pub unreadable: Vec<EventLogError>,
}

/// The runs in `parent`; none if there is no such directory. A directory without `events.jsonl` is
/// not a run.
pub fn kept(parent: &Path) -> Result<Kept, RunsError> {
    let failed = |source| RunsError::Read {
        path: parent.to_owned(),
        source,
    };
    let entries = match fs::read_dir(parent) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Kept::default()),
        entries => entries.map_err(failed)?,
    };
    let mut kept = Kept::default();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        // Do not follow links: what is elsewhere is not ours to remove.
        let is_run = entry.file_type().is_ok_and(|kind| kind.is_dir())
            && entry.path().join(EVENTS).is_file();
        if !is_run {
            continue;
        }
        match read(&entry.path()) {
            Ok(run) => kept.runs.push(run),
            Err(error) => kept.unreadable.push(error),
        }
    }
    kept.runs
        .sort_by(|a, b| (b.started, &b.id).cmp(&(a.started, &a.id)));
    Ok(kept)
}

fn read(path: &Path) -> Result<KeptRun, EventLogError> {
    // Check this before reading the events: a run that ends in between then counts as ended.
    let running = is_running(path);
    let log = RunLog::read(path)?;
    let mut tally = Tally::default();
    let mut code = None;
    for record in &log.records {
        tally.observe(&record.event);
        if let Event::RunFinished(end) = &record.event {
            code = Some(end.exit_code);
        }
    }
    let started = log
        .start()
        .and_then(|start| DateTime::parse_from_rfc3339(&start.started_at).ok())
        .unwrap_or_default()
        .to_utc();
    let id = path.file_name().unwrap_or_default().to_string_lossy();
    Ok(KeptRun {
        id: id.into_owned(),
        path: path.to_owned(),
        started,
        tally,
        state: match code {
            Some(code) => State::Ended(code),
            None if running => State::Running,
            None => State::Unfinished,
        },
    })
}

/// Whether a kiln is writing its events: it holds a lock on them.
fn is_running(path: &Path) -> bool {
    let Ok(file) = File::open(path.join(EVENTS)) else {
        return false;
    };
    Flock::lock(file, FlockArg::LockSharedNonblock).is_err()
}

/// Which runs to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// This many of the newest.
    Newest(usize),
    /// Those that started less than this long ago.
    Within(Duration),
}

/// The runs to remove, the newest first, without runs in progress.
pub fn to_prune(runs: &[KeptRun], keep: Keep, now: DateTime<Utc>) -> Vec<&KeptRun> {
    let over = |run: &&KeptRun| run.state != State::Running;
    match keep {
        Keep::Newest(count) => runs.iter().skip(count).filter(over).collect(),
        Keep::Within(time) => runs
            .iter()
            .filter(over)
            .filter(|run| (now - run.started).to_std().is_ok_and(|age| age >= time))
            .collect(),
    }
}

impl KeptRun {
    /// Removes it with its contents.
    pub fn remove(&self) -> Result<(), RunsError> {
        fs::remove_dir_all(&self.path).map_err(|source| RunsError::Remove {
            path: self.path.clone(),
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::report::samples::{at, finished, started};
    use crate::run::event::{Record, RunFinished, Verdict};
    use crate::run::event_log::EventWriter;

    fn run(parent: &Path, id: &str, start: &str, rest: &[Record]) -> EventWriter {
        let dir = parent.join(id);
        fs::create_dir(&dir).unwrap();
        let mut writer = EventWriter::create(&dir.join(EVENTS)).unwrap();
        let mut first = started(&["6.1"], 1);
        if let Event::RunStarted(first) = &mut first.event {
            start.clone_into(&mut first.started_at);
        }
        for record in std::iter::once(&first).chain(rest) {
            writer.append(record).unwrap();
        }
        writer
    }

    fn three(parent: &Path) -> (Kept, EventWriter) {
        let end = at(
            9,
            Event::RunFinished(RunFinished {
                exit_code: 100,
                duration_ms: 9,
            }),
        );
        let fail = finished("6.1", "a.b", Verdict::Fail, "");
        drop(run(parent, "b", "2026-11-20T10:00:00Z", &[fail, end]));
        drop(run(parent, "a", "2026-11-21T10:00:00Z", &[]));
        let going_on = run(parent, "c", "2026-11-19T10:00:00Z", &[]);
        (kept(parent).unwrap(), going_on)
    }

    fn ids(runs: &[&KeptRun]) -> Vec<String> {
        runs.iter().map(|run| run.id.clone()).collect()
    }

    #[test]
    fn the_newest_run_comes_first_and_each_says_how_it_ended() {
        let parent = tempfile::tempdir().unwrap();
        let (kept, _going_on) = three(parent.path());
        let found: Vec<_> = kept
            .runs
            .iter()
            .map(|run| (run.id.as_str(), run.state))
            .collect();
        assert_eq!(
            found,
            [
                ("a", State::Unfinished),
                ("b", State::Ended(100)),
                ("c", State::Running)
            ]
        );
        assert_eq!(kept.runs[1].tally.unexpected(), 1);
    }

    #[test]
    fn other_directories_are_left_alone_and_unreadable_runs_are_reported() {
        let parent = tempfile::tempdir().unwrap();
        fs::create_dir(parent.path().join("notes")).unwrap();
        fs::write(parent.path().join("file"), "").unwrap();
        let broken = parent.path().join("broken");
        fs::create_dir(&broken).unwrap();
        fs::write(broken.join(EVENTS), "x\n").unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        drop(run(elsewhere.path(), "x", "2026-11-20T10:00:00Z", &[]));
        std::os::unix::fs::symlink(elsewhere.path().join("x"), parent.path().join("x")).unwrap();
        let kept = kept(parent.path()).unwrap();
        assert!(kept.runs.is_empty());
        assert_eq!(kept.unreadable.len(), 1);
        assert!(
            super::kept(&parent.path().join("gone"))
                .unwrap()
                .runs
                .is_empty()
        );
    }

    #[test]
    fn a_run_in_progress_is_never_pruned() {
        let parent = tempfile::tempdir().unwrap();
        let (kept, going_on) = three(parent.path());
        let now = DateTime::parse_from_rfc3339("2026-11-21T11:00:00Z").unwrap();
        let now = now.to_utc();
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        let pruned = |keep| ids(&to_prune(&kept.runs, keep, now));
        assert_eq!(pruned(Keep::Newest(0)), ["a", "b"]);
        assert_eq!(pruned(Keep::Newest(1)), ["b"]);
        assert_eq!(pruned(Keep::Newest(9)), [""; 0]);
        assert_eq!(pruned(Keep::Within(hours(2))), ["b"]);
        assert_eq!(pruned(Keep::Within(hours(1))), ["a", "b"]);
        for run in to_prune(&kept.runs, Keep::Newest(0), now) {
            run.remove().unwrap();
        }
        drop(going_on);
        let left = super::kept(parent.path()).unwrap();
        assert_eq!(ids(&left.runs.iter().collect::<Vec<_>>()), ["c"]);
        assert_eq!(left.runs[0].state, State::Unfinished);
    }
}
