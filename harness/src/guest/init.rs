//! The embedded PID 1.

use crate::arch::Arch;

/// The static guest-init binary that this build of kiln carries. A constant would be in the program
/// once for each codegen unit that names it.
pub static GUEST_INIT: &[u8] = include_bytes!(env!("KILN_GUEST_INIT_PATH"));

/// The one that runs in guests of `arch`.
pub fn of(arch: Arch) -> &'static [u8] {
    match arch {
        Arch::X86_64 => GUEST_INIT,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use object::{Object as _, read::elf::ElfFile64};

    #[test]
    fn guest_init_is_static_and_under_1_5_mb() {
        assert!(GUEST_INIT.len() < 1_500_000, "{} bytes", GUEST_INIT.len());
        let elf = ElfFile64::<object::Endianness>::parse(GUEST_INIT).unwrap();
        assert!(elf.segments().count() > 0);
        let interpreted = elf
            .elf_program_headers()
            .iter()
            .any(|header| header.p_type.get(object::Endianness::Little) == object::elf::PT_INTERP);
        assert!(!interpreted, "guest-init asks for a dynamic linker");
    }
}
