//! Processor models.

use super::spec::Accelerator;

/// The model of a guest under TCG. Wide vectors cost translation time, so an old
/// model is the fastest; its version 1, because later ones want what TCG lacks
/// (spec-ctrl) and warn; RDRAND (TCG has it since 4.1) makes the guest's random
/// numbers ready at once.
pub const TCG_MODEL: &str = "Nehalem-v1,+rdrand";

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

/// What to do about a program that died of an instruction that its guest's
/// processor does not have; `None` where that is not what happened, or there is
/// nothing to do. `model` is what `--cpu` asked for.
pub fn illegal_instruction(
    ended: Ended,
    accelerator: Accelerator,
    model: Option<&str>,
) -> Option<String> {
    let by_shell = Ended::Status(128 + SIGILL);
    if accelerator != Accelerator::Tcg || (ended != Ended::Signal(SIGILL) && ended != by_shell) {
        return None;
    }
    Some(match model {
        // QEMU 7.2 was the first whose TCG has AVX and AVX2 (its change log); none
        // up to 11.1 has AVX-512.
        None => format!(
            "ended by SIGILL: without KVM the guest has QEMU's {} processor, which lacks AVX and \
             later extensions; `--cpu max` gives it all that QEMU can emulate (AVX2 since 7.2)",
            TCG_MODEL.split(['-', ',']).next().unwrap_or(TCG_MODEL)
        ),
        Some(model) => format!(
            "ended by SIGILL: perhaps the guest's processor, `--cpu {model}` without KVM, lacks an \
             instruction that the program uses; `--cpu max` has all that QEMU can emulate, and \
             AVX-512 is not among it"
        ),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn sigill_under_emulation_names_the_model_that_has_more() {
        for ended in [Ended::Signal(4), Ended::Status(132)] {
            let text = illegal_instruction(ended, Accelerator::Tcg, None).unwrap();
            assert!(text.contains("QEMU's Nehalem processor"), "{text}");
            assert!(text.contains("--cpu max"), "{text}");
        }
        let text =
            illegal_instruction(Ended::Signal(4), Accelerator::Tcg, Some("Haswell")).unwrap();
        assert!(text.contains("--cpu Haswell"), "{text}");
    }

    #[test]
    fn nothing_is_said_of_other_ends_and_of_the_hosts_own_processor() {
        for ended in [Ended::Status(4), Ended::Signal(11), Ended::Status(0)] {
            assert_eq!(illegal_instruction(ended, Accelerator::Tcg, None), None);
        }
        let ended = Ended::Signal(4);
        assert_eq!(illegal_instruction(ended, Accelerator::Kvm, None), None);
    }
}
