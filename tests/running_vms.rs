//! VMs that run, from another terminal: `kiln ps`, `logs`, `stop`, `dump` and `gdb`.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::{Kiln, Output, mount_namespace};

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

/// The VMs that run.
pub(crate) fn running(kiln: &Kiln) -> Vec<Value> {
    let output = kiln.plain(["ps", "--format", "json"]).run();
    output.assert_code(0);
    serde_json::from_str(&output.out()).unwrap()
}

#[test]
fn the_vm_of_a_command_that_failed_is_kept_for_a_debugger_a_dump_and_its_end() {
    let kiln = Kiln::new();
    assert!(running(&kiln).is_empty());
    let mut kept = kiln
        .vm([
            "exec",
            "-k",
            "6.1",
            "--keep-vm=10m",
            "--gdb",
            "--memory",
            "512M",
        ])
        .args(["--", "sh", "-c", "echo here >/dev/kmsg; exit 7"])
        .deadline(Duration::from_secs(180))
        .start();
    kept.wait_for_err("the command failed; the VM stays for 600 s");

    let vms = running(&kiln);
    assert_eq!(vms.len(), 1, "{vms:?}");
    let (vm, dir) = (
        vms[0]["id"].as_str().unwrap(),
        vms[0]["dir"].as_str().unwrap(),
    );
    assert_eq!(vms[0]["kernel"], "6.1");
    assert_eq!(vms[0]["kiln"], kept.pid().as_raw());
    // The stub is on a socket that only the user reaches.
    let stub = vms[0]["gdb"].as_str().unwrap();
    assert_eq!(stub, format!("{dir}/gdb.sock"));
    assert_eq!(mode(Path::new(dir)), 0o700);
    let table = kiln.plain(["ps"]).run();
    assert!(
        table.out().contains(&format!("{vm}  6.1")),
        "{}",
        table.out()
    );

    let gdb = |name: &str| -> Output {
        kiln.plain([
            "gdb",
            name,
            "--",
            "-nx",
            "-batch",
            "-ex",
            "bt 2",
            "-ex",
            "info registers rip",
        ])
        .run()
    };
    let backtrace = gdb("6.1");
    backtrace.assert_code(0);
    let text = backtrace.out();
    // Without randomization, the kernel is where it was linked to.
    assert!(
        text.contains("#0  0xffffffff81"),
        "{text}\n{}",
        backtrace.err()
    );

    // The stub serves one at a time.
    let holds = [
        "-nx",
        "-batch",
        "-ex",
        "echo attached\n",
        "-ex",
        "shell sleep 4",
    ];
    let mut holds = kiln.plain(["gdb", vm, "--"]).args(holds).start();
    holds.wait_for("attached");
    gdb(vm)
        .assert_code(96)
        .assert_err_contains(&format!("somebody else debugs or dumps VM {vm}"));
    holds.wait().assert_code(0);

    let vmcore = kiln.work().join("core");
    let dumped = kiln.plain(["dump", vm, "-o", "core"]).run();
    dumped.assert_code(0).assert_err_contains("MiB)");
    assert_eq!(mode(&vmcore), 0o600);
    let dump = fs::read(&vmcore).unwrap();
    // kdump's format, with the kernel's own facts.
    assert!(dump.starts_with(b"KDUMP   "));
    let has = |text: &[u8]| memchr::memmem::find(&dump, text).is_some();
    assert!(has(b"\0Linux\0") && has(b"OSRELEASE=6.1."), "no vmcoreinfo");
    let again = kiln.plain(["dump", vm, "-o", "core"]).run();
    again.assert_code(96).assert_err_contains("File exists");
    assert_eq!(fs::read(&vmcore).unwrap().len(), dump.len());
    // Ctrl-C in the middle leaves nothing, neither here nor in the VM's directory.
    let mut interrupted = kiln.plain(["dump", vm, "-o", "half"]).start();
    let half = kiln.work().join("half");
    interrupted.wait_until("half a dump", || {
        half.metadata().is_ok_and(|file| file.len() > 0)
    });
    interrupted.signal(Signal::SIGINT);
    interrupted.wait().assert_code(130);
    assert!(!half.exists());
    assert!(!Path::new(dir).join("dump.fifo").exists());

    if mount_namespace::is_allowed() {
        fs::create_dir(kiln.work().join("small")).unwrap();
        let script =
            "mount -t tmpfs -o size=1m tmpfs small && \"$@\"; code=$?; ls small; exit $code";
        let full = kiln
            .plain(["dump", vm, "-o", "small/core"])
            .by(&mount_namespace::running(script))
            .run();
        full.assert_code(96)
            .assert_err_contains("cannot write small/core: No space left on device")
            .assert_err_contains("needs room for the memory");
        // Nothing half-written is left.
        assert_eq!(full.out(), "");
    }
    // It went on afterwards.
    gdb(vm).assert_code(0);
    let shell = |name: &str, script: &str| -> Output {
        let shell = kiln.plain(["shell", "--attach", name]);
        shell.stdin(script).run()
    };
    let attached = shell("6.1", "uname -r; pwd; exit 5\n");
    attached.assert_code(5);
    let (release, dir) = (&vms[0]["release"], kiln.work());
    let said = format!("{}\n{}\n", release.as_str().unwrap(), dir.display());
    assert_eq!(attached.out(), said);
    // Functions of modules are where the guest has loaded them.
    let loaded = shell(vm, "grep ' ovl_lookup\t' /proc/kallsyms\n").out();
    let address = loaded.split(' ').next().unwrap().trim_start_matches('0');
    let symbol = kiln
        .plain(["gdb", vm, "--", "-nx", "-batch", "-ex"])
        .arg("info address ovl_lookup")
        .run();
    let said = format!("Symbol \"ovl_lookup\" is at 0x{address} in a file");
    assert!(
        symbol.out().contains(&said),
        "{loaded}{}{}",
        symbol.out(),
        symbol.err()
    );
    // A program in drgn's place, of which the guest has the memory; and none, which gets a dump.
    let drgn = "head -c 4 /proc/kcore; echo \" $(uname -r) $*\"; exit 6";
    let drgn = kiln.program("drgn", format!("#!/bin/sh\n{drgn}\n"));
    let live = kiln.plain(["drgn", vm, "--drgn"]).arg(&drgn);
    let live = live.args(["--vmlinux", "/etc/passwd", "--", "-q"]).run();
    live.assert_code(6);
    let said = format!(
        "\x7fELF {} -k -s /etc/passwd -q\n",
        release.as_str().unwrap()
    );
    assert_eq!(live.out(), said, "{}", live.err());
    for (drgn, vmlinux, unseen) in [
        ("no-such-drgn", "/etc/passwd", "no-such-drgn"),
        ("true", "/no/vmlinux", "/no/vmlinux"),
    ] {
        let dumped = kiln.plain(["drgn", vm, "--drgn", drgn, "--vmlinux", vmlinux]);
        dumped.run().assert_err_contains(&format!(
            "drgn gets a dump of the memory: the guest does not see {unseen}"
        ));
    }
    // Two at once, of which one ends with the VM.
    let mut stays = kiln.plain(["shell", "--attach", vm]).start();
    stays.type_in("echo he\"\"re; sleep 1000\n");
    stays.wait_for("here");
    shell(vm, "exit 3\n").assert_code(3);
    kiln.plain(["logs", vm]).run().assert_code(0);
    kiln.plain(["stop", vm]).run().assert_code(0);
    kept.wait().assert_code(7);
    let ended = stays.wait();
    ended
        .assert_code(125)
        .assert_err_contains(&format!("VM {vm} has ended"));
    let gone = kiln.plain(["stop", vm]).run();
    gone.assert_code(96)
        .assert_err_contains(&format!("there is no running VM {vm}"));
    assert!(running(&kiln).is_empty());
    kiln.assert_nothing_left();
    kiln.assert_no_temporary_files();
}

