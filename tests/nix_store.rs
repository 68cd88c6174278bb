//! The guest's root from a real Nix store: bpftrace's tests from a closure, and
//! nothing but the closure to be seen.
#![allow(clippy::unwrap_used)]

mod support;

#[path = "support/nix.rs"]
mod nix_support;
#[path = "support/suite.rs"]
mod suite;

use std::fs;
use std::path::Path;
use std::time::Duration;

use nix_support::Store;
use support::{Kiln, checkout};

#[test]
fn bpftrace_s_tests_run_from_the_closure_of_a_chroot_store_as_an_ordinary_user() {
    let kiln = Kiln::as_ordinary_user();
    let store = Store::new(&kiln);
    let busybox = store.busybox();
    let bpftrace = store.program(Path::new("/usr/bin/bpftrace"), "bpftrace-0.17.0", &busybox);
    let closure = store.closure(&[&bpftrace]);
    for part in ["bpftrace-0.17.0", "glibc-2.36", "llvm-14", "libraries-1"] {
        let there = closure.iter().any(|name| name.ends_with(part));
        assert!(there, "{part} is not in {closure:?}");
    }
    let tests = kiln.work().join("tests");
    copy_tests(&checkout().join("target/bpftrace-0.17/tests"), &tests);
    kiln.give(&kiln.work());

    let output = store
        .with(kiln.vm(["run", "-k", "6.1", "--tests", "tests", "--closure-only"]))
        .arg("--store")
        .arg(store.root())
        .args(["--package", &bpftrace, "--package", &busybox])
        .args(["-t", QUICK])
        .arg("--run-dir")
        .arg(suite::out(&kiln))
        .deadline(Duration::from_secs(400))
        .run();
    output.assert_code(0);
    let verdicts = suite::verdicts(&suite::out(&kiln));
    let passed = verdicts
        .iter()
        .filter(|(_, _, verdict)| verdict == "pass")
        .count();
    assert!(passed >= 40, "{passed} of {verdicts:?}");
    kiln.assert_nothing_left();
}

/// Tests that need little but bpftrace, and little time.
const QUICK: &str = "^variable\\.:^precedence\\.:^signed_ints\\.:^tuples\\.(basic|mixed|nested):\
    ^basic\\.(it shows|errors|defines|delete|clear|increment|disable|pid fails):\
    -scratch:-tracepoint";

/// The texts of the tests; their programs, built for this host, are of no use
/// in a root without its libraries.
fn copy_tests(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in walkdir::WalkDir::new(from.join("runtime")) {
        let entry = entry.unwrap();
        let target = to.join(entry.path().strip_prefix(from).unwrap());
        if entry.file_type().is_dir() {
            fs::create_dir_all(target).unwrap();
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn the_guest_sees_the_closure_and_nothing_else_of_the_store() {
    let kiln = Kiln::new();
    let store = Store::new(&kiln);
    let busybox = store.busybox();
    let secret = kiln.file("secret", "not for the guest");
    let secret = store.add(&secret, "secret");
    assert!(store.on_host(&secret).exists());
    // Through the mount at /nix/store, and on the share itself, which the guest
    // as root mounts again.
    let script = format!(
        "ls -a /nix/store; cat {secret} 2>/dev/null && echo READ
         ls -d {secret} 2>/dev/null
         mkdir /m && mount -t virtiofs store /m && ls -a /m
         name={secret}; cat /m/${{name##*/}} /m/.links 2>/dev/null && echo READ
         readlink /bin/sh; echo end"
    );
    let run = |closure_only: &[&str]| {
        let output = store
            .with(kiln.vm(["exec", "-k", "6.1", "--store"]))
            .arg(store.root())
            .args(["--package", &busybox])
            .args(closure_only)
            .args(["--", "sh", "-c", &script])
            .run();
        output.assert_code(0);
        output.out()
    };
    let name = busybox.trim_start_matches("/nix/store/");
    assert_eq!(store.closure(&[&busybox]), [name]);
    let only = format!(".\n..\n{name}\n");
    assert_eq!(
        run(&["--closure-only"]),
        format!("{only}{only}{busybox}/bin/sh\nend\n")
    );
    // Without the option the whole store is there: the test above can fail.
    let whole = run(&[]);
    assert!(whole.contains("not for the guestREAD\n"), "{whole}");
}
