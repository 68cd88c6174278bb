//! `-t FILTER`.
#![no_main]

use kiln::internals::fuzz::filter_selects;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &str, &str)| {
    let (filter, suite, name) = input;
    let _ = filter_selects(filter, suite, name);
});
