#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::Write as _;

use liblzma::stream::{Check, Filters, LzmaOptions, Stream};
use proptest::prelude::*;

use super::*;
use crate::hint::Hint as _;

/// An ELF64 file for x86-64 with one PT_NOTE segment of the given note, and
/// a banner.
fn elf_kernel(note_name: &[u8], note_type: u32) -> Vec<u8> {
    let mut elf = Vec::new();
    elf.extend(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    elf.extend(2u16.to_le_bytes()); // ET_EXEC
    elf.extend(62u16.to_le_bytes()); // EM_X86_64
    elf.extend(1u32.to_le_bytes());
    elf.extend(0x0100_0000u64.to_le_bytes()); // entry
    elf.extend(64u64.to_le_bytes()); // program headers
    elf.extend(0u64.to_le_bytes()); // no section headers
    elf.extend(0u32.to_le_bytes());
    for half in [64u16, 56, 1, 64, 0, 0] {
        elf.extend(half.to_le_bytes());
    }
    elf.extend(4u32.to_le_bytes()); // PT_NOTE
    elf.extend(4u32.to_le_bytes());
    for word in [120u64, 0, 0, 24, 24, 4] {
        elf.extend(word.to_le_bytes());
    }
    for word in [4u32, 8, note_type] {
        elf.extend(word.to_le_bytes());
    }
    elf.extend(note_name);
    elf.extend(0x0100_0000u64.to_le_bytes());
    elf.extend(b"%s version %s\0Linux version 6.6.6-test (builder@host) #1\0");
    elf
}

fn pvh_kernel() -> Vec<u8> {
    let mut kernel = elf_kernel(b"Xen\0", 18);
    // Enough for compressors to have something to do, in a pattern that is not
    // a single run.
    kernel.extend((0..200_000u32).flat_map(|i| (i / 7).to_le_bytes()));
    kernel
}

/// A bzImage around a payload: two setup sectors, version string, protected mode
/// code, payload, tail.
fn bz_image(payload: &[u8]) -> Vec<u8> {
    let mut image = vec![0; 3 * 512];
    image[0x1f1] = 2;
    image[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
    image[0x202..0x206].copy_from_slice(b"HdrS");
    image[0x206..0x208].copy_from_slice(&0x020fu16.to_le_bytes());
    image[0x236] = 1; // XLF_KERNEL_64
    image[0x20e..0x210].copy_from_slice(&0x0200u16.to_le_bytes());
    let version = b"6.6.6-test (builder@host) #1 SMP\0";
    image[0x400..0x400 + version.len()].copy_from_slice(version);
    image[0x248..0x24c].copy_from_slice(&100u32.to_le_bytes());
    image[0x24c..0x250].copy_from_slice(&u32::try_from(payload.len()).unwrap().to_le_bytes());
    image.extend([0x90; 100]);
    image.extend(payload);
    image.extend([0; 777]);
    image
}

fn with_size(mut stream: Vec<u8>, unpacked: &[u8]) -> Vec<u8> {
    stream.extend(u32::try_from(unpacked.len()).unwrap().to_le_bytes());
    stream
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

/// As the kernel's build does it: x86 branch filter before LZMA2, CRC32.
fn xz(data: &[u8]) -> Vec<u8> {
    let mut filters = Filters::new();
    filters.x86().lzma2(&LzmaOptions::new_preset(1).unwrap());
    let stream = Stream::new_stream_encoder(&filters, Check::Crc32).unwrap();
    let mut encoder = liblzma::write::XzEncoder::new_stream(Vec::new(), stream);
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn lzma(data: &[u8]) -> Vec<u8> {
    let options = LzmaOptions::new_preset(1).unwrap();
    let stream = Stream::new_lzma_encoder(&options).unwrap();
    let mut encoder = liblzma::write::XzEncoder::new_stream(Vec::new(), stream);
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn lz4_legacy(data: &[u8]) -> Vec<u8> {
    let mut stream = 0x184c_2102u32.to_le_bytes().to_vec();
    for chunk in data.chunks(8 << 20) {
        let block = lz4_flex::block::compress(chunk);
        stream.extend(u32::try_from(block.len()).unwrap().to_le_bytes());
        stream.extend(block);
    }
    stream
}

fn bzip2(data: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::best());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

/// Unpacks an image in a separate directory; returns the protocol and the output.
fn try_unpack(image: &[u8]) -> Result<(BootProtocol, Vec<u8>), Error> {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("vmlinuz");
    let dest = dir.path().join("vmlinux");
    fs::write(&source, image).unwrap();
    let result = unpack(&source, &dest);
    assert_eq!(result.is_ok(), dest.exists());
    let left = fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(left, if result.is_ok() { 2 } else { 1 });
    result.map(|bootable| (bootable.boot_protocol, fs::read(dest).unwrap()))
}

fn try_release(image: &[u8]) -> Result<String, Error> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), image).unwrap();
    release(file.path())
}

#[test]
fn every_payload_compression_unpacks_to_the_same_pvh_kernel() {
    let kernel = pvh_kernel();
    let zstd = zstd::encode_all(&kernel[..], 3).unwrap();
    for (name, payload) in [
        ("gzip", gzip(&kernel)),
        ("xz", with_size(xz(&kernel), &kernel)),
        ("lzma", with_size(lzma(&kernel), &kernel)),
        ("zstd", with_size(zstd, &kernel)),
        ("lz4", with_size(lz4_legacy(&kernel), &kernel)),
        ("bzip2", with_size(bzip2(&kernel), &kernel)),
        ("lzo", with_size(lzop::tests::pack(&kernel), &kernel)),
        ("none", kernel.clone()),
    ] {
        let (protocol, written) = try_unpack(&bz_image(&payload)).expect(name);
        assert_eq!(protocol, BootProtocol::Pvh, "{name}");
        assert!(written.eq(&kernel), "{name}");
    }
}

#[test]
fn lz4_kernels_of_more_than_one_chunk_unpack() {
    let mut kernel = pvh_kernel();
    kernel.resize(20 << 20, 7);
    let payload = with_size(lz4_legacy(&kernel), &kernel);
    assert!(try_unpack(&bz_image(&payload)).unwrap().1 == kernel);
}

#[test]
fn an_elf_kernel_is_taken_as_it_is() {
    let kernel = pvh_kernel();
    assert_eq!(
        try_unpack(&kernel).unwrap(),
        (BootProtocol::Pvh, kernel.clone())
    );
}

#[test]
fn a_kernel_without_pvh_entry_is_booted_as_bzimage() {
    for kernel in [elf_kernel(b"Xen\0", 17), elf_kernel(b"GNU\0", 18)] {
        let image = bz_image(&gzip(&kernel));
        assert_eq!(try_unpack(&image).unwrap(), (BootProtocol::BzImage, image));
        assert!(matches!(try_unpack(&kernel), Err(Error::NoEntry { .. })));
    }
}

#[test]
fn a_compression_that_only_the_guest_knows_is_booted_as_bzimage() {
    let image = bz_image(b"a format of tomorrow, and a size");
    assert_eq!(try_unpack(&image).unwrap(), (BootProtocol::BzImage, image));
}

#[test]
fn a_truncated_image_is_refused() {
    let kernel = pvh_kernel();
    let image = bz_image(&with_size(xz(&kernel), &kernel));
    let error = try_unpack(&image[..image.len() - 1000]).unwrap_err();
    assert!(matches!(error, Error::Truncated { .. }), "{error}");
    let error = try_unpack(&image[..0x240]).unwrap_err();
    assert!(matches!(error, Error::NotAKernel { .. }), "{error}");
}

#[test]
fn a_damaged_payload_is_refused() {
    let kernel = pvh_kernel();
    let mut payload = with_size(xz(&kernel), &kernel);
    let middle = payload.len() / 2;
    payload[middle] ^= 0xff;
    let error = try_unpack(&bz_image(&payload)).unwrap_err();
    assert!(matches!(error, Error::Unpack { .. }), "{error}");
}

#[test]
fn a_payload_of_another_size_than_it_says_is_refused() {
    let kernel = pvh_kernel();
    for said in [&kernel[1..], &[kernel.clone(), vec![0]].concat()[..]] {
        let payload = with_size(zstd::encode_all(&kernel[..], 3).unwrap(), said);
        let error = try_unpack(&bz_image(&payload)).unwrap_err();
        assert!(matches!(error, Error::Size { .. }), "{error}");
    }
}

#[test]
fn a_file_that_is_not_a_kernel_is_refused_with_its_path() {
    for data in [&b""[..], b"#!/bin/sh\n", &[0; 4096], b"\x7fELF but no more"] {
        let error = try_unpack(data).unwrap_err();
        assert!(matches!(error, Error::NotAKernel { .. }), "{error}");
        assert!(error.to_string().contains("/vmlinuz is not"), "{error}");
    }
    let error = unpack(Path::new("/nonexistent/vmlinuz"), Path::new("/x")).unwrap_err();
    assert!(matches!(error, Error::Read { .. }), "{error}");
}

/// A header of an image with these bytes at these offsets.
fn with(parts: &[(usize, &[u8])]) -> Vec<u8> {
    let mut image = vec![0; 0x12000];
    for (at, bytes) in parts {
        image[*at..at + bytes.len()].copy_from_slice(bytes);
    }
    image
}

fn elf_for(machine: u16, class: u8, order: u8) -> Vec<u8> {
    let number = match order {
        1 => machine.to_le_bytes(),
        _ => machine.to_be_bytes(),
    };
    let ident: &[u8] = &[0x7f, b'E', b'L', b'F', class, order, 1];
    with(&[(0, ident), (18, &number)])
}

fn efi_program(machine: u16) -> Vec<u8> {
    with(&[
        (0, b"MZ"),
        (0x3c, &0x80u32.to_le_bytes()),
        (0x80, b"PE\0\0"),
        (0x84, &machine.to_le_bytes()),
    ])
}

/// A compressed kernel that unpacks itself as an EFI program (drivers/firmware/efi/libstub,
/// `zboot-header.S`), which x86 does not have.
fn efi_zboot(machine: u16) -> Vec<u8> {
    let mut image = efi_program(machine);
    image[4..8].copy_from_slice(b"zimg");
    image[0x18..0x1c].copy_from_slice(b"gzip");
    image
}

#[test]
fn a_kernel_for_another_architecture_is_refused_by_its_name() {
    let arm64 = with(&[(0, &[0x1f, 0x20, 0x03, 0xd5]), (56, b"ARM\x64")]);
    let x86_32 = {
        let mut image = bz_image(&gzip(&pvh_kernel()));
        image[0x236] = 0;
        image
    };
    let older_x86_32 = {
        let mut image = bz_image(&gzip(&elf_for(3, 1, 1)));
        image[0x206] = 0x0a; // before xloadflags
        image
    };
    for (image, name) in [
        (arm64.clone(), "arm64"),
        (gzip(&arm64), "arm64"),
        (zstd::encode_all(&arm64[..], 1).unwrap(), "arm64"),
        (with(&[(0, b"MZ"), (56, b"ARM\x64")]), "arm64"),
        (efi_program(0xaa64), "arm64"),
        (efi_zboot(0xaa64), "arm64"),
        (uki(0xaa64, &arm64), "arm64"),
        (with(&[(48, b"RISCV\0\0\0"), (56, b"RSC\x05")]), "riscv"),
        (efi_program(0x5064), "riscv64"),
        (efi_program(0x6264), "loongarch64"),
        (efi_program(0x014c), "32-bit x86"),
        (with(&[(0x24, &0x016f_2818u32.to_le_bytes())]), "32-bit arm"),
        (with(&[(0x10008, b"S390EP")]), "s390"),
        (elf_for(183, 2, 1), "arm64"),
        (elf_for(40, 1, 1), "32-bit arm"),
        (elf_for(3, 1, 1), "32-bit x86"),
        (elf_for(243, 2, 1), "riscv64"),
        (elf_for(243, 1, 1), "riscv32"),
        (elf_for(21, 2, 1), "ppc64le"),
        (elf_for(21, 2, 2), "ppc64"),
        (elf_for(22, 2, 2), "s390"),
        (elf_for(258, 2, 1), "loongarch"),
        (elf_for(4711, 2, 1), "ELF machine 4711"),
        (bz_image(&gzip(&elf_for(183, 2, 1))), "arm64"),
        (x86_32, "32-bit x86"),
        (older_x86_32, "32-bit x86"),
    ] {
        let error = try_unpack(&image).unwrap_err();
        let text = error.to_string();
        let expected = format!("is a kernel for {name}, but kiln only boots kernels for x86-64");
        assert!(text.ends_with(&expected), "{text}");
        assert!(text.contains("/vmlinuz "), "{text}");
        assert!(error.hints()[0].contains("amd64 in Debian"), "{error:?}");
    }
    for image in [arm64, elf_for(183, 2, 1), efi_program(0xaa64)] {
        let error = try_release(&image).unwrap_err();
        assert!(matches!(error, Error::OtherArchitecture { .. }), "{error}");
    }
}

/// A unified kernel image for `machine`: an EFI program with `kernel` in its section `.linux`.
fn uki(machine: u16, kernel: &[u8]) -> Vec<u8> {
    let mut image = vec![0; 0x200];
    image[..2].copy_from_slice(b"MZ");
    image[0x3c] = 0x80;
    image[0x80..0x84].copy_from_slice(b"PE\0\0");
    image[0x84..0x86].copy_from_slice(&machine.to_le_bytes());
    image[0x86] = 2; // sections
    image[0x94] = 112; // size of the optional header, without directories
    image[0x98..0x9a].copy_from_slice(&0x20b_u16.to_le_bytes());
    let size = u32::try_from(kernel.len()).unwrap();
    for (at, name, offset) in [(0x108, b".osrel\0\0", 0), (0x130, b".linux\0\0", 0x200_u32)] {
        image[at..at + 8].copy_from_slice(name);
        // What is in a file is padded to a multiple of 512 bytes.
        for (field, value) in [(8, size), (16, size.next_multiple_of(512)), (20, offset)] {
            image[at + field..at + field + 4].copy_from_slice(&value.to_le_bytes());
        }
    }
    image.extend(kernel);
    image.resize(image.len().next_multiple_of(512), 0);
    image
}

#[test]
fn a_unified_kernel_image_is_booted_by_the_kernel_in_it() {
    let kernel = pvh_kernel();
    let image = uki(0x8664, &bz_image(&gzip(&kernel)));
    let (protocol, written) = try_unpack(&image).unwrap();
    assert_eq!(protocol, BootProtocol::Pvh);
    assert!(written.eq(&kernel));
    assert_eq!(try_release(&image).unwrap(), "6.6.6-test");

    let without = bz_image(&gzip(&elf_kernel(b"GNU\0", 18)));
    let (protocol, written) = try_unpack(&uki(0x8664, &without)).unwrap();
    assert_eq!(protocol, BootProtocol::BzImage);
    assert!(written.eq(&without));
}

#[test]
fn a_damaged_unified_kernel_image_is_refused() {
    let image = uki(0x8664, &bz_image(&gzip(&pvh_kernel())));
    let error = try_unpack(&image[..image.len() - 4096]).unwrap_err();
    assert!(matches!(error, Error::Truncated { .. }), "{error}");
    let error = try_unpack(&uki(0x8664, b"")).unwrap_err();
    assert!(matches!(error, Error::NotAKernel { .. }), "{error}");
}

#[test]
fn an_image_that_is_compressed_as_a_whole_is_unpacked() {
    let kernel = pvh_kernel();
    for packed in [gzip(&kernel), xz(&kernel), lz4_legacy(&kernel)] {
        let (protocol, written) = try_unpack(&packed).unwrap();
        assert_eq!(protocol, BootProtocol::Pvh);
        assert!(written.eq(&kernel));
        assert_eq!(try_release(&packed).unwrap(), "6.6.6-test");
    }
    let packed = xz(&bz_image(&gzip(&kernel)));
    assert!(try_unpack(&packed).unwrap().1 == kernel);
    let error = try_unpack(&packed[..packed.len() / 2]).unwrap_err();
    assert!(matches!(error, Error::Unpack { .. }), "{error}");
}

#[test]
fn an_efi_program_that_is_not_a_kernel_of_its_own_is_refused_as_one() {
    let text = try_unpack(&efi_program(0x8664)).unwrap_err().to_string();
    assert!(text.contains("unified kernel image"), "{text}");
}

#[test]
fn the_release_is_read_from_either_form() {
    let kernel = pvh_kernel();
    assert_eq!(try_release(&kernel).unwrap(), "6.6.6-test");
    assert_eq!(
        try_release(&bz_image(&gzip(&kernel))).unwrap(),
        "6.6.6-test"
    );
}

proptest! {
    #[test]
    fn no_bytes_make_the_parsers_panic(
        mut data in proptest::collection::vec(any::<u8>(), 0..4096),
        lead in 0..8,
        patch in proptest::collection::vec((any::<u16>(), any::<u8>()), 0..16),
    ) {
        let start = match lead {
            0 => bz_image(&gzip(&elf_kernel(b"Xen\0", 18))),
            1 => elf_kernel(b"Xen\0", 18),
            2 => efi_program(0xaa64),
            3 => gzip(&with(&[(56, b"ARM\x64")])),
            4 => elf_for(183, 1, 2),
            5 => uki(0x8664, &bz_image(b"")),
            6 => efi_zboot(0x8664),
            _ => Vec::new(),
        };
        data.splice(0..0, start);
        for (at, byte) in patch {
            if let Some(place) = data.get_mut(usize::from(at)) {
                *place = byte;
            }
        }
        let path = Path::new("image");
        if let Ok(header) = SetupHeader::parse(&data) {
            let _ = header.release(&data);
            let _ = header.vmlinux(path, &data);
        }
        let _ = recognise(&data).map(|(arch, _)| arch);
        let _ = uki::kernel(&data);
        let _ = has_pvh_entry(&data);
        let _ = banner_release(&data);
    }
}
