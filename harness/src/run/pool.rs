//! VMs and the queue of tests: which VM runs what, and what happens if a VM is lost.
//!
//! Each worker takes the kernel with the fewest VMs that has tests left, boots one, and works
//! through that kernel's queue. A lost VM only affects the test that ran in it; a fresh one
//! continues with the rest.

mod kernels;
mod queue;
mod tell;
mod verdicts;
mod without_vm;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

use nix::unistd::Pid;
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;

use self::queue::{KernelState, Waiting};
use super::attempts::{Attempt, Attempts, file_name};
use super::capacity::Host;
use super::cases;
use super::cores::Cores;
use super::event::{
    Event, KernelFailed, Known, SpeedMeasured, TestResult, TestSlow, TestStarted, Verdict,
    VmStarted, VmStarting, VmStopped, Warning, bounded_text,
};
use super::plan::{Plan, PlannedKernel, ReadyKernel};
use super::policy::Repeat;
use super::session::{Lost, Session};
use super::slow::is_slow;
use super::stay::Moment;
use super::test_vm::TestVm;
use super::times::Times;
use super::trace;
use crate::duration::millis;
use crate::hint::{Hint as _, with_causes};
use crate::vm::launch;
use crate::vm::machine::Evidence;

/// A running test.
struct Running {
    attempts: Attempts,
    start: Instant,
    /// Its known result.
    result: TestResult,
}

/// Why there is no VM to test in.
enum NotUp {
    /// It was lost on the way.
    Lost(Lost),
    /// What was asked for cannot be had of this kernel.
    Refused(KernelFailed),
}

impl From<Lost> for NotUp {
    fn from(lost: Lost) -> Self {
        Self::Lost(lost)
    }
}

struct Pool<'p> {
    plan: &'p Plan,
    events: UnboundedSender<Event>,
    kernels: RefCell<Vec<KernelState>>,
    /// Signals that there may be work for a waiting worker.
    changed: Notify,
    /// How long tests and boots take in this run.
    times: RefCell<Times>,
    /// Running tests, by VM.
    running: RefCell<BTreeMap<u32, Running>>,
    next_vm: Cell<u32>,
    /// The existing VMs: their guests' memory, in bytes, and their processes once they are up.
    vms: RefCell<BTreeMap<u32, (u64, Option<Pid>)>>,
    host: Host,
    /// Whether the note that a VM waits for memory was given.
    told_of_memory: Cell<bool>,
    /// Warnings about VMs given so far, by kernel.
    told: RefCell<BTreeSet<(String, String)>>,
    /// Tests that count for `--max-fail`.
    failures: Cell<u32>,
    /// Start no more tests.
    stopped: Cell<bool>,
    /// No more repetitions: with `--repeat-until-fail`, a test has failed.
    repeated: Cell<bool>,
}

/// Executes a plan and reports everything as events. Dropping the future kills every VM; tests that
/// have run and wait to run again still get their verdict.
pub async fn run(plan: &Plan, events: UnboundedSender<Event>) {
    let pool = Pool {
        plan,
        events,
        kernels: RefCell::new(plan.kernels.iter().map(KernelState::new).collect()),
        changed: Notify::new(),
        times: RefCell::new(plan.times.fresh()),
        running: RefCell::new(BTreeMap::new()),
        next_vm: Cell::new(0),
        vms: RefCell::new(BTreeMap::new()),
        host: Host::here(),
        told_of_memory: Cell::new(false),
        told: RefCell::new(BTreeSet::new()),
        failures: Cell::new(0),
        stopped: Cell::new(false),
        repeated: Cell::new(false),
    };
    if let Some(note) = &plan.jobs.note {
        pool.emit(Event::Warning(Warning {
            kernel: None,
            message: note.clone(),
        }));
    }
    let all = async {
        let workers = (0..plan.jobs.count.max(1)).map(|_| pool.work());
        let workers = futures::future::join_all(workers);
        let provided = async {
            pool.provide_all().await;
            std::future::pending::<()>().await;
        };
        // Downloads that are still running when the workers have finished are useless.
        tokio::select! {
            _ = workers => {}
            () = provided => {}
        }
    };
    match plan.policies.global_timeout {
        None => all.await,
        // Its VMs ended with their future.
        Some(limit) => {
            if tokio::time::timeout(limit, all).await.is_err() {
                pool.time_is_up(limit);
            }
        }
    }
}

