//! A failing test, a panic and a kernel that hangs, each with gdb, crash and drgn: `make
//! check-debugging`, since the debug information of one kernel of Debian is 300 MB.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::broken_module::{self, HANG};
use crate::support::suite::{run, suite};
use crate::support::{Kiln, Output, Running};

/// How long the debug information may take to come.
const FETCH: Duration = Duration::from_secs(900);
/// How long everything else may.
const LONG: Duration = Duration::from_secs(600);

/// What gdb says of the kernel that runs, with Debian's debug information.
fn backtrace(kiln: &Kiln) -> String {
    let gdb = [
        "gdb",
        "6.1",
        "--fetch-symbols",
        "--",
        "-nx",
        "-batch",
        "-ex",
        "bt",
    ];
    let output = kiln.plain(gdb).deadline(FETCH).run();
    output.assert_code(0);
    output.out()
}

/// A backtrace that names this function: gdb may come in the middle of an interrupt.
fn backtrace_with(kiln: &Kiln, function: &str) -> String {
    let mut stack = String::new();
    for _ in 0..30 {
        stack = backtrace(kiln);
        if stack.contains(function) {
            return stack;
        }
        std::thread::sleep(Duration::from_secs(2));
    }
    panic!("no backtrace of 30 names {function}: {stack}");
}

/// Where the debug information then is.
fn vmlinux(kiln: &Kiln) -> PathBuf {
    let mut found = kiln.cache().join("debug").read_dir().unwrap();
    found.next().unwrap().unwrap().path()
}

/// What drgn says of the kernel and the tasks of the running VM.
fn drgn(kiln: &Kiln, options: &[&str]) -> Output {
    let print = "print(prog['UTS_RELEASE'].string_().decode()); \
                 print([t.comm.string_().decode() for t in for_each_task(prog)])";
    let drgn = kiln.plain(["drgn", "6.1"]).args(options);
    let output = drgn.args(["--", "-q", "-e", print]).deadline(LONG).run();
    output.assert_code(0);
    output
}

/// Checks that drgn and crash open a dump of the running VM and know the kernel, and that drgn finds
/// this task. (crash 8.0.2 lists only those that run on a processor of this kernel.)
fn assert_memory(kiln: &Kiln, task: &str, options: &[&str]) {
    let drgn = drgn(kiln, options);
    let said = drgn.out();
    if options.is_empty() {
        drgn.assert_err_contains("drgn gets a dump of the memory: ");
    }
    assert!(
        said.starts_with("6.1.") && said.contains(&format!("'{task}'")),
        "{said}"
    );

    let dumped = kiln
        .plain(["dump", "6.1", "-o", "core"])
        .deadline(LONG)
        .run();
    dumped.assert_code(0);
    let mut crash = Command::new("crash")
        .arg("-s")
        .arg(vmlinux(kiln))
        .arg(kiln.work().join("core"))
        .env("HOME", kiln.path("home"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    crash
        .stdin
        .take()
        .unwrap()
        .write_all(b"sys\nquit\n")
        .unwrap();
    let said = crash.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains("RELEASE: 6.1."), "{said}");
    std::fs::remove_file(kiln.work().join("core")).unwrap();
}

fn ended(kiln: &Kiln, kept: Running) -> Output {
    kiln.plain(["stop", "6.1"]).run().assert_code(0);
    let output = kept.wait();
    kiln.assert_nothing_left();
    kiln.assert_no_temporary_files();
    output
}

#[test]
#[ignore = "make check-debugging"]
fn a_failing_test_has_a_shell_a_backtrace_and_its_memory() {
    let kiln = suite("NAME fails\nRUN sleep 1000 & echo wrong\nEXPECT right\nTIMEOUT 5\n");
    let mut kept = run(&kiln, &["6.1"])
        .args(["--keep-vm=1h", "--gdb", "--memory", "512M"])
        .deadline(2 * FETCH)
        .start();
    kept.wait_for("stays for 3600 s");
    let shell = kiln.plain(["shell", "--attach", "6.1"]);
    let shell = shell
        .stdin("pgrep -x sleep >/dev/null && echo there\n")
        .run();
    assert_eq!(shell.out(), "there\n", "{}", shell.err());
    backtrace_with(&kiln, "default_idle");
    // In the guest, drgn finds itself.
    let live = drgn(&kiln, &[]).out();
    assert!(
        live.contains("'sleep'") && live.contains("'drgn'"),
        "{live}"
    );
    assert_memory(&kiln, "sleep", &["--dump"]);
    ended(&kiln, kept).assert_code(100);
}

#[test]
#[ignore = "make check-debugging"]
fn a_panic_has_a_backtrace_and_its_memory_and_says_why_it_has_no_shell() {
    let kiln = Kiln::new();
    let mut kept = kiln
        .vm([
            "exec",
            "-k",
            "6.1",
            "--keep-vm=1h",
            "--gdb",
            "--memory",
            "512M",
        ])
        .args(["--", "sh", "-c", "echo c >/proc/sysrq-trigger"])
        .deadline(2 * FETCH)
        .start();
    kept.wait_for_err("the VM is lost; the VM stays for 3600 s");
    let shell = kiln.plain(["shell", "--attach", "6.1"]).run();
    shell
        .assert_code(125)
        .assert_err_contains("cannot attach to VM")
        .assert_err_contains("kiln gdb and kiln dump");
    let stack = backtrace(&kiln);
    assert!(stack.contains("sysrq_handle_crash"), "{stack}");
    assert_memory(&kiln, "sh", &[]);
    ended(&kiln, kept).assert_code(125);
}

#[test]
#[ignore = "make check-debugging"]
fn a_hang_with_interrupts_off_has_a_backtrace_and_its_memory() {
    let kiln = Kiln::new();
    std::fs::create_dir_all(kiln.work().join("tests")).unwrap();
    let module = broken_module::write(&kiln, "hang", &HANG);
    let insmod = format!("echo now; insmod {}", module.display());
    let mut kept = kiln
        .vm(["exec", "-k", "6.1", "--gdb", "--memory", "512M"])
        .args(["--", "sh", "-c", &insmod])
        .deadline(2 * FETCH)
        .start();
    kept.wait_for("now");
    let stack = backtrace_with(&kiln, "do_one_initcall");
    assert!(stack.contains("finit_module"), "{stack}");
    let shell = kiln
        .plain(["shell", "--attach", "6.1"])
        .deadline(LONG)
        .run();
    shell
        .assert_code(125)
        .assert_err_contains("the start of the command")
        .assert_err_contains("kiln gdb and kiln dump");
    assert_memory(&kiln, "insmod", &[]);
    ended(&kiln, kept).assert_code(125);
}
