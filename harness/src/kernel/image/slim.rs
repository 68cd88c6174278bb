//! The part of an ELF kernel that boots: what its segments load, with the sections in it.
//!
//! The `vmlinux` of a build also has debug information, often ten times as much, which would fill
//! memory and the cache for nothing.

use object::elf::{self, FileHeader64, SectionHeader64};
use object::read::ReadRef;
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader};
use object::{LittleEndian, U32, U64, pod};

type Header = FileHeader64<LittleEndian>;

/// The offset of `e_shoff` in the header of an ELF64 file.
const SECTION_TABLE: usize = 0x28;
/// The offset of `e_shnum` and `e_shstrndx`.
const SECTION_COUNTS: usize = 0x3c;

/// Where the last segment of an ELF file ends, in bytes; `None` if it loads nothing, and an error
/// for a file that is not a 64-bit little-endian one.
pub(super) fn loaded_end<'data>(data: impl ReadRef<'data>) -> object::Result<Option<u64>> {
    let header = Header::parse(data)?;
    let segments = header.program_headers(LittleEndian, data)?;
    if !segments
        .iter()
        .any(|segment| segment.p_type(LittleEndian) == elf::PT_LOAD)
    {
        return Ok(None);
    }
    let table = size_of_val(segments) as u64;
    let headers = header.e_phoff(LittleEndian).saturating_add(table);
    let ends = segments.iter().map(|segment| {
        let (offset, size) = segment.file_range(LittleEndian);
        offset.saturating_add(size)
    });
    Ok(Some(ends.fold(headers, u64::max)))
}

/// An ELF file of `loaded`, the first bytes of `whole` as far as [`loaded_end`], and of the headers
/// of the sections that are in it. Sections that cannot be read are left out.
pub(super) fn slim<'data>(mut loaded: Vec<u8>, whole: impl ReadRef<'data>) -> Vec<u8> {
    let end = loaded.len() as u64;
    let (mut sections, names) = sections(whole).unwrap_or_default();
    for (number, section) in sections.iter_mut().enumerate() {
        if is_within(section, end) {
            continue;
        }
        // The others are large, and reading them takes as much memory.
        let text = (number == names).then(|| section.data(LittleEndian, whole));
        if let Some(Ok(text)) = text {
            section.sh_offset = U64::new(LittleEndian, loaded.len() as u64);
            loaded.extend_from_slice(text);
        } else {
            section.sh_type = U32::new(LittleEndian, elf::SHT_NULL);
            section.sh_offset = U64::new(LittleEndian, 0);
            section.sh_size = U64::new(LittleEndian, 0);
        }
    }
    if sections.is_empty() {
        set(&mut loaded, SECTION_TABLE, &[0; 8]);
        set(&mut loaded, SECTION_COUNTS, &[0; 4]);
        return loaded;
    }
    // Aligned for those who read it in place.
    loaded.resize(loaded.len().next_multiple_of(align_of::<u64>()), 0);
    let table = loaded.len() as u64;
    loaded.extend_from_slice(pod::bytes_of_slice(&sections));
    set(&mut loaded, SECTION_TABLE, &table.to_le_bytes());
    loaded
}

/// The headers of all sections, and which of them is that of their names.
fn sections<'data>(
    data: impl ReadRef<'data>,
) -> object::Result<(Vec<SectionHeader64<LittleEndian>>, usize)> {
    let header = Header::parse(data)?;
    let sections = header.section_headers(LittleEndian, data)?.to_vec();
    let names = header.shstrndx(LittleEndian, data)?;
    Ok((sections, usize::try_from(names).unwrap_or(usize::MAX)))
}

fn set(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + value.len()) {
        place.copy_from_slice(value);
    }
}

