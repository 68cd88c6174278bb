//! The BTF of a kernel and of a module, and all questions to them.
#![no_main]

use kiln::btf_exercise::exercise;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| exercise(input));
