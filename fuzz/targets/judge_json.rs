//! `EXPECT_JSON`: expected and printed documents, through the judge.
#![no_main]

use std::fs;

use kiln::arch::Arch;
use kiln::suite::{Exit, Verdict};
use kiln::suite::bpftrace::{Dialect, End, Observation, Rules, RuntimeSuites, Vocabulary, judge};
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
    for name in Dialect::names() {
        let dialect = Dialect::for_version(name).unwrap();
        let Ok(suites) = RuntimeSuites::read(dir.path(), &Vocabulary::of(dialect), Arch::default())
        else {
            continue;
        };
        for test in &suites.tests {
            let verdict = |output: &[u8]| {
                let observed = Observation {
                    end: Some(End::Exited(Exit::Code(0))),
                    output: output.to_vec(),
                    ..Observation::default()
                };
                judge(test, Rules::new(dialect, false), dir.path(), &observed).verdict
            };
            let given = verdict(printed);
            assert!(matches!(
                given,
                Verdict::Pass | Verdict::Fail | Verdict::Error
            ));
        }
    }
});
