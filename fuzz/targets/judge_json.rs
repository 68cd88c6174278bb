//! `EXPECT_JSON`: expected and printed documents, through the judge.
#![no_main]

use std::fs;

use kiln::internals::fuzz::{Verdict, judge_directory};
use libfuzzer_sys::fuzz_target;

/// One test whose expectation is in a file, if the dialect supports that.
const TEST: &str =
    "NAME json\nRUN {{BPFTRACE}} -e x\nEXPECT_JSON runtime/outputs/expected.json\nTIMEOUT 1\n";

fuzz_target!(|input: (&[u8], &[u8])| {
    let (expected, printed) = input;
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let outputs = dir.path().join("runtime/outputs");
    fs::create_dir_all(&outputs).unwrap();
    fs::write(outputs.join("expected.json"), expected).unwrap();
    fs::write(dir.path().join("runtime/file"), TEST).unwrap();
    let verdicts = judge_directory(dir.path(), printed);
    assert!(!verdicts.is_empty());
    for verdict in verdicts {
        assert!(matches!(
            verdict,
            Verdict::Pass | Verdict::Fail | Verdict::Error
        ));
    }
});
