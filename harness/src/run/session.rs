//! A VM that runs one test after another.

use std::collections::BTreeMap;
use std::time::Duration;

use guest_init::message::{Request, Status};
use tokio::time::Instant;

use super::bpftrace;
use super::command_suite;
use super::driver::{Driver, SpawnOptions};
use super::helper::{Helped, Helper, Said};
use super::leftovers;
use super::plan::{
    KernelLog, Plan, PlannedKernel, PlannedRunner, PlannedSuite, PlannedTest, ReadyKernel, Work,
};
use super::preflight;
use crate::scratch::Scratch;
use crate::suite::Verdict;
use crate::suite::bpftrace::{Exit, Features, Judgement, Rule};
use crate::suite::command::Case;
use crate::vm::control::Error;
use crate::vm::cpu::{self, Ended};
use crate::vm::kernel_log::{KernelReport, Taint};
use crate::vm::launch;
use crate::vm::machine::{Evidence, Stopped, Vm};
use crate::vm::qemu::Qemu;
use crate::vm::relief::{self, RAISE_LIMIT};

/// Measurements of a VM's speed. Each takes a quarter of a second under TCG.
const SPEED_SAMPLES: u32 = 3;
/// How long all of them may take: 5,000 times the reference each.
const SPEED_DEADLINE: Duration = Duration::from_secs(120);
/// Limit of `bpftrace --info` and modprobe, before scaling.
const PREPARE_LIMIT: Duration = Duration::from_secs(10);
/// How long they may take to end after that.
const PREPARE_GRACE: Duration = Duration::from_secs(1);

/// A lost VM.
pub(super) struct Lost {
    /// What happened.
    pub(super) reason: String,
    /// What is known about it.
    pub(super) evidence: Evidence,
}

/// The result of a test.
pub(super) struct Report {
    pub(super) judgement: Judgement,
    pub(super) output: Vec<u8>,
    pub(super) notes: Vec<String>,
    /// Kernel reports during the test.
    pub(super) kernel_reports: Vec<KernelReport>,
    /// The cases that a command reported.
    pub(super) cases: Vec<Case>,
}

impl Report {
    pub(super) fn without_run(judgement: Judgement) -> Self {
        Self {
            judgement,
            output: Vec::new(),
            notes: Vec::new(),
            kernel_reports: Vec::new(),
            cases: Vec::new(),
        }
    }
}

impl Report {
    /// Adds kernel reports during the test. They fail a test that passed, if the policy says so and
    /// `kernels.toml` does not allow them.
    fn take_kernel_reports(&mut self, reports: Vec<KernelReport>, policy: KernelLog) {
        let first = reports.iter().find(|report| policy.fails(report));
        if let Some(first) = first
            && self.judgement.verdict == Verdict::Pass
        {
            self.judgement.verdict = Verdict::Fail;
            self.judgement.reason = format!("the kernel reported: {}", first.summary());
            self.judgement.note_rule(Rule::KernelReport);
        }
        self.kernel_reports = reports;
    }
}

/// A running VM and what is known about it.
pub(super) struct Session {
    pub(super) vm: Vm,
    pub(super) accel_note: Option<String>,
    pub(super) qemu: Qemu,
    /// Time limits are multiplied by this.
    pub(super) factor: f64,
    /// What the bpftrace of each suite supports on this kernel, by the suite's index.
    pub(super) features: BTreeMap<usize, Features>,
    modules_loaded: bool,
    /// Something of a test could not be undone: the next one gets another VM.
    pub(super) unclean: bool,
    /// The known taint flags of the kernel.
    taint: Taint,
    /// Sockets; removed with the session.
    _dir: Scratch,
}

impl Session {
    /// Boots a VM.
    pub(super) async fn boot(
        plan: &Plan,
        kernel: &str,
        ready: &ReadyKernel,
        vm: u32,
    ) -> Result<Self, launch::Error> {
        let dir = Scratch::new().map_err(|source| launch::Error::Directory {
            path: std::env::temp_dir(),
            source,
        })?;
        let name = kernel.replace(['/', '.'], "_");
        let logs = plan.logs.join(name).join(format!("vm-{vm}"));
        let prepared = (ready.launch)(&dir, &logs).prepare().await?;
        let accel_note = prepared.accel_note.clone();
        let qemu = prepared.qemu.clone();
        Ok(Self {
            vm: prepared.start().await?,
            accel_note,
            qemu,
            factor: 1.0,
            features: BTreeMap::new(),
            modules_loaded: false,
            unclean: false,
            taint: Taint::default(),
            _dir: dir,
        })
    }

    /// Measures the VM's speed and prepares each suite. Returns warnings.
    pub(super) async fn prepare(
        &mut self,
        plan: &Plan,
        kernel: &PlannedKernel,
    ) -> Result<Vec<String>, Error> {
        self.factor = match plan.timeout_scale {
            Some(scale) => scale,
            None => self.measured().await?,
        };
        let mut warnings = Vec::new();
        for (index, suite) in plan.suites.iter().enumerate() {
            match &suite.runner {
                PlannedRunner::Bpftrace(suite) => {
                    warnings.extend(preflight::gaps(self, plan, kernel, index, suite).await?);
                    warnings.extend(bpftrace::prepare(self, plan, index, suite).await?);
                }
                PlannedRunner::Command => {}
            }
        }
        leftovers::take_stock(&mut self.vm.control).await?;
        Ok(warnings)
    }

