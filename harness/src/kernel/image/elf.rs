//! The ELF `vmlinux`, which QEMU enters by PVH.

use object::elf;
use object::read::elf::{FileHeader, ProgramHeader};
use object::{Endianness, LittleEndian};

use super::release_word;

/// Linux: type of the Xen note that holds the 32-bit PVH entry point
/// (`include/xen/interface/elfnote.h`).
const XEN_ELFNOTE_PHYS32_ENTRY: u32 = 18;

pub(super) fn is_elf(data: &[u8]) -> bool {
    data.starts_with(&elf::ELFMAG)
}

fn elf_header(data: &[u8]) -> Option<&elf::FileHeader64<Endianness>> {
    elf::FileHeader64::<Endianness>::parse(data).ok()
}

pub(super) fn is_x86_64(data: &[u8]) -> bool {
    elf_header(data).is_some_and(|header| {
        header
            .endian()
            .is_ok_and(|endian| header.e_machine(endian) == elf::EM_X86_64)
    })
}

/// Whether an ELF kernel has the note by which QEMU finds its PVH entry point;
/// like QEMU, this looks at the program headers only.
pub(super) fn has_pvh_entry(data: &[u8]) -> bool {
    let search = || -> object::Result<bool> {
        let header = elf::FileHeader64::<LittleEndian>::parse(data)?;
        for segment in header.program_headers(LittleEndian, data)? {
            let Some(mut notes) = segment.notes(LittleEndian, data)? else {
                continue;
            };
            while let Some(note) = notes.next()? {
                if note.name() == b"Xen" && note.n_type(LittleEndian).0 == XEN_ELFNOTE_PHYS32_ENTRY
                {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    };
    // A kernel with headers that cannot be read is one QEMU cannot enter either.
    search().unwrap_or(false)
}

/// The release in the banner, `Linux version 6.1.0-50-cloud-amd64 (…) …`.
pub(super) fn banner_release(data: &[u8]) -> Option<String> {
    const BANNER: &[u8] = b"Linux version ";
    memchr::memmem::find_iter(data, BANNER).find_map(|at| {
        let rest = &data[at + BANNER.len()..];
        rest.first()?
            .is_ascii_digit()
            .then(|| release_word(rest))
            .flatten()
    })
}
