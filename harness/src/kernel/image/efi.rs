//! EFI programs. A bzImage is also one; of others, kiln can only say what they are.

use super::bytes::{u16_at, u32_at};

/// The machine in the header of a PE/COFF file (PE Format, 'COFF File Header'); `None` if it is not
/// such a file.
pub(super) fn machine(data: &[u8]) -> Option<u16> {
    if !data.starts_with(b"MZ") {
        return None;
    }
    let header = usize::try_from(u32_at(data, 0x3c)?).ok()?;
    if data.get(header..)?.starts_with(b"PE\0\0") {
        u16_at(data, header.checked_add(4)?)
    } else {
        None
    }
}
