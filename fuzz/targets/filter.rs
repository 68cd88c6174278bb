//! `-t FILTER`.
#![no_main]

use kiln::suite::{Filter, TestId};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &str, &str)| {
    let (filter, suite, name) = input;
    if let Ok(filter) = Filter::new(&[filter]) {
        let _ = filter.selects(&TestId::new(suite, name));
    }
});
