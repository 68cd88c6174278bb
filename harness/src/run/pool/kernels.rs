//! The kernels of a run: the progress of each, and which gets the next VM.
//!
//! Kernels are provided while tests of others run. One that is unavailable only affects its own
//! tests.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use futures::StreamExt as _;
use indicatif::HumanBytes;
use nix::unistd::Pid;

use super::Pool;
use super::Waiting;
use crate::run::capacity::{of_vm, one_more_fits};
use crate::run::event::{Event, KernelFailed, KernelReady, Warning};
use crate::run::known;
use crate::run::plan::{KernelFailure, PlannedKernel, ReadyKernel};
use crate::run::times::Pace;

/// How many VMs of one kernel may fail to boot in a row before kiln gives up on the kernel.
const FAILED_IN_A_ROW: u32 = 3;

/// How many kernels to fetch and unpack at once: one uses the network, one the CPU.
const PROVIDED_AT_ONCE: usize = 2;

/// How often to check whether there is memory for a waiting VM.
const MEMORY_POLL: Duration = Duration::from_secs(1);

/// The progress of a kernel, and its remaining work.
pub(super) struct KernelState {
    provision: Provision,
    /// Empty until the kernel is ready.
    pub(super) queue: VecDeque<Waiting>,
    /// How long they take.
    pace: Pace,
    /// VMs that work on it.
    workers: usize,
    /// VMs that failed to boot since the last one that booted.
    failed_in_a_row: u32,
}

enum Provision {
    /// It is being provided, or will be.
    Pending {
        /// It will not take long.
        at_hand: bool,
    },
    Ready(Rc<ReadyKernel>),
    Failed,
}

/// What a worker should do.
#[derive(Debug, PartialEq, Eq)]
enum Choice {
    /// Boot a VM of this kernel.
    Boot(usize),
    /// Wait for kernels that are not ready yet.
    Wait,
    /// Nothing is left for it.
    End,
}

impl KernelState {
    /// Nothing is known about the kernel yet.
    pub(super) fn new(kernel: &PlannedKernel) -> Self {
        Self {
            provision: Provision::Pending {
                at_hand: kernel.at_hand,
            },
            queue: VecDeque::new(),
            pace: Pace::default(),
            workers: 0,
            failed_in_a_row: 0,
        }
    }

    fn is_pending(&self) -> bool {
        matches!(self.provision, Provision::Pending { .. })
    }

    fn is_ready_soon(&self) -> bool {
        matches!(self.provision, Provision::Pending { at_hand: true })
    }

    /// A VM of it has ended, which had booted (`up`) or not.
    fn vm_gone(&mut self, up: bool) {
        self.workers -= 1;
        // If one has booted, others can.
        self.failed_in_a_row = if up { 0 } else { self.failed_in_a_row + 1 };
    }

    /// Whether no VM of it runs or will run.
    fn is_given_up(&self) -> bool {
        self.workers == 0 && self.failed_in_a_row >= FAILED_IN_A_ROW && !self.queue.is_empty()
    }

    /// Whether one more VM would be useful.
    fn wants_a_vm(&self) -> bool {
        let queue = self.queue.iter().map(|waiting| waiting.test);
        self.pace.worth_a_vm(queue, self.workers) && self.failed_in_a_row < FAILED_IN_A_ROW
    }
}

