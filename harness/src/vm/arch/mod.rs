//! What depends on the architecture: how QEMU runs it, and what its kernel needs on its command
//! line.

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

/// The frequency in kHz of this host's counter that guests of `arch` read, if they must be told.
pub fn counter_khz(arch: Arch) -> Option<u64> {
    (platform(arch).counter_khz)()
}
