//! What a run knows of any suite before it boots anything.

use std::path::PathBuf;
use std::time::Duration;

use super::{Location, TestId};

/// A suite, as far as it does not matter what runs it.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Its name in reports.
    pub name: String,
    /// Its tests. Runners know them by their place here.
    pub tests: Vec<Test>,
    /// Tests that it has, and not for this machine.
    pub elsewhere: Vec<TestId>,
    /// What is odd in its files.
    pub oddities: Vec<Oddity>,
    /// What the user should know of how it is read.
    pub note: Option<String>,
    /// Paths that the guest must see at the same place as the host.
    pub visible: Vec<PathBuf>,
    /// The one program that all of its tests start, in the guest.
    pub program: Option<PathBuf>,
    /// The version under test.
    pub version: Option<String>,
    /// The language of its tests.
    pub dialect: Option<String>,
    /// The options of `kiln run` that are about suites of this kind, as
    /// `--name`. A line that reproduces a test has them for no other suite.
    pub options: &'static [&'static str],
}

/// A test, as far as it does not matter what runs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Test {
    /// Its id.
    pub id: TestId,
    /// Where it stands on the host, if that is known.
    pub source: Option<Location>,
    /// How long it may take on a machine of the reference's speed: all its
    /// limits together.
    pub limit: Duration,
    /// It looks for loaded modules.
    pub needs_modules: bool,
}

/// Something odd in a suite's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Oddity {
    /// The file, as in the [`Location`] of its tests.
    pub file: String,
    /// What is odd, with its place.
    pub text: String,
}