#[test]
fn a_kernel_that_panicked_stands_still_for_gdb() {
    let kiln = Kiln::new();
    let mut kept = kiln
        .vm([
            "exec",
            "-k",
            "6.12",
            "--keep-vm",
            "--gdb",
            "--memory",
            "512M",
        ])
        .args(["--", "sh", "-c", "echo c >/proc/sysrq-trigger"])
        .deadline(Duration::from_secs(180))
        .start();
    kept.wait_for_err("the VM is lost; the VM stays for 3600 s");
    let backtrace = kiln
        .plain(["gdb", "6.12", "--", "-nx", "-batch", "-ex", "bt 1"])
        .run();
    backtrace.assert_code(0);
    let text = backtrace.out();
    assert!(text.contains("#0  0xffffffff8"), "{text}");
    kiln.plain(["stop", "6.12"]).run().assert_code(0);
    let output = kept.wait();
    output
        .assert_code(125)
        .assert_err_contains("the kernel panicked: sysrq triggered crash");
    kiln.assert_nothing_left();
    kiln.assert_no_temporary_files();
}

#[test]
fn a_port_that_is_taken_ends_the_start_in_qemu_s_words() {
    let kiln = Kiln::new();
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let output = kiln
        .vm(["exec", "-k", "6.1", &format!("--gdb={port}"), "--", "true"])
        .run();
    output
        .assert_code(125)
        .assert_err_contains(&format!("tcp:127.0.0.1:{port}"))
        .assert_err_contains("Address already in use");
    kiln.assert_nothing_left();
}

#[test]
fn what_cannot_be_kept_or_debugged_is_refused_before_anything_boots() {
    let kiln = Kiln::new();
    let refused = |args: &[&str], message: &str| {
        let output = kiln
            .plain(["exec", "-k", "6.1"])
            .args(args)
            .args(["--", "true"])
            .run();
        output.assert_code(2).assert_err_contains(message);
    };
    refused(&["--shell-on-fail"], "needs a terminal as stdin and stdout");
    let long = format!("--gdb=/tmp/{}", "x".repeat(120));
    refused(&[&long], "has at most 107 bytes, and this has 125");
    refused(&["--gdb=0"], "a port is a number from 1 to 65535");
    refused(&["--keep-vm", "-j2"], "cannot be used with");
}
