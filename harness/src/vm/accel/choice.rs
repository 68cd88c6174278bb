//! The accelerator to use, and why.

use crate::vm::accelerator::Accelerator;

/// The accelerator to use, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The accelerator.
    pub accelerator: Accelerator,
    /// Why it is not KVM, unless TCG was requested.
    pub reason: Option<String>,
    /// Whether this is the result of an earlier probe.
    pub remembered: bool,
}

impl Choice {
    /// The message for the user, the first time that TCG replaces KVM.
    pub fn notice(&self) -> Option<String> {
        self.reason
            .as_ref()
            .filter(|_| !self.remembered)
            .map(|reason| format!("KVM does not work here ({reason}); using TCG, which is slower"))
    }

    pub(super) fn fresh(accelerator: Accelerator, reason: Option<String>) -> Self {
        Self {
            accelerator,
            reason,
            remembered: false,
        }
    }
}
