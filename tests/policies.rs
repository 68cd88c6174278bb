//! `kiln run`'s policies: retries, repetitions, early ends, a VM for each test.

use std::time::Duration;

use crate::support::Kiln;
use crate::support::debian_tests::debian_tests;
use crate::support::suite::{
    ATTACH, assert_verdicts, events, finished, out, run, run_scaled, suite,
};
use serde_json::Value;

/// One test: a name, a shell command that should print `hello`, its limit in seconds.
fn test(name: &str, command: &str, limit: u32) -> String {
    format!("NAME {name}\nRUN {command}\nEXPECT hello\nTIMEOUT {limit}\n\n")
}

/// A test whose first `failures` runs in a VM fail.
fn fails_at_first(name: &str, failures: usize) -> String {
    let count = counted(&name.replace(' ', "-"));
    let command = format!("test $({count}) -gt {failures} && echo hello || echo no");
    test(name, &command, 20)
}

/// Prints how often it has run in this VM. Tests may leave messages in the kernel's log.
fn counted(name: &str) -> String {
    format!("echo kiln-{name} >/dev/kmsg; dmesg | grep -c kiln-{name}")
}

/// The events of this name.
fn named(kiln: &Kiln, name: &str) -> Vec<Value> {
    let mut all = events(&out(kiln));
    all.retain(|event| event["event"] == name);
    all
}

