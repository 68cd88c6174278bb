//! What the user sees when a VM cannot be made, does not boot, or is lost.

use std::path::Path;
use std::time::Duration;

use crate::support::{KERNELS, Kiln};
use nix::sys::signal::{Signal, kill};

#[test]
fn a_killed_qemu_is_reported_with_125_and_the_consoles_tail() {
    let kiln = Kiln::new();
    let script = "echo 'mark on the console' >/dev/kmsg; sleep 1; echo ready; sleep 1000";
    let mut running = kiln.sh("6.1", script).start();
    running.wait_for("ready");
    let qemu = crate::support::processes_naming(&kiln.path("tmp"))
        .into_iter()
        .find(|(_, arguments)| arguments.contains("microvm"))
        .expect("a running QEMU");
    kill(qemu.0, Signal::SIGKILL).unwrap();
    let output = running.wait_at_most(Duration::from_secs(20));
    output
        .assert_code(125)
        .assert_err_contains("6.1")
        .assert_err_contains("SIGKILL")
        .assert_err_contains("mark on the console");
    kiln.assert_nothing_left();
    kiln.assert_no_temporary_files();
}

#[test]
fn a_killed_share_process_is_reported() {
    let kiln = Kiln::new();
    let script = "echo ready; sleep 2; cat /usr/share/doc/*/copyright; sleep 1000";
    let mut running = kiln.sh("6.1", script).start();
    running.wait_for("ready");
    for (pid, arguments) in crate::support::processes_naming(&kiln.path("tmp")) {
        if arguments.contains("__share") {
            kill(pid, Signal::SIGKILL).unwrap();
        }
    }
    let output = running.wait_at_most(Duration::from_secs(30));
    output
        .assert_code(125)
        .assert_err_contains("6.1")
        .assert_err_contains("the process that shares");
    kiln.assert_nothing_left();
}

#[test]
fn a_guest_that_panics_is_reported_with_its_last_messages_on_each_kernel() {
    let kiln = Kiln::new();
    for kernel in KERNELS {
        let output = kiln
            .sh(
                kernel,
                "echo before; sleep 0.5; echo c >/proc/sysrq-trigger; sleep 1000",
            )
            .deadline(Duration::from_secs(90))
            .run();
        output
            .assert_code(125)
            .assert_out("before\n")
            .assert_err_contains(kernel)
            .assert_err_contains("Kernel panic - not syncing: sysrq triggered crash");
        kiln.assert_nothing_left();
    }
}

#[test]
fn a_guest_that_cannot_go_on_before_it_reaches_the_host_says_why() {
    let kiln = Kiln::new();
    // The kernel refuses to start the module of shared files.
    let append = "initcall_blacklist=virtio_fs_init";
    let args = ["exec", "-k", "6.1", "--append", append, "--", "true"];
    let output = kiln.vm(args).run();
    output
        .assert_code(125)
        .assert_err_contains(
            "kernel 6.1 did not come up: guest-init failed to load a boot module: ",
        )
        .assert_err_contains("virtiofs.ko: EPERM");
    kiln.assert_nothing_left();
}

#[test]
fn a_guest_that_says_no_hello_is_given_up_at_the_boot_deadline() {
    let kiln = Kiln::new();
    let args = [
        "exec",
        "-k",
        "6.1",
        "--boot-timeout",
        "5s",
        "--qemu-arg",
        "-S",
        "--",
        "true",
    ];
    let output = kiln.vm(args).run();
    output
        .assert_code(125)
        .assert_err_contains("6.1")
        .assert_err_contains("QMP status: prelaunch")
        .assert_err_contains("the console is empty")
        .assert_err_contains("--boot-timeout");
    let took = output.took.as_secs_f64();
    assert!((4.9..15.0).contains(&took), "took {took} s");
    kiln.assert_nothing_left();
    kiln.assert_no_temporary_files();
}

#[test]
fn a_guest_that_hangs_during_boot_is_reported_with_the_consoles_tail() {
    let kiln = Kiln::new();
    // The kernel runs a program that waits forever instead of our init.
    let args = [
        "exec",
        "-k",
        "6.1",
        "--boot-timeout",
        "8s",
        "--append",
        "rootdelay=1000 rootwait",
        "--append",
        "rdinit=/none root=/dev/none",
        "--",
        "true",
    ];
    let output = kiln.vm(args).run();
    output
        .assert_code(125)
        .assert_err_contains("QMP status: running")
        .assert_err_contains("console's last lines");
    let took = output.took.as_secs_f64();
    assert!((7.9..20.0).contains(&took), "took {took} s");
    kiln.assert_nothing_left();
}

