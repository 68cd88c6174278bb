//! `Packages` indices: no text makes a kernel whose name or hash could lead anywhere.
#![no_main]

use std::sync::LazyLock;

use kiln::internals::fuzz::{KernelNames, kernels_of_index};
use libfuzzer_sys::fuzz_target;

/// Made once: a pattern takes longer to compile than an index to read.
static NAMES: LazyLock<KernelNames> =
    LazyLock::new(|| KernelNames::matching("linux-image-*").unwrap());

fuzz_target!(|text: &str| {
    for files in kernels_of_index(text, &NAMES) {
        assert!(!files.is_empty());
        for file in files {
            assert!(file.package.starts_with("linux-") && !file.package.contains('/'));
            assert!(!file.version.contains(['/', ' ', '\u{1b}']));
            assert!(file.sha256.len() == 64 && file.sha256.bytes().all(|b| b.is_ascii_hexdigit()));
        }
    }
});
