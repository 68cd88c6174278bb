//! A dump as QEMU writes it, whole and in pieces, and what kiln adds.
#![no_main]

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use kiln::internals::fuzz::complete_dump;
use libfuzzer_sys::fuzz_target;

/// Bytes of the files to compare: parts can lie anywhere.
const START: u64 = 1 << 20;

fn start(file: &File) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(START.min(length(file))).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

fn length(file: &File) -> u64 {
    file.metadata().unwrap().len()
}

fuzz_target!(|input: &[u8]| {
    let Some((piece, flattened)) = input.split_first() else {
        return;
    };
    let whole = tempfile::tempfile_in("/dev/shm").unwrap();
    let in_pieces = tempfile::tempfile_in("/dev/shm").unwrap();
    let ended = complete_dump(flattened, usize::MAX, &whole);
    let also = complete_dump(flattened, usize::from(*piece), &in_pieces);
    assert_eq!(ended, also, "pieces make a difference");
    if ended != (true, true) {
        return;
    }
    assert_eq!(length(&whole), length(&in_pieces));
    assert_eq!(start(&whole), start(&in_pieces));
    // What is complete stays as it is.
    let before = (length(&whole), start(&whole));
    let (_, again) = complete_dump(&[], 1, &whole);
    assert!(again);
    assert_eq!(before, (length(&whole), start(&whole)));
});
