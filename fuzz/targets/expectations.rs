//! `expectations.toml`, and what it says about a test.
#![no_main]

use kiln::internals::fuzz::read_expectations;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match read_expectations(text) {
        Ok(read) => {
            let lines = text.lines().count();
            for line in read.lines {
                assert!((1..=lines).contains(&line), "line {line} of {lines}");
            }
            for reason in read.reasons {
                assert!(!reason.trim().is_empty());
            }
        }
        Err(error) => assert!(!error.is_empty()),
    }
});
