//! The directory of one run.
//!
//! By default `target/kiln/runs/<start>` in the directory that the run belongs to; `--run-dir`
//! names another. docs/runs.md lists its contents.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use thiserror::Error;

use super::event_log::EVENTS;
use crate::hint::Hint;
use crate::whole_file;

/// What can go wrong with a run directory.
#[derive(Debug, Error)]
pub enum RunDirError {
    /// The directory cannot be created.
    #[error("cannot create the run directory {}: {source}", path.display())]
    Create {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The directory contains another run.
    #[error("{} already contains a run", path.display())]
    Occupied {
        /// The directory.
        path: PathBuf,
    },
    /// The directory contains something else.
    #[error("{} is not empty", path.display())]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// A file of it cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Hint for RunDirError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Create { .. } => {
                vec!["name a directory you can write to with --run-dir DIR".to_owned()]
            }
            Self::Occupied { .. } | Self::NotEmpty { .. } => {
                vec![
                    "name a new or empty directory with --run-dir, or leave out the option"
                        .to_owned(),
                ]
            }
            Self::Write { source, .. } => {
                match source.kind() {
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                        vec!["free some disk space; the verdicts so far are in events.jsonl beside it".to_owned()]
                    }
                    _ => Vec::new(),
                }
            }
        }
    }
}

/// A run's directory; it exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunDir {
    path: PathBuf,
}

impl RunDir {
    /// Creates the directory `chosen`, or a new one below `parent`.
    pub fn create(chosen: Option<&Path>, parent: &Path) -> Result<Self, RunDirError> {
        match chosen {
            Some(path) => Self::at(path),
            None => Self::below(parent),
        }
    }

    fn at(path: &Path) -> Result<Self, RunDirError> {
        let failed = |source| RunDirError::Create {
            path: path.to_owned(),
            source,
        };
        fs::create_dir_all(path).map_err(failed)?;
        // The guest and the reports use this path from other directories.
        let path = path.canonicalize().map_err(failed)?;
        let dir = Self { path };
        if dir.events().exists() {
            return Err(RunDirError::Occupied { path: dir.path });
        }
        // Other files would be overwritten, or mistaken for this run's.
        if fs::read_dir(&dir.path).map_err(failed)?.next().is_some() {
            return Err(RunDirError::NotEmpty { path: dir.path });
        }
        Ok(dir)
    }

    fn below(parent: &Path) -> Result<Self, RunDirError> {
        make_parent(parent).map_err(|source| RunDirError::Create {
            path: parent.to_owned(),
            source,
        })?;
        let start = chrono::DateTime::<chrono::Utc>::from(SystemTime::now())
            .format("%Y-%m-%dT%H-%M-%SZ")
            .to_string();
        // Runs that start in the same second get a number.
        let mut name = start.clone();
        let mut count = 1;
        loop {
            let path = parent.join(&name);
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Self { path }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    count += 1;
                    name = format!("{start}.{count}");
                }
                Err(source) => return Err(RunDirError::Create { path, source }),
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The events, one JSON object per line.
    pub fn events(&self) -> PathBuf {
        self.path.join(EVENTS)
    }

    /// The JUnit report.
    pub fn junit(&self) -> PathBuf {
        self.path.join("junit.xml")
    }

    /// The report to read.
    pub fn summary(&self) -> PathBuf {
        self.path.join("summary.md")
    }

    /// The report for a browser.
    pub fn html(&self) -> PathBuf {
        self.path.join("report.html")
    }

    /// The output of failing tests, one file each.
    pub fn output(&self) -> PathBuf {
        self.path.join("output")
    }

    /// The VMs' logs, a directory for each kernel.
    pub fn logs(&self) -> PathBuf {
        self.path.join("logs")
    }

    /// Writes a file of the directory atomically. `path` may be relative to it.
    pub fn write(&self, path: &Path, contents: &[u8]) -> Result<(), RunDirError> {
        let path = &self.path.join(path);
        let write = || -> io::Result<()> {
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            whole_file::write(path, contents)
        };
        write().map_err(|source| RunDirError::Write {
            path: path.to_owned(),
            source,
        })
    }
}

/// Where the runs of a directory go.
pub fn parent_in(base: &Path) -> PathBuf {
    base.join("target/kiln/runs")
}

/// Creates the directory of runs, and keeps it out of the user's version control.
fn make_parent(parent: &Path) -> io::Result<()> {
    fs::create_dir_all(parent)?;
    match fs::File::create_new(parent.join(".gitignore")) {
        Ok(mut file) => file.write_all(b"*\n"),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn runs_are_kept_out_of_the_sources() {
        let base = tempfile::tempdir().unwrap();
        let parent = parent_in(base.path());
        let dir = RunDir::create(None, &parent).unwrap();
        assert!(dir.path().starts_with(base.path().join("target/kiln/runs")));
        let ignore = fs::read_to_string(parent.join(".gitignore")).unwrap();
        assert_eq!(ignore, "*\n");
    }

    #[test]
    fn runs_of_one_second_get_directories_of_their_own() {
        let parent = tempfile::tempdir().unwrap();
        let dirs: Vec<_> = (0..4)
            .map(|_| RunDir::below(parent.path()).unwrap())
            .collect();
        for (index, dir) in dirs.iter().enumerate() {
            assert!(dir.path().is_dir());
            assert!(!dirs[..index].contains(dir));
        }
    }

    #[test]
    fn a_directory_with_files_of_others_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        fs::write(parent.path().join("junit.xml"), "theirs").unwrap();
        let error = RunDir::create(Some(parent.path()), parent.path()).unwrap_err();
        assert!(error.to_string().ends_with("is not empty"), "{error}");
    }

    #[test]
    fn a_directory_with_a_run_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let chosen = parent.path().join("a/b");
        let dir = RunDir::create(Some(&chosen), &chosen).unwrap();
        fs::write(dir.events(), "").unwrap();
        assert!(matches!(
            RunDir::create(Some(&chosen), &chosen),
            Err(RunDirError::Occupied { .. })
        ));
    }

    #[test]
    fn a_file_is_written_whole_and_replaces_the_old_one() {
        let parent = tempfile::tempdir().unwrap();
        let dir = RunDir::create(Some(parent.path()), parent.path()).unwrap();
        dir.write(&dir.junit(), b"old").unwrap();
        dir.write(&dir.junit(), b"new").unwrap();
        assert_eq!(fs::read(dir.junit()).unwrap(), b"new");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
