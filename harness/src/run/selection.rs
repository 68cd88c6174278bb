//! Selects tests of the suites: `-t` and `--allowlist`.

use std::collections::HashSet;
use std::path::Path;

use super::plan::{PlannedTest, of_suite};
use super::runner::Suite;
use crate::exit_code;
use crate::suite::{Allowlist, AllowlistError, Facts, Filter, FilterError, Refusal, Test, TestId};

/// The suites, and their selected tests.
#[derive(Debug)]
pub(crate) struct Selection {
    pub(crate) suites: Vec<Box<dyn Suite>>,
    /// In the order of the suites, and of the tests in each.
    pub(crate) tests: Vec<PlannedTest>,
    /// Warnings about the suites' files; with a filter or an allow-list, about those of the
    /// selected tests.
    pub(crate) oddities: Vec<String>,
    /// Lines of the allow-list that match no test.
    pub(crate) unknown: Vec<String>,
}

impl Selection {
    /// Selects from these suites.
    pub(crate) fn new(
        suites: Vec<Box<dyn Suite>>,
        filters: &[String],
        allowlist: Option<&Path>,
    ) -> Result<Self, Refusal> {
        let filter = Filter::new(filters).map_err(filter_refusal)?;
        let allowlist = allowlist.map(Allowlist::read).transpose()?;
        let is_part = !filters.is_empty() || allowlist.is_some();
        let facts: Vec<&Facts> = suites.iter().map(|suite| suite.facts()).collect();
        let mut tests: Vec<Candidate<'_>> = Vec::new();
        for (suite, facts) in facts.iter().enumerate() {
            let of_suite = facts.tests.iter().enumerate();
            tests.extend(of_suite.map(|(test, facts)| (PlannedTest { suite, test }, facts)));
        }
        let mut unknown = Vec::new();
        if let Some(allowlist) = allowlist {
            let elsewhere = facts
                .iter()
                .flat_map(|facts| facts.elsewhere.iter().cloned());
            let elsewhere: Vec<TestId> = elsewhere.collect();
            let allowed = allowlist
                .allow(tests, id, &elsewhere)
                .map_err(allowlist_refusal)?;
            (tests, unknown) = (allowed.tests, allowed.unknown);
        }
        let tests = filter.select(tests, id).map_err(filter_refusal)?;
        let sources = tests.iter().filter_map(|(_, test)| test.source.as_ref());
        let files: HashSet<&str> = sources.map(|source| source.file.as_str()).collect();
        let oddities = facts
            .iter()
            .flat_map(|facts| &facts.oddities)
            .filter(|oddity| !is_part || files.contains(oddity.file.as_str()))
            .map(|oddity| oddity.text.clone())
            .collect();
        Ok(Self {
            tests: tests.into_iter().map(|(test, _)| test).collect(),
            oddities,
            unknown,
            suites,
        })
    }

    /// Checks the selected tests, which are about to run, more closely.
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        let suites = self.suites.iter().enumerate();
        suites.into_iter().try_for_each(|(index, suite)| {
            suite.check(&of_suite(self.tests.iter().copied(), index))
        })
    }

    /// The suite of a test.
    pub(crate) fn suite_of(&self, test: PlannedTest) -> &Facts {
        self.suites[test.suite].facts()
    }

    /// A selected test.
    pub(crate) fn test(&self, test: PlannedTest) -> &Test {
        &self.suite_of(test).tests[test.test]
    }
}

/// A test that may be selected.
type Candidate<'f> = (PlannedTest, &'f Test);

fn id<'t>((_, test): &'t Candidate<'_>) -> &'t TestId {
    &test.id
}

fn filter_refusal(error: FilterError) -> Refusal {
    let code = match error {
        FilterError::NothingSelected { .. } => exit_code::NOTHING_SELECTED,
        FilterError::BadPattern { .. } => exit_code::USAGE,
    };
    Refusal::from(error).with_code(code)
}

fn allowlist_refusal(error: AllowlistError) -> Refusal {
    match error {
        AllowlistError::NothingAllowed { .. } => {
            Refusal::from(error).with_code(exit_code::NOTHING_SELECTED)
        }
        _ => Refusal::from(error),
    }
}
