//! A file of bpftrace's runtime tests, in one of the dialects.
#![no_main]

use std::fs;

use kiln::suite::bpftrace::{
    Dialect, End, Exit, Host, Observation, Rules, RuntimeSuites, SuiteError, judge,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, &[u8], &[u8])| {
    let (dialect, file, output) = input;
    let names: Vec<_> = Dialect::names().collect();
    let dialect = Dialect::for_version(names[usize::from(dialect) % names.len()]).unwrap();
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let runtime = dir.path().join("runtime");
    fs::create_dir(&runtime).unwrap();
    fs::write(runtime.join("file"), file).unwrap();
    let observed = Observation {
        end: Some(End::Exited(Exit::Code(0))),
        output: output.to_vec(),
        ..Observation::default()
    };
    match RuntimeSuites::read(dir.path(), dialect, &Host::current()) {
        Ok(suites) => {
            for test in suites.with_aot().tests {
                let _ = judge(&test, Rules::new(dialect, false), dir.path(), &observed);
            }
        }
        Err(SuiteError::Problems(problems)) => assert!(!problems.is_empty()),
        Err(error) => panic!("{error}"),
    }
});