    /// How many times slower than the reference this VM is: the best of a few measurements. A
    /// single one could hit a moment in which the host was busy, and would stretch every limit of
    /// the VM's tests: 75 was seen instead of 35, and a hang of 5 s lasted for minutes.
    async fn measured(&mut self) -> Result<f64, Error> {
        let deadline = Instant::now() + SPEED_DEADLINE;
        let mut best = self.vm.control.speed_factor(deadline).await?;
        for _ in 1..SPEED_SAMPLES {
            best = best.min(self.vm.control.speed_factor(deadline).await?);
        }
        Ok(best)
    }

    /// Runs one test and judges it. An error means that the VM is lost.
    pub(super) async fn test(&mut self, plan: &Plan, test: &PlannedTest) -> Result<Report, Error> {
        if self.vm.relief.take_wanted() {
            let drop = Request::DropCaches { pages: false };
            self.vm.control.send(&drop).await?;
        }
        let mut notes = Vec::new();
        if test.needs_modules() {
            notes.extend(self.load_modules(plan).await?);
        }
        let runner = &plan.suite_of(test).runner;
        let mut report = match (runner, &test.work) {
            (PlannedRunner::Bpftrace(suite), Work::Runtime(runtime)) => {
                bpftrace::test(self, plan, test.suite, suite, runtime).await?
            }
            (_, Work::Command(command)) => command_suite::test(self, plan, command).await?,
            (PlannedRunner::Command, Work::Runtime(_)) => {
                Report::without_run(Judgement::error("a runtime test is in a command suite"))
            }
        };
        notes.append(&mut report.notes);
        report.notes = notes;
        if self.vm.relief.take_refused() {
            report
                .notes
                .push(format!("{}; {RAISE_LIMIT}", relief::refusal()));
        }
        self.vm.console().settled().await;
        self.vm.console().whole_report().await;
        let reports = self.kernel_reports(plan);
        // A kernel may report only once (`WARN_ONCE`, lockdep), and after an oops it may hold
        // locks.
        self.unclean |= reports.iter().any(|report| plan.kernel_log.fails(report));
        report.take_kernel_reports(reports, plan.kernel_log);
        Ok(report)
    }

    /// Loads the test modules, once; returns errors.
    async fn load_modules(&mut self, plan: &Plan) -> Result<Option<String>, Error> {
        if self.modules_loaded || plan.modules.is_empty() {
            return Ok(None);
        }
        self.modules_loaded = true;
        let argv: Vec<String> = ["modprobe", "-a"]
            .into_iter()
            .map(str::to_owned)
            .chain(plan.modules.iter().cloned())
            .collect();
        let (output, succeeded) = self.auxiliary(plan, &argv).await?;
        leftovers::take_stock(&mut self.vm.control).await?;
        Ok((!succeeded).then(|| format!("modprobe failed: {}", output.trim())))
    }

    /// Runs one of our own commands; false if it failed or took too long.
    pub(super) async fn auxiliary(
        &mut self,
        plan: &Plan,
        argv: &[String],
    ) -> Result<(String, bool), Error> {
        let addr_no_randomize = self.runtime_tests_without_aslr(plan);
        let helper = Helper {
            argv,
            env: &plan.env,
            cwd: "/",
            options: SpawnOptions {
                addr_no_randomize,
                ..SpawnOptions::default()
            },
            limit: PREPARE_LIMIT.mul_f64(self.factor),
            grace: PREPARE_GRACE,
            leaves_others: false,
        };
        let mut driver = Driver::open(&mut self.vm.control)?;
        let helped = helper.run(&mut driver).await?;
        driver.close().await?;
        let text = |said: Said| String::from_utf8_lossy(&said.output).into_owned();
        Ok(match helped {
            Helped::NotStarted(why) => (why, false),
            Helped::TooLong(said) => (text(said), false),
            Helped::Ended(status, said) => (text(said), status == Status::Exited(0)),
        })
    }

    /// Whether the commands of runtime tests run without ASLR here.
    pub(super) fn runtime_tests_without_aslr(&self, plan: &Plan) -> bool {
        let is_runtime = |suite: &PlannedSuite| matches!(suite.runner, PlannedRunner::Bpftrace(_));
        let accelerator = self.vm.spec.accelerator;
        plan.suites.iter().any(is_runtime)
            && plan
                .aslr
                .is_off_for_runtime_tests(accelerator, self.qemu.version)
    }

    /// The note for a test whose program lacked an instruction.
    pub(super) fn note_of(&self, exit: Exit) -> Option<String> {
        let ended = match exit {
            Exit::Code(status) => Ended::Status(status),
            Exit::Signal(signal) => Ended::Signal(signal),
        };
        let spec = &self.vm.spec;
        cpu::illegal_instruction(
            ended,
            spec.kernel.arch,
            spec.accelerator,
            spec.cpu.as_deref(),
        )
    }

    /// What the kernel reported since the last call, if reports matter.
    pub(super) fn kernel_reports(&mut self, plan: &Plan) -> Vec<KernelReport> {
        let mut reports = self.vm.console().take_reports();
        let silent = self.taint.report(self.vm.control.taint(), &reports);
        reports.extend(silent);
        match plan.kernel_log {
            KernelLog::Ignore => Vec::new(),
            KernelLog::Fail | KernelLog::Warn => reports,
        }
    }

    /// Collects what is known about this lost VM and stops it.
    pub(super) async fn lost(mut self, error: &Error) -> Lost {
        let evidence = self.vm.evidence().await;
        self.vm.kill().await;
        Lost {
            reason: evidence.reason(error),
            evidence,
        }
    }

    /// Stops the VM.
    pub(super) async fn stop(self) -> Stopped {
        self.vm.stop().await
    }
}
