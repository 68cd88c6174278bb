//! A kernel image: bzImage header, compressed payload, ELF notes.
#![no_main]

use std::fs;

use kiln::internals::fuzz::unpack_image;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let file = dir.path().join("image");
    let dest = dir.path().join("vmlinux");
    fs::write(&file, bytes).unwrap();
    let unpacked = unpack_image(&file, &dest);
    // Whole or not at all.
    assert_eq!(unpacked, dest.exists());
});
