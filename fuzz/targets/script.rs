//! A bpftrace script: everything that is checked of it, on kernels with and without BTF.
#![no_main]

use kiln::internals::fuzz::check_script;
use libfuzzer_sys::fuzz_target;

/// The types of a small kernel.
const TYPES: &[u8] = include_bytes!("../seeds/btf/kernel");

fuzz_target!(|input: &str| {
    for types in [None, Some(TYPES)] {
        // Each finding names a line of the script.
        let lines = input.lines().count().max(1) + 1;
        for line in check_script(input, types).lines() {
            if let Some(place) = line.strip_prefix("  script.bt:") {
                let number = place
                    .split(':')
                    .next()
                    .and_then(|number| number.parse().ok());
                assert!(
                    number.is_some_and(|number: usize| number <= lines),
                    "{line}"
                );
            }
        }
    }
});
