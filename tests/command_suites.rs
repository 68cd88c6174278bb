//! Suites of commands: exit status, TAP and JUnit XML, a verdict for each case.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::bpf_objects::compile_file;
use crate::support::suite::{events, finished, junit, out, verdicts};
use crate::support::{Kiln, checkout};

const SUITES: &str = r#"
[suites.each]
runner = "command"
command = ["/bin/sh", "{file}"]
each = "files/*.sh"
skip-code = 4
env = { GREETING = "hello" }
env-pass = ["PASSED_*"]

[suites.tap]
runner = "command"
command = ["/bin/sh", "tap.sh"]
results = "tap"

[suites.xml]
runner = "command"
command = ["/bin/sh", "xml.sh", "{results}"]
results = "junit"

[suites.counts]
runner = "command"
command = ["/bin/sh", "counts.sh", "{results}"]
results = "junit"

[suites.kself]
runner = "command"
command = ["/bin/cat", "kselftest.tap"]
results = "ktap"

[suites.rust]
runner = "command"
command = ["./needs-kernel", "--skip", "cargo_says", "--skip", "credential", "--include-ignored"]
results = "libtest"

[suites.c]
runner = "command"
command = ["./counts", "counts.bpf.o"]
results = "tap"

[suites.go]
runner = "command"
command = ["/bin/cat", "go.txt"]
results = "go"

[suites.slow]
runner = "command"
command = ["/bin/sleep", "600"]
timeout = "2s"

[suites.cut]
runner = "command"
command = ["/bin/echo", "1..3"]
results = "tap"
"#;

/// A kiln with the checkout's kernels and these suites.
fn kiln(kiln: Kiln, suites: &str) -> Kiln {
    let text = std::fs::read_to_string(checkout().join("kernels.toml")).unwrap();
    let kernels = text.split("\n[suites.").next().unwrap();
    for (name, text) in [
        (
            "files/good.sh",
            "test \"$GREETING $PASSED_ON $PASSED_TOKEN\" = 'hello from the host '",
        ),
        ("files/bad.sh", "echo out of luck; exit 3"),
        ("files/skips.sh", "exit 4"),
        (
            "counts.sh",
            "echo '<testsuite failures=\"2\" errors=\"1\"><testcase name=\"a\"/>\
             <testcase name=\"b\"/></testsuite>' >\"$1\"",
        ),
        (
            "go.txt",
            "=== RUN   TestDoor\n=== RUN   TestDoor/opens\n=== RUN   TestDoor/closes\n    \
             door_test.go:7: stuck\n--- FAIL: TestDoor (0.01s)\n    --- PASS: TestDoor/opens \
             (0.00s)\n    --- FAIL: TestDoor/closes (0.00s)\nFAIL\n",
        ),
        (
            "kselftest.tap",
            "TAP version 13\n1..1\n# selftests: net: x\n# 1..2\n# ok 1 one\n# not ok 2 two\n\
             not ok 1 selftests: net: x # exit=1\n",
        ),
        (
            "tap.sh",
            "echo 1..3; echo 'ok 1 - opens'; echo noise >&2; \
             echo 'not ok 2 - closes'; echo '# no door'; echo 'ok 3 reads # SKIP no book'; exit 1",
        ),
        (
            "xml.sh",
            "echo '<testsuite><testcase classname=\"Door\" name=\"opens\"/>\
             <testcase classname=\"Door\" name=\"closes\" file=\"src/../door.c\" line=\"7\"><failure message=\"stuck\"/></testcase>\
             </testsuite>' >\"$1\"; exit 1",
        ),
    ] {
        kiln.file(name, text);
    }
    // It checks the bytes of its own name.
    let name = OsStr::from_bytes(b"files/caf\xe9.sh");
    let text = "test \"$(printf %s \"${0##*/}\" | od -An -tx1)\" = ' 63 61 66 e9 2e 73 68'";
    std::fs::write(kiln.work().join(name), text).unwrap();
    let lock = std::fs::read(checkout().join("kernels.lock")).unwrap();
    kiln.file("kernels.lock", lock);
    let file = kiln.file("kernels.toml", format!("{kernels}{suites}"));
    kiln.config(file)
}

