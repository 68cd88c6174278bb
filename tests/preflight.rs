//! `kiln run` first checks what the selected tests need, and says how many tests need what is
//! missing.

use crate::support::suite::{assert_verdicts, events, out, run, suite};

#[test]
fn missing_needs_of_the_selected_tests_are_reported_before_they_run() {
    let test = |name: &str, more: &str| {
        format!("NAME {name}\nRUN echo hello\nEXPECT hello\nTIMEOUT 20\n{more}\n")
    };
    let kiln = suite(
        &[
            test("1 has all", "REQUIRES command -v sh\n"),
            test("2 tool", "REQUIRES no-such-tool --help | grep x\n"),
            test("3 tool", "AFTER no-such-tool\n"),
            test("4 module", "REQUIRES lsmod | grep '^no_such_module'\n"),
            test("5 mount", "REQUIRES grep -q '^nosuchfs' /proc/mounts\n"),
            test("6 other kernel", "MIN_KERNEL 9.0\nREQUIRES not-needed\n"),
            test("7 not selected", "REQUIRES not-selected\n"),
        ]
        .concat(),
    );
    let output = run(&kiln, &["6.1"])
        .args(["-j", "1", "-t", "-selected"])
        .run();
    output.assert_code(0);
    assert_verdicts(
        &kiln,
        &output,
        &[
            "1 has all pass",
            "2 tool skip",
            "3 tool pass",
            "4 module skip",
            "5 mount skip",
            "6 other kernel skip",
        ],
    );
    let all = events(&out(&kiln));
    let told: Vec<&str> = all
        .iter()
        .take_while(|event| event["event"] != "test_started")
        .filter(|event| event["event"] == "warning" && event["kernel"] == "6.1")
        .map(|event| event["message"].as_str().unwrap())
        .filter(|message| message.contains("need"))
        .collect();
    assert_eq!(
        told,
        [
            "2 tests need the program no-such-tool, which is not in this VM",
            "1 test needs the module no_such_module, which is not loaded: \
             `modules` in kernels.toml does not name it",
            "1 test needs a mounted nosuchfs, which is not in this VM",
        ]
    );
}
