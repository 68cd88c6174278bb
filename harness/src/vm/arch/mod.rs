//! What is of one machine: how QEMU runs it, and what its kernel has to be told.

mod x86_64;

use super::spec::Accelerator;
use crate::arch::Arch;

/// The VM that guests of one architecture get.
pub(crate) struct Platform {
    /// How to install its QEMU, behind `install it: `.
    pub(crate) install: &'static str,
    /// Debian's package of its QEMU.
    pub(crate) debian_package: &'static str,
    /// QEMU's machine type.
    pub(crate) machine: &'static str,
    /// Properties of the machine type, behind a comma each.
    pub(super) machine_properties: &'static str,
    /// The processor model under TCG.
    pub(super) emulated_cpu: &'static str,
    /// What to do about a program that needs an instruction that a guest's
    /// processor lacks under TCG; `None` stands for [`Self::emulated_cpu`].
    pub(super) lacks_instruction: fn(model: Option<&str>) -> String,
    /// The device of the serial port that is the console, for `console=`.
    pub(super) console: &'static str,
    /// Arguments of the kernel that make a reboot end QEMU.
    pub(super) reboot: &'static [&'static str],
    /// Arguments of the kernel about its clock, with the frequency of the host's
    /// counter in kHz where it is known.
    pub(super) clock: fn(Accelerator, counter_khz: Option<u64>) -> Vec<String>,
    /// Measures the frequency of the host's counter in kHz, where guests have to
    /// be told. Blocks for some milliseconds.
    pub(super) counter_khz: fn() -> Option<u64>,
    /// Whether a console shows that the kernel has given up its only timer: it
    /// says hello and then sleeps for ever.
    pub(super) has_no_timer: fn(console: &str) -> bool,
    /// Longest command line in bytes that its kernel takes whole.
    pub(super) max_command_line: usize,
    /// The most vCPUs with which its firmware boots.
    pub(super) most_vcpus: u32,
}

/// The VM of guests of `arch`.
pub(crate) fn platform(arch: Arch) -> &'static Platform {
    match arch {
        Arch::X86_64 => &x86_64::PLATFORM,
    }
}

/// The frequency in kHz of the counter of this host that guests of `arch` read,
/// where they have to be told.
pub fn counter_khz(arch: Arch) -> Option<u64> {
    (platform(arch).counter_khz)()
}