impl Drop for Pool<'_> {
    fn drop(&mut self) {
        // A test that was interrupted gets the verdict of its earlier runs.
        let running = std::mem::take(&mut *self.running.borrow_mut());
        for mut test in running.into_values() {
            if self.plan.policies.repeat != Repeat::Once && test.attempts.any() {
                self.finish(test.attempts.break_off(test.result, &self.plan.policies));
            }
        }
        self.settle();
        if let Err(error) = self.times.get_mut().keep() {
            tracing::info!("cannot store the times of this run: {error}");
        }
    }
}

impl<'p> Pool<'p> {
    /// One worker: VM after VM until no kernel has tests left for it.
    async fn work(&self) {
        while let Some((index, ready)) = self.next_kernel().await {
            let vm = self.new_vm(index);
            // It holds all that a test needs.
            let up = Box::pin(self.one_vm(index, &ready, vm)).await;
            self.vm_gone(index, vm, up);
        }
    }

    /// The next test of this kernel.
    fn take_test(&self, index: usize) -> Option<Waiting> {
        if self.stopped.get() {
            return None;
        }
        self.kernels.borrow_mut()[index].queue.pop_front()
    }

    /// Boots a VM of this kernel and works through its queue; returns whether it booted.
    async fn one_vm(&self, index: usize, ready: &ReadyKernel, vm: u32) -> bool {
        let kernel = &self.plan.kernels[index];
        self.emit(Event::VmStarting(VmStarting {
            kernel: kernel.name.clone(),
            vm,
        }));
        let mut up = match self.boot(kernel, ready, vm).await {
            Ok(up) => up,
            Err(NotUp::Refused(failed)) => {
                self.give_up(index, failed);
                self.emit(Event::VmStopped(VmStopped {
                    kernel: kernel.name.clone(),
                    vm,
                }));
                return false;
            }
            Err(NotUp::Lost(mut lost)) => {
                let reports = std::mem::take(&mut lost.evidence.kernel_reports);
                self.kernel_reports(kernel, vm, None, reports);
                self.lost(kernel, vm, None, &lost);
                return false;
            }
        };
        self.up(index, vm, up.session.vm.pid());
        self.said_between_tests(kernel, vm, &mut up);
        while let Some(waiting) = self.take_test(index) {
            let known = self.plan.known(waiting.test, &ready.release).cloned();
            let Some(alive) = self.one_test(index, up, vm, waiting, known).await else {
                return true;
            };
            up = alive;
            if self.plan.policies.fresh_vm || up.session.unclean {
                break;
            }
        }
        self.said_between_tests(kernel, vm, &mut up);
        let stopped = up.session.stop().await;
        self.kernel_reports(kernel, vm, None, stopped.kernel_reports);
        if stopped.killed {
            self.warn(
                kernel,
                format!("VM {vm} did not power off when told to, and was killed"),
            );
        }
        self.emit(Event::VmStopped(VmStopped {
            kernel: kernel.name.clone(),
            vm,
        }));
        true
    }

