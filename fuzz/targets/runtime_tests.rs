//! A file of bpftrace's runtime tests, in a dialect that its first byte selects, with or without
//! newer words: nothing is lost, and every line number is in the file.
#![no_main]

use std::path::Path;
use std::sync::LazyLock;

use kiln::suite::bpftrace::{Dialect, Parsed, Vocabulary, parse};
use libfuzzer_sys::fuzz_target;

static VOCABULARIES: LazyLock<Vec<(bool, Vocabulary)>> = LazyLock::new(|| {
    let dialects = || Dialect::names().map(|name| Dialect::for_version(name).unwrap());
    let closed = dialects().map(|dialect| (true, Vocabulary::of(dialect)));
    let open = dialects().map(|dialect| (false, Vocabulary::open(dialect)));
    closed.chain(open).collect()
});

fuzz_target!(|input: &[u8]| {
    let Some((first, file)) = input.split_first() else {
        return;
    };
    let (closed, vocabulary) = &VOCABULARIES[usize::from(*first) % VOCABULARIES.len()];
    let Parsed {
        tests,
        problems,
        warnings,
    } = parse(Path::new("runtime/file"), file, vocabulary);
    // As Python ends lines: `\n`, `\r` and both together.
    let lines = 1 + file.iter().filter(|b| matches!(b, b'\n' | b'\r')).count();
    let in_file = |line: usize| assert!((1..=lines).contains(&line), "line {line} of {lines}");
    for test in &tests {
        in_file(test.line);
        for (directive, line) in &test.places {
            assert!(!closed || vocabulary.dialect.has(*directive));
            in_file(*line);
        }
        assert!(!test.id.name.is_empty());
        assert!(!closed || test.newer.is_empty());
        let _ = test.aot_clone();
    }
    problems.iter().for_each(|problem| in_file(problem.line));
    warnings.iter().for_each(|warning| in_file(warning.line));
    // One of each is enough to check that it can be displayed.
    if let Some(problem) = problems.last() {
        assert!(!problem.to_string().is_empty());
    }
    if let Some(warning) = warnings.last() {
        assert!(!warning.to_string().is_empty());
    }
    // Every line with content becomes part of a test, or is reported.
    let says = |line: &[u8]| !line.starts_with(b"#") && !line.trim_ascii().is_empty();
    if file.split(|b| matches!(b, b'\n' | b'\r')).any(says) {
        let told = tests.len() + problems.len() + warnings.len();
        assert!(told > 0, "a file that is neither empty nor reported");
    }
});
