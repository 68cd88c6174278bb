//! `kernels.lock`: what was read can be written and read again.
#![no_main]

use kiln::kernel::Lock;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(lock) = Lock::parse(text, "kernels.lock") {
        let written = lock.to_text();
        let again = Lock::parse(&written, "kernels.lock").unwrap();
        assert_eq!(again.to_text(), written);
    }
});