/// What a kernel prints on a host that stops it while it measures its timer: it then stands still.
#[test]
fn a_guest_that_stands_still_without_a_timer_is_booted_again() {
    let kiln = Kiln::new();
    // The first guest is not started, and somebody else prints for it.
    let qemu = kiln.program(
        "qemu",
        "#!/bin/sh
case \"$*\" in
*' -kernel '*) mkdir booted 2>/dev/null && {
    (sleep 1; echo 'APIC frequency too slow, disabling apic timer') &
    exec qemu-system-x86_64 -S \"$@\"
} ;;
esac
exec qemu-system-x86_64 \"$@\"
",
    );
    let output = kiln
        .vm(["-v", "exec", "-k", "6.1", "--qemu"])
        .arg(qemu)
        .args(["--", "uname", "-r"])
        .run();
    output
        .assert_code(0)
        .assert_err_contains("the guest found no timer on a busy host; booting it again");
    assert!(output.out().starts_with("6.1."), "{}", output.out());
    assert!(kiln.path("work/booted").exists());
    kiln.assert_nothing_left();
}

#[test]
fn a_kernel_that_panics_during_boot_is_reported_long_before_the_deadline() {
    let kiln = Kiln::new();
    for kernel in KERNELS {
        let args = [
            "exec",
            "-k",
            kernel,
            "--append",
            "rdinit=/none root=/dev/none",
            "--",
            "true",
        ];
        let output = kiln.vm(args).deadline(Duration::from_secs(60)).run();
        output
            .assert_code(125)
            .assert_err_contains(kernel)
            .assert_err_contains("Kernel panic - not syncing: VFS");
        kiln.assert_nothing_left();
    }
}

#[test]
fn a_qemu_that_refuses_its_options_is_reported_in_its_own_words() {
    let kiln = Kiln::new();
    let args = [
        "exec",
        "-k",
        "6.1",
        "--qemu-arg",
        "-no-such-option",
        "--",
        "true",
    ];
    let output = kiln.vm(args).run();
    output
        .assert_code(125)
        .assert_err_contains("no-such-option");
    assert!(output.took < Duration::from_secs(20), "{:?}", output.took);
    kiln.assert_nothing_left();
}

#[test]
fn a_missing_qemu_is_reported_with_the_way_to_install_it() {
    let kiln = Kiln::new();
    let named = ["exec", "-k", "6.1", "--qemu", "/no/such/qemu", "--", "true"];
    let output = kiln.vm(named).run();
    output
        .assert_code(125)
        .assert_err_contains("/no/such/qemu")
        .assert_err_contains("apt-get install qemu-system-x86");
    let unnamed = kiln.vm(["exec", "-k", "6.1", "--", "true"]);
    let output = unnamed.env("PATH", "/nowhere").run();
    output
        .assert_code(125)
        .assert_err_contains("qemu-system-x86_64 is not on PATH")
        .assert_err_contains("apt-get install qemu-system-x86");
}

#[test]
fn a_qemu_that_is_too_old_is_refused() {
    let kiln = Kiln::new();
    let qemu = kiln.program("old-qemu", fake_qemu("4.2.1", "microvm"));
    let output = with_qemu(&kiln, &qemu);
    output
        .assert_code(125)
        .assert_err_contains("4.2")
        .assert_err_contains("too old")
        .assert_err_contains("hint: ");
}

#[test]
fn a_qemu_without_microvm_is_refused() {
    let kiln = Kiln::new();
    let qemu = kiln.program("poor-qemu", fake_qemu("8.2.0", "q35"));
    let output = with_qemu(&kiln, &qemu);
    output
        .assert_code(125)
        .assert_err_contains("built without")
        .assert_err_contains("microvm")
        .assert_err_contains("apt-get install qemu-system-x86");
}

#[test]
fn a_program_that_is_not_qemu_is_recognised() {
    let kiln = Kiln::new();
    let output = with_qemu(&kiln, Path::new("/bin/true"));
    output.assert_code(125).assert_err_contains("/bin/true");
}

#[test]
fn insisting_on_kvm_gives_kvm_or_fails_with_the_reason() {
    let kiln = Kiln::new();
    let script = "cat /sys/devices/system/clocksource/clocksource0/available_clocksource; \
        grep -c hypervisor /proc/cpuinfo";
    let output = kiln
        .vm([
            "exec", "-k", "6.1", "--accel", "kvm", "--", "sh", "-c", script,
        ])
        .run();
    if output.code() == 0 {
        assert!(output.out().contains("kvm-clock"), "{}", output.out());
    } else {
        output.assert_code(125).assert_err_contains("KVM");
        output.assert_err_contains("--accel");
        assert_eq!(output.out(), "", "the command ran after all");
    }
    kiln.assert_nothing_left();
}

