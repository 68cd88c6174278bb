//! The user's options for suites of runtime tests.

use std::path::PathBuf;

use super::Dialect;

/// The suites to which these options apply, for messages.
pub const SUITES: &str = "suites of bpftrace's runtime tests";

/// The options of `kiln run` for them.
pub(super) const OPTIONS: [&str; 4] = ["--bpftrace", "--tests", "--dialect", "--aot"];

/// The user's options for suites of runtime tests.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The directory that holds `runtime/`, instead of the suite's.
    pub tests: Option<PathBuf>,
    /// The bpftrace under test, instead of the suite's.
    pub bpftrace: Option<PathBuf>,
    /// Adds the tests that compile each `PROG` ahead of time.
    pub aot: bool,
    /// The dialect of the tests.
    pub dialect: Option<&'static Dialect>,
}

impl Options {
    /// Those of [`OPTIONS`] that the user has given.
    pub fn given(&self) -> impl Iterator<Item = &'static str> {
        let given = [
            self.bpftrace.is_some(),
            self.tests.is_some(),
            self.dialect.is_some(),
            self.aot,
        ];
        let options = OPTIONS.into_iter().zip(given);
        options.filter_map(|(option, given)| given.then_some(option))
    }
}
