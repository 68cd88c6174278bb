//! `Packages` indices: no text makes a kernel whose name or hash could lead anywhere.
#![no_main]

use kiln::internals::fuzz::kernels_of_index;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    for files in kernels_of_index(text, "linux-image-*") {
        assert!(!files.is_empty());
        for file in files {
            assert!(file.package.starts_with("linux-") && !file.package.contains('/'));
            assert!(!file.version.contains(['/', ' ', '\u{1b}']));
            assert!(file.sha256.len() == 64 && file.sha256.bytes().all(|b| b.is_ascii_hexdigit()));
        }
    }
});
