//! How `kiln run` ends early: interrupted, killed, no room to write; it keeps its results so far.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use crate::support::suite::{ATTACH, assert_verdicts, events, junit, out, run, run_scaled, suite};
use crate::support::{Kiln, mount_namespace};
use nix::sys::signal::{Signal, kill};

/// One test: a name, a shell command, its expected output.
fn test(name: &str, command: &str, expected: &str, limit: u32) -> String {
    format!("NAME {name}\nRUN {command}\nEXPECT {expected}\nTIMEOUT {limit}\n\n")
}

/// A suite of which the first test is quick and the second is not.
fn slow() -> Kiln {
    suite(
        &[
            test("1 quick", "echo hello", "hello", 5),
            test("2 slow", &format!("{ATTACH}; sleep 100"), "x", 100),
        ]
        .concat(),
    )
}

/// Starts [`slow`] and waits until the second test runs. The scale gives it a
/// long time.
fn start_slow(kiln: &Kiln) -> crate::support::Running {
    let running = run_scaled(kiln, &["6.1"], "30").arg("-j").arg("1").start();
    let start = Instant::now();
    while !fs::read_to_string(out(kiln).join("events.jsonl")).is_ok_and(|text| {
        text.contains("\"suite\":\"bpftrace\",\"id\":\"suite.2 slow\",\"attempt\":1")
    }) {
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "the slow test did not start"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    running
}

#[test]
fn ctrl_c_keeps_the_verdicts_so_far_and_leaves_nothing_running() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let kiln = slow();
        let running = start_slow(&kiln);
        kill(running.pid(), signal).unwrap();
        let output = running.wait();
        output.assert_code(128 + signal as i32);
        assert_verdicts(&kiln, &output, &["1 quick pass"]);
        let all = events(&out(&kiln));
        assert_eq!(all.last().unwrap()["event"], "run_finished");
        assert!(junit(&out(&kiln)).contains("suite.1 quick"));
        kiln.assert_nothing_left();
        kiln.assert_no_temporary_files();
    }
}

#[test]
fn ctrl_c_ends_a_run_that_still_asks_a_program_for_its_version() {
    let kiln = suite(&test("a", "echo a", "a", 5));
    let asked = kiln.path("asked");
    let script = format!("#!/bin/sh\n: >'{}'\nexec sleep 100\n", asked.display());
    let program = kiln.program("bpftrace", script);
    let running = kiln
        .plain(["run", "-k", "6.1", "--tests", "tests", "--bpftrace"])
        .arg(program)
        .start();
    let start = Instant::now();
    while !asked.exists() {
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "it was not asked"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    kill(running.pid(), Signal::SIGINT).unwrap();
    // Its own deadline is 30 s.
    running
        .wait_at_most(Duration::from_secs(15))
        .assert_code(130);
    kiln.assert_nothing_left();
    kiln.assert_no_temporary_files();
}

#[test]
fn kill_9_keeps_the_verdicts_so_far_and_leaves_nothing_running() {
    let kiln = slow();
    let running = start_slow(&kiln);
    kill(running.pid(), Signal::SIGKILL).unwrap();
    let output = running.wait();
    output.assert_code(137);
    assert_verdicts(&kiln, &output, &["1 quick pass"]);
    kiln.assert_nothing_left();
}

#[test]
fn a_run_directory_that_cannot_be_made_is_reported_before_anything_boots() {
    let kiln = suite(&test("a", "echo a", "a", 5));
    let file = kiln.file("file", "");
    let output = kiln
        .plain([
            "run",
            "-k",
            "6.1",
            "--tests",
            "tests",
            "--dialect",
            "0.17",
            "--run-dir",
        ])
        .arg(file.join("below"))
        .run();
    output
        .assert_code(96)
        .assert_out("")
        .assert_err_contains("cannot create the run directory")
        .assert_err_contains("--run-dir DIR");
}

#[test]
fn a_run_directory_without_write_permission_is_reported_to_an_ordinary_user() {
    let kiln = Kiln::as_ordinary_user();
    kiln.file("tests/runtime/suite", test("a", "echo a", "a", 5));
    let locked = kiln.work().join("locked");
    fs::create_dir(&locked).unwrap();
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o555)).unwrap();
    let output = kiln
        .plain([
            "run",
            "-k",
            "6.1",
            "--tests",
            "tests",
            "--dialect",
            "0.17",
            "--run-dir",
        ])
        .arg(locked.join("out"))
        .run();
    output
        .assert_code(96)
        .assert_err_contains("Permission denied");
}

