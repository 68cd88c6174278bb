//! A JUnit file of anybody, compared with itself: nothing has regressed.
#![no_main]

use kiln::internals::fuzz::junit_with_itself;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|file: &[u8]| {
    match junit_with_itself(file) {
        Ok(regressed) => assert!(!regressed),
        Err(why) => assert!(!why.is_empty()),
    }
});
