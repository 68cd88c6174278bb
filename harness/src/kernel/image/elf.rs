//! The ELF `vmlinux`, which QEMU enters by PVH.

use object::elf;
use object::read::elf::{FileHeader, ProgramHeader};
use object::{Endianness, LittleEndian};

use super::bytes::release_word;
use super::error::Refusal;
use crate::arch::Arch;

/// Linux: type of the Xen note that holds the 32-bit PVH entry point
/// (`include/xen/interface/elfnote.h`).
const XEN_ELFNOTE_PHYS32_ENTRY: u32 = 18;

pub(super) fn is_elf(data: &[u8]) -> bool {
    data.starts_with(&elf::ELFMAG)
}

/// The architecture of an ELF file.
pub(super) fn arch(data: &[u8]) -> Result<Arch, Refusal> {
    const CUT_SHORT: Refusal = Refusal::NotAKernel("its ELF header is cut short or damaged");
    if let Ok(header) = elf::FileHeader64::<Endianness>::parse(data) {
        let endian = header.endian().map_err(|_| CUT_SHORT)?;
        return match header.e_machine(endian) {
            elf::EM_X86_64 => Ok(Arch::X86_64),
            other => Err(Refusal::Foreign(machine_name(other, endian, 64))),
        };
    }
    let header = elf::FileHeader32::<Endianness>::parse(data).map_err(|_| CUT_SHORT)?;
    let endian = header.endian().map_err(|_| CUT_SHORT)?;
    Err(Refusal::Foreign(machine_name(
        header.e_machine(endian),
        endian,
        32,
    )))
}

/// The common name of a machine in the ELF specification.
fn machine_name(machine: elf::Machine, endian: Endianness, bits: u8) -> String {
    let name = match machine {
        elf::EM_386 => "32-bit x86",
        elf::EM_X86_64 => "x32",
        elf::EM_AARCH64 => "arm64",
        elf::EM_ARM => "32-bit arm",
        elf::EM_LOONGARCH => "loongarch",
        elf::EM_MIPS => "mips",
        elf::EM_PARISC => "parisc",
        elf::EM_PPC => "32-bit powerpc",
        elf::EM_PPC64 if endian == Endianness::Little => "ppc64le",
        elf::EM_PPC64 => "ppc64",
        elf::EM_RISCV if bits == 32 => "riscv32",
        elf::EM_RISCV => "riscv64",
        elf::EM_S390 => "s390",
        elf::EM_SPARCV9 => "sparc64",
        other => return format!("ELF machine {}", other.0),
    };
    name.to_owned()
}

/// Whether an ELF kernel has the note with its PVH entry point for QEMU; like QEMU, this looks only
/// at the program headers.
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
    // If the headers cannot be read, QEMU cannot enter the kernel either.
    search().unwrap_or(false)
}

/// Whether an ELF kernel has type information in a section of its own; `None` if its sections
/// cannot be read.
pub(in crate::kernel) fn has_btf(data: &[u8]) -> Option<bool> {
    use object::{Object as _, ObjectSection as _};
    let file = object::File::parse(data).ok()?;
    let mut named = file.sections().filter_map(|section| section.name().ok());
    // A kernel whose section headers were stripped has no names at all.
    file.section_by_name(".text")?;
    Some(named.any(|name| name == ".BTF"))
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
