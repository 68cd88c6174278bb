//! Archives: deb, tar, and layers of container images. The first byte chooses between an archive
//! and a layer, and whether the checksums of tar headers are made right first: hardly any other
//! change gets past them. `rpm.rs` has RPMs.
#![no_main]

mod tree;

use kiln::internals::fuzz::unpack_archive;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, bytes)) = bytes.split_first() else {
        return;
    };
    let mut bytes = bytes.to_vec();
    if kind & 2 != 0 {
        mend(&mut bytes);
    }
    tree::with(|dest| {
        let _ = unpack_archive(&bytes, kind & 1 == 1, dest);
    });
});

/// Bytes of a header, and of what content is padded to.
const BLOCK: usize = 512;

/// Makes the checksum of each header of a tar archive right.
fn mend(bytes: &mut [u8]) {
    let mut at = 0;
    while let Some(header) = bytes.get_mut(at..at + BLOCK) {
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        let size = std::str::from_utf8(&header[124..135]).ok();
        let size = size.and_then(|text| usize::from_str_radix(text.trim(), 8).ok());
        at += BLOCK + size.unwrap_or(0).next_multiple_of(BLOCK);
    }
}
