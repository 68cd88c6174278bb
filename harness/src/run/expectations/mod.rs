//! `expectations.toml`: known results of tests.
//!
//! ```toml
//! [[known]]
//! test = "call.kstack"          # ids, exactly; or filter = "…", as of -t
//! kernel = ["5.10", ">=6.12"]   # versions or ranges, any of them
//! bpftrace = "<0.20"
//! result = "fail"               # fail, flaky or skip
//! reason = "no BTF before 5.4"
//! link = "https://…"
//! ```

mod parse;
pub mod update;

use std::path::{Path, PathBuf};

use super::event::{Known, KnownResult};
use crate::config::{Problem, VersionRange};
use crate::hint::Hint;
use crate::suite::{Filter, TestId};

/// Name of the file beside `kernels.toml`.
pub const FILE_NAME: &str = "expectations.toml";

/// An `expectations.toml` cannot be used or written.
#[derive(Debug, thiserror::Error)]
pub enum ExpectationsError {
    /// It cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Its content is wrong: all problems that were found.
    #[error("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Invalid {
        /// At least one.
        problems: Vec<Problem>,
    },
    /// It cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl Hint for ExpectationsError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Read { .. } => vec![
                "without --expectations, kiln uses expectations.toml beside kernels.toml, if there \
                 is one"
                    .to_owned(),
            ],
            Self::Invalid { .. } | Self::Write { .. } => Vec::new(),
        }
    }
}

/// The known results of tests, in the order of the file.
#[derive(Debug, Default)]
pub struct Expectations {
    entries: Vec<Entry>,
}

/// One `[[known]]`.
#[derive(Debug)]
struct Entry {
    tests: Tests,
    /// Any of them; empty for every kernel.
    kernels: Vec<VersionRange>,
    /// Any of them; empty for every version.
    bpftrace: Vec<VersionRange>,
    suite: Option<String>,
    known: Known,
    /// In the file, from 1.
    line: usize,
}

/// The tests that an entry matches.
#[derive(Debug)]
enum Tests {
    Ids(Vec<String>),
    Filter(Filter),
}

/// The properties of a test on a kernel that expectations use.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The test.
    pub id: &'a TestId,
    /// Its suite's name in `kernels.toml`.
    pub suite: &'a str,
    /// The kernel's release.
    pub release: &'a str,
    /// The version of the bpftrace under test, if there is one.
    pub bpftrace: Option<&'a str>,
}

impl Expectations {
    /// Reads the file at `path`; a missing file counts as empty, unless it is `required`.
    pub fn load(path: &Path, required: bool) -> Result<Self, ExpectationsError> {
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&text, path),
            Err(error) if !required && error.kind() == std::io::ErrorKind::NotFound => {
                Ok(Self::default())
            }
            Err(source) => Err(ExpectationsError::Read {
                path: path.to_owned(),
                source,
            }),
        }
    }

    /// The known result of a test: the first entry that matches it.
    pub fn known(&self, subject: Subject<'_>) -> Option<&Known> {
        self.entries
            .iter()
            .find(|entry| entry.holds(subject))
            .map(|entry| &entry.known)
    }

    /// Lines of the entries that match none of these tests on any kernel, because of a misspelt or
    /// outdated name.
    pub fn about_none_of(&self, tests: &[&TestId]) -> Vec<usize> {
        self.entries
            .iter()
            .filter(|entry| !tests.iter().any(|id| entry.tests.have(id)))
            .map(|entry| entry.line)
            .collect()
    }
}

impl Entry {
    fn holds(&self, subject: Subject<'_>) -> bool {
        let any = |ranges: &[VersionRange], version: Option<&str>| {
            ranges.is_empty()
                || version.is_some_and(|version| ranges.iter().any(|range| range.has(version)))
        };
        self.tests.have(subject.id)
            && self
                .suite
                .as_deref()
                .is_none_or(|suite| suite == subject.suite)
            && any(&self.kernels, Some(subject.release))
            && any(&self.bpftrace, subject.bpftrace)
    }
}

impl Tests {
    fn have(&self, id: &TestId) -> bool {
        match self {
            Self::Ids(ids) => {
                let id = id.to_string();
                ids.contains(&id)
            }
            Self::Filter(filter) => filter.selects(id),
        }
    }
}

impl KnownResult {
    /// Its name in the file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fail => "fail",
            Self::Flaky => "flaky",
            Self::Skip => "skip",
        }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
