//! Suites of commands: any program whose results are its exit status, TAP or
//! KTAP on its output, or a JUnit or GoogleTest XML file that it writes.
//!
//! A test is one start of the command; it reports cases, which are not known before.

#[cfg(test)]
mod corpus_tests;
mod discover;
mod judge;
mod results;
mod tail;
mod tap;
mod tap_level;
mod tap_line;
mod xml;
mod xml_case;
mod xml_suite;

use std::ffi::OsString;
use std::time::Duration;

pub use discover::{DiscoverError, discover};
pub use judge::{End, Observation, judge};
pub use results::{Case, Results};
pub use tap::{Dialect, read_tap};
pub use xml::read_xml;

use super::{Location, TestId};
use crate::config::ResultsFormat;

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
    /// The exit status that says that it does not apply.
    pub skip_code: Option<i32>,
    /// Whether it is its suite's only test, and not one of many files.
    pub only: bool,
    /// Where it is defined on the host: its file, or its suite's entry in kernels.toml.
    pub source: Option<Location>,
}
