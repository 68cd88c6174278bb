//! The plan of a run, resolved before anything boots.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::future::LocalBoxFuture;

use super::aslr::Aslr;
use super::capacity::Jobs;
use super::event::{Known, Location, TestResult, Verdict};
use super::expectations::{Expectations, Subject};
use super::partition::Partition;
use super::policy::Policies;
use super::times::{Pace, Times};
use crate::scratch::Scratch;
use crate::suite::TestId;
use crate::suite::bpftrace::{RuntimeTest, Vocabulary};
use crate::suite::command::CommandTest;
use crate::vm::kernel_log::KernelReport;
use crate::vm::launch::Launch;

/// Prepares one more VM of a kernel, given its own directory and the directory for its logs.
pub type LaunchVm = Box<dyn Fn(&Scratch, &Path) -> Launch>;

/// Prepares a kernel for booting: fetches and unpacks it if necessary.
pub type ProvideKernel =
    Box<dyn Fn() -> LocalBoxFuture<'static, Result<ReadyKernel, KernelFailure>> + Send>;

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
}

/// A kernel that is ready to boot.
pub struct ReadyKernel {
    /// Its release, from its image.
    pub release: String,
    /// SHA-256 of the image that boots, 64 hexadecimal digits.
    pub sha256: String,
    /// Makes a VM of it.
    pub launch: LaunchVm,
}

/// Why a kernel cannot be booted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelFailure {
    /// What failed.
    pub reason: String,
    /// What to do about it, one line each.
    pub hints: Vec<String>,
}

/// A suite of the run.
#[derive(Debug)]
pub struct PlannedSuite {
    /// Its name in reports.
    pub name: String,
    /// What runs it.
    pub runner: PlannedRunner,
}

/// What runs a suite.
#[derive(Debug)]
pub enum PlannedRunner {
    /// bpftrace's runtime tests.
    Bpftrace(BpftraceSuite),
    /// Any command.
    Command,
}

/// A suite of bpftrace's runtime tests.
#[derive(Debug)]
pub struct BpftraceSuite {
    /// The dialect, and what the tests may contain.
    pub vocabulary: Vocabulary,
    /// The directory that holds `runtime/`, on the host and in the guest.
    pub tests_dir: PathBuf,
    /// The bpftrace under test, in the guest.
    pub bpftrace: PathBuf,
    /// Its version, as it prints it; that of the dialect if kiln cannot find it on the host.
    pub version: String,
}

/// A test of the run.
#[derive(Debug)]
pub struct PlannedTest {
    /// Its suite: an index into [`Plan::suites`].
    pub suite: usize,
    /// What it does.
    pub work: Work,
}

/// What a test does.
#[derive(Debug)]
pub enum Work {
    /// One of bpftrace's runtime tests.
    Runtime(Arc<RuntimeTest>),
    /// A command; its cases are not known in advance.
    Command(Arc<CommandTest>),
}

impl PlannedTest {
    /// Its id.
    pub fn id(&self) -> &TestId {
        match &self.work {
            Work::Runtime(test) => &test.id,
            Work::Command(test) => &test.id,
        }
    }

    /// Where it is defined, if that is known.
    pub(super) fn source(&self) -> Option<Location> {
        match &self.work {
            Work::Runtime(test) => Some(Location {
                file: test.path.to_string_lossy().into_owned(),
                line: test.line,
            }),
            Work::Command(test) => test.source.clone(),
        }
    }

    /// Whether it looks for loaded modules.
    pub(super) fn needs_modules(&self) -> bool {
        match &self.work {
            Work::Runtime(test) => test
                .requires
                .iter()
                .any(|command| command.contains("lsmod")),
            Work::Command(_) => false,
        }
    }
}

/// What an oops, a warning or a stall on the console does to the running test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum KernelLog {
    /// The test fails.
    #[default]
    Fail,
    /// It is reported, and the verdict does not change.
    Warn,
    /// It is ignored.
    Ignore,
}

impl KernelLog {
    /// Whether a report makes a test fail.
    pub(super) fn fails(self, report: &KernelReport) -> bool {
        self == Self::Fail && report.allowed.is_none()
    }
}

