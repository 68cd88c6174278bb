//! One start of a command.

use std::ffi::OsString;
use std::time::Duration;

use crate::config::ResultsFormat;
use crate::suite::{Location, TestId};

/// One start of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandTest {
    /// Its id.
    pub id: TestId,
    /// Program and arguments; a file's name need not be UTF-8.
    pub argv: Vec<OsString>,
    /// Where it runs, in the guest.
    pub cwd: String,
    /// Its variables, besides those that every command has.
    pub env: Vec<(String, OsString)>,
    /// How it reports its results.
    pub results: ResultsFormat,
    /// The results file in the guest, relative to `cwd`.
    pub results_file: Option<String>,
    /// How long it may take on a machine of reference speed.
    pub timeout: Duration,
    /// The exit status that means that it does not apply.
    pub skip_code: Option<i32>,
    /// Whether it is its suite's only test, and not one of many files.
    pub only: bool,
    /// Where it is defined on the host: its file, or its suite's entry in kernels.toml.
    pub source: Option<Location>,
}
