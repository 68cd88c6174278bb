//! RPM packages: what is behind the lead, which every package has alike.
#![no_main]

mod tree;

use kiln::internals::fuzz::unpack_archive;
use libfuzzer_sys::fuzz_target;

/// Size of the lead, in bytes.
const LEAD: usize = 96;

fuzz_target!(|bytes: &[u8]| {
    let mut package = vec![0; LEAD];
    package[..4].copy_from_slice(b"\xed\xab\xee\xdb");
    package.extend_from_slice(bytes);
    tree::with(|dest| {
        let _ = unpack_archive(&package, false, dest);
    });
});