    /// Runs a test once; returns the VM unless it is lost.
    async fn one_test(
        &self,
        index: usize,
        mut up: TestVm<'p>,
        vm: u32,
        mut waiting: Waiting,
        known: Option<Known>,
    ) -> Option<TestVm<'p>> {
        let kernel = &self.plan.kernels[index];
        let test = self.plan.tests[waiting.test];
        let id = self.plan.test(test).id.to_string();
        let attempt = waiting.attempts.next();
        if let Some(before) = waiting.attempts.begin() {
            // Cases come right before the test that reported them.
            for case in before.cases {
                self.emit(Event::AttemptFinished(case));
            }
            self.emit(Event::AttemptFinished(before.result));
        }
        self.emit(Event::TestStarted(TestStarted {
            kernel: kernel.name.clone(),
            vm,
            suite: self.plan.suite_of(test).name.clone(),
            id: id.clone(),
            attempt,
            expected_ms: self.kernels.borrow()[index]
                .pace
                .of(waiting.test)
                .and_then(|time| u64::try_from(time.as_millis()).ok()),
        }));
        let result = TestResult {
            vm,
            attempt,
            known,
            ..self.plan.verdict(kernel, test, Verdict::Lost)
        };
        let start = Instant::now();
        self.running.borrow_mut().insert(
            vm,
            Running {
                attempts: waiting.attempts.clone(),
                start,
                result: result.clone(),
            },
        );
        let places = (up.session.dir(), self.plan.logs_of(kernel, vm));
        up.session.moment = Moment::of(&self.plan.stay, &result, places, &self.events);
        // What came since the last test does not belong to this one.
        self.said_between_tests(kernel, vm, &mut up);
        let traces = up.session.start_trace().await;
        let console_from = up.session.vm.console().position();
        let time = up.session.vm.control.time.clone();
        let guest_start = time.now();
        let guest_ms = || millis(time.now().saturating_sub(guest_start));
        let ended = async {
            traces?;
            let ended = up.test(test);
            tokio::pin!(ended);
            tokio::select! {
                ended = &mut ended => ended,
                () = is_slow(self.plan, test, &time) => {
                    self.emit(Event::TestSlow(TestSlow {
                        kernel: kernel.name.clone(),
                        vm,
                        id: id.clone(),
                        elapsed_ms: millis(start.elapsed()),
                        guest_ms: Some(guest_ms()),
                    }));
                    ended.await
                }
            }
        }
        .await;
        let stayed = up.session.stayed();
        let duration_ms = millis((start + stayed).elapsed());
        // In a VM that stayed, others have used the guest's time, too.
        let guest_ms = stayed.is_zero().then(guest_ms);
        let mut cases = Vec::new();
        let ended = match ended {
            Ok(ended) => {
                let name = file_name(&id, attempt);
                up.session
                    .keep_trace(&name)
                    .await
                    .map(|trace| (ended, trace))
            }
            Err(error) => Err(error),
        };
        let (result, up) = match ended {
            Ok(((ended, reports), trace)) => {
                for note in ended.notes {
                    self.warn(kernel, format!("{id}: {note}"));
                }
                for core in up.session.cores.iter_mut().flat_map(Cores::fresh) {
                    self.warn(kernel, format!("{id}: {core}"));
                }
                self.kernel_reports(kernel, vm, Some(&id), reports);
                let judgement = ended.judgement;
                let rules = judgement.rules.iter();
                let details: Vec<&str> = judgement
                    .diff
                    .iter()
                    .chain(&trace)
                    .map(String::as_str)
                    .collect();
                let mut result = TestResult {
                    verdict: judgement.verdict,
                    reason: Some(judgement.full_reason()).filter(|text| !text.is_empty()),
                    duration_ms,
                    guest_ms,
                    output: bounded_text(&ended.output),
                    rules: rules.map(|rule| rule.name.to_owned()).collect(),
                    details: details.join("\n"),
                    ..result
                };
                if !result.is_expected() {
                    let said = up.session.vm.console().text_since(console_from);
                    result.console = bounded_text(said.as_bytes());
                }
                cases = cases::results(&result, ended.cases);
                (result, Ok(up))
            }
            Err(error) => {
                let mut lost = up.session.lost(&error).await;
                let reports = std::mem::take(&mut lost.evidence.kernel_reports);
                self.kernel_reports(kernel, vm, Some(&id), reports);
                let result = TestResult {
                    reason: Some(lost.reason.clone()),
                    duration_ms,
                    details: lost.evidence.to_string(),
                    ..result
                };
                (result, Err(lost))
            }
        };
        self.running.borrow_mut().remove(&vm);
        self.attempt_ended(index, waiting, Attempt { result, cases });
        match up {
            Ok(up) => Some(up),
            Err(lost) => {
                self.lost(kernel, vm, Some(id), &lost);
                None
            }
        }
    }

    async fn boot(
        &self,
        kernel: &PlannedKernel,
        ready: &ReadyKernel,
        vm: u32,
    ) -> Result<TestVm<'p>, NotUp> {
        let start = Instant::now();
        let logs = self.plan.logs_of(kernel, vm);
        let mut session = Session::boot(&ready.launch, &logs, kernel.modules.clone())
            .await
            .map_err(|error| match error {
                launch::Error::Boot { why, evidence, .. } => Lost {
                    reason: format!("did not come up: {why}"),
                    evidence: *evidence,
                },
                other => Lost {
                    reason: with_causes(&other),
                    evidence: Evidence::default(),
                },
            })?;
        if let Some(note) = &session.accel_note {
            self.warn(kernel, note.clone());
        }
        for warning in &session.vm.hello.warnings {
            self.warn(kernel, warning.clone());
        }
        let means = session.vm.spec.means.clone();
        for note in session.vm.spec.notes() {
            // VMs of one kernel are alike, so warn only once.
            if self
                .told
                .borrow_mut()
                .insert((kernel.name.clone(), note.clone()))
            {
                self.warn(kernel, note);
            }
        }
        let aslr = self.plan.settings.aslr;
        let mut suites = self.plan.suites.iter();
        session.addr_no_randomize = suites.any(|suite| suite.spares_aslr(aslr, &session));
        let spec = &session.vm.spec;
        self.emit(Event::VmStarted(VmStarted {
            kernel: kernel.name.clone(),
            release: session.vm.hello.release.clone(),
            accelerator: spec.accelerator.to_string(),
            qemu: session.qemu.full_version.clone(),
            addr_no_randomize: session.addr_no_randomize,
            boot_ms: millis(start.elapsed()),
            restored: session.vm.restored,
            vm,
            machine: means.machine.to_string(),
            transport: means.transport.to_string(),
            share: means.share.to_string(),
            no_overlay: !means.overlay,
            chosen_because: means.reasons,
            memory: spec.memory,
            cpus: spec.cpus,
            cpu: spec.cpu.clone(),
            append: spec.kernel_args.clone(),
            qemu_args: spec.qemu_args.clone(),
            modules: session.modules.clone(),
            asked: spec.asked.clone(),
        }));
        match session.prepare_trace().await {
            Ok(()) => {}
            Err(trace::Error::Vm(error)) => return Err(session.lost(&error).await.into()),
            Err(error) => {
                session.stop().await;
                return Err(NotUp::Refused(KernelFailed {
                    kernel: kernel.name.clone(),
                    reason: with_causes(&error),
                    hints: error.hints(),
                }));
            }
        }
        match TestVm::prepare(session, self.plan, kernel).await {
            Ok((up, warnings)) => {
                for warning in warnings {
                    // VMs of one kernel are alike, so warn only once.
                    let told = (kernel.name.clone(), warning.clone());
                    if self.told.borrow_mut().insert(told) {
                        self.warn(kernel, warning);
                    }
                }
                self.emit(Event::SpeedMeasured(SpeedMeasured {
                    kernel: kernel.name.clone(),
                    vm,
                    factor: up.session.factor,
                }));
                Ok(up)
            }
            Err((session, error)) => Err(session.lost(&error).await.into()),
        }
    }

    /// Tells what the kernel has said while no test ran.
    fn said_between_tests(&self, kernel: &PlannedKernel, vm: u32, up: &mut TestVm<'_>) {
        let reports = up.session.kernel_reports(self.plan.settings.kernel_log);
        self.kernel_reports(kernel, vm, None, reports);
    }
}
