//! `kiln exec` in real VMs: streams, statuses, environment, options.

use std::fmt::Write as _;
use std::os::fd::AsFd as _;
use std::process::Stdio;
use std::time::Duration;

use crate::support::{KERNELS, Kiln};
use nix::sys::signal::Signal;
use sha2::{Digest as _, Sha256};

#[test]
fn a_command_runs_as_root_on_each_kernel() {
    let kiln = Kiln::new();
    for kernel in KERNELS {
        let output = kiln.sh(kernel, "id -u; uname -r; hostname").run();
        output.assert_code(0);
        let text = output.out();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "0");
        assert!(
            lines[1].starts_with(&format!("{kernel}.")),
            "{kernel}: {text}"
        );
        assert_eq!(lines[2], format!("kiln-{}", kernel.replace('.', "-")));
        assert_eq!(output.err(), "", "a quiet command makes a quiet kiln");
    }
    kiln.assert_nothing_left();
    kiln.assert_no_temporary_files();
}

#[test]
fn stdout_and_stderr_stay_separate_and_are_binary_safe() {
    let kiln = Kiln::new();
    let all: Vec<u8> = (0..=255).collect();
    kiln.file("all", &all);
    let output = kiln.sh("6.1", "cat all; cat all all >&2").run();
    output.assert_code(0);
    assert_eq!(output.stdout, all);
    assert_eq!(output.stderr, [all.clone(), all].concat());
}

#[test]
fn megabytes_go_through_both_ways_unchanged_on_each_kernel() {
    let kiln = Kiln::new();
    let data = noise(3 << 20);
    for kernel in KERNELS {
        let output = kiln.vm(["exec", "-k", kernel, "--", "tee", "/dev/stderr"]);
        let output = output.stdin(data.clone()).run();
        output.assert_code(0);
        assert!(output.stdout.eq(&data), "{kernel}: stdout differs");
        assert!(output.stderr.eq(&data), "{kernel}: stderr differs");
    }
}

#[test]
fn what_the_guest_sees_of_stdin_has_the_hosts_checksum() {
    let kiln = Kiln::new();
    let data = noise(3 << 20);
    let output = kiln.sh("6.1", "sha256sum").stdin(data.clone()).run();
    output.assert_code(0);
    let mut sum = String::new();
    for byte in Sha256::digest(&data) {
        write!(sum, "{byte:02x}").unwrap();
    }
    output.assert_out(&format!("{sum}  -\n"));
}

#[test]
fn several_kernels_get_the_same_stdin_one_after_the_other() {
    let kiln = Kiln::new();
    let args = ["exec", "-k", "@quick", "--", "sh", "-c", "uname -r; cat"];
    let output = kiln.vm(args).stdin("once\n").run();
    output.assert_code(0);
    let text = output.out();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2 * KERNELS.len(), "{text}");
    for (pair, kernel) in lines.chunks(2).zip(KERNELS) {
        assert!(pair[0].starts_with(kernel), "{text}");
        assert_eq!(pair[1], "once");
        output.assert_err_contains(&format!("== {kernel}\n"));
    }
}

#[test]
fn the_first_status_that_is_not_0_is_that_of_several_kernels() {
    let kiln = Kiln::new();
    let script = "case $(uname -r) in 5.*) exit 0;; 6.1.*) exit 3;; *) exit 4;; esac";
    let output = kiln
        .vm(["exec", "-k", "@quick", "--", "sh", "-c", script])
        .run();
    output.assert_code(3);
}

#[test]
fn a_command_that_runs_too_long_on_one_kernel_runs_on_the_others_too() {
    let kiln = Kiln::new();
    let script = "case $(uname -r) in 5.*) sleep 1000;; *) echo ran;; esac";
    let output = kiln
        .vm(["exec", "-k", "5.10", "-k", "6.1", "--timeout", "10s"])
        .args(["--", "sh", "-c", script])
        .run();
    output.assert_code(124).assert_out("ran\n");
    output.assert_err_contains("ran longer than 10 s");
    kiln.assert_nothing_left();
}

