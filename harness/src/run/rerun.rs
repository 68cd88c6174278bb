//! Which tests of an earlier run to run again, on which of its kernels.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::event::{Event, KernelReady, Record, TestResult, Verdict};

/// Which tests to run again; several add up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Which {
    /// Those that were not as expected.
    pub failed: bool,
    /// Those that lost their VM.
    pub lost: bool,
    /// Those of which some attempts passed and some did not.
    pub flaky: bool,
    /// Those that the run did not reach.
    pub not_run: bool,
}

/// A test by suite and id.
type Name = (String, String);

/// Tests of an earlier run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chosen {
    /// By kernel.
    listed: BTreeMap<String, BTreeSet<Name>>,
    /// If tests that were not run count: those that were, by kernel.
    run: Option<BTreeMap<String, BTreeSet<Name>>>,
}

impl Chosen {
    /// Those of the run of these events.
    pub fn of(records: &[Record], which: Which) -> Self {
        let mut chosen = Self {
            run: which.not_run.then(BTreeMap::new),
            ..Self::default()
        };
        for record in records {
            let Event::TestFinished(result) = &record.event else {
                continue;
            };
            // A case runs with the command that reports it.
            let id = result.case_of.as_ref().unwrap_or(&result.id);
            let name = (result.suite.clone(), id.clone());
            if let Some(run) = chosen.run.as_mut().filter(|_| result.case_of.is_none()) {
                let of_kernel = run.entry(result.kernel.clone()).or_default();
                of_kernel.insert(name.clone());
            }
            if is_wanted(result, which) {
                let of_kernel = chosen.listed.entry(result.kernel.clone()).or_default();
                of_kernel.insert(name);
            }
        }
        chosen
    }

    /// Whether to run a test on a kernel.
    pub fn wants(&self, kernel: &str, suite: &str, id: &str) -> bool {
        let name = (suite.to_owned(), id.to_owned());
        let has = |of: &BTreeMap<String, BTreeSet<Name>>| {
            of.get(kernel).is_some_and(|names| names.contains(&name))
        };
        has(&self.listed) || self.run.as_ref().is_some_and(|run| !has(run))
    }

    /// The kernels with a test of these.
    pub fn kernels(&self) -> impl Iterator<Item = &str> {
        self.listed.keys().map(String::as_str)
    }

    /// The suites with a test of these.
    pub fn suites(&self) -> BTreeSet<&str> {
        let names = self.listed.values().flatten();
        names.map(|(suite, _)| suite.as_str()).collect()
    }

    /// Forgets all kernels but these.
    pub fn keep(&mut self, kernels: &[String]) {
        self.listed.retain(|kernel, _| kernels.contains(kernel));
    }

    /// Whether there is none of these.
    pub fn is_empty(&self) -> bool {
        self.listed.is_empty()
    }

    /// The tests of these that are not among `known`, by suite and id: renamed or removed.
    pub fn unknown(&self, known: impl Fn(&str, &str) -> bool) -> Vec<&str> {
        let names: BTreeSet<&Name> = self.listed.values().flatten().collect();
        let names = names.into_iter().filter(|(suite, id)| !known(suite, id));
        names.map(|(_, id)| id.as_str()).collect()
    }
}

fn is_wanted(result: &TestResult, which: Which) -> bool {
    (which.failed && !result.is_expected())
        || (which.lost && result.verdict == Verdict::Lost)
        || (which.flaky && result.flaky)
}

/// What booted in a run, by kernel.
pub fn images(records: &[Record]) -> HashMap<String, KernelReady> {
    let ready = records.iter().filter_map(|record| match &record.event {
        Event::KernelReady(ready) => Some((ready.kernel.clone(), ready.clone())),
        _ => None,
    });
    ready.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples::{at, finished, result, started};

    #[test]
    fn the_tests_of_each_kernel_are_chosen_by_their_results() {
        let flaky = TestResult {
            flaky: true,
            ..result("6.1", "a.flaky", Verdict::Pass, "")
        };
        let case = TestResult {
            case_of: Some("a.command".into()),
            ..result("6.1", "a.command.case", Verdict::Fail, "")
        };
        let records = [
            started(&["5.10", "6.1"], 5),
            finished("5.10", "a.b", Verdict::Pass, ""),
            finished("6.1", "a.b", Verdict::Fail, ""),
            finished("6.1", "a.lost", Verdict::Lost, ""),
            at(9, Event::TestFinished(flaky)),
            at(9, Event::TestFinished(case)),
        ];
        let of = |which: Which| {
            let chosen = Chosen::of(&records, which);
            let ids = ["a.b", "a.lost", "a.flaky", "a.command", "a.new"];
            let mut told = Vec::new();
            for kernel in ["5.10", "6.1"] {
                for id in ids.iter().filter(|id| chosen.wants(kernel, "bpftrace", id)) {
                    told.push(format!("{kernel} {id}"));
                }
            }
            told.join(", ")
        };
        let none = Which::default();
        assert_eq!(of(none), "");
        assert_eq!(
            of(Which {
                failed: true,
                ..none
            }),
            "6.1 a.b, 6.1 a.lost, 6.1 a.command"
        );
        assert_eq!(of(Which { lost: true, ..none }), "6.1 a.lost");
        assert_eq!(
            of(Which {
                flaky: true,
                lost: true,
                ..none
            }),
            "6.1 a.lost, 6.1 a.flaky"
        );
        assert_eq!(
            of(Which {
                not_run: true,
                ..none
            }),
            "5.10 a.lost, 5.10 a.flaky, 5.10 a.command, 5.10 a.new, 6.1 a.command, 6.1 a.new"
        );
    }
}
