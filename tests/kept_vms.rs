//! The VM of a test that failed: its memory, a shell in it, and the time that it stays.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use serde_json::Value;

use crate::support::Kiln;
use crate::support::suite::{finished, out, run, suite};
use crate::support::terminal::Terminal;

/// How long a line may take to come back from a guest.
const SOON: Duration = Duration::from_secs(30);

/// Fails, and leaves something behind that is tidied away after a test.
const FAILS: &str = "NAME fails
RUN sleep 1000 & echo mark >/tmp/of-the-test; hostname changed; sh -c 'kill -SEGV $$'; \
setpriv --reuid 65534 --clear-groups bash -c 'kill -SEGV $$'; echo wrong
EXPECT right
TIMEOUT 5
";

fn vms(kiln: &Kiln) -> Vec<Value> {
    let output = kiln.plain(["ps", "--format", "json"]).run();
    serde_json::from_str(&output.out()).unwrap()
}

#[test]
fn a_failed_test_leaves_its_memory_a_shell_and_its_vm_and_keeps_its_verdict() {
    let kiln = suite(FAILS);
    let run = run(&kiln, &["6.1"])
        .args(["--shell-on-fail", "--dump-on-fail", "--keep-vm=10m"])
        .args(["--memory", "512M", "--cores"])
        .env("TERM", "dumb");
    let mut terminal = Terminal::start(run);
    terminal.wait_for("suite.fails on 6.1: fail; a shell in its VM", 6 * SOON);
    terminal.wait_for("# ", SOON);
    // Before anything is tidied up.
    terminal.say("cat /tmp/of-the-test; hostname; pgrep -x sleep | wc -l; exit\n");
    terminal.wait_for("mark", SOON);
    terminal.wait_for("changed", SOON);
    terminal.wait_for("1\r\n", SOON);
    terminal.wait_for("stays for 600 s", SOON);
    let all = vms(&kiln);
    let vm = all[0]["id"].as_str().unwrap();
    let attached = kiln
        .plain(["shell", "--attach", vm])
        .stdin("cat /tmp/of-the-test; exit 9\n")
        .run();
    attached.assert_code(9);
    assert_eq!(attached.out(), "mark\n");
    kiln.plain(["stop", vm]).run().assert_code(0);
    let (code, all) = terminal.wait(SOON);
    assert_eq!(code, 100, "{all}");

    // That its VM ended later changes nothing.
    let run_dir = out(&kiln);
    let verdict = finished(&run_dir, "suite.fails");
    assert_eq!(verdict["verdict"], "fail", "{verdict}");
    let logs = run_dir.join("logs/6_1/vm-0");
    let dump = logs.join("vmcore-suite.fails-1");
    let mode = dump.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let dump = fs::read(dump).unwrap();
    assert!(dump.starts_with(b"KDUMP   "));
    let has = |text: &[u8]| memchr::memmem::find(&dump, text).is_some();
    assert!(has(b"\0Linux\0") && has(b"OSRELEASE=6.1."), "no vmcoreinfo");
    // Two shells of the test crashed, one of them another user's.
    for shell in ["sh", "bash"] {
        let core = fs::read(logs.join(format!("cores/core.{shell}"))).unwrap();
        assert!(core.starts_with(b"\x7fELF"));
        assert!(
            all.contains(&format!("{shell} ended by signal 11: ")),
            "{all}"
        );
    }
    kiln.assert_nothing_left();
    kiln.assert_no_temporary_files();
}

#[test]
fn a_run_without_a_terminal_opens_no_shell() {
    let kiln = suite(FAILS);
    let output = kiln
        .plain(["run", "--tests", "tests", "--shell-on-fail"])
        .run();
    output
        .assert_code(2)
        .assert_err_contains("--shell-on-fail needs a terminal as stdin and stdout")
        .assert_err_contains("--keep-vm keeps the VM for kiln shell --attach");
}
