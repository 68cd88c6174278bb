//! `kernels.toml`.
#![no_main]

use std::path::Path;

use kiln::config::{Catalogue, Origin};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &str)| {
    let (text, wanted) = input;
    match Catalogue::parse(text, Origin::File("/project/kernels.toml".into())) {
        Ok(catalogue) => {
            let _ = catalogue.select(&[wanted], Path::new("/project"));
            for kernel in &catalogue.kernels {
                assert!(catalogue.kernel(&kernel.name).is_some());
                assert!(kernel.line >= 1 && kernel.line <= text.lines().count());
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
