//! The start of a program's core.
#![no_main]

use kiln::internals::fuzz::read_core;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((program, _, libraries)) = read_core(bytes) else {
        return;
    };
    // They are in it.
    for name in libraries.iter().chain([&program]) {
        assert!(!name.contains('\0'));
        assert!(name.len() <= 3 * bytes.len());
    }
    assert!(libraries.iter().all(|name| name.contains(".so")));
});
