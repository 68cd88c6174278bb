//! The configuration of a kernel, as a user may have cut it off or edited it.
#![no_main]

use kiln::internals::fuzz::read_kernel_config;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = read_kernel_config(text);
});
