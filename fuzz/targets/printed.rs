//! Output of a command as that of Rust's test programs, or of Go's if the first byte is odd.
#![no_main]

mod results;

use kiln::internals::fuzz::read_printed_output;
use libfuzzer_sys::fuzz_target;
use results::{assert_sound, is_clean};

fuzz_target!(|input: &[u8]| {
    let Some((first, output)) = input.split_first() else {
        return;
    };
    let is_go = first & 1 == 1;
    let results = read_printed_output(output, is_go);
    assert_sound(&results, output);
    // No failure is lost.
    let more: &[u8] = if is_go {
        b"\n=== RUN   TestNew\n--- FAIL: TestNew (0.00s)\nFAIL\n"
    } else {
        b"\nrunning 1 test\ntest new ... FAILED\ntest result: FAILED. 0 passed; 1 failed\n"
    };
    let results = read_printed_output(&[output, more].concat(), is_go);
    assert!(!is_clean(&results), "a failure vanished");
});
