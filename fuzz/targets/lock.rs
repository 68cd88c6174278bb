//! `kernels.lock`: what was read can be written and read again.
#![no_main]

use kiln::internals::fuzz::rewrite_lock;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Some(written) = rewrite_lock(text) {
        assert_eq!(rewrite_lock(&written), Some(written));
    }
});
