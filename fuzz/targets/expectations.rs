//! `expectations.toml`, and what it says about a test.
#![no_main]

use std::path::Path;

use kiln::run::expectations::{Expectations, Subject};
use kiln::suite::TestId;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match Expectations::parse(text, Path::new("expectations.toml")) {
        Ok(expectations) => {
            let id = TestId::new("call", "kstack");
            let lines = text.lines().count();
            for line in expectations.about_none_of(&[&id]) {
                assert!((1..=lines).contains(&line), "line {line} of {lines}");
            }
            for bpftrace in [None, Some("bpftrace v0.17.0"), Some("0.23")] {
                let known = expectations.known(Subject {
                    id: &id,
                    suite: "bpftrace",
                    release: "6.1.0-56-cloud-amd64",
                    bpftrace,
                });
                if let Some(known) = known {
                    assert!(!known.reason.trim().is_empty());
                }
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
