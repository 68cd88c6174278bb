//! The description of a VM for any architecture.

use crate::config::{Machine, Transport};
use crate::vm::accelerator::Accelerator;

/// The VM for guests of one architecture.
pub(crate) struct Platform {
    /// How to install its QEMU, after `install it: `.
    pub(crate) install: &'static str,
    /// Debian's package of its QEMU.
    pub(crate) debian_package: &'static str,
    /// QEMU's machine type, unless another is asked for.
    pub(crate) machine: &'static str,
    /// QEMU's machine type with its properties, if virtio devices use this transport.
    pub(in crate::vm) machine_type: fn(Machine, Transport) -> &'static str,
    /// The CPU model under TCG.
    pub(in crate::vm) emulated_cpu: &'static str,
    /// Kernel arguments under TCG.
    pub(in crate::vm) emulated_arguments: &'static [&'static str],
    /// What to do about a program that needs an instruction that a guest's CPU lacks under TCG;
    /// `None` means [`Self::emulated_cpu`].
    pub(in crate::vm) lacks_instruction: fn(model: Option<&str>) -> String,
    /// The device of the serial port that is the console, for `console=`.
    pub(in crate::vm) console: &'static str,
    /// Kernel arguments that make a reboot end QEMU.
    pub(in crate::vm) reboot: &'static [&'static str],
    /// Kernel arguments for its clock, with the frequency of the host's counter in kHz if known.
    pub(in crate::vm) clock: fn(Accelerator, counter_khz: Option<u64>) -> Vec<String>,
    /// Measures the frequency of the host's counter in kHz, if guests must be told. Blocks for some
    /// milliseconds.
    pub(in crate::vm) counter_khz: fn() -> Option<u64>,
    /// Whether a console shows that the kernel has given up its only timer: then it says hello and
    /// sleeps forever.
    pub(in crate::vm) has_no_timer: fn(console: &str) -> bool,
    /// Longest command line that its kernel accepts, in bytes.
    pub(in crate::vm) max_command_line: usize,
    /// The most vCPUs with which its firmware boots.
    pub(in crate::vm) most_vcpus: u32,
}
