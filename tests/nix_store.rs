//! The guest's root from a real Nix store: bpftrace's tests run from a closure, and the guest sees
//! nothing but the closure.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::support::nix_support::Store;
use crate::support::suite;
use crate::support::{Kiln, checkout};

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
    copy_tests(&checkout().join("target/bpftrace/tests"), &tests);
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
const QUICK: &str = "^variable\\.:^precedence\\.:^signed_ints\\.:^tuples\\.basic:\
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
    let run = |closure_only: &[&str], path: &str| {
        let output = store
            .with(kiln.vm(["exec", "-k", "6.1", "--store"]))
            .arg(store.root())
            .args(["--package", &busybox])
            .args(closure_only)
            .args(["--", "sh", "-c", &script])
            .env("PATH", path)
            .run();
        output.assert_code(0);
        output.out()
    };
    let name = busybox.trim_start_matches("/nix/store/");
    assert_eq!(store.closure(&[&busybox]), [name]);
    let only = format!(".\n..\n{name}\n");
    let path = std::env::var("PATH").unwrap();
    assert_eq!(
        run(&["--closure-only"], &path),
        format!("{only}{only}{busybox}/bin/sh\nend\n")
    );
    // Without the option the whole store is visible, so the test above can fail. An existing store
    // path needs no Nix: the one in PATH is a wreck.
    kiln.program("bin/nix", "#!/bin/sh\nexit 99\n");
    let path = format!("{}/bin:{path}", kiln.work().display());
    let whole = run(&[], &path);
    assert!(whole.contains("not for the guestREAD\n"), "{whole}");
}

#[test]
fn an_unavailable_package_is_reported_before_anything_boots() {
    let kiln = Kiln::new();
    let store = Store::new(&kiln);
    let busybox = store.busybox();
    let missing = "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-bpftrace-0.1";
    let list = format!("path-info --store {} -r {busybox}", store.root().display());
    let runs: [(&[&str], i32, &str, &str); 6] = [
        (
            &["run", "--tests", ".", "--package", &busybox],
            96,
            "there is no bin/bpftrace in the closure of /nix/store/",
            &list,
        ),
        (
            &["run", "--tests", ".", "--package", missing],
            96,
            "is required, but there is no substituter that can build it",
            "see more with: nix ",
        ),
        (
            &["exec", "--package", ".#nope", "--", "true"],
            125,
            "could not find a flake.nix file",
            "see more with: nix ",
        ),
        (
            &[
                "run",
                "--tests",
                ".",
                "--closure-only",
                "--package",
                &busybox,
                "--bpftrace",
                missing,
            ],
            96,
            "is not in the closure that the guest sees",
            "--package /nix/store/",
        ),
        (
            &["exec", "--closure-only", "--", "true"],
            2,
            "no directory of PATH is in the store",
            "--package",
        ),
        (
            &[
                "exec",
                "--package",
                &busybox,
                "--root",
                "host",
                "--",
                "true",
            ],
            2,
            "--root names another root",
            "--root nix",
        ),
    ];
    for (args, code, cause, hint) in runs {
        let (command, rest) = args.split_first().unwrap();
        let output = store
            .with(kiln.plain([command, "-k", "6.1", "--store"]))
            .arg(store.root())
            .args(rest)
            .run();
        output
            .assert_code(code)
            .assert_err_contains(cause)
            .assert_err_contains(hint);
        let errors = output
            .err()
            .lines()
            .filter(|line| line.starts_with("error:"))
            .count();
        assert_eq!(errors, 1, "{}", output.err());
    }
    kiln.assert_no_temporary_files();
}

#[test]
fn without_nix_a_package_is_refused_with_what_works_without() {
    let kiln = Kiln::new();
    let output = kiln
        .plain(["exec", "-k", "6.1", "--package", ".#bpftrace", "--", "true"])
        .env("PATH", "/nowhere")
        .run();
    output
        .assert_code(125)
        .assert_err_contains("cannot build .#bpftrace: nix is not installed")
        .assert_err_contains("nix-bin on Debian")
        .assert_err_contains("--root host, --root dir:PATH or --root nix:STORE");
}

#[test]
fn ctrl_c_ends_the_wait_for_a_package() {
    let kiln = Kiln::with_empty_cache();
    let started = kiln.path("work/started");
    let script = format!("#!/bin/sh\n: > {}\nexec sleep 60\n", started.display());
    kiln.program("bin/nix", script);
    let path = format!("{}:/usr/bin:/bin", kiln.path("work/bin").display());
    let package = ["-k", "6.1", "--package", ".#slow"];
    for command in [&["run"][..], &["exec", "--", "true"], &["shell"]] {
        let (name, rest) = command.split_first().unwrap();
        let running = kiln
            .plain([name])
            .args(package)
            .args(rest)
            .env("PATH", &path)
            .start_without_stdin();
        while !started.exists() {
            std::thread::sleep(Duration::from_millis(20));
        }
        running.signal(nix::sys::signal::Signal::SIGINT);
        running.wait().assert_code(130);
        fs::remove_file(&started).unwrap();
        kiln.assert_nothing_left();
    }
}

#[test]
fn a_store_that_is_not_on_this_machine_is_refused() {
    let kiln = Kiln::new();
    for args in [["--store", "ssh-ng://host"], ["--store", "elsewhere"]] {
        let output = kiln
            .plain(["exec", "-k", "6.1"])
            .args(args)
            .args(["--", "true"])
            .run();
        output
            .assert_code(2)
            .assert_err_contains("is not on this machine");
    }
    let output = kiln
        .plain(["exec", "-k", "6.1", "--root", "nix:/usr", "--closure-only"])
        .args(["--", "true"])
        .run();
    output
        .assert_code(2)
        .assert_err_contains("/usr is not a Nix store: it has no closures")
        .assert_err_contains("--store DIR");
}

#[test]
fn a_development_shell_gives_its_variables_and_its_closure() {
    let kiln = Kiln::new();
    let store = Store::new(&kiln);
    let busybox = store.busybox();
    let bash = store.program(Path::new("/bin/bash"), "bash-5.2", &busybox);
    let tool = kiln.program("tool/bin/tool", "#!/bin/sh\necho the tool of $FLAVOUR\n");
    let tool = store.add(tool.ancestors().nth(2).unwrap(), "tool-1");
    // The equivalent of `mkShell`, without nixpkgs.
    let setup = kiln.file("stdenv/setup", "export outputs=out\n");
    // A derivation is an installable too; a flake could not name these paths.
    let shell = store.nix([
        "eval",
        "--store",
        store.root().to_str().unwrap(),
        "--impure",
        "--raw",
        "--expr",
        &format!(
            "let path = builtins.storePath; in (derivation {{
               name = \"shell\"; system = \"x86_64-linux\";
               builder = \"${{path {bash}}}/bin/bash\";
               stdenv = {stdenv}; FLAVOUR = \"vanilla\";
               PATH = \"${{path {tool}}}/bin:${{path {bash}}}/bin:${{path {busybox}}}/bin\";
             }}).drvPath",
            stdenv = setup.parent().unwrap().display(),
        ),
    ]);
    let output = store
        .with(kiln.vm(["exec", "-k", "6.1", "--closure-only", "--store"]))
        .arg(store.root())
        .args(["--dev-shell", &shell, "--", "sh", "-c"])
        .arg("tool; ls /nix/store | sed s/^[^-]*-// | sort")
        .run();
    output.assert_code(0);
    output.assert_out(
        "the tool of vanilla\nbash-5.2\nbusybox-1.35\nglibc-2.36\nlibraries-1\nshell-env\n\
         stdenv\ntool-1\n",
    );
}
