//! Unified kernel images: EFI programs with a kernel in a section (UAPI group, 'Unified Kernel
//! Image').

use std::ops::Range;

use object::read::pe::PeFile64;

/// Where the kernel is in a unified kernel image, in bytes; `None` if the file is not one. The range
/// of a damaged image may lead out of it. kiln does not use the image's initrd and command line.
pub(super) fn kernel(data: &[u8]) -> Option<Range<usize>> {
    if !data.starts_with(b"MZ") {
        return None;
    }
    let program = PeFile64::parse(data).ok()?;
    let section = program
        .section_table()
        .iter()
        .find(|section| section.raw_name() == b".linux")?;
    let (offset, size) = section.pe_file_range();
    let start = usize::try_from(offset).ok()?;
    Some(start..start.checked_add(usize::try_from(size).ok()?)?)
}
