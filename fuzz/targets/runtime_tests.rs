//! A file of bpftrace's runtime tests, in a dialect that its first byte selects, with or without
//! newer words: nothing is lost, and every line number is in the file.
#![no_main]

use kiln::internals::fuzz::read_runtime_tests;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((choice, file)) = input.split_first() else {
        return;
    };
    let read = read_runtime_tests(*choice, file);
    // As Python ends lines: `\n`, `\r` and both together.
    let lines = 1 + file.iter().filter(|b| matches!(b, b'\n' | b'\r')).count();
    for line in read.lines {
        assert!((1..=lines).contains(&line), "line {line} of {lines}");
    }
    assert_eq!(read.nameless, 0);
    assert!(!read.is_closed || read.newer == 0);
    for message in read.messages {
        assert!(!message.is_empty());
    }
    // Every line with content becomes part of a test, or is reported.
    let says = |line: &[u8]| !line.starts_with(b"#") && !line.trim_ascii().is_empty();
    if file.split(|b| matches!(b, b'\n' | b'\r')).any(says) {
        let found = read.tests + read.problems + read.warnings;
        assert!(found > 0, "a file that is neither empty nor reported");
    }
});
