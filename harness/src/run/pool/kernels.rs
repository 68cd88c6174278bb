//! The kernels of a run: they are provided, and get their VMs.
//!
//! Kernels are provided while tests of others run. One that is unavailable only affects its own
//! tests.

use std::rc::Rc;
use std::time::Duration;

use futures::StreamExt as _;
use indicatif::HumanBytes;
use nix::unistd::Pid;

use super::Pool;
use super::queue::{Choice, FAILED_IN_A_ROW, Provision, Waiting, choose};
use crate::run::capacity::{InUse, of_vm, one_more_fits};
use crate::run::event::{Event, KernelFailed, KernelReady, Warning};
use crate::run::known;
use crate::run::plan::{KernelFailure, ReadyKernel};

/// How many kernels to fetch and unpack at once: one uses the network, one the CPU.
const PROVIDED_AT_ONCE: usize = 2;

/// How often to check whether there is memory for a waiting VM.
const MEMORY_POLL: Duration = Duration::from_secs(1);

impl Pool<'_> {
    /// Provides all kernels, first those that need no fetching.
    pub(super) async fn provide_all(&self) {
        let mut order: Vec<usize> = (0..self.plan.kernels.len()).collect();
        order.sort_by_key(|&index| !self.plan.kernels[index].at_hand);
        futures::stream::iter(order)
            .for_each_concurrent(PROVIDED_AT_ONCE, |index| self.provide(index))
            .await;
    }

    async fn provide(&self, index: usize) {
        let kernel = &self.plan.kernels[index];
        let provided = (kernel.provide)().await;
        if self.stopped.get() {
            return;
        }
        match provided {
            Ok(ready) => self.ready(index, ready).await,
            Err(KernelFailure { reason, hints }) => {
                let kernel = kernel.name.clone();
                self.give_up(
                    index,
                    KernelFailed {
                        kernel,
                        reason,
                        hints,
                    },
                );
            }
        }
        self.changed.notify_waiters();
    }

    async fn ready(&self, index: usize, ready: ReadyKernel) {
        let plan = self.plan;
        let kernel = &plan.kernels[index];
        self.emit(Event::KernelReady(KernelReady {
            kernel: kernel.name.clone(),
            release: ready.release.clone(),
            sha256: ready.sha256.clone(),
            packages: ready.packages.clone(),
        }));
        if let Some(note) = &ready.note {
            self.warn(kernel, note.clone());
        }
        for result in known::skipped(plan, kernel, &ready.release) {
            self.emit(Event::TestFinished(result));
        }
        let mut tests = plan.order(kernel);
        tests.retain(|&test| !known::is_skip(plan.known(test, &ready.release)));
        // Before any VM: what is said of types counts for those that boot as well.
        let judged = self.judge_types(kernel, &ready, &tests).await;
        tests.retain(|test| !judged.contains(test));
        let state = &mut self.kernels.borrow_mut()[index];
        state.queue = tests.into_iter().map(Waiting::new).collect();
        state.pace = plan.pace(kernel);
        state.provision = Provision::Ready(Rc::new(ready));
    }

    /// No test of a kernel runs, or no more of them.
    pub(super) fn give_up(&self, index: usize, failed: KernelFailed) {
        let state = &mut self.kernels.borrow_mut()[index];
        state.queue.clear();
        // Another of its VMs may have said so.
        if !matches!(state.provision, Provision::Failed) {
            state.provision = Provision::Failed;
            self.emit(Event::KernelFailed(failed));
        }
    }

    /// The kernel of which to boot a VM, once there is one; `None` if nothing is left to do.
    pub(super) async fn next_kernel(&self) -> Option<(usize, Rc<ReadyKernel>)> {
        loop {
            let changed = self.changed.notified();
            if self.stopped.get() {
                return None;
            }
            let choice = choose(&self.kernels.borrow());
            match choice {
                Choice::Boot(index) if !self.has_room(index) => {
                    // Other programs may also free memory.
                    let _ = tokio::time::timeout(MEMORY_POLL, changed).await;
                }
                Choice::Boot(index) => {
                    let state = &mut self.kernels.borrow_mut()[index];
                    // Only a ready kernel has tests in its queue.
                    let Provision::Ready(ready) = &state.provision else {
                        return None;
                    };
                    state.workers += 1;
                    return Some((index, Rc::clone(ready)));
                }
                Choice::Wait => changed.await,
                Choice::End => return None,
            }
        }
    }

    /// The number of one more VM, which uses memory from now on.
    pub(super) fn new_vm(&self, kernel: usize) -> u32 {
        let vm = self.next_vm.get();
        self.next_vm.set(vm + 1);
        let memory = self.plan.kernels[kernel].memory;
        self.vms.borrow_mut().insert(vm, (memory, None));
        vm
    }

    /// A worker has finished with its VM, which had booted (`up`) or not.
    pub(super) fn vm_gone(&self, index: usize, vm: u32, up: bool) {
        let given_up = {
            let state = &mut self.kernels.borrow_mut()[index];
            state.vm_gone(up);
            state.is_given_up().then_some(state.queue.len())
        };
        if let Some(left) = given_up {
            self.warn(
                &self.plan.kernels[index],
                format!(
                    "{FAILED_IN_A_ROW} VMs in a row did not come up: giving up, {left} tests did \
                     not run"
                ),
            );
        }
        self.vms.borrow_mut().remove(&vm);
        self.changed.notify_waiters();
    }

    /// A VM of this kernel has booted.
    pub(super) fn up(&self, index: usize, vm: u32, process: Pid) {
        self.kernels.borrow_mut()[index].failed_in_a_row = 0;
        let memory = self.plan.kernels[index].memory;
        self.vms.borrow_mut().insert(vm, (memory, Some(process)));
    }

    /// Whether one more VM of this kernel fits into memory; tells the user the first time that it
    /// does not.
    fn has_room(&self, kernel: usize) -> bool {
        let Some(available) = self.host.available() else {
            return true;
        };
        let resident = |process: &Option<Pid>| {
            // A booting one has no known memory use.
            process.and_then(|process| self.host.resident(process))
        };
        let vms = self.vms.borrow();
        let running: Vec<InUse> = vms
            .values()
            .map(|(guest, process)| InUse {
                guest: *guest,
                resident: resident(process).unwrap_or(0),
            })
            .collect();
        let memory = self.plan.kernels[kernel].memory;
        let room = one_more_fits(available, memory, &running);
        if !room && !self.told_of_memory.replace(true) {
            self.emit(Event::Warning(Warning {
                kernel: None,
                message: format!(
                    "a further VM waits until it fits beside {}: {} of memory are available, a VM takes up to {}",
                    running.len(),
                    HumanBytes(available.bytes),
                    HumanBytes(of_vm(memory)),
                ),
            }));
        }
        room
    }
}
