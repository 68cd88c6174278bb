//! Recognises images of architectures that kiln does not boot, to name them in errors.

use std::io::Read as _;

use super::bytes::u32_at;
use super::compression::Compression;
use super::efi;

/// Larger than any header that is read here; that of s390 is the farthest.
const HEADER: u64 = 0x11000;

/// The architecture of an image that is neither a bzImage nor an ELF file; `None` if it is unknown
/// here. An image may be compressed as a whole, as boot loaders for arm64 and riscv accept
/// (`Image.gz`).
pub(super) fn architecture(data: &[u8]) -> Option<&'static str> {
    if let Some(name) = of_header(data) {
        return Some(name);
    }
    let mut header = Vec::new();
    let packed = Compression::detect(data)?.reader(data).ok()?;
    // The part before the damage is enough.
    let _ = packed.take(HEADER).read_to_end(&mut header);
    of_header(&header)
}

fn of_header(data: &[u8]) -> Option<&'static str> {
    // Documentation/arch/arm64/booting.rst.
    if data.get(56..60)? == b"ARM\x64" {
        return Some("arm64");
    }
    // Documentation/arch/riscv/boot-image-header.rst: magic2, and the older magic. Neither says
    // whether it has 32 or 64 bits.
    if &data[56..60] == b"RSC\x05" || &data[48..56] == b"RISCV\0\0\0" {
        return Some("riscv");
    }
    // arch/arm/boot/compressed/head.S of zImage, in either byte order.
    if matches!(u32_at(data, 0x24)?, 0x016f_2818 | 0x1828_6f01) {
        return Some("32-bit arm");
    }
    // EP_OFFSET and EP_STRING of arch/s390/include/asm/setup.h.
    if data
        .get(0x10008..)
        .is_some_and(|entry| entry.starts_with(b"S390EP"))
    {
        return Some("s390");
    }
    // The machines of PE/COFF (include/linux/pe.h), also of `vmlinuz.efi`.
    match efi::machine(data)? {
        0x014c => Some("32-bit x86"),
        0x01c0 | 0x01c2 | 0x01c4 => Some("32-bit arm"),
        0xaa64 => Some("arm64"),
        0x5032 => Some("riscv32"),
        0x5064 => Some("riscv64"),
        0x6232 => Some("loongarch32"),
        0x6264 => Some("loongarch64"),
        _ => None,
    }
}
