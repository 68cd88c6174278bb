//! Which tests of a suite: `-t`, `--allowlist` and `--aot`.

use super::Failure;
use super::suite_args::{RuntimeSuite, SuiteArgs};
use crate::exit_code;
use crate::suite::bpftrace::{Host, RuntimeSuites, RuntimeTest};
use crate::suite::{Allowlist, AllowlistError, Filter, FilterError, TestId};

/// The tests that are asked for.
#[derive(Debug)]
pub(super) struct Selection {
    /// Sorted by id, `RUN` and `PROG`.
    pub(super) tests: Vec<RuntimeTest>,
    /// What is odd in the suite's files.
    pub(super) oddities: Vec<String>,
    /// Lines of the allow-list that name no test.
    pub(super) unknown: Vec<String>,
}

impl SuiteArgs {
    /// Reads the suite's files and selects from them.
    pub(super) fn select(&self, suite: &RuntimeSuite) -> Result<Selection, Failure> {
        let filter = Filter::new(&self.filters).map_err(filter_failure)?;
        let allowlist = match &self.allowlist {
            Some(path) => Some(Allowlist::read(path)?),
            None => None,
        };
        let mut suites = RuntimeSuites::read(&suite.tests, suite.dialect, &Host::current())?;
        if self.aot {
            suites = suites.with_aot();
        }
        let (mut tests, mut unknown) = (suites.tests, Vec::new());
        if let Some(allowlist) = allowlist {
            let elsewhere: Vec<TestId> = suites.excluded.into_iter().map(|t| t.id).collect();
            let allowed = allowlist
                .allow(tests, id_of, &elsewhere)
                .map_err(allowlist_failure)?;
            (tests, unknown) = (allowed.tests, allowed.unknown);
        }
        Ok(Selection {
            tests: filter.select(tests, id_of).map_err(filter_failure)?,
            oddities: suites.warnings.iter().map(ToString::to_string).collect(),
            unknown,
        })
    }
}

fn id_of(test: &RuntimeTest) -> &TestId {
    &test.id
}

fn filter_failure(error: FilterError) -> Failure {
    let code = match error {
        FilterError::NothingSelected { .. } => exit_code::NOTHING_SELECTED,
        FilterError::BadPattern { .. } => exit_code::USAGE,
    };
    Failure::from(error).with_code(code)
}

fn allowlist_failure(error: AllowlistError) -> Failure {
    match error {
        AllowlistError::NothingAllowed { .. } => {
            Failure::from(error).with_code(exit_code::NOTHING_SELECTED)
        }
        _ => Failure::from(error),
    }
}