/// A run: kernels × tests.
pub struct Plan {
    /// The kernels, in report order.
    pub kernels: Vec<PlannedKernel>,
    /// The suites.
    pub suites: Vec<PlannedSuite>,
    /// The selected tests of all suites.
    pub tests: Vec<PlannedTest>,
    /// The environment of everything except bpftrace itself.
    pub env: Vec<(String, String)>,
    /// Modules that tests look for with lsmod; loaded before the first test
    /// that does.
    pub modules: Vec<String>,
    /// VMs that run at the same time, if they fit.
    pub jobs: Jobs,
    /// Memory of each guest, in bytes.
    pub memory: u64,
    /// Time limits are multiplied by this; measured in each VM if not given.
    pub timeout_scale: Option<f64>,
    /// Whether the addresses of what tests start are randomized.
    pub aslr: Aslr,
    /// Upstream's verdicts even if they come from bugs in its engine: no
    /// [`crate::suite::bpftrace::Rule`] applies.
    pub compat: bool,
    /// What a kernel report on the console does to the running test.
    pub kernel_log: KernelLog,
    /// How often a test runs, and when the run ends early.
    pub policies: Policies,
    /// Known results of tests.
    pub expectations: Expectations,
    /// The part of kernels × tests in [`PlannedKernel::tests`].
    pub shard: Option<Partition>,
    /// How long tests took in earlier runs.
    pub times: Times,
    /// Where the VMs' logs go, a directory for each kernel.
    pub logs: PathBuf,
}

impl Plan {
    /// The programs that a command suite starts, each once.
    pub fn programs(&self, suite: &str) -> Vec<String> {
        let mut programs: Vec<String> = Vec::new();
        for test in &self.tests {
            if let Work::Command(command) = &test.work
                && self.suite_of(test).name == suite
                && let Some(program) = command.argv.first()
                && let program = program.to_string_lossy().into_owned()
                && !programs.contains(&program)
            {
                programs.push(program);
            }
        }
        programs
    }

    /// A verdict of a test on a kernel, without further details.
    pub(super) fn verdict(
        &self,
        kernel: &PlannedKernel,
        test: &PlannedTest,
        verdict: Verdict,
    ) -> TestResult {
        TestResult {
            kernel: kernel.name.clone(),
            vm: 0,
            suite: self.suite_of(test).name.clone(),
            id: test.id().to_string(),
            case_of: None,
            source: test.source(),
            attempt: 1,
            verdict,
            reason: None,
            flaky: false,
            known: None,
            duration_ms: 0,
            output: String::new(),
            details: String::new(),
            rules: Vec::new(),
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

    /// The known times of a kernel's tests.
    pub(super) fn pace(&self, kernel: &PlannedKernel) -> Pace {
        let tests = kernel.tests.iter().map(|&index| {
            let test = &self.tests[index];
            (self.suite_of(test).name.as_str(), test.id().to_string())
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
            .partition(|&&index| self.tests[index].needs_modules());
        if self.jobs.count > 1 {
            let pace = self.pace(kernel);
            pace.sort(&mut first);
            pace.sort(&mut last);
        }
        first.into_iter().chain(last).collect()
    }

    /// The known result of a test on a kernel of this release.
    pub(super) fn known(&self, test: usize, release: &str) -> Option<&Known> {
        let test = &self.tests[test];
        let suite = self.suite_of(test);
        self.expectations.known(Subject {
            id: test.id(),
            suite: &suite.name,
            release,
            bpftrace: match &suite.runner {
                PlannedRunner::Bpftrace(suite) => Some(&suite.version),
                PlannedRunner::Command => None,
            },
        })
    }

    /// The versions of bpftrace under test, by suite; a command suite has none.
    pub fn versions(&self) -> BTreeMap<String, String> {
        let suites = self.suites.iter();
        suites
            .filter_map(|suite| match &suite.runner {
                PlannedRunner::Bpftrace(runner) => {
                    Some((suite.name.clone(), runner.version.clone()))
                }
                PlannedRunner::Command => None,
            })
            .collect()
    }

    /// The suite of a test.
    pub(super) fn suite_of(&self, test: &PlannedTest) -> &PlannedSuite {
        &self.suites[test.suite]
    }
}
