#![allow(clippy::unwrap_used)]

use std::io::Write as _;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use proptest::prelude::*;

use super::*;

const BLOCK: usize = 4096;
const INFO: &str = "OSRELEASE=6.1.0\nNUMBER(phys_base)=-16777216\n";

fn uname() -> Uname {
    Uname {
        release: "6.1.0".to_owned(),
    }
}

fn zlib(page: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(page).unwrap();
    encoder.finish().unwrap()
}

fn note() -> Vec<u8> {
    let mut page = Vec::new();
    for number in [11, u32::try_from(INFO.len()).unwrap(), 0] {
        page.extend(number.to_le_bytes());
    }
    page.extend(NOTE_NAME);
    page.extend(INFO.as_bytes());
    page.resize(BLOCK, 0);
    page
}

/// A dump of these pages, as QEMU writes it, without the form.
fn dump(pages: &[Vec<u8>]) -> Vec<u8> {
    let mut dump = vec![0; 4 * BLOCK];
    dump[..8].copy_from_slice(SIGNATURE);
    let mut put = |at: u64, number: u32| {
        let at = usize::try_from(at).unwrap();
        dump[at..at + 4].copy_from_slice(&number.to_le_bytes());
    };
    put(BLOCK_SIZE, u32::try_from(BLOCK).unwrap());
    put(SUB_HEADER_BLOCKS, 1);
    put(BITMAP_BLOCKS, 2);
    // The notes of processors, in the block after the second header.
    put(BLOCK as u64 + 48, 2 * u32::try_from(BLOCK).unwrap() - 16);
    put(BLOCK as u64 + 56, 12);
    dump[2 * BLOCK - 16..2 * BLOCK - 4].copy_from_slice(b"processors  ");
    for page in 0..pages.len() {
        dump[3 * BLOCK + page / 8] |= 1 << (page % 8);
    }
    let mut offset = dump.len() + pages.len() * DESCRIPTOR;
    let stored: Vec<Vec<u8>> = pages.iter().map(|page| zlib(page)).collect();
    for page in &stored {
        dump.extend((offset as u64).to_le_bytes());
        dump.extend(u32::try_from(page.len()).unwrap().to_le_bytes());
        dump.extend(ZLIB.to_le_bytes());
        dump.extend([0; 8]);
        offset += page.len();
    }
    dump.extend(stored.concat());
    dump
}

/// The flattened form, in parts of so many bytes, the last one first.
fn flattened(dump: &[u8], part: usize) -> Vec<u8> {
    let mut flat = b"makedumpfile\0".to_vec();
    flat.resize(FLAT_HEADER, 0);
    let parts: Vec<(usize, &[u8])> = dump.chunks(part).enumerate().collect();
    for (index, bytes) in parts.into_iter().rev() {
        flat.extend(((index * part) as u64).to_be_bytes());
        flat.extend((bytes.len() as u64).to_be_bytes());
        flat.extend(bytes);
    }
    flat.extend([0xff; PART_HEADER]);
    flat
}

fn put(flat: &[u8], chunk: usize) -> io::Result<(File, io::Result<()>)> {
    let file = tempfile::tempfile().unwrap();
    let mut flattened = Flattened::default();
    for chunk in flat.chunks(chunk) {
        flattened.put(chunk, &file)?;
    }
    let finished = flattened.finish();
    Ok((file, finished))
}

fn content(file: &File) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

#[test]
fn a_dump_gets_its_names_and_the_kernels_own_facts() {
    let pages = [vec![0; BLOCK], vec![7; BLOCK], note(), vec![0; BLOCK]];
    let (file, finished) = put(&flattened(&dump(&pages), 1000), 777).unwrap();
    finished.unwrap();
    complete(&file, &uname()).unwrap();
    let bytes = content(&file);
    assert_eq!(&bytes[12..18], b"Linux\0");
    assert_eq!(&bytes[12 + 2 * NAME..][..6], b"6.1.0\0");
    let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    let (at, size) = (number(BLOCK + 32), number(BLOCK + 40));
    let info = &bytes[usize::try_from(at).unwrap()..][..usize::try_from(size).unwrap()];
    assert_eq!(info, INFO.as_bytes());
    assert_eq!(number(BLOCK).cast_signed(), -16_777_216);
    // A note after those of the processors.
    let (at, size) = (number(BLOCK + 48), number(BLOCK + 56));
    let notes = &bytes[usize::try_from(at).unwrap()..][..usize::try_from(size).unwrap()];
    let note = &note()[..(NOTE_HEADER + INFO.len()).next_multiple_of(4)];
    assert_eq!(notes, [b"processors  ".as_slice(), note].concat());
}

#[test]
fn a_kernel_without_the_note_is_dumped_all_the_same() {
    let mut dump = dump(&[vec![1; BLOCK], vec![2; BLOCK]]);
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(&dump, 0).unwrap();
    complete(&file, &uname()).unwrap();
    dump[12..17].copy_from_slice(b"Linux");
    assert_eq!(content(&file).len(), dump.len());
}

#[test]
fn half_a_dump_is_noticed() {
    let flat = flattened(&dump(&[note()]), 500);
    let (_, finished) = put(&flat[..flat.len() - 20], 100).unwrap();
    assert_eq!(finished.unwrap_err().kind(), ErrorKind::UnexpectedEof);
    assert!(put(b"KDUMP   ".repeat(600).as_slice(), 100).is_err());
    let mut no_place = flattened(&[], 1);
    no_place.truncate(FLAT_HEADER);
    no_place.extend([0x80; PART_HEADER]);
    assert!(put(&no_place, 100).is_err());
}

#[test]
fn a_dump_with_sizes_of_no_guest_is_refused() {
    let refused = |at: u64, number: u32, why: &str| {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&dump(&[note()]), 0).unwrap();
        file.write_all_at(&number.to_le_bytes(), at).unwrap();
        // Parts of a flattened dump can lie anywhere.
        file.set_len(1 << 40).unwrap();
        let error = complete(&file, &uname()).unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    };
    refused(BLOCK_SIZE, 16, "the size of pages");
    refused(BLOCK_SIZE, 1 << 31, "the size of pages");
    refused(BITMAP_BLOCKS, 1 << 20, "its bitmaps are longer");
}

proptest! {
    #[test]
    fn a_flattened_dump_becomes_what_it_was(
        dump in proptest::collection::vec(any::<u8>(), 0..3000),
        part in 1_usize..700,
        chunk in 1_usize..5000,
    ) {
        let (file, finished) = put(&flattened(&dump, part), chunk).unwrap();
        finished.unwrap();
        prop_assert_eq!(content(&file), dump);
    }

    #[test]
    fn damaged_dumps_are_errors_and_nothing_worse(
        changes in proptest::collection::vec((0_usize..20000, any::<u8>()), 1..40),
    ) {
        let mut bytes = dump(&[vec![3; BLOCK], note()]);
        for (at, byte) in changes {
            let length = bytes.len();
            bytes[at % length] = byte;
        }
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&bytes, 0).unwrap();
        let _ = complete(&file, &uname());
    }
}
