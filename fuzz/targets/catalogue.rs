//! `kernels.toml`, after a line that selects from it.
#![no_main]

use std::path::Path;

use kiln::config::{Catalogue, Origin};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &str| {
    let (wanted, text) = input.split_once('\n').unwrap_or(("*", input));
    match Catalogue::parse(text, Origin::File("/project/kernels.toml".into())) {
        Ok(catalogue) => {
            let _ = catalogue.select(&[wanted], Path::new("/project"));
            for kernel in &catalogue.kernels {
                assert!(catalogue.kernel(&kernel.name).is_some());
                assert!(kernel.line >= 1 && kernel.line <= text.lines().count());
            }
            for suite in &catalogue.suites {
                assert!(catalogue.suite(&suite.name).is_some());
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
