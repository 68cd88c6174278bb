//! `kiln list`: the tests of a suite, without booting anything.

use std::io::Write;
use std::path::Path;

use thiserror::Error;

use super::Failure;
use super::context::Context;
use super::suite_args::SuiteArgs;
use crate::exit_code;
use crate::hint::Hint;
use crate::report::escape;
use crate::suite::bpftrace::{Dialect, Host, RuntimeSuites, RuntimeTest, SuiteError};
use crate::suite::{Filter, FilterError};

/// Arguments of `kiln list`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Example:\n  kiln list --tests bpftrace/tests -t '^call:-kstack'")]
pub(super) struct ListArgs {
    /// Which tests
    #[command(flatten)]
    suite: SuiteArgs,
}

impl ListArgs {
    /// Prints the ids to stdout.
    pub(super) fn run(&self, config: Option<&Path>) -> Result<u8, Failure> {
        let context = Context::load(config)?;
        let suite = self.suite.resolve(&context)?;
        let mut out = std::io::BufWriter::new(std::io::stdout().lock());
        list(
            &suite.tests,
            suite.dialect,
            self.suite.aot,
            &self.suite.filters,
            &mut out,
        )
        .map_err(|error| {
            let code = error.exit_code();
            Failure::from(error).with_code(code)
        })?;
        Ok(exit_code::OK)
    }
}

/// Why nothing could be listed.
#[derive(Debug, Error)]
pub(super) enum ListError {
    /// The suite's files could not be read.
    #[error(transparent)]
    Suite(#[from] SuiteError),
    /// The filters are wrong or select nothing.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// Standard output is closed or full.
    #[error("cannot write the list: {0}")]
    Write(#[from] std::io::Error),
}

impl ListError {
    /// The exit code of this error.
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::Filter(FilterError::NothingSelected { .. }) => exit_code::NOTHING_SELECTED,
            Self::Filter(FilterError::BadPattern { .. }) => exit_code::USAGE,
            Self::Suite(_) | Self::Write(_) => exit_code::SETUP_FAILED,
        }
    }
}

impl Hint for ListError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Suite(error) => error.hints(),
            Self::Filter(error) => error.hints(),
            Self::Write(_) => Vec::new(),
        }
    }
}

/// Prints the ids of the selected tests in `tests_dir`, sorted, one a line.
pub(super) fn list(
    tests_dir: &Path,
    dialect: &Dialect,
    aot: bool,
    filters: &[String],
    out: &mut dyn Write,
) -> Result<(), ListError> {
    let filter = Filter::new(filters)?;
    let mut suites = RuntimeSuites::read(tests_dir, dialect, &Host::current())?;
    if aot {
        suites = suites.with_aot();
    }
    let tests = filter.select(suites.tests, |test: &RuntimeTest| &test.id)?;
    let mut ids: Vec<String> = tests.iter().map(|test| test.id.to_string()).collect();
    ids.sort();
    for id in ids {
        // A name is whatever stands in the file.
        writeln!(out, "{}", escape::line(&id))?;
    }
    out.flush()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn dir() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let runtime = dir.path().join("runtime");
        std::fs::create_dir(&runtime).unwrap();
        std::fs::write(
            runtime.join("call"),
            "NAME b c\nPROG x\nEXPECT y\nTIMEOUT 1\n\nNAME a\nPROG x\nEXPECT y\nTIMEOUT 1\n",
        )
        .unwrap();
        dir
    }

    fn listed(filters: &[&str]) -> Result<String, ListError> {
        listed_with(filters, false)
    }

    fn listed_with(filters: &[&str], aot: bool) -> Result<String, ListError> {
        let dir = dir();
        let filters: Vec<String> = filters.iter().map(ToString::to_string).collect();
        let mut out = Vec::new();
        list(
            dir.path(),
            Dialect::for_version("0.17").unwrap(),
            aot,
            &filters,
            &mut out,
        )?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn ids_are_printed_sorted_one_a_line() {
        assert_eq!(listed(&[]).unwrap(), "call.a\ncall.b c\n");
        assert_eq!(listed(&["b"]).unwrap(), "call.b c\n");
        let with_clones = listed_with(&["b"], true).unwrap();
        assert_eq!(with_clones, "aot.call.b c\ncall.b c\n");
    }

    #[test]
    fn a_filter_that_selects_nothing_has_its_exit_code() {
        assert_eq!(listed(&["zzz"]).unwrap_err().exit_code(), 4);
        assert_eq!(listed(&["("]).unwrap_err().exit_code(), 2);
    }
}
