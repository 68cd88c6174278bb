//! What is of one machine: how QEMU runs it, and what its kernel has to be told.

mod platform;
mod x86_64;

pub(crate) use platform::Platform;

use crate::arch::Arch;

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
