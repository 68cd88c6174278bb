//! The plan of a run, resolved before anything boots.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::future::LocalBoxFuture;

use super::capacity::Jobs;
use super::event::{KernelPackages, Known, SuiteReady, TestResult, Verdict};
use super::expectations::{Expectations, Subject};
use super::partition::Partition;
use super::policy::Policies;
use super::runner::Suite;
use super::settings::Settings;
use super::stay::Stay;
use super::times::{Pace, Times};
use crate::bpf::Facts;
use crate::scratch::Scratch;
use crate::suite::{self, Test};
use crate::vm::launch::Launch;

/// Prepares one more VM of a kernel, given its own directory and the directory for its logs.
pub type LaunchVm = Box<dyn Fn(&Scratch, &Path) -> Launch>;

/// Prepares a kernel for booting: fetches and unpacks it if necessary.
pub type ProvideKernel =
    Box<dyn Fn() -> LocalBoxFuture<'static, Result<ReadyKernel, KernelFailure>> + Send>;

/// Finds the types of a kernel, its configuration and its symbols, without booting it. Reads and
/// unpacks: call it where blocking is allowed.
pub(crate) type FindTypes = Arc<dyn Fn() -> Result<Facts, String> + Send + Sync>;

/// A kernel of the run.
pub struct PlannedKernel {
    /// Its name in reports.
    pub name: String,
    /// Nothing needs fetching: it is ready in a moment.
    pub at_hand: bool,
    /// Prepares it; called once, while tests of other kernels run.
    pub provide: ProvideKernel,
    /// What it will run: indices into [`Plan::tests`].
    pub tests: Vec<usize>,
    /// Memory of each of its guests, in bytes.
    pub memory: u64,
    /// Modules that tests look for with lsmod; loaded before the first test
    /// that does.
    pub modules: Vec<String>,
}

/// A kernel that is ready to boot.
pub struct ReadyKernel {
    /// Its release, from its image.
    pub release: String,
    /// SHA-256 of the image that boots, 64 hexadecimal digits.
    pub sha256: String,
    /// The packages it is made of, if it is of packages.
    pub packages: Option<KernelPackages>,
    /// What the user should know of it.
    pub note: Option<String>,
    /// Makes a VM of it.
    pub launch: LaunchVm,
    /// Finds its types.
    pub(crate) types: FindTypes,
}

/// Why a kernel cannot be booted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelFailure {
    /// What failed.
    pub reason: String,
    /// What to do about it, one line each.
    pub hints: Vec<String>,
}

/// A test of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlannedTest {
    /// Its suite: an index into [`Plan::suites`].
    pub suite: usize,
    /// Its place in [`suite::Facts::tests`] of that suite.
    pub test: usize,
}

/// A run: kernels × tests.
pub struct Plan {
    /// The kernels, in report order.
    pub kernels: Vec<PlannedKernel>,
    /// The suites.
    pub(crate) suites: Arc<[Box<dyn Suite>]>,
    /// The selected tests of all suites.
    pub tests: Vec<PlannedTest>,
    /// How tests run.
    pub settings: Settings,
    /// VMs that run at the same time, if they fit.
    pub jobs: Jobs,
    /// How often a test runs, and when the run ends early.
    pub policies: Policies,
    /// What to do with the VM of a test that failed.
    pub stay: Stay,
    /// Known results of tests.
    pub expectations: Expectations,
    /// The part of kernels × tests in [`PlannedKernel::tests`].
    pub shard: Option<Partition>,
    /// `started_at` of the run that this one repeats.
    pub rerun_of: Option<String>,
    /// How long tests took in earlier runs.
    pub times: Times,
    /// Where the VMs' logs go, a directory for each kernel.
    pub logs: PathBuf,
}

impl Plan {
    /// Where the logs of a VM of a kernel go.
    pub(super) fn logs_of(&self, kernel: &PlannedKernel, vm: u32) -> PathBuf {
        // Who keeps them as an artifact on GitHub may have no colons.
        let name = kernel.name.replace(['/', '.', ':'], "_");
        self.logs.join(name).join(format!("vm-{vm}"))
    }

    /// A test of the run.
    pub(super) fn test(&self, test: PlannedTest) -> &Test {
        &self.suite_of(test).tests[test.test]
    }

    /// The tests of a suite, by their places there, that a kernel is to run.
    pub(super) fn tests_of(&self, kernel: &PlannedKernel, suite: usize) -> Vec<usize> {
        of_suite(kernel.tests.iter().map(|&test| self.tests[test]), suite)
    }