/// The kernel that needs a VM most. A kernel with a VM gets another one only if the remaining tests
/// are worth a boot, and no other kernel is about to need its first.
fn choose(kernels: &[KernelState]) -> Choice {
    let most = kernels
        .iter()
        .enumerate()
        .filter(|(_, kernel)| kernel.wants_a_vm())
        .min_by_key(|(_, kernel)| kernel.workers);
    match most {
        Some((index, kernel)) if kernel.workers == 0 => Choice::Boot(index),
        Some((index, _)) if !kernels.iter().any(KernelState::is_ready_soon) => Choice::Boot(index),
        _ if kernels.iter().any(KernelState::is_pending) => Choice::Wait,
        _ => Choice::End,
    }
}

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
            Ok(ready) => self.ready(index, ready),
            Err(KernelFailure { reason, hints }) => {
                self.kernels.borrow_mut()[index].provision = Provision::Failed;
                self.emit(Event::KernelFailed(KernelFailed {
                    kernel: kernel.name.clone(),
                    reason,
                    hints,
                }));
            }
        }
        self.changed.notify_waiters();
    }

    fn ready(&self, index: usize, ready: ReadyKernel) {
        let plan = self.plan;
        let kernel = &plan.kernels[index];
        self.emit(Event::KernelReady(KernelReady {
            kernel: kernel.name.clone(),
            release: ready.release.clone(),
            sha256: ready.sha256.clone(),
        }));
        for result in known::skipped(plan, kernel, &ready.release) {
            self.emit(Event::TestFinished(result));
        }
        let state = &mut self.kernels.borrow_mut()[index];
        state.queue = plan
            .order(kernel)
            .into_iter()
            .filter(|&test| !known::is_skip(plan.known(test, &ready.release)))
            .map(Waiting::new)
            .collect();
        state.pace = plan.pace(kernel);
        state.provision = Provision::Ready(Rc::new(ready));
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
                Choice::Boot(_) if !self.has_room() => {
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
    pub(super) fn new_vm(&self) -> u32 {
        let vm = self.next_vm.get();
        self.next_vm.set(vm + 1);
        self.vms.borrow_mut().insert(vm, None);
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
        self.vms.borrow_mut().insert(vm, Some(process));
    }

    /// Whether one more VM fits into memory; tells the user the first time that it does not.
    fn has_room(&self) -> bool {
        let Some(available) = self.host.available() else {
            return true;
        };
        let resident = |process: &Option<Pid>| {
            // A booting one has no known memory use.
            process.and_then(|process| self.host.resident(process))
        };
        let vms = self.vms.borrow();
        let running: Vec<u64> = vms
            .values()
            .map(|process| resident(process).unwrap_or(0))
            .collect();
        let memory = self.plan.memory;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn state(provision: Provision, tests: usize, workers: usize) -> KernelState {
        KernelState {
            provision,
            queue: (0..tests).map(Waiting::new).collect(),
            pace: Pace::default(),
            workers,
            failed_in_a_row: 0,
        }
    }

    fn ready() -> Provision {
        Provision::Ready(Rc::new(ReadyKernel {
            release: "6.1.0".into(),
            sha256: String::new(),
            launch: Box::new(|_, _| unreachable!("nothing boots here")),
        }))
    }

    fn pending(at_hand: bool) -> Provision {
        Provision::Pending { at_hand }
    }

    #[test]
    fn the_first_kernel_that_is_ready_is_booted_while_others_are_fetched() {
        let kernels = [state(pending(false), 0, 0), state(ready(), 1, 0)];
        assert_eq!(choose(&kernels), Choice::Boot(1));
    }

    #[test]
    fn workers_wait_for_kernels_and_end_when_the_last_one_failed() {
        let busy = || state(ready(), 0, 1);
        let fetched = [busy(), state(pending(false), 0, 0)];
        assert_eq!(choose(&fetched), Choice::Wait);
        let failed = [busy(), state(Provision::Failed, 0, 0)];
        assert_eq!(choose(&failed), Choice::End);
    }

    #[test]
    fn a_second_vm_waits_for_kernels_at_hand_and_not_for_downloads() {
        let long = || state(ready(), 50, 1);
        assert_eq!(
            choose(&[long(), state(pending(true), 0, 0)]),
            Choice::Wait,
            "the other kernel's first VM is worth more"
        );
        assert_eq!(
            choose(&[long(), state(pending(false), 0, 0)]),
            Choice::Boot(0),
            "a download may take minutes"
        );
    }

    #[test]
    fn a_kernel_is_not_given_up_while_a_vm_of_it_runs() {
        let mut kernel = state(ready(), 50, 4);
        for _ in 0..3 {
            kernel.vm_gone(false);
        }
        assert!(!kernel.is_given_up());
        assert_eq!(choose(std::slice::from_ref(&kernel)), Choice::End);
        kernel.vm_gone(true);
        assert!(!kernel.is_given_up());
        assert_eq!(choose(std::slice::from_ref(&kernel)), Choice::Boot(0));
        kernel.workers = 3;
        for _ in 0..3 {
            kernel.vm_gone(false);
        }
        assert!(kernel.is_given_up());
    }

    #[test]
    fn the_kernel_with_the_fewest_vms_is_next_and_one_given_up_is_not() {
        let kernels = || vec![state(ready(), 50, 1), state(ready(), 50, 0)];
        assert_eq!(choose(&kernels()), Choice::Boot(1));
        let mut kernels = kernels();
        kernels[1].failed_in_a_row = FAILED_IN_A_ROW;
        assert_eq!(choose(&kernels), Choice::Boot(0));
    }
}
