//! However kiln ends, no process is left.

use std::time::{Duration, Instant};

use crate::support::{Kiln, Running};
use nix::sys::signal::Signal;

/// Longer than a VM takes to power off, shorter than the grace for a stubborn command.
const SOON: Duration = Duration::from_secs(30);

#[test]
fn nothing_is_left_after_success_and_after_failure() {
    let kiln = Kiln::new();
    for script in ["exit 0", "exit 1", "kill -9 $$", "poweroff -f; sleep 60"] {
        kiln.sh("6.1", script).run();
        kiln.assert_nothing_left();
        kiln.assert_no_temporary_files();
    }
}

#[test]
fn ctrl_c_reaches_the_command_whose_answer_counts() {
    let kiln = Kiln::new();
    let script = "trap 'echo told; exit 7' INT; echo ready; while :; do sleep 0.1; done";
    let mut running = kiln.sh("6.1", script).start();
    running.wait_for("ready");
    running.signal(Signal::SIGINT);
    let output = running.wait();
    output.assert_code(7).assert_out("ready\ntold\n");
    kiln.assert_nothing_left();
    kiln.assert_no_temporary_files();
}

#[test]
fn a_command_that_ctrl_c_ends_gives_130() {
    let kiln = Kiln::new();
    let running = ready(&kiln, "echo ready; exec sleep 1000");
    running.signal(Signal::SIGINT);
    let output = running.wait();
    output.assert_code(130);
    kiln.assert_nothing_left();
}

#[test]
fn a_second_ctrl_c_ends_a_command_that_ignores_the_first() {
    let kiln = Kiln::new();
    let mut running = ready(&kiln, "trap '' INT; echo ready; while :; do sleep 1; done");
    running.signal(Signal::SIGINT);
    std::thread::sleep(Duration::from_millis(500));
    assert!(
        !running.ended(),
        "one SIGINT ended a command that ignores it"
    );
    running.signal(Signal::SIGINT);
    let output = running.wait_at_most(SOON);
    output.assert_code(130);
    kiln.assert_nothing_left();
    kiln.assert_no_temporary_files();
}

#[test]
fn sigterm_and_sighup_end_the_command_and_the_vm() {
    let kiln = Kiln::new();
    for (signal, code) in [(Signal::SIGTERM, 143), (Signal::SIGHUP, 129)] {
        let running = ready(&kiln, "echo ready; exec sleep 1000");
        running.signal(signal);
        running.wait_at_most(SOON).assert_code(code);
        kiln.assert_nothing_left();
        kiln.assert_no_temporary_files();
    }
}

#[test]
fn a_command_that_ignores_sigterm_is_still_ended() {
    let kiln = Kiln::new();
    let running = ready(&kiln, "trap '' TERM; echo ready; while :; do sleep 1; done");
    running.signal(Signal::SIGTERM);
    running.wait_at_most(SOON).assert_code(143);
    kiln.assert_nothing_left();
}

#[test]
fn kill_9_takes_qemu_and_the_shares_along() {
    let kiln = Kiln::new();
    let running = ready(&kiln, "echo ready; exec sleep 1000");
    let before = crate::support::processes_naming(&kiln.path("tmp"));
    assert!(before.len() >= 3, "QEMU and its shares: {before:?}");
    running.signal(Signal::SIGKILL);
    running.wait_at_most(SOON).assert_code(137);
    kiln.assert_nothing_left();
}

#[test]
fn kill_9_during_the_boot_leaves_nothing() {
    let kiln = Kiln::new();
    let running = kiln.sh("6.1", "true").start();
    wait_for_qemu(&kiln);
    running.signal(Signal::SIGKILL);
    running.wait_at_most(SOON).assert_code(137);
    kiln.assert_nothing_left();
}

#[test]
fn ctrl_c_during_the_boot_gives_130_and_leaves_nothing() {
    let kiln = Kiln::new();
    let running = kiln
        .vm(["exec", "-k", "6.1", "--qemu-arg", "-S", "--", "true"])
        .start();
    wait_for_qemu(&kiln);
    running.signal(Signal::SIGINT);
    running.wait_at_most(SOON).assert_code(130);
    kiln.assert_nothing_left();
    kiln.assert_no_temporary_files();
}

#[test]
fn ctrl_c_also_ends_a_series_of_kernels() {
    let kiln = Kiln::new();
    let args = ["exec", "-k", "@quick", "--", "sh", "-c"];
    let mut running = kiln
        .vm(args)
        .arg("uname -r; echo ready; exec sleep 1000")
        .start_without_stdin();
    running.wait_for("ready");
    running.signal(Signal::SIGINT);
    let output = running.wait_at_most(SOON);
    output.assert_code(130);
    assert_eq!(output.out().matches("ready").count(), 1, "{}", output.out());
    kiln.assert_nothing_left();
}

/// Waits until the QEMU of the only running kiln exists.
fn wait_for_qemu(kiln: &Kiln) {
    let start = Instant::now();
    while !crate::support::processes_naming(&kiln.path("tmp"))
        .iter()
        .any(|(_, arguments)| arguments.contains("microvm"))
    {
        assert!(start.elapsed() < SOON, "waited {SOON:?} for QEMU's start");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Runs a script that prints `ready`, and waits for that.
fn ready(kiln: &Kiln, script: &str) -> Running {
    let mut running = kiln.sh("6.1", script).start();
    running.wait_for("ready");
    running
}