/// Builds the test program of the crate that loads a BPF program.
fn build_rust_tests(kiln: &Kiln) {
    let built = std::process::Command::new("rustc")
        .args([
            "--edition",
            "2021",
            "--test",
            "--crate-name",
            "needs_kernel",
            "-o",
        ])
        .arg(kiln.work().join("needs-kernel"))
        .arg(checkout().join("tests/data/runners/rust/src/lib.rs"))
        .status();
    assert!(built.unwrap().success());
}

/// Builds the test program in C that loads a BPF object with libbpf, and the object.
fn build_c_tests(kiln: &Kiln) {
    let source = checkout().join("tests/data/runners/c/counts.c");
    let built = std::process::Command::new("gcc")
        .arg("-o")
        .args([kiln.work().join("counts"), source])
        .arg("-lbpf")
        .status();
    assert!(built.unwrap().success());
    let source = checkout().join("tests/data/runners/c/counts.bpf.c");
    compile_file(kiln, &source, &["-g", "-target", "bpf"]);
}

#[test]
fn a_command_s_status_its_tap_and_its_xml_file_are_verdicts_case_by_case() {
    let kiln = kiln(Kiln::new(), SUITES);
    build_rust_tests(&kiln);
    build_c_tests(&kiln);
    let output = kiln
        .vm(["run", "-k", "6.1", "-j1", "--timeout-scale", "1"])
        .args(["--run-dir", out(&kiln).to_str().unwrap()])
        .args(["-e", "TOKEN=s3cret"])
        .env("PASSED_ON", "from the host")
        .env("PASSED_TOKEN", "s3cret")
        .run();
    output.assert_code(100).assert_err_contains("PASSED_TOKEN");
    let found: Vec<String> = verdicts(&out(&kiln))
        .iter()
        .map(|(_, id, verdict)| format!("{id} {verdict}"))
        .collect();
    assert_eq!(
        found,
        [
            "c.attaches pass",
            "c.command pass",
            "c.counts pass",
            "c.loads pass",
            "c.takes numbers pass",
            "counts.a pass",
            "counts.b pass",
            "counts.command error",
            "cut.command error",
            "each.bad.sh fail",
            "each.caf\\xe9.sh pass",
            "each.good.sh pass",
            "each.skips.sh skip",
            "go.TestDoor fail",
            "go.TestDoor/closes fail",
            "go.TestDoor/opens pass",
            "go.command fail",
            "kself.command fail",
            "kself.selftests: net: x/one pass",
            "kself.selftests: net: x/two fail",
            "rust.command fail",
            "rust.tests::a_panic_can_be_right pass",
            "rust.tests::one_and_one_are_three fail",
            "rust.tests::the_kernel_loads_a_program pass",
            "rust.tests::the_verifier_refuses_a_program_without_an_end pass",
            "slow.command timeout",
            "tap.closes fail",
            "tap.command fail",
            "tap.opens pass",
            "tap.reads skip",
            "xml.Door.closes fail",
            "xml.Door.opens pass",
            "xml.command fail",
        ],
        "{}\n{}",
        output.out(),
        output.err()
    );
    let run = out(&kiln);
    let case = finished(&run, "tap.closes");
    assert_eq!(case["case_of"], "tap.command");
    assert_eq!(case["details"], "no door\n");
    assert_eq!(finished(&run, "tap.reads")["reason"], "no book");
    assert_eq!(finished(&run, "xml.Door.closes")["reason"], "stuck");
    let counts = &finished(&run, "counts.command")["reason"];
    let says = "<testsuite> says 2 failures and 1 error, but its cases have 0";
    assert_eq!(counts, says);
    let bad = finished(&run, "each.bad.sh");
    assert_eq!(
        (&bad["reason"], &bad["output"]),
        (&"exit status 3".into(), &"out of luck\n".into())
    );
    let command = finished(&run, "tap.command");
    assert_eq!(command["reason"], "1 of 3 cases did not pass");
    let noise = command["output"].as_str().unwrap();
    assert!(noise.contains("noise"), "{noise}");
    let source = |id: &str| {
        let source = &finished(&run, id)["source"];
        let file = Path::new(source["file"].as_str().unwrap());
        assert!(file.is_absolute(), "{source}");
        let name = file.strip_prefix(kiln.work()).unwrap().to_owned();
        (name, source["line"].as_u64().unwrap())
    };
    let entry = |suite: &str| {
        let text = std::fs::read_to_string(kiln.work().join("kernels.toml")).unwrap();
        let line = text
            .lines()
            .position(|line| line == format!("[suites.{suite}]"));
        (PathBuf::from("kernels.toml"), line.unwrap() as u64 + 1)
    };
    assert_eq!(source("each.bad.sh"), ("files/bad.sh".into(), 1));
    assert_eq!(source("tap.closes"), entry("tap"));
    assert_eq!(source("xml.command"), entry("xml"));
    assert_eq!(source("xml.Door.opens"), entry("xml"));
    assert_eq!(source("xml.Door.closes"), ("door.c".into(), 7));
    let three = finished(&run, "rust.tests::one_and_one_are_three");
    assert_eq!(three["reason"], "assertion `left == right` failed");
    assert!(three["details"].as_str().unwrap().contains("adding"));
    assert_eq!(finished(&run, "go.TestDoor/closes")["reason"], "stuck");
    assert_eq!(source("go.TestDoor/closes"), ("door_test.go".into(), 7));
    assert_no_secret(&run);
    // Cases are not known before, so they are not in the plan.
    assert_eq!(events(&run)[0]["kernels"][0]["tests"], 13);
    assert!(junit(&run).contains("Door.closes"));
}