#[test]
fn a_signal_ends_it_while_it_keeps_a_stdin_that_does_not_end_for_several_kernels() {
    let kiln = Kiln::new();
    let arguments = ["exec", "-k", "5.10", "-k", "6.1", "--", "true"];
    let running = kiln.plain(arguments).start();
    // Bit 14 of the caught signals is SIGTERM (proc(5)).
    let catches = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", running.pid()));
        let status = status.unwrap_or_default();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        caught.is_some_and(|caught| {
            u64::from_str_radix(caught.trim(), 16).is_ok_and(|caught| caught & (1 << 14) != 0)
        })
    };
    let start = std::time::Instant::now();
    while !catches() {
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "it does not listen"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    running.signal(Signal::SIGTERM);
    running
        .wait_at_most(Duration::from_secs(60))
        .assert_code(143);
    kiln.assert_no_temporary_files();
    // If nothing runs, nothing is saved.
    let printed = kiln
        .plain(["exec", "-k", "5.10", "-k", "6.1", "--dry-run", "--", "true"])
        .start();
    printed.wait_at_most(Duration::from_secs(60)).assert_code(0);
}

#[test]
fn exit_statuses_and_signals_pass_through() {
    let kiln = Kiln::new();
    for (script, code) in [
        ("exit 42", 42),
        ("exit 255", 255),
        ("kill -KILL $$", 137),
        ("kill -SEGV $$", 139),
    ] {
        kiln.sh("6.1", script).run().assert_code(code);
    }
    kiln.assert_nothing_left();
}

#[test]
fn a_program_that_only_the_host_sees_is_said_to_be_hidden() {
    let kiln = Kiln::new();
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    let program = dir.path().join("program");
    std::fs::copy("/bin/true", &program).unwrap();
    let output = kiln.vm(["exec", "-k", "6.1", "--"]).arg(&program).run();
    output
        .assert_code(127)
        .assert_err_contains("run kiln in its directory");
    let seen = kiln
        .vm(["exec", "-k", "6.1", "--"])
        .arg(&program)
        .cwd(dir.path())
        .run();
    seen.assert_code(0);
}

#[test]
fn a_command_that_does_not_exist_is_127_with_a_line() {
    let kiln = Kiln::new();
    for command in ["no-such-command", "/no/such/path", "./none"] {
        let output = kiln.vm(["exec", "-k", "6.1", "--", command]).run();
        output.assert_code(127).assert_err_contains(command);
        assert_eq!(output.err().lines().count(), 1, "{}", output.err());
    }
}

#[test]
fn a_file_that_cannot_be_executed_is_126_with_a_line() {
    let kiln = Kiln::new();
    kiln.file("plain", "#!/bin/sh\necho ran\n");
    for command in ["./plain", "/etc"] {
        let output = kiln.vm(["exec", "-k", "6.1", "--", command]).run();
        output.assert_code(126).assert_err_contains(command);
    }
}

#[test]
fn the_environment_is_roots_and_what_was_asked_for() {
    let kiln = Kiln::new();
    let args = [
        "exec",
        "-k",
        "6.1",
        "-e",
        "GREETING=good day",
        "-e",
        "PASSED",
        "--",
        "env",
    ];
    let output = kiln
        .vm(args)
        .env("PASSED", "on= and on")
        .env("SECRET", "stays")
        .run();
    output.assert_code(0);
    let text = output.out();
    let lines: Vec<&str> = text.lines().collect();
    for expected in [
        "GREETING=good day",
        "PASSED=on= and on",
        "HOME=/root",
        "USER=root",
    ] {
        assert!(lines.contains(&expected), "{expected} is not in {text}");
    }
    assert!(!text.contains("SECRET"), "{text}");
}

#[test]
fn a_job_on_github_passes_all_on_but_its_secrets_and_prints_only_their_names() {
    let kiln = Kiln::new();
    let mut command = kiln
        .vm(["exec", "-k", "6.1", "--env-all", "--", "env"])
        .env("GITHUB_ACTIONS", "true")
        .env("GITHUB_SHA", "357873c");
    for secret in [
        "ACTIONS_RUNTIME_TOKEN",
        "DEPLOY_KEY",
        "GITHUB_TOKEN",
        "NPM_AUTH",
    ] {
        command = command.env(secret, "s3cret");
    }
    let output = command
        .env("DATABASE_URL", "postgres://me:s3cret@db/test")
        .run();
    output.assert_code(0);
    let (out, err) = (output.out(), output.err());
    assert!(
        out.lines().any(|line| line == "GITHUB_SHA=357873c"),
        "{out}"
    );
    assert!(
        !out.contains("s3cret") && !err.contains("s3cret"),
        "{out}{err}"
    );
    assert_eq!(
        err,
        "kiln: not passed to the guest, because they look like credentials: ACTIONS_RUNTIME_TOKEN, \
         DATABASE_URL, DEPLOY_KEY, GITHUB_TOKEN, NPM_AUTH; --env NAME passes one on\n"
    );
}

