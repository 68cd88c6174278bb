//! Any output, judged by the tests of any file, in one of the dialects.
#![no_main]

use kiln::internals::fuzz::judge_file;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, &[u8], &[u8])| {
    let (dialect, file, output) = input;
    let _ = judge_file(dialect, file, output);
});
