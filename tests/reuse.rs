//! `kiln exec --reuse`: a VM that stays up for many commands.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::{Invocation, Kiln, processes_naming, take_slot};

/// A command in the VM that is kept for 6.1. The test holds the VM's slot.
fn exec<'k>(kiln: &'k Kiln, script: &str) -> Invocation<'k> {
    kiln.plain([
        "exec",
        "--reuse=60s",
        "-k",
        "6.1",
        "--",
        "/bin/sh",
        "-c",
        script,
    ])
}

fn boot_id(kiln: &Kiln) -> String {
    let output = exec(kiln, "cat /proc/sys/kernel/random/boot_id").run();
    output.assert_code(0);
    output.out()
}

#[test]
fn commands_share_a_vm_and_see_the_host_as_it_is_and_nothing_of_each_other() {
    let kiln = Kiln::new();
    let _slot = take_slot();
    kiln.file("seen", "one\n");
    let first = boot_id(&kiln);

    // Everything of one command is its own.
    let output = kiln
        .plain(["exec", "--reuse=60s", "-k", "6.1", "-e", "VALUE", "--"])
        .args([
            "/bin/sh",
            "-c",
            "cat; pwd; echo $VALUE; echo bad >&2; exit 42",
        ])
        .env("VALUE", "set")
        .stdin("typed\n")
        .run();
    output.assert_code(42);
    let dir = kiln.work();
    assert_eq!(output.out(), format!("typed\n{}\nset\n", dir.display()));
    assert_eq!(output.err(), "bad\n");
    exec(&kiln, "kill -SEGV $$").run().assert_code(139);
    let missing = kiln.plain(["exec", "--reuse=60s", "-k", "6.1", "--", "no-such-program"]);
    missing.run().assert_code(127);

    // What the host changes is seen at once, however it is changed.
    assert_eq!(exec(&kiln, "cat seen").run().out(), "one\n");
    fs::write(dir.join("seen"), "two, in place\n").unwrap();
    assert_eq!(exec(&kiln, "cat seen").run().out(), "two, in place\n");
    fs::write(dir.join("new"), "three\n").unwrap();
    fs::rename(dir.join("new"), dir.join("seen")).unwrap();
    assert_eq!(exec(&kiln, "cat seen; ls").run().out(), "three\nseen\n");

    // What a command leaves is undone.
    exec(
        &kiln,
        "echo mine >seen; touch /tmp/left; sleep 600 >/dev/null 2>&1 &",
    )
    .run();
    let output = exec(
        &kiln,
        "cat seen; ls /tmp/left; grep -c sleep /proc/[0-9]*/comm",
    )
    .run();
    assert_eq!(output.out().lines().next(), Some("three"));
    output.assert_err_contains("/tmp/left");
    assert!(!output.out().contains(":1"), "{}", output.out());

    // Commands at the same time do not wait for each other, even for one that nobody reads.
    let flood = exec(&kiln, "yes");
    let (mut flood, _) = flood.into_command();
    let flood = flood.stdout(std::process::Stdio::piped()).spawn();
    let mut flood = flood.unwrap();
    let mut waits = exec(&kiln, "echo up; cat; echo down").start();
    waits.wait_for("up");
    assert_eq!(exec(&kiln, "echo meanwhile").run().out(), "meanwhile\n");
    flood.kill().unwrap();
    flood.wait().unwrap();
    let output = waits.wait();
    output.assert_code(0);
    assert_eq!(output.out(), "up\ndown\n");

    // Ctrl-C is for its own command.
    let looped = exec(
        &kiln,
        "trap 'echo got it; exit 7' INT; echo up; while :; do sleep 1; done",
    );
    let mut running = looped
        .deadline(Duration::from_secs(60))
        .start_without_stdin();
    running.wait_for("up");
    running.signal(Signal::SIGINT);
    let output = running.wait();
    output.assert_code(7);
    assert_eq!(output.out(), "up\ngot it\n");
    assert_eq!(boot_id(&kiln), first, "it is still the same VM");

    // The socket is the user's alone.
    let sockets = kiln
        .path("tmp")
        .join(format!("kiln-of-{}", nix::unistd::geteuid()));
    assert_eq!(fs::metadata(&sockets).unwrap().mode() & 0o777, 0o700);

    // A VM that dies is lost for its commands, and replaced for the next.
    let output = exec(&kiln, "echo c >/proc/sysrq-trigger; sleep 600").run();
    output
        .assert_code(125)
        .assert_err_contains("the kernel panicked: sysrq triggered crash");
    assert_ne!(boot_id(&kiln), first);

    let stop = ["exec", "--reuse=stop", "-k", "6.1"];
    kiln.plain(stop).run().assert_code(0);
    kiln.assert_nothing_left();
    kiln.assert_no_temporary_files();
    // Nothing is left to stop.
    kiln.plain(stop).run().assert_code(0);
    kiln.assert_no_temporary_files();
}

#[test]
fn several_kilns_start_one_vm_which_ends_when_nobody_uses_it() {
    let kiln = Kiln::new();
    let _slot = take_slot();
    let read = "cat /proc/sys/kernel/random/boot_id";
    let start = || {
        let args = [
            "exec",
            "--reuse=1s",
            "-k",
            "6.1",
            "--",
            "/bin/sh",
            "-c",
            read,
        ];
        kiln.plain(args).start_without_stdin()
    };
    let running = [start(), start(), start()];
    let ids = running.map(|running| {
        let output = running.wait();
        output.assert_code(0);
        output.out()
    });
    assert_eq!(ids[0], ids[1]);
    assert_eq!(ids[0], ids[2]);
    kiln.assert_nothing_left();
    kiln.assert_no_temporary_files();
}

#[test]
fn a_vm_that_does_not_boot_says_why_to_whoever_wants_it() {
    let kiln = Kiln::new();
    let output = kiln
        .plain([
            "exec",
            "--reuse",
            "-k",
            "6.1",
            "--qemu",
            "/no/such/qemu",
            "--",
            "true",
        ])
        .run();
    output.assert_code(125).assert_err_contains("/no/such/qemu");
    // Somebody else's directory in place of ours.
    let sockets = kiln
        .path("tmp")
        .join(format!("kiln-of-{}", nix::unistd::geteuid()));
    fs::create_dir(&sockets).unwrap();
    let output = kiln
        .plain(["exec", "--reuse", "-k", "6.1", "--", "true"])
        .run();
    output
        .assert_code(125)
        .assert_err_contains("is not only yours");
    assert!(processes_naming(&kiln.work()).is_empty());
}
