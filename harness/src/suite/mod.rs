//! What to run and how to judge it; knows no VM.
//!
//! A suite is a set of tests with one runner. A test's id is `suite.name`; its
//! result is a [`Verdict`].

mod allowlist;
pub mod bpftrace;
pub mod btf;
pub mod command;
mod exit;
mod facts;
mod filter;
pub mod glob;
mod judgement;
mod pattern;
mod refusal;
mod resolve_context;
mod text;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use allowlist::{Allowlist, AllowlistError};
pub use exit::Exit;
pub use facts::{Facts, Oddity, Test};
pub use filter::{Filter, FilterError};
pub use judgement::{Judgement, KERNEL_REPORT};
pub use pattern::{Flags, Pattern, PatternError};
pub use refusal::Refusal;
pub use resolve_context::ResolveContext;
pub use text::decode;

/// A test's id: printed as `suite.name`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TestId {
    /// The suite; for bpftrace's runtime tests the name of the file.
    pub suite: String,
    /// The name inside the suite; may contain blanks, dots, colons and quotes.
    pub name: String,
}

impl TestId {
    /// The id of the test `name` of `suite`.
    pub fn new(suite: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            suite: suite.into(),
            name: name.into(),
        }
    }
}

impl fmt::Display for TestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.suite, self.name)
    }
}

/// Where a test is defined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Location {
    /// The file, absolute.
    pub file: String,
    /// Its first line there, from 1.
    pub line: usize,
}

/// How a test ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// All its expectations were met.
    Pass,
    /// An expectation was not met.
    Fail,
    /// A time limit passed before its expectations were met.
    Timeout,
    /// It does not apply here; it did not run.
    Skip,
    /// The VM died or hung under it. Given by the run, never by a judge.
    Lost,
    /// It could not be run or judged.
    Error,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Timeout => "timeout",
            Self::Skip => "skip",
            Self::Lost => "lost",
            Self::Error => "error",
        })
    }
}
