//! What a run knows about any suite before it boots anything.

use std::path::PathBuf;
use std::time::Duration;

use super::{Location, TestId};

/// The properties of a suite that do not depend on its runner.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Its name in reports.
    pub name: String,
    /// Its tests. Runners identify them by their index here.
    pub tests: Vec<Test>,
    /// Its tests that are not for this machine.
    pub elsewhere: Vec<TestId>,
    /// Warnings about its files.
    pub oddities: Vec<Oddity>,
    /// What the user should know about how it is read.
    pub note: Option<String>,
    /// Paths that the guest must see at the same place as the host.
    pub visible: Vec<PathBuf>,
    /// The version under test.
    pub version: Option<String>,
    /// The dialect of its tests.
    pub dialect: Option<String>,
    /// The options of `kiln run` for suites of this kind, as `--name`. A command that reproduces a
    /// test of another suite leaves them out.
    pub options: &'static [&'static str],
}

/// The properties of a test that do not depend on its runner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Test {
    /// Its id.
    pub id: TestId,
    /// Where it is defined on the host, if that is known.
    pub source: Option<Location>,
    /// How long it may take on a machine of reference speed: all its limits together.
    pub limit: Duration,
    /// It looks for loaded modules.
    pub needs_modules: bool,
}

/// A warning about a suite's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Oddity {
    /// The file, as in the [`Location`] of its tests.
    pub file: String,
    /// The warning, with file and line.
    pub text: String,
}
