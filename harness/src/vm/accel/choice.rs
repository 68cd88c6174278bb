//! The accelerator to use, and why.

use crate::vm::spec::Accelerator;

/// The accelerator to use, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The accelerator.
    pub accelerator: Accelerator,
    /// Why it is not KVM, where nobody asked for TCG.
    pub reason: Option<String>,
    /// Whether an earlier probe said so.
    pub remembered: bool,
}

impl Choice {
    /// The line to tell the user, the first time that TCG stands in for KVM.
    pub fn notice(&self) -> Option<String> {
        self.reason
            .as_ref()
            .filter(|_| !self.remembered)
            .map(|reason| {
                format!("KVM does not work here ({reason}); going on with TCG, which is slower")
            })
    }

    pub(super) fn fresh(accelerator: Accelerator, reason: Option<String>) -> Self {
        Self {
            accelerator,
            reason,
            remembered: false,
        }
    }
}
