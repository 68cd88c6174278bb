//! Any engine beside the tests: whether or not it can be read, a plain test stays valid in the
//! closest dialect.
#![no_main]

use kiln::internals::fuzz::read_with_engine;
use libfuzzer_sys::fuzz_target;

const PLAIN: &[u8] = b"NAME a\nRUN b\nEXPECT c\nTIMEOUT 1\n";

fuzz_target!(|input: &str| {
    let modules: Vec<&str> = input.split('\0').collect();
    let Some(read) = read_with_engine(&modules, PLAIN) else {
        return;
    };
    let [preferred, newest, _] = &read;
    assert_eq!(preferred.is_some(), newest.is_some());
    for file in read.into_iter().flatten() {
        assert_eq!(file.problems, 0, "{file:?}");
        assert_eq!(file.tests, 1);
        assert_eq!(file.newer, 0);
    }
});
