//! The progress of each kernel of a run, and which of them gets the next VM.

use std::collections::VecDeque;
use std::rc::Rc;

use crate::run::attempts::Attempts;
use crate::run::plan::{PlannedKernel, ReadyKernel};
use crate::run::times::Pace;

/// How many VMs of one kernel may fail to boot in a row before kiln gives up on the kernel.
pub(super) const FAILED_IN_A_ROW: u32 = 3;

/// A test that waits for a VM.
#[derive(Debug, Clone)]
pub(super) struct Waiting {
    /// An index into [`Plan::tests`].
    pub(super) test: usize,
    pub(super) attempts: Attempts,
}

impl Waiting {
    pub(super) fn new(test: usize) -> Self {
        Self {
            test,
            attempts: Attempts::default(),
        }
    }
}

/// The progress of a kernel, and its remaining work.
pub(super) struct KernelState {
    pub(super) provision: Provision,
    /// Empty until the kernel is ready.
    pub(super) queue: VecDeque<Waiting>,
    /// How long they take.
    pub(super) pace: Pace,
    /// VMs that work on it.
    pub(super) workers: usize,
    /// VMs that failed to boot since the last one that booted.
    pub(super) failed_in_a_row: u32,
}

pub(super) enum Provision {
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
pub(super) enum Choice {
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
    pub(super) fn vm_gone(&mut self, up: bool) {
        self.workers -= 1;
        // If one has booted, others can.
        self.failed_in_a_row = if up { 0 } else { self.failed_in_a_row + 1 };
    }

    /// Whether no VM of it runs or will run.
    pub(super) fn is_given_up(&self) -> bool {
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
pub(super) fn choose(kernels: &[KernelState]) -> Choice {
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
            packages: None,
            note: None,
            launch: Box::new(|_, _| unreachable!("nothing boots here")),
            types: std::sync::Arc::new(|| unreachable!("nothing is looked up here")),
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
