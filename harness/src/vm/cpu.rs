//! CPU models.

use guest_init::message::Status;

use super::accelerator::Accelerator;
use super::arch::platform;
use crate::arch::Arch;

/// Number of SIGILL, signal(7).
const SIGILL: i32 = 4;

/// How a program ended: its exit status, or the signal that killed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The exit status.
    Status(i32),
    /// The signal's number.
    Signal(i32),
}

impl From<Status> for Ended {
    fn from(status: Status) -> Self {
        match status {
            Status::Exited(status) => Self::Status(status),
            Status::Signaled(signal) => Self::Signal(signal),
        }
    }
}

/// What to do about a program that died of an instruction that its guest's CPU does not have;
/// `None` if that is not what happened, or if nothing helps. `model` is from `--cpu`.
pub fn illegal_instruction(
    ended: Ended,
    arch: Arch,
    accelerator: Accelerator,
    model: Option<&str>,
) -> Option<String> {
    let by_shell = Ended::Status(128 + SIGILL);
    if accelerator != Accelerator::Tcg || (ended != Ended::Signal(SIGILL) && ended != by_shell) {
        return None;
    }
    Some((platform(arch).lacks_instruction)(model))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn sigill_under_emulation_names_the_model_that_has_more() {
        for ended in [Ended::Signal(4), Ended::Status(132)] {
            let text = illegal_instruction(ended, Arch::X86_64, Accelerator::Tcg, None).unwrap();
            assert!(text.contains("QEMU's Nehalem processor"), "{text}");
            assert!(text.contains("--cpu max"), "{text}");
        }
        let text = illegal_instruction(
            Ended::Signal(4),
            Arch::X86_64,
            Accelerator::Tcg,
            Some("Haswell"),
        )
        .unwrap();
        assert!(text.contains("--cpu Haswell"), "{text}");
    }

    #[test]
    fn nothing_is_said_of_other_ends_and_of_the_hosts_own_processor() {
        for ended in [Ended::Status(4), Ended::Signal(11), Ended::Status(0)] {
            assert_eq!(
                illegal_instruction(ended, Arch::X86_64, Accelerator::Tcg, None),
                None
            );
        }
        let ended = Ended::Signal(4);
        assert_eq!(
            illegal_instruction(ended, Arch::X86_64, Accelerator::Kvm, None),
            None
        );
    }
}
