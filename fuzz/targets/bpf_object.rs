//! A BPF object and the BTF of a kernel: everything that is checked of them.
#![no_main]

use kiln::bpf_exercise::exercise;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    exercise(input);
});
