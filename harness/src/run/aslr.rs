//! Whether the addresses of a test's processes are randomized.

use crate::vm::accelerator::Accelerator;
use crate::vm::qemu::{FAST_TCG_VERSION, Version};

/// Address space layout randomization of what a test starts.
///
/// TCG in QEMU 7.2 translates a program again whenever its addresses are new: `bpftrace -e 'BEGIN {
/// exit() }'` adds 87,000 translation blocks (`info jit` of QEMU's monitor) and takes 2.0 s with
/// ASLR; without it 4,000 and 1.2 s. QEMU 10.0 takes 1.3 s either way. (Kernel 6.1, bpftrace 0.17;
/// versions in between were not measured.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Aslr {
    /// Off for bpftrace's runtime tests if it costs time.
    #[default]
    Auto,
    /// The kernel's setting.
    On,
    /// Off for the tests of every suite.
    Off,
}

impl Aslr {
    /// The setting with upstream's verdicts: without ASLR bpftrace attaches earlier, so a test that
    /// times out with upstream's engine may pass.
    #[must_use]
    pub fn with_compat(self, compat: bool) -> Self {
        match self {
            Self::Auto if compat => Self::On,
            wanted => wanted,
        }
    }

    /// Whether a runtime test's command runs without ASLR in such a VM.
    pub(super) fn is_off_for_runtime_tests(self, accel: Accelerator, qemu: Version) -> bool {
        match self {
            Self::Auto => accel == Accelerator::Tcg && qemu < FAST_TCG_VERSION,
            Self::On => false,
            Self::Off => true,
        }
    }

    /// Whether a suite's command runs without ASLR. Some, such as the kernel's selftests, test ASLR
    /// itself.
    pub(super) fn is_off_for_commands(self) -> bool {
        self == Self::Off
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Version = Version { major: 7, minor: 2 };

    #[test]
    fn runtime_tests_do_without_where_it_costs_time() {
        let is_off = Aslr::is_off_for_runtime_tests;
        assert!(is_off(Aslr::Auto, Accelerator::Tcg, OLD));
        assert!(!is_off(Aslr::Auto, Accelerator::Tcg, FAST_TCG_VERSION));
        assert!(!is_off(Aslr::Auto, Accelerator::Kvm, OLD));
        assert!(!is_off(Aslr::On, Accelerator::Tcg, OLD));
        assert!(is_off(Aslr::Off, Accelerator::Kvm, FAST_TCG_VERSION));
    }

    #[test]
    fn upstream_s_verdicts_are_asked_for_with_it() {
        assert_eq!(Aslr::Auto.with_compat(true), Aslr::On);
        assert_eq!(Aslr::Auto.with_compat(false), Aslr::Auto);
        assert_eq!(Aslr::Off.with_compat(true), Aslr::Off);
    }

    #[test]
    fn commands_have_aslr_by_default() {
        assert!(!Aslr::Auto.is_off_for_commands());
        assert!(Aslr::Off.is_off_for_commands());
    }
}
