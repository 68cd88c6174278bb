//! VMs and the queue of tests: who runs what, and what happens when a VM is
//! lost.
//!
//! Each worker takes the kernel with the fewest VMs that has tests left, boots
//! one, and works through that kernel's queue. A lost VM costs the test that
//! ran in it; a fresh one goes on with the rest.

use std::cell::RefCell;
use std::collections::VecDeque;

use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;

use super::event::{Event, TestResult, Verdict, bounded_text};
use super::plan::Plan;
use super::session::{Lost, Session};
use super::{event, plan::PlannedKernel};
use crate::vm::kernel_log::KernelReport;
use crate::vm::launch;
use crate::vm::machine::Evidence;

/// VMs of one kernel that may be lost in a row, without any test finished in
/// between, before the kernel is given up.
const LOST_IN_A_ROW: u32 = 3;

/// What is left to do for one kernel.
struct KernelState {
    queue: VecDeque<usize>,
    /// VMs that work on it.
    workers: usize,
    /// VMs lost since the last finished test.
    lost_in_a_row: u32,
}

struct Pool<'p> {
    plan: &'p Plan,
    events: UnboundedSender<Event>,
    kernels: RefCell<Vec<KernelState>>,
    next_vm: RefCell<u32>,
}

/// Carries out a plan and reports every fact as an event. Dropping the future
/// kills every VM.
pub async fn run(plan: &Plan, events: UnboundedSender<Event>) {
    let pool = Pool {
        plan,
        events,
        kernels: RefCell::new(
            plan.kernels
                .iter()
                .map(|kernel| KernelState {
                    queue: plan.order(kernel).into(),
                    workers: 0,
                    lost_in_a_row: 0,
                })
                .collect(),
        ),
        next_vm: RefCell::new(0),
    };
    let workers = (0..plan.jobs.max(1)).map(|_| pool.work());
    futures::future::join_all(workers).await;
}

