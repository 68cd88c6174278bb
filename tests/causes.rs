//! Every error ends with its cause, without repeating it, and a closed output causes no panic.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use crate::support::{Invocation, Kiln, mount_namespace, run_command};

/// The one line that begins with `error: `.
#[track_caller]
fn the_error(told: &str) -> &str {
    let errors: Vec<&str> = told
        .lines()
        .filter(|line| line.starts_with("error: "))
        .collect();
    assert!(!told.contains("panicked"), "{told}");
    let [error] = errors[..] else {
        panic!("not one error:\n{told}");
    };
    error
}

/// The same command with a full file system as its temporary directory or, if mounts are not
/// allowed, with a limit on the size of files; and the cause that it should name.
fn with_full_tmp(kiln: &Kiln, invocation: Invocation<'_>) -> (Command, &'static str) {
    let mountable = mount_namespace::is_allowed();
    let (command, _) = invocation.into_command();
    let mut outer = Command::new(if mountable { "unshare" } else { "sh" });
    let script = if mountable {
        outer.args([mount_namespace::options(), "sh"]);
        "mount -t tmpfs -o size=64k tmpfs \"$TMPDIR\" || exit 1; exec \"$@\"".to_owned()
    } else {
        "ulimit -f 64; exec \"$@\"".to_owned()
    };
    outer.args(["-c", &script, "sh"]);
    outer.arg(command.get_program()).args(command.get_args());
    outer.env_clear().current_dir(kiln.work());
    for (name, value) in command.get_envs() {
        outer.env(name, value.unwrap_or_default());
    }
    let cause = if mountable {
        "No space left on device"
    } else {
        "File too large"
    };
    (outer, cause)
}

#[test]
fn a_full_temporary_directory_is_named_with_its_cause() {
    let kiln = Kiln::new();
    let (command, cause) = with_full_tmp(&kiln, kiln.plain(["exec", "-k", "6.1", "--", "true"]));
    let output = run_command(command, None);
    output.assert_code(125);
    let told = output.err();
    let error = the_error(&told);
    assert!(error.contains(cause), "{error}");
    assert!(
        error.contains("initramfs"),
        "what could not be written: {error}"
    );
    kiln.assert_nothing_left();
}

#[test]
fn a_cache_that_cannot_be_written_is_named_with_its_cause() {
    let kiln = Kiln::as_ordinary_user();
    let cache = kiln.work().join("locked");
    fs::create_dir(&cache).unwrap();
    kiln.give(&cache);
    fs::set_permissions(&cache, fs::Permissions::from_mode(0o555)).unwrap();
    let fetch = kiln.plain(["kernels", "fetch", "-k", "6.1"]);
    let output = fetch.env("KILN_CACHE_DIR", &cache).run();
    output.assert_code(96);
    let told = output.err();
    let error = the_error(&told);
    assert!(error.contains("Permission denied"), "{error}");
    assert!(error.contains(&cache.display().to_string()), "{error}");
}

#[test]
fn a_kernel_file_that_is_missing_is_named_with_its_cause() {
    let kiln = Kiln::with_empty_cache();
    let file = kiln.file("kernels.toml", "[kernels.mine]\npath = \"gone/bzImage\"\n");
    let kiln = kiln.config(file);
    for (kernel, code) in [("mine", 125), ("./gone/bzImage", 125)] {
        let output = kiln.plain(["exec", "-k", kernel, "--", "true"]).run();
        output.assert_code(code);
        let told = output.err();
        let error = the_error(&told).to_lowercase();
        assert!(error.contains("no such file or directory"), "{error}");
        assert!(error.contains("gone/bzimage"), "{error}");
    }
}

/// Commands that print and boot nothing.
const PRINTING: [&[&str]; 9] = [
    &["list", "--tests", "tests", "--dialect", "0.17"],
    &[
        "matrix",
        "-k",
        "6.1",
        "--tests",
        "tests",
        "--dialect",
        "0.17",
    ],
    &["lint", "--dialect", "0.17", "tests"],
    &["kernels"],
    &["runs"],
    &["completions", "bash"],
    &["ci", "--list"],
    &["exec", "-k", "6.1", "--dry-run", "--", "true"],
    &[
        "run",
        "-k",
        "6.1",
        "--tests",
        "tests",
        "--dialect",
        "0.17",
        "--dry-run",
    ],
];

fn suite() -> Kiln {
    let kiln = Kiln::new();
    kiln.file(
        "tests/runtime/suite",
        "NAME a\nRUN echo a\nEXPECT a\nTIMEOUT 5\n",
    );
    kiln
}

#[test]
fn a_reader_that_has_gone_ends_each_command_quietly() {
    let kiln = suite();
    for args in PRINTING {
        let (mut command, _) = kiln.plain(args).into_command();
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = command.stdout(writer).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {told}");
        assert!(!told.contains("error"), "{args:?}: {told}");
    }
    // Neither stream exists, and no file replaces them.
    for args in PRINTING {
        let (command, _) = kiln.plain(args).into_command();
        let mut shell = Command::new("sh");
        shell.args(["-c", "exec \"$@\" >&- 2>&-", "sh"]);
        shell.arg(command.get_program()).args(command.get_args());
        shell.env_clear().current_dir(kiln.work());
        for (name, value) in command.get_envs() {
            shell.env(name, value.unwrap_or_default());
        }
        let status = shell.status().unwrap();
        assert_eq!(status.code(), Some(0), "{args:?} with closed streams");
    }
}

#[test]
fn a_full_disk_behind_stdout_is_one_error_with_its_cause() {
    let kiln = suite();
    for args in PRINTING {
        let (mut command, _) = kiln.plain(args).into_command();
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = command.stdout(full).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        let error = the_error(&told);
        assert!(
            error.contains("No space left on device"),
            "{args:?}: {told}"
        );
        assert_ne!(output.status.code(), Some(0), "{args:?}: {told}");
    }
}

#[test]
fn an_error_that_nobody_reads_still_sets_the_exit_code() {
    let kiln = Kiln::with_empty_cache();
    let (mut command, _) = kiln
        .plain(["exec", "-k", "nope", "--", "true"])
        .into_command();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = command.stderr(writer).status().unwrap();
    assert_eq!(status.code(), Some(125));
}
