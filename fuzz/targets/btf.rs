//! The BTF of a kernel and of a module, and all questions to them.
#![no_main]

use kiln::internals::fuzz::ask_btf;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| ask_btf(input));
