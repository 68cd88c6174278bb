//! What a GoogleTest program prints while it runs.
#![no_main]

use kiln::internals::fuzz::{Verdict, follow_unit_tests};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|output: &[u8]| {
    let (ended, running) = follow_unit_tests(output);
    let text = String::from_utf8_lossy(output);
    for (name, _) in &ended {
        assert!(text.contains(name.as_str()), "{name} was never printed");
    }
    if running.is_some() {
        // What follows may be what that test prints.
        return;
    }
    let more = "\n[ RUN      ] New.test\n[  FAILED  ] New.test (0 ms)\n";
    let (after, _) = follow_unit_tests(&[output, more.as_bytes()].concat());
    let last = after.last().cloned();
    assert_eq!(last, Some(("New.test".to_owned(), Verdict::Fail)));
});