#[test]
fn a_directory_with_another_run_is_left_alone() {
    let kiln = suite(&test("a", "echo a", "a", 5));
    fs::create_dir(out(&kiln)).unwrap();
    fs::write(out(&kiln).join("events.jsonl"), "mine").unwrap();
    let output = run(&kiln, &["6.1"]).run();
    output
        .assert_code(96)
        .assert_err_contains("already contains a run");
    let kept = fs::read_to_string(out(&kiln).join("events.jsonl")).unwrap();
    assert_eq!(kept, "mine");
}

/// Tests that each leave some 60 KiB in the log.
fn voluble() -> Kiln {
    let text: String = (1..=40)
        .map(|number| {
            let command = "head -c 60000 /dev/zero | tr '\\000' x; echo; echo hello";
            test(&format!("{number:02}"), command, "hello", 5)
        })
        .collect();
    let kiln = suite(&text);
    fs::create_dir(out(&kiln)).unwrap();
    kiln
}

/// The verdicts that a full log keeps: some, and each a pass.
#[track_caller]
fn assert_kept(run_dir: &std::path::Path) {
    let verdicts = verdicts_until_cut(run_dir);
    assert!(
        !verdicts.is_empty() && verdicts.len() < 40,
        "{}",
        verdicts.len()
    );
    assert!(
        verdicts.iter().all(|verdict| verdict == "pass"),
        "{verdicts:?}"
    );
}

/// Verdicts of a log of which the last line may be cut short.
fn verdicts_until_cut(run_dir: &std::path::Path) -> Vec<String> {
    let text = fs::read_to_string(run_dir.join("events.jsonl")).unwrap();
    text.split_inclusive('\n')
        .filter(|line| line.ends_with('\n'))
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|event: &serde_json::Value| event["event"] == "test_finished")
        .map(|event| event["verdict"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_log_that_cannot_grow_ends_the_run_and_keeps_the_verdicts_so_far() {
    let kiln = voluble();
    let running = run(&kiln, &["6.1"]).arg("-j").arg("1").start();
    let log = out(&kiln).join("events.jsonl");
    let start = Instant::now();
    while !fs::read_to_string(&log).is_ok_and(|text| text.contains("test_finished")) {
        assert!(start.elapsed() < Duration::from_secs(60), "no verdict came");
        std::thread::sleep(Duration::from_millis(10));
    }
    // For kiln alone: QEMU has its memory in a file.
    let limit = fs::metadata(&log).unwrap().len() + 200_000;
    let limited = std::process::Command::new("prlimit")
        .arg(format!("--pid={}", running.pid()))
        .arg(format!("--fsize={limit}"))
        .status();
    assert!(limited.unwrap().success());
    let output = running.wait();
    output
        .assert_code(96)
        .assert_err_contains("File too large")
        .assert_err_contains(&log.display().to_string());
    assert_kept(&out(&kiln));
    kiln.assert_nothing_left();
    kiln.assert_no_temporary_files();
}

#[test]
fn a_full_disk_under_the_run_directory_is_reported_and_keeps_the_verdicts_so_far() {
    let kiln = voluble();
    let room = out(&kiln).display().to_string();
    let kept = kiln.path("kept");
    fs::create_dir(&kept).unwrap();
    let mountable = mount_namespace::is_allowed();
    let (command, _slot) = run(&kiln, &["6.1"]).arg("-j").arg("1").into_command();
    let mut outer = std::process::Command::new(if mountable { "unshare" } else { "sh" });
    if mountable {
        outer.args([mount_namespace::options(), "sh"]);
    }
    // If mounts are not allowed, the log is limited once the guest is up.
    let limit = format!(
        "\"$@\" & kiln=$!; until grep -q test_finished '{room}/events.jsonl'; do sleep 0.1; done; \
         prlimit --pid=$kiln --fsize=300000; wait $kiln; code=$?"
    );
    let mount = format!("mount -t tmpfs -o size=512k tmpfs '{room}' || exit 1; \"$@\"; code=$?");
    let script = if mountable { mount } else { limit };
    let script = format!(
        "{script}; cp '{room}/events.jsonl' '{}'; exit $code",
        kept.display()
    );
    outer.args(["-c", &script, "sh"]);
    outer.arg(command.get_program()).args(command.get_args());
    outer.env_clear().current_dir(kiln.work());
    for (name, value) in command.get_envs() {
        outer.env(name, value.unwrap_or_default());
    }
    let output = outer.output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(96), "{told}");
    assert!(told.contains(&room), "the directory is not named: {told}");
    if mountable {
        assert!(told.contains("No space left on device"), "{told}");
    }
    assert_kept(&kept);
    kiln.assert_nothing_left();
}