#[test]
fn a_qemu_without_kvm_fails_loudly_when_kvm_is_insisted_on() {
    let kiln = Kiln::new();
    let qemu = kiln.program("tcg-qemu", fake_qemu("8.2.0", "microvm"));
    let output = kiln
        .vm(["exec", "-k", "6.1", "--accel", "kvm", "--qemu"])
        .arg(&qemu)
        .args(["--", "true"])
        .run();
    output
        .assert_code(125)
        .assert_err_contains("built without KVM");
}

#[test]
fn choosing_by_itself_ends_in_a_command_that_ran() {
    let kiln = Kiln::new();
    let args = ["exec", "-k", "6.1", "--accel", "auto", "--", "echo", "ran"];
    kiln.vm(args).run().assert_code(0).assert_out("ran\n");
}

#[test]
fn an_unknown_kernel_names_the_nearest_first() {
    let kiln = Kiln::new();
    for command in ["exec", "shell"] {
        let mut args = vec![command, "-k", "6.11"];
        if command == "exec" {
            args.extend(["--", "true"]);
        }
        let output = kiln.plain(args).run();
        output.assert_code(125).assert_err_contains("6.11");
        let text = output.err();
        let at = |name: &str| text.rfind(name).unwrap_or_else(|| panic!("{name}: {text}"));
        assert!(at("5.10") > 0 && at("6.12") > 0 && at("7.3") > 0, "{text}");
        let first = ["5.10", "6.12", "7.3"]
            .into_iter()
            .min_by_key(|name| at(name));
        assert!(first != Some("7.3"), "not the nearest first: {text}");
    }
}

#[test]
fn a_temporary_directory_that_is_not_there_is_named() {
    let kiln = Kiln::new();
    let output = kiln
        .vm(["exec", "-k", "6.1", "--", "true"])
        .env("TMPDIR", "/no/such/tmp")
        .run();
    output.assert_code(125).assert_err_contains("TMPDIR");
}

#[test]
fn escape_sequences_of_a_console_do_not_reach_the_terminal() {
    let kiln = Kiln::new();
    let script = r"printf 'title \033]0;owned\007 \033[2J end\n' >/dev/ttyS0; sleep 1
        echo o >/proc/sysrq-trigger; sleep 1000";
    let output = kiln.sh("6.1", script).run();
    output.assert_code(125).assert_err_contains("owned");
    assert!(
        !output.stderr.contains(&0x1b) && !output.stderr.contains(&7),
        "the guest's escapes came through: {:?}",
        output.err()
    );
}

fn with_qemu(kiln: &Kiln, qemu: &Path) -> crate::support::Output {
    kiln.vm(["exec", "-k", "6.1", "--qemu"])
        .arg(qemu)
        .args(["--", "true"])
        .run()
}

/// A script that describes itself like QEMU, and can do nothing else.
fn fake_qemu(version: &str, machine: &str) -> String {
    format!(
        r#"#!/bin/sh
case "$*" in
*--version* | *-version*) echo 'QEMU emulator version {version}' ;;
*-device*) printf 'name "vhost-user-fs-device", bus virtio-bus\nname "virtio-serial-device", bus virtio-bus\nname "virtconsole", bus\nname "virtserialport", bus virtio-serial-bus\nname "virtio-rng-device"\n' ;;
*-machine* | *-M*) printf 'Supported machines are:\n{machine}  a machine (default)\n' ;;
*-accel*) printf 'Accelerators supported in QEMU binary:\ntcg\n' ;;
*-help* | *-h*) echo '-sandbox on' ;;
*) exit 1 ;;
esac
"#
    )
}

#[test]
fn the_dump_of_a_guest_that_panics_under_its_command_stays() {
    let kiln = Kiln::new();
    let output = kiln
        .vm(["exec", "-k", "6.1", "--memory", "512M", "--dump-on-panic"])
        .args(["--", "sh", "-c", "echo c >/proc/sysrq-trigger; sleep 1000"])
        .run();
    output.assert_code(125);
    let error = output.err();
    let told = error
        .lines()
        .find_map(|line| line.trim().strip_prefix("the guest's memory is in "));
    // Its size follows.
    let (path, _) = told.and_then(|told| told.rsplit_once(" (")).expect(&error);
    let dump = std::fs::read(path).unwrap();
    // The header of kdump's format (makedumpfile's diskdump_mod.h).
    assert!(dump.starts_with(b"KDUMP   "), "{} bytes", dump.len());
    kiln.assert_nothing_left();
}
