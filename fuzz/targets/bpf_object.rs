//! A BPF object and the BTF of a kernel: everything that is checked of them.
#![no_main]

use kiln::internals::fuzz::check_object;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    check_object(input);
});
