//! `kernels.toml`, after a line that selects from it.
#![no_main]

use kiln::internals::fuzz::read_catalogue;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &str| {
    let (wanted, text) = input.split_once('\n').unwrap_or(("*", input));
    match read_catalogue(text, wanted) {
        Ok(catalogue) => {
            assert_eq!(catalogue.lost, Vec::<String>::new());
            let lines = text.lines().count();
            for line in catalogue.lines {
                assert!((1..=lines).contains(&line), "line {line} of {lines}");
            }
        }
        Err(error) => assert!(!error.is_empty()),
    }
});
