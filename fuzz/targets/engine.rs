//! Any engine beside the tests: whether or not it can be read, a plain test stays valid in the
//! closest dialect.
#![no_main]

use std::path::Path;

use kiln::suite::bpftrace::{Dialect, Engine, Vocabulary, parse};
use libfuzzer_sys::fuzz_target;

const PLAIN: &[u8] = b"NAME a\nRUN b\nEXPECT c\nTIMEOUT 1\n";

fuzz_target!(|input: &str| {
    let modules: Vec<&str> = input.split('\0').collect();
    let Some(engine) = Engine::parse(&modules) else {
        return;
    };
    let oldest = Dialect::oldest();
    let preferred = engine.dialect(Some(oldest));
    let newest = engine.dialect(None);
    assert_eq!(preferred.is_some(), newest.is_some());
    for dialect in [preferred, newest, Some(oldest)].into_iter().flatten() {
        let vocabulary = Vocabulary::of_engine(&engine, dialect);
        let parsed = parse(Path::new("runtime/suite"), PLAIN, &vocabulary);
        assert!(parsed.problems.is_empty(), "{:?}", parsed.problems);
        assert_eq!(parsed.tests.len(), 1);
        assert!(parsed.tests[0].newer.is_empty());
    }
});
