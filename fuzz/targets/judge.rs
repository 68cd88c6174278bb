//! Any output, judged by the tests of any file, in one of the dialects.
#![no_main]

use std::path::Path;

use kiln::suite::Exit;
use kiln::suite::bpftrace::{Dialect, End, Observation, Rules, Vocabulary, judge, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, &[u8], &[u8])| {
    let (dialect, file, output) = input;
    let names: Vec<_> = Dialect::names().collect();
    let dialect = Dialect::for_version(names[usize::from(dialect) % names.len()]).unwrap();
    let dir = Path::new("/nonexistent");
    let observed = Observation {
        end: Some(End::Exited(Exit::Code(0))),
        output: output.to_vec(),
        ..Observation::default()
    };
    let vocabulary = Vocabulary::of(dialect);
    for test in parse(Path::new("runtime/file"), file, &vocabulary).tests {
        // An absolute path would be read: it may be endless.
        if !test.has_exact_expectation() {
            let _ = judge(&test, Rules::new(dialect, false), dir, &observed);
        }
    }
});