#[test]
fn a_variable_that_is_not_there_cannot_be_passed_on() {
    let kiln = Kiln::new();
    let output = kiln
        .plain(["exec", "-k", "6.1", "-e", "NO_SUCH", "--", "env"])
        .run();
    output.assert_code(2).assert_err_contains("NO_SUCH");
}

#[test]
fn the_working_directory_is_the_same_even_with_spaces_in_it() {
    let kiln = Kiln::new();
    let file = kiln.file("a b/c  d/ö, x=y:z/file", "seen");
    let dir = file.parent().unwrap();
    let output = kiln.sh("6.1", "pwd -P; cat file").cwd(dir).run();
    output.assert_code(0);
    let expected = dir.canonicalize().unwrap();
    output.assert_out(&format!("{}\nseen", expected.display()));
}

#[test]
fn a_working_directory_of_the_hosts_root_is_seen_there() {
    let kiln = Kiln::new();
    let output = kiln
        .sh("5.10", "pwd; test -e bin/env && echo there")
        .cwd("/usr")
        .run();
    output.assert_code(0).assert_out("/usr\nthere\n");
}

#[test]
fn a_command_that_takes_too_long_is_124_and_says_so() {
    let kiln = Kiln::new();
    let args = ["exec", "-k", "6.1", "--timeout", "2s", "--", "sh", "-c"];
    let stubborn = "trap '' TERM; echo on; while :; do sleep 1; done";
    for script in ["echo on; sleep 1000", stubborn] {
        let output = kiln.vm(args).arg(script).run();
        output.assert_code(124).assert_out("on\n");
        output.assert_err_contains("longer than 2 s");
    }
    kiln.assert_nothing_left();
}

#[test]
fn a_command_that_leaves_its_child_behind_still_ends() {
    let kiln = Kiln::new();
    let output = kiln.sh("6.1", "sleep 1000 & echo away").run();
    output.assert_code(0).assert_out("away\n");
    assert!(output.took < Duration::from_secs(60), "{:?}", output.took);
}

#[test]
fn stdin_may_be_closed() {
    let kiln = Kiln::new();
    let (kiln_command, slot) = kiln.sh("6.1", "cat; echo done").into_command();
    let mut shell = std::process::Command::new("/bin/sh");
    shell
        .args(["-c", "exec \"$0\" \"$@\" <&-"])
        .arg(kiln_command.get_program())
        .args(kiln_command.get_args())
        .current_dir(kiln.work())
        .env_clear();
    for (name, value) in kiln_command.get_envs() {
        shell.env(name, value.unwrap());
    }
    let output = crate::support::run_command(shell, slot);
    output.assert_code(0).assert_out("done\n");
}

#[test]
fn a_closed_stdout_ends_it_as_sigpipe_does_and_leaves_nothing() {
    let kiln = Kiln::new();
    let (mut command, _slot) = kiln.sh("6.1", "while :; do echo y; done").into_command();
    let (read, write) = std::io::pipe().unwrap();
    drop(read);
    command
        .stdin(Stdio::null())
        .stdout(write.as_fd().try_clone_to_owned().unwrap());
    drop(write);
    let mut child = command.spawn().unwrap();
    drop(command);
    let status = crate::support::wait_for_child(&mut child, Duration::from_secs(60));
    assert_eq!(status.code(), Some(141), "{status}");
    kiln.assert_nothing_left();
    kiln.assert_no_temporary_files();
}

#[test]
fn a_signal_does_not_wait_behind_a_stdin_that_the_command_does_not_read() {
    let kiln = Kiln::new();
    let script = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.1; done";
    let mut running = kiln.sh("6.1", script).start();
    running.write_stdin(noise(3 << 20));
    running.wait_for("ready");
    running.signal(Signal::SIGTERM);
    running.wait().assert_code(7);
    kiln.assert_nothing_left();
}