/// Verdicts of the attempts at a test that were not its last.
fn attempts(kiln: &Kiln, id: &str) -> Vec<String> {
    let mut all = named(kiln, "attempt_finished");
    all.retain(|event| event["id"] == id);
    for (index, event) in all.iter().enumerate() {
        assert_eq!(event["attempt"], index + 1, "{event}");
    }
    all.iter()
        .map(|event| event["verdict"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn retries_tell_flaky_tests_from_broken_ones_and_end_with_the_second_lost_vm() {
    let kiln = suite(
        &[
            test("1 passes", "echo hello", 20),
            fails_at_first("2 flaky", 1),
            test("3 broken", "echo no", 20),
            test("4 dies", "echo c >/proc/sysrq-trigger; sleep 60", 20),
            test("5 goes on", "echo hello", 20),
        ]
        .concat(),
    );
    let output = run(&kiln, &["6.1"]).args(["-j1", "--retries", "3"]).run();
    output.assert_code(97);
    assert_verdicts(
        &kiln,
        &output,
        &[
            "1 passes pass",
            "2 flaky pass",
            "3 broken fail",
            "4 dies lost",
            "5 goes on pass",
        ],
    );
    assert_eq!(attempts(&kiln, "suite.1 passes"), [""; 0]);
    assert_eq!(attempts(&kiln, "suite.2 flaky"), ["fail"]);
    assert_eq!(attempts(&kiln, "suite.3 broken"), ["fail"; 3]);
    assert_eq!(attempts(&kiln, "suite.4 dies"), ["lost"]);
    let flaky = finished(&out(&kiln), "suite.2 flaky");
    assert_eq!(
        (&flaky["flaky"], &flaky["attempt"]),
        (&true.into(), &2.into())
    );
    assert_eq!(named(&kiln, "vm_started").len(), 3);
    kiln.assert_nothing_left();
}

#[test]
fn a_repeated_test_fails_if_one_run_does_and_each_runs_as_often() {
    let kiln = suite(
        &[
            fails_at_first("1 flaky", 1),
            test("2 passes", "echo hello", 20),
        ]
        .concat(),
    );
    let output = run(&kiln, &["6.1"]).args(["-j1", "--repeat", "3"]).run();
    output.assert_code(100);
    assert_verdicts(&kiln, &output, &["1 flaky fail", "2 passes pass"]);
    assert_eq!(attempts(&kiln, "suite.1 flaky"), ["fail", "pass"]);
    assert_eq!(attempts(&kiln, "suite.2 passes"), ["pass", "pass"]);
    let flaky = finished(&out(&kiln), "suite.1 flaky");
    let reason = flaky["reason"].as_str().unwrap();
    assert!(
        reason.starts_with("failed in 1 of 3 runs, at first in run 1: "),
        "{reason}"
    );
}

#[test]
fn tests_repeated_until_one_fails_stop_with_it() {
    let count = format!("test $({}) -lt 3 && echo hello || echo no", counted("n"));
    let kiln = suite(
        &[
            test("1 passes", "echo hello", 20),
            test("2 fails", &count, 20),
        ]
        .concat(),
    );
    let output = run(&kiln, &["6.1"])
        .args(["-j1", "--repeat-until-fail"])
        .run();
    output.assert_code(100);
    assert_verdicts(&kiln, &output, &["1 passes pass", "2 fails fail"]);
    assert_eq!(attempts(&kiln, "suite.2 fails"), ["pass", "pass"]);
    assert_eq!(attempts(&kiln, "suite.1 passes"), ["pass", "pass"]);
}

#[test]
fn a_run_ends_with_the_failure_that_max_fail_does_not_allow() {
    let kiln = suite(
        &[
            test("1 passes", "echo hello", 20),
            test("2 fails", "echo no", 20),
            test("3 does not run", "echo hello", 20),
        ]
        .concat(),
    );
    let output = run(&kiln, &["6.1"]).args(["-j1", "--fail-fast"]).run();
    output.assert_code(100);
    assert_verdicts(&kiln, &output, &["1 passes pass", "2 fails fail"]);
    let stopped = named(&kiln, "run_stopped");
    assert_eq!(stopped.len(), 1);
    assert_eq!(stopped[0]["why"], "max_fail");
    assert!(output.out().contains("--max-fail"), "{}", output.out());
    assert!(output.out().contains("1 not run"), "{}", output.out());
}

#[test]
fn the_time_of_the_whole_run_ends_what_runs_and_leaves_nothing() {
    let kiln = suite(
        &[
            test("1 quick", "echo hello", 20),
            test("2 slow", &format!("{ATTACH}; sleep 1000"), 100),
        ]
        .concat(),
    );
    let output = run_scaled(&kiln, &["6.1"], "30")
        .args(["-j1", "--global-timeout", "30s"])
        .deadline(Duration::from_secs(60))
        .run();
    output.assert_code(100);
    assert_verdicts(&kiln, &output, &["1 quick pass", "2 slow timeout"]);
    assert_eq!(named(&kiln, "run_stopped")[0]["why"], "global_timeout");
    kiln.assert_nothing_left();
    kiln.assert_no_temporary_files();
}

#[test]
fn a_fresh_vm_for_each_test_has_seen_no_other() {
    let alone = &format!("test $({}) = 1 && echo hello", counted("seen"));
    let kiln = suite(&[test("1 alone", alone, 20), test("2 alone", alone, 20)].concat());
    let output = run(&kiln, &["6.1"]).args(["-j1", "--fresh-vm"]).run();
    output.assert_code(0);
    assert_verdicts(&kiln, &output, &["1 alone pass", "2 alone pass"]);
    assert_eq!(named(&kiln, "vm_started").len(), 2);
}

#[test]
fn policies_that_contradict_each_other_are_refused() {
    let kiln = Kiln::with_empty_cache();
    for args in [
        ["--retries", "2", "--repeat", "2"].as_slice(),
        &["--fail-fast", "--max-fail", "2"],
        &["--max-fail", "0"],
        &["--repeat", "0"],
        &["--global-timeout", "soon"],
    ] {
        kiln.plain(["run"]).args(args).run().assert_code(2);
    }
}

#[test]
fn known_results_are_expected_skipped_and_kept_up_to_date() {
    let kiln = suite(
        &[
            test("1 fails", "echo no", 20),
            test("2 passes", "echo hello", 20),
            test("3 skipped", "echo c >/proc/sysrq-trigger", 20),
            test("4 new", "echo no", 20),
        ]
        .concat(),
    );
    let known = "# Known for long.
[[known]]
test = \"suite.1 fails\"
kernel = [\"<5.11\", \"6.1\"]
bpftrace = \"0.17\"
result = \"fail\"
reason = \"says no\"
link = \"https://example.org/1\"

[[known]]
test = \"suite.2 passes\"
kernel = \"6.1\"
result = \"fail\"
reason = \"was bad\"

[[known]]
filter = \"skipped\"
result = \"skip\"
reason = \"kills the VM\"
";
    let version = format!("bpftrace = \"{}\"", debian_tests().dialect);
    let known = known.replace("bpftrace = \"0.17\"", &version);
    let file = kiln.file("known.toml", known);
    let output = run(&kiln, &["6.1"])
        .args([
            "-j1",
            "--update-expectations",
            "--expectations",
            "known.toml",
        ])
        .run();
    output.assert_code(100);
    assert_verdicts(
        &kiln,
        &output,
        &[
            "1 fails fail",
            "2 passes pass",
            "3 skipped skip",
            "4 new fail",
        ],
    );
    assert_eq!(named(&kiln, "vm_started").len(), 1);
    let failed = finished(&out(&kiln), "suite.1 fails");
    assert_eq!(failed["known"]["link"], "https://example.org/1");
    let passed = finished(&out(&kiln), "suite.2 passes");
    let reason = passed["reason"].as_str().unwrap();
    assert_eq!(reason, "passes, but is known to fail: was bad");
    assert!(
        output.out().contains("known.toml: 1 added, 1 removed"),
        "{}",
        output.out()
    );
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.starts_with("# Known for long.\n"), "{text}");
    assert!(
        text.contains("suite.4 new") && !text.contains("suite.2 passes"),
        "{text}"
    );
    // As expected now.
    std::fs::remove_dir_all(out(&kiln)).unwrap();
    run(&kiln, &["6.1"])
        .args(["-j1", "--expectations", "known.toml"])
        .run()
        .assert_code(0);
}

#[test]
fn a_mistake_in_the_expectations_is_reported_with_its_line_before_anything_boots() {
    let kiln = suite(&test("1 passes", "echo hello", 20));
    kiln.file(
        "bad.toml",
        "\n[[known]]\ntest = \"a.b\"\nresult = \"fial\"\nreason = \"r\"\n",
    );
    let output = run(&kiln, &["6.1"])
        .args(["--expectations", "bad.toml"])
        .run();
    output.assert_code(96);
    assert!(
        output.err().contains("bad.toml:4: unknown result"),
        "{}",
        output.err()
    );
    let output = run(&kiln, &["6.1"])
        .args(["--expectations", "none.toml"])
        .run();
    output.assert_code(96);
    assert!(!out(&kiln).exists());
}
