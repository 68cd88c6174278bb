//! The counts of a suite in a JUnit file, and whether they match its cases.

use super::results::{Results, clip};

/// Bytes of a suite's name to show in a problem.
const MAX_NAME: usize = 80;

/// Attributes of one element, their names in lower case.
pub(super) type Attributes = Vec<(String, String)>;

/// The value of an attribute.
pub(super) fn value<'a>(attributes: &'a Attributes, name: &str) -> Option<&'a str> {
    let found = attributes.iter().find(|(key, _)| key == name);
    found.map(|(_, value)| value.as_str())
}

/// `1 failure`, `2 failures`.
pub(super) fn many(count: u64, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}

/// The cases of a suite, counted.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tally {
    pub(super) cases: u64,
    /// Those without a name, which googletest adds for a failure outside of its tests and does not
    /// count (gtest.cc, `OutputXmlTestSuiteForTestResult`).
    pub(super) nameless: u64,
    /// Those that failed, have a name, and are not also marked as skipped.
    pub(super) failed: u64,
    /// The same, of errors.
    pub(super) errors: u64,
    /// Marks of failure and error: Catch2 and doctest count each.
    pub(super) marks: u64,
    pub(super) skipped: u64,
    /// Marks of a skip, also of cases that failed: pytest marks a case twice
    /// whose teardown fails as expected, too.
    pub(super) skip_marks: u64,
    /// Those that ran although their names say that they are disabled: googletest counts them as
    /// disabled under `--gtest_also_run_disabled_tests`.
    pub(super) ran_anyway: u64,
}

impl Tally {
    pub(super) fn add(&mut self, other: &Self) {
        self.cases += other.cases;
        self.nameless += other.nameless;
        self.failed += other.failed;
        self.errors += other.errors;
        self.marks += other.marks;
        self.skipped += other.skipped;
        self.skip_marks += other.skip_marks;
        self.ran_anyway += other.ran_anyway;
    }
}

/// `<testsuite>` or `<testsuites>`.
#[derive(Debug, Default)]
pub(super) struct Suite {
    name: String,
    /// Whether it is `<testsuites>`, which counts everything below it. Others count everything
    /// (PHPUnit) or only their direct children (Node.js).
    outer: bool,
    tests: Option<u64>,
    failures: Option<u64>,
    errors: Option<u64>,
    skipped: Option<u64>,
    disabled: Option<u64>,
    /// What its own status says, if that is a failure.
    pub(super) says: Option<String>,
    /// Whether `tests` counts assertions.
    assertions: bool,
    pub(super) direct: Tally,
    pub(super) all: Tally,
}

impl Suite {
    pub(super) fn new(element: &str, attributes: &Attributes, results: &mut Results) -> Self {
        let mut name = value(attributes, "name").unwrap_or_default().to_owned();
        clip(&mut name, MAX_NAME);
        let name = if name.is_empty() {
            format!("<{element}>")
        } else {
            format!("suite `{name}`")
        };
        let mut count = |what: &str| {
            let text = value(attributes, what)?.trim();
            if text.is_empty() {
                return None;
            }
            let number = text
                .parse()
                .ok()
                .or_else(|| text.strip_suffix(".0")?.parse().ok());
            if number.is_none() {
                let mut text = text.to_owned();
                clip(&mut text, MAX_NAME);
                results.failure(format!("{name} has `{text}` as its number of {what}"));
            }
            number
        };
        Self {
            outer: element == "testsuites",
            tests: count("tests"),
            failures: count("failures"),
            errors: count("errors"),
            skipped: count("skipped"),
            disabled: count("disabled"),
            // catch_reporter_junit.cpp, JunitReporter::writeGroup; doctest.h,
            // JUnitReporter::test_run_end.
            assertions: value(attributes, "hostname") == Some("tbd")
                || value(attributes, "doctest_version").is_some(),
            name,
            ..Self::default()
        }
    }

    /// Compares what it counts with its cases.
    pub(super) fn check(&self, results: &mut Results) {
        let name = &self.name;
        let least = if self.outer { &self.all } else { &self.direct };
        let most = &self.all;
        // googletest and CTest count disabled cases separately.
        let counted = [self.skipped, self.disabled].map(Option::unwrap_or_default);
        let unlisted = counted[0]
            .saturating_add(counted[1])
            .saturating_sub(most.skip_marks);
        // Rust's libtest counts ignored tests but does not list them.
        let leaves_out = self.tests == Some(most.cases.saturating_add(unlisted));
        if let Some(tests) = self.tests.filter(|_| !self.assertions && !leaves_out) {
            // Boost does not count skipped tests. pytest counts a case twice that passes before its
            // teardown fails, and counts two cases once if both fail (junitxml.py,
            // pytest_sessionfinish).
            let uncounted = least.skip_marks + least.nameless + least.errors;
            let low = least.cases.saturating_sub(uncounted);
            if tests > most.cases + most.errors || tests < low {
                let tests = many(tests, "test");
                results.problem(format!("{name} says {tests}, but has {}", most.cases));
            }
        }
        self.check_failures(results, least, most);
        for (count, what, marks) in [
            (self.skipped, "skipped", most.skip_marks),
            (self.disabled, "disabled", most.skip_marks + most.ran_anyway),
        ] {
            if let Some(count) = count.filter(|&count| count > marks && !leaves_out) {
                results.problem(format!("{name} says {count} {what}, but has {marks}"));
            }
        }
        if let Some(skipped) = self.skipped
            && skipped.saturating_add(counted[1]) < least.skipped
        {
            let has = most.skipped;
            results.problem(format!("{name} says {skipped} skipped, but has {has}"));
        }
        if let Some(says) = &self.says
            && most.marks == 0
        {
            results.failure(format!("{name} is `{says}`, but none of its cases failed"));
        }
    }

    fn check_failures(&self, results: &mut Results, least: &Tally, most: &Tally) {
        let low = match (self.failures, self.errors) {
            (None, None) => return,
            (Some(_), Some(_)) => least.failed,
            (Some(_), None) => least.failed - least.errors,
            (None, Some(_)) => least.errors,
        };
        let [failures, errors] = [self.failures, self.errors].map(Option::unwrap_or_default);
        let says = failures.saturating_add(errors);
        let said = match (failures, errors) {
            (failures, 0) => many(failures, "failure"),
            (0, errors) => many(errors, "error"),
            _ => format!(
                "{} and {}",
                many(failures, "failure"),
                many(errors, "error")
            ),
        };
        let problem = format!(
            "{} says {said}, but its cases have {}",
            self.name, most.marks
        );
        // Producers do not agree on which of the two a case is: cmocka marks an error as a failure.
        if says > most.marks {
            results.failure(problem);
        } else if says < low {
            results.problem(problem);
        }
    }
}