impl Pool<'_> {
    fn emit(&self, event: Event) {
        // The receiver lives as long as the run.
        let _ = self.events.send(event);
    }

    /// One worker: VM after VM until no kernel has tests left for it.
    async fn work(&self) {
        while let Some(index) = self.take_kernel() {
            self.one_vm(index).await;
            self.kernels.borrow_mut()[index].workers -= 1;
        }
    }

    /// The kernel that needs a VM most. A kernel with a VM gets another one
    /// only if there is enough left to be worth a boot.
    fn take_kernel(&self) -> Option<usize> {
        const WORTH_A_BOOT: usize = 4;
        let mut kernels = self.kernels.borrow_mut();
        let index = kernels
            .iter()
            .enumerate()
            .filter(|(_, kernel)| {
                kernel.queue.len() > kernel.workers * WORTH_A_BOOT
                    && kernel.lost_in_a_row < LOST_IN_A_ROW
            })
            .min_by_key(|(_, kernel)| kernel.workers)
            .map(|(index, _)| index)?;
        kernels[index].workers += 1;
        Some(index)
    }

    /// Boots a VM of this kernel and works through its queue.
    async fn one_vm(&self, index: usize) {
        let kernel = &self.plan.kernels[index];
        let vm = {
            let mut next = self.next_vm.borrow_mut();
            *next += 1;
            *next - 1
        };
        let mut session = match self.boot(kernel, vm).await {
            Ok(session) => session,
            Err(lost) => {
                self.lost(index, vm, None, &lost);
                return;
            }
        };
        loop {
            let next = self.kernels.borrow_mut()[index].queue.pop_front();
            let Some(test) = next else { break };
            let test = &self.plan.tests[test];
            let id = test.id().to_string();
            let suite = self.plan.suite_of(test).name.clone();
            self.emit(Event::TestStarted {
                kernel: kernel.name.clone(),
                vm,
                suite: suite.clone(),
                id: id.clone(),
                attempt: 1,
            });
            let result = TestResult {
                kernel: kernel.name.clone(),
                vm,
                suite,
                id: id.clone(),
                case_of: None,
                attempt: 1,
                verdict: Verdict::Lost,
                reason: None,
                flaky: false,
                known: None,
                duration_ms: 0,
                output: String::new(),
                details: String::new(),
                rules: Vec::new(),
            };
            let start = Instant::now();
            match session.test(self.plan, test).await {
                Ok(report) => {
                    self.kernels.borrow_mut()[index].lost_in_a_row = 0;
                    for note in report.notes {
                        self.warn(kernel, format!("{id}: {note}"));
                    }
                    self.kernel_reports(kernel, vm, Some(&id), report.kernel_reports);
                    self.emit(Event::TestFinished(TestResult {
                        verdict: report.judgement.verdict,
                        reason: Some(report.judgement.full_reason())
                            .filter(|text| !text.is_empty()),
                        duration_ms: millis(start),
                        output: bounded_text(&report.output),
                        details: report.judgement.diff.unwrap_or_default(),
                        rules: report
                            .judgement
                            .rules
                            .iter()
                            .map(ToString::to_string)
                            .collect(),
                        ..result
                    }));
                }
                Err(error) => {
                    let mut lost = session.lost(error.to_string()).await;
                    let reports = std::mem::take(&mut lost.kernel_reports);
                    self.kernel_reports(kernel, vm, Some(&id), reports);
                    self.emit(Event::TestFinished(TestResult {
                        reason: Some(lost.reason.clone()),
                        duration_ms: millis(start),
                        details: lost.evidence.to_string(),
                        ..result
                    }));
                    self.lost(index, vm, Some(id), &lost);
                    return;
                }
            }
        }
        session.stop().await;
        self.emit(Event::VmStopped {
            kernel: kernel.name.clone(),
            vm,
        });
    }

    async fn boot(&self, kernel: &PlannedKernel, vm: u32) -> Result<Session, Lost> {
        let start = Instant::now();
        let session = Session::boot(self.plan, kernel, vm)
            .await
            .map_err(|error| match error {
                launch::Error::Boot { why, evidence, .. } => Lost {
                    reason: format!("did not come up: {why}"),
                    evidence: *evidence,
                    kernel_reports: Vec::new(),
                },
                other => Lost {
                    reason: other.to_string(),
                    evidence: Evidence::default(),
                    kernel_reports: Vec::new(),
                },
            })?;
        if let Some(note) = &session.accel_note {
            self.warn(kernel, note.clone());
        }
        for warning in &session.vm.hello.warnings {
            self.warn(kernel, warning.clone());
        }
        self.emit(Event::VmStarted {
            kernel: kernel.name.clone(),
            release: session.vm.hello.release.clone(),
            accelerator: session.vm.spec.accelerator.to_string(),
            qemu: session.qemu_version.clone(),
            boot_ms: millis(start),
            vm,
        });
        let mut session = session;
        match session.prepare(self.plan).await {
            Ok(warnings) => {
                for warning in warnings {
                    self.warn(kernel, warning);
                }
                self.emit(Event::SpeedMeasured {
                    kernel: kernel.name.clone(),
                    vm,
                    factor: session.factor,
                });
                Ok(session)
            }
            Err(error) => Err(session.lost(error.to_string()).await),
        }
    }

    fn lost(&self, index: usize, vm: u32, test: Option<String>, lost: &Lost) {
        let kernel = &self.plan.kernels[index];
        self.emit(Event::VmLost {
            kernel: kernel.name.clone(),
            vm,
            reason: lost.reason.clone(),
            test,
            console: bounded_text(lost.evidence.console.as_bytes()),
            qmp_status: Some(lost.evidence.status.clone()).filter(|status| !status.is_empty()),
        });
        let mut kernels = self.kernels.borrow_mut();
        let state = &mut kernels[index];
        state.lost_in_a_row += 1;
        if state.lost_in_a_row >= LOST_IN_A_ROW && !state.queue.is_empty() {
            let left = state.queue.len();
            drop(kernels);
            self.warn(
                kernel,
                format!("{LOST_IN_A_ROW} VMs lost in a row: given up, {left} tests did not run"),
            );
        }
    }

    fn kernel_reports(
        &self,
        kernel: &PlannedKernel,
        vm: u32,
        test: Option<&str>,
        reports: Vec<KernelReport>,
    ) {
        for report in reports {
            self.emit(Event::KernelReport {
                kernel: kernel.name.clone(),
                vm,
                kind: report.kind.to_owned(),
                test: test.map(ToOwned::to_owned),
                text: bounded_text(report.text.as_bytes()),
            });
        }
    }

    fn warn(&self, kernel: &PlannedKernel, message: String) {
        self.emit(event::Event::Warning {
            kernel: Some(kernel.name.clone()),
            message,
        });
    }
}

fn millis(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX)
}