/// Whether a section lies before `end`; one without bytes lies nowhere.
fn is_within(section: &SectionHeader64<LittleEndian>, end: u64) -> bool {
    section
        .file_range(LittleEndian)
        .is_none_or(|(offset, size)| offset.checked_add(size).is_some_and(|last| last <= end))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use object::read::elf::ElfFile64;
    use object::{Object as _, ObjectSection as _};
    use proptest::prelude::*;

    use super::*;

    const NAMES: &[u8] = b"\0.text\0.bss\0.debug_info\0.shstrtab\0";
    const DEBUG: usize = 5000;

    /// An ELF file as a build leaves it: a segment of 64 bytes, debug information, names, and the
    /// table of sections.
    fn built() -> Vec<u8> {
        let text = 64 + 56;
        let names = text + 64 + DEBUG;
        let table = (names + NAMES.len()).next_multiple_of(8);
        let mut file = Vec::new();
        file.extend(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
        file.extend([2, 0, 62, 0, 1, 0, 0, 0]);
        for word in [0x100_0000, 64, table as u64] {
            file.extend(word.to_le_bytes());
        }
        file.extend(0_u32.to_le_bytes());
        for half in [64_u16, 56, 1, 64, 5, 4] {
            file.extend(half.to_le_bytes());
        }
        file.extend([1, 0, 0, 0, 5, 0, 0, 0]);
        for word in [text as u64, 0x100_0000, 0x100_0000, 64, 64, 8] {
            file.extend(word.to_le_bytes());
        }
        file.extend([0x90; 64]);
        file.extend([0xdb; DEBUG]);
        file.extend(NAMES);
        file.resize(table, 0);
        let mut section = |name: u32, kind: u32, address: u64, offset: usize, size: usize| {
            file.extend(name.to_le_bytes());
            file.extend(kind.to_le_bytes());
            for word in [2, address, offset as u64, size as u64, 0, 8, 0] {
                file.extend(word.to_le_bytes());
            }
        };
        section(0, 0, 0, 0, 0);
        section(1, 1, 0x100_0000, text, 64);
        section(7, 8, 0x100_0040, text + 64, 4096);
        section(12, 1, 0, text + 64, DEBUG);
        section(24, 3, 0, names, NAMES.len());
        file
    }

    fn slimmed(whole: &[u8]) -> Option<Vec<u8>> {
        let end = usize::try_from(loaded_end(whole).ok()??).unwrap_or(usize::MAX);
        let loaded = whole.get(..end)?.to_vec();
        Some(slim(loaded, whole))
    }

    #[test]
    fn what_is_loaded_stays_with_its_sections_and_debug_information_goes() {
        let whole = built();
        let slim = slimmed(&whole).unwrap();
        assert!(slim.len() < whole.len() - DEBUG + 16, "{}", slim.len());
        let before = ElfFile64::<LittleEndian>::parse(&*whole).unwrap();
        let after = ElfFile64::<LittleEndian>::parse(&*slim).unwrap();
        assert_eq!(before.entry(), after.entry());
        for name in [".text", ".bss"] {
            let [before, after] = [&before, &after].map(|file| file.section_by_name(name).unwrap());
            assert_eq!(before.address(), after.address(), "{name}");
            assert_eq!(before.size(), after.size(), "{name}");
            assert_eq!(before.data().unwrap(), after.data().unwrap(), "{name}");
        }
        assert!(
            before
                .section_by_name(".debug_info")
                .is_some_and(|debug| debug.size() > 0)
        );
        assert!(
            after
                .section_by_name(".debug_info")
                .is_none_or(|debug| debug.size() == 0)
        );
        assert_eq!(slimmed(&slim).unwrap().len(), slim.len());
    }

    #[test]
    fn a_file_without_sections_keeps_none() {
        let mut whole = built();
        whole[SECTION_TABLE..SECTION_TABLE + 8].fill(0);
        let slim = slimmed(&whole).unwrap();
        whole[SECTION_COUNTS..SECTION_COUNTS + 4].fill(0);
        assert_eq!(slim, whole[..64 + 56 + 64]);
    }

    proptest! {
        #[test]
        fn damaged_headers_never_panic(
            patch in proptest::collection::vec((0_usize..6000, any::<u8>()), 0..12),
            cut in 0_usize..6000,
        ) {
            let mut whole = built();
            for (at, byte) in patch {
                if let Some(place) = whole.get_mut(at) {
                    *place = byte;
                }
            }
            whole.truncate(whole.len().saturating_sub(cut / 4));
            if let Some(slim) = slimmed(&whole) {
                prop_assert!(slim.starts_with(&whole[..SECTION_TABLE]));
                prop_assert!(slim.len() <= 2 * whole.len() + 8);
            }
        }
    }
}