#[test]
fn modprobe_finds_the_kernels_modules() {
    let kiln = Kiln::new();
    for kernel in KERNELS {
        let script = "modprobe xfs && grep -c '^xfs ' /proc/modules && modprobe -r xfs";
        let output = kiln.sh(kernel, script).run();
        output.assert_code(0).assert_out("1\n");
    }
}

#[test]
fn what_a_tracer_needs_is_mounted_on_each_kernel() {
    let kiln = Kiln::new();
    let script = "set -e
        test -e /sys/kernel/tracing/trace
        test -d /sys/kernel/debug/tracing
        stat -f -c %T /sys/fs/bpf
        test -e /sys/fs/cgroup/cgroup.procs
        test -c /dev/ptmx
        test -e /dev/fd/0
        : >/dev/shm/file
        cat /sys/class/net/lo/operstate >/dev/null
        ping -c 1 127.0.0.1 >/dev/null 2>&1 || grep -q 7F000001 /proc/net/fib_trie \
            || grep -q 127.0.0.1 /proc/net/fib_trie
        echo all";
    for kernel in KERNELS {
        let output = kiln.sh(kernel, script).run();
        output.assert_code(0).assert_out("bpf_fs\nall\n");
    }
}

#[test]
fn orphans_are_reaped() {
    let kiln = Kiln::new();
    let script = "for i in 1 2 3 4 5 6 7 8; do (sh -c 'exit 0' & ) ; done; sleep 1
        grep -l '^State:.*Z' /proc/[0-9]*/status 2>/dev/null | wc -l";
    let output = kiln.sh("6.1", script).run();
    output.assert_code(0).assert_out("0\n");
}

#[test]
fn a_dry_run_prints_the_command_line_and_starts_nothing() {
    let kiln = Kiln::new();
    let ran = kiln.path("work").join("ran");
    let args = [
        "exec",
        "-k",
        "6.1",
        "--dry-run",
        "--append",
        "quiet=x y",
        "--",
        "touch",
    ];
    let output = kiln.plain(args).arg(&ran).run();
    output.assert_code(0);
    let words = shlex::split(&output.out()).expect("a line for a shell");
    assert!(words[0].ends_with("qemu-system-x86_64"), "{words:?}");
    let after = |option: &str| {
        let at = words.iter().position(|word| word == option);
        words[at.unwrap_or_else(|| panic!("{option} is not in {words:?}")) + 1].clone()
    };
    assert!(after("-M").starts_with("microvm") || after("-M").contains("microvm"));
    assert!(after("-append").contains("quiet=x y"));
    for flag in ["-nodefaults", "-no-user-config"] {
        assert!(words.iter().any(|word| word == flag), "{flag}: {words:?}");
    }
    // A PVH boot: an ELF image with the Xen note, not a bzImage.
    let image = std::fs::read(after("-kernel")).unwrap();
    assert!(image.starts_with(b"\x7fELF"), "not an uncompressed vmlinux");
    assert!(!ran.exists());
    kiln.assert_nothing_left();
    kiln.assert_no_temporary_files();
}

#[test]
fn options_for_the_kernel_and_for_qemu_pass_through() {
    let kiln = Kiln::new();
    let args = [
        "exec",
        "-k",
        "6.1",
        "--append",
        "kiln.mark=1",
        "--append",
        "kiln.more=2",
        "--qemu-arg",
        "-name",
        "--qemu-arg",
        "marked-by-the-test",
        "--memory",
        "512M",
        "--cpus",
        "2",
        "--",
        "sh",
        "-c",
        "cat /proc/cmdline; nproc; grep MemTotal /proc/meminfo; sleep 1000",
    ];
    let mut running = kiln.vm(args).start();
    running.wait_for("MemTotal");
    let qemu = crate::support::processes_naming(&kiln.path("tmp"))
        .into_iter()
        .find(|(_, arguments)| arguments.contains("marked-by-the-test"));
    assert!(qemu.is_some(), "--qemu-arg does not reach QEMU");
    let text = running.out();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].contains("kiln.mark=1 kiln.more=2"), "{text}");
    assert_eq!(lines[1], "2", "{text}");
    let memory: u32 = lines[2].split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!((300_000..530_000).contains(&memory), "{text}");
    drop(running);
    kiln.assert_nothing_left();
}

/// Bytes without a pattern, the same each time.
fn noise(length: usize) -> Vec<u8> {
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    std::iter::repeat_with(|| {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    })
    .flatten()
    .take(length)
    .collect()
}