    /// The names of the suites, in their order.
    pub fn names(&self) -> Vec<String> {
        let suites = self.suites.iter();
        suites.map(|suite| suite.facts().name.clone()).collect()
    }

    /// What the suites of the run are, in their order.
    pub fn ready(&self) -> impl Iterator<Item = SuiteReady> {
        let suites = self.suites.iter().enumerate();
        suites.map(|(index, suite)| {
            let facts = suite.facts();
            SuiteReady {
                suite: facts.name.clone(),
                subject: suite.subject(&of_suite(self.tests.iter().copied(), index)),
                version: facts.version.clone(),
                dialect: facts.dialect.clone(),
                options: facts.options.iter().map(ToString::to_string).collect(),
            }
        })
    }

    /// A verdict of a test on a kernel, without further details.
    pub(super) fn verdict(
        &self,
        kernel: &PlannedKernel,
        test: PlannedTest,
        verdict: Verdict,
    ) -> TestResult {
        let facts = self.test(test);
        TestResult {
            kernel: kernel.name.clone(),
            vm: 0,
            suite: self.suite_of(test).name.clone(),
            id: facts.id.to_string(),
            case_of: None,
            source: facts.source.clone(),
            attempt: 1,
            verdict,
            reason: None,
            flaky: false,
            known: None,
            duration_ms: 0,
            guest_ms: None,
            output: String::new(),
            details: String::new(),
            rules: Vec::new(),
            console: String::new(),
        }
    }

    /// How many tests of each suite a kernel will run.
    pub fn count_by_suite(&self, kernel: &PlannedKernel) -> Vec<usize> {
        let mut counts = vec![0; self.suites.len()];
        for &test in &kernel.tests {
            counts[self.tests[test].suite] += 1;
        }
        counts
    }

    /// How long all tests of a kernel take, in milliseconds, if any times are known.
    pub fn expected_ms(&self, kernel: &PlannedKernel) -> Option<u64> {
        let total = self.pace(kernel).total()?;
        u64::try_from(total.as_millis()).ok()
    }

    /// The known times of a kernel's tests.
    pub(super) fn pace(&self, kernel: &PlannedKernel) -> Pace {
        let tests = kernel.tests.iter().map(|&index| {
            let test = self.tests[index];
            let suite = self.suite_of(test).name.as_str();
            (suite, self.test(test).id.to_string())
        });
        Pace::new(
            &kernel.tests,
            self.times.estimate(&kernel.name, tests),
            self.times.boot(&kernel.name),
        )
    }

    /// The tests of a kernel in the order in which they run, with those that look for modules last:
    /// each loaded module slows every start of bpftrace, which reads all traceable functions and
    /// their modules.
    ///
    /// With several VMs the longest go first, so that none is still busy when the others have
    /// finished. With one VM that has no advantage, so it keeps the order of the suite.
    pub(super) fn order(&self, kernel: &PlannedKernel) -> Vec<usize> {
        let (mut last, mut first): (Vec<usize>, Vec<usize>) = kernel
            .tests
            .iter()
            .partition(|&&index| self.test(self.tests[index]).needs_modules);
        if self.jobs.count > 1 {
            let pace = self.pace(kernel);
            pace.sort(&mut first);
            pace.sort(&mut last);
        }
        first.into_iter().chain(last).collect()
    }

    /// The known result of a test on a kernel of this release.
    pub(super) fn known(&self, test: usize, release: &str) -> Option<&Known> {
        let test = self.tests[test];
        let suite = self.suite_of(test);
        self.expectations.known(Subject {
            id: &self.test(test).id,
            suite: &suite.name,
            release,
            bpftrace: suite.version.as_deref(),
        })
    }

    /// The versions under test, by suite, where a suite has one.
    pub fn versions(&self) -> BTreeMap<String, String> {
        let facts = self.suites.iter().map(|suite| suite.facts());
        facts
            .filter_map(|facts| Some((facts.name.clone(), facts.version.clone()?)))
            .collect()
    }

    /// The suite of a test.
    pub(super) fn suite_of(&self, test: PlannedTest) -> &suite::Facts {
        self.suites[test.suite].facts()
    }
}

/// The places of tests in their suite, of those that belong to this one.
pub(super) fn of_suite(tests: impl Iterator<Item = PlannedTest>, suite: usize) -> Vec<usize> {
    tests
        .filter(|test| test.suite == suite)
        .map(|test| test.test)
        .collect()
}