/// The value of `-e TOKEN=` is in no file of a run directory, but the variable's name is.
fn assert_no_secret(run: &Path) {
    let mut named = 0;
    for file in walkdir::WalkDir::new(run).into_iter().flatten() {
        if !file.file_type().is_file() {
            continue;
        }
        let text = std::fs::read(file.path()).unwrap();
        let text = String::from_utf8_lossy(&text);
        assert!(!text.contains("s3cret"), "{}", file.path().display());
        named += usize::from(text.contains("--env TOKEN"));
    }
    assert!(named > 3, "the line to run it again is in {named} files");
}

#[test]
fn commands_are_listed_selected_and_refused_before_anything_boots() {
    let kiln = kiln(Kiln::with_empty_cache(), SUITES);
    let list = |args: &[&str]| kiln.plain(["list"]).args(args).run();
    list(&["each", "tap"])
        .assert_code(0)
        .assert_out("each.bad.sh\neach.caf\\xe9.sh\neach.good.sh\neach.skips.sh\ntap.command\n");
    list(&["-t", "^each:-bad"])
        .assert_code(0)
        .assert_out("each.caf\\xe9.sh\neach.good.sh\neach.skips.sh\n");
    list(&["taps"])
        .assert_code(96)
        .assert_err_contains("there is no suite `taps`");
    list(&["tap", "--dialect", "0.17"])
        .assert_code(2)
        .assert_err_contains("--dialect is for suites of bpftrace's runtime tests");
}

#[test]
fn mistakes_in_a_command_suite_are_reported_with_their_line() {
    let wrong = "\n[suites.a]\nrunner = \"command\"\ncommand = [\"x\"]\neach = \"*.sh\"\n\
                 results = \"exit\"\nresults-file = \"y\"\ntimeout = \"soon\"\nskip-code = 0\n\
                 env-pass = [\"[\"]\n";
    let kiln = kiln(Kiln::with_empty_cache(), wrong);
    let output = kiln.plain(["list"]).run();
    output.assert_code(96);
    for part in [
        "has each, but no {file} in its command",
        "has a results-file, but its result is its exit status",
        "timeout: ",
        "skip-code is out of range",
        "env-pass: ",
    ] {
        output.assert_err_contains(part);
    }
}
