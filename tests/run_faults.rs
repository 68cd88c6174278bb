//! `kiln run` when something dies during a test: that test is lost or fails, every other one gets
//! its verdict, and nothing is left.

use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, Instant};

use crate::support::broken_module;
use crate::support::suite::{
    assert_verdicts, count, events, finished, junit, out, run, run_scaled, suite,
};
use crate::support::{Kiln, Output};
use nix::sys::signal::{Signal, kill};

/// A quick test before and after a harmful one.
fn around(command: &str) -> Kiln {
    suite(&format!(
        "NAME 1 before\nRUN echo hello\nEXPECT hello\nTIMEOUT 20\n\n\
         NAME 2 harm\nRUN {command}\nEXPECT never\nTIMEOUT 100\n\n\
         NAME 3 after\nRUN echo hello\nEXPECT hello\nTIMEOUT 20\n\n"
    ))
}

/// Waits until the harmful test has started.
fn wait_for_harm(kiln: &Kiln) {
    let start = Instant::now();
    while !fs::read_to_string(out(kiln).join("events.jsonl"))
        .is_ok_and(|text| text.contains("\"id\":\"suite.2 harm\",\"attempt\""))
    {
        assert!(
            start.elapsed() < Duration::from_secs(90),
            "it did not begin"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The harmful test is lost, the others have passed, nothing is left.
#[track_caller]
fn assert_one_lost(kiln: &Kiln, output: &Output) -> String {
    output.assert_code(97);
    assert_verdicts(
        kiln,
        output,
        &["1 before pass", "2 harm lost", "3 after pass"],
    );
    assert!(junit(&out(kiln)).contains("2 harm"));
    let booted = count(&events(&out(kiln)), "vm_started");
    assert_eq!(booted, 2, "a lost VM is replaced by one");
    kiln.assert_nothing_left();
    kiln.assert_no_temporary_files();
    let lost = finished(&out(kiln), "suite.2 harm");
    lost["reason"].as_str().unwrap().to_owned()
}

/// The processes of this kiln whose arguments contain `word`.
fn processes(kiln: &Kiln, word: &str) -> Vec<nix::unistd::Pid> {
    crate::support::processes_naming(&kiln.path("tmp"))
        .into_iter()
        .filter(|(_, arguments)| arguments.contains(word))
        .map(|(pid, _)| pid)
        .collect()
}

#[test]
fn a_qemu_killed_in_a_test_costs_that_test_alone() {
    let kiln = around("sleep 1000");
    let running = run(&kiln, &["6.1"]).arg("-j").arg("1").start();
    wait_for_harm(&kiln);
    for qemu in processes(&kiln, "microvm") {
        kill(qemu, Signal::SIGKILL).unwrap();
    }
    let output = running.wait();
    assert_one_lost(&kiln, &output);
    // Messages of QEMU about sound VMs would hide those about a faulty one.
    for vm in ["vm-0", "vm-1"] {
        let said = fs::read_to_string(out(&kiln).join("logs/6_1").join(vm).join("qemu.log"));
        assert!(!said.unwrap().contains("vhost-user"), "{vm}");
    }
}

#[test]
fn a_share_process_killed_in_a_test_costs_that_test_alone() {
    let kiln = around("sleep 3; cat /usr/share/doc/*/copyright");
    let running = run(&kiln, &["6.1"]).arg("-j").arg("1").start();
    wait_for_harm(&kiln);
    for share in processes(&kiln, "__share") {
        // QEMU's share may end with its sibling.
        let _ = kill(share, Signal::SIGKILL);
    }
    let output = running.wait();
    let reason = assert_one_lost(&kiln, &output);
    assert!(reason.contains("share"), "{reason}");
}

#[test]
fn a_panic_in_a_test_costs_that_test_alone_and_leaves_a_vmcore_where_wanted() {
    let kiln = around("echo c >/proc/sysrq-trigger; sleep 1000");
    let output = run(&kiln, &["6.1"])
        .args(["-j", "1", "--dump-on-panic", "--memory", "512M"])
        .run();
    let reason = assert_one_lost(&kiln, &output);
    assert!(reason.contains("panicked"), "{reason}");
    let all = events(&out(&kiln));
    let report = all
        .iter()
        .find(|event| event["event"] == "kernel_report")
        .expect("a report of the kernel");
    assert_eq!(report["kind"], "panic");
    assert_eq!(report["test"], "suite.2 harm");
    let harm = finished(&out(&kiln), "suite.2 harm");
    let details = harm["details"].as_str().unwrap();
    assert!(details.contains("vmcore"), "{details}");
    let vmcore = fs::read(out(&kiln).join("logs/6_1/vm-0/vmcore")).unwrap();
    // The header of kdump's format.
    assert!(vmcore.starts_with(b"KDUMP   "), "{} bytes", vmcore.len());
    assert!(vmcore.len() > 10 << 20, "{} bytes", vmcore.len());
}

#[test]
fn a_guest_that_hangs_with_interrupts_off_costs_that_test_alone() {
    let kiln = around("insmod ./hang.ko");
    broken_module::write(&kiln, "hang", &broken_module::HANG);
    let output = run(&kiln, &["6.1"])
        .args(["-j", "1", "--hang-timeout", "15s"])
        .run();
    let reason = assert_one_lost(&kiln, &output);
    assert!(reason.contains("hangs"), "{reason}");
}

#[test]
fn a_kernel_report_changes_no_verdict_with_kernel_log_warn() {
    let kiln = suite("NAME 1 harm\nRUN insmod ./oops.ko; echo hello\nEXPECT hello\nTIMEOUT 100\n");
    broken_module::write(&kiln, "oops", &broken_module::OOPS);
    let output = run(&kiln, &["6.1"]).args(["--kernel-log", "warn"]).run();
    output.assert_code(0);
    assert_verdicts(&kiln, &output, &["1 harm pass"]);
    assert!(
        events(&out(&kiln))
            .iter()
            .any(|event| event["event"] == "kernel_report")
    );
}

#[test]
fn a_guest_without_memory_fails_the_test_that_took_it_and_no_other() {
    let kiln = around("head -c 2G /dev/zero | tail -c 2G | wc -c");
    // On a busy machine the guest takes more than the attach limit to run out.
    let output = run_scaled(&kiln, &["6.1"], "20")
        .args(["-j", "1", "--memory", "256M"])
        .run();
    output.assert_code(100);
    assert_verdicts(
        &kiln,
        &output,
        &["1 before pass", "2 harm fail", "3 after pass"],
    );
    kiln.assert_nothing_left();
}

/// For python3 in the guest: overwrites the code of PID 1.
const KILL_INIT: &str = r#"
text = [line.split() for line in open("/proc/1/maps") if "r-xp" in line][0][0]
start, end = (int(part, 16) for part in text.split("-"))
memory = open("/proc/1/mem", "r+b", buffering=0)
memory.seek(start)
memory.write(b"\xff" * (end - start))
"#;

#[test]
fn a_guest_init_that_dies_costs_the_test_that_killed_it_alone() {
    let kiln = around("python3 kill-init; sleep 1000");
    kiln.file("tests/kill-init", KILL_INIT);
    let output = run(&kiln, &["6.1"]).args(["-j", "1"]).run();
    assert_one_lost(&kiln, &output);
    let harm = finished(&out(&kiln), "suite.2 harm");
    let details = harm["details"].as_str().unwrap();
    assert!(details.contains("Attempted to kill init"), "{details}");
}

/// For python3 in the guest: takes guest-init's own control port and writes to it forever.
/// `pidfd_open` is system call 434, `pidfd_getfd` 438.
const FLOOD: &str = r#"
import ctypes, os, sys
call = ctypes.CDLL(None, use_errno=True).syscall
init = call(434, 1, 0)
port = next(int(fd) for fd in os.listdir("/proc/1/fd")
            if "vport" in os.readlink("/proc/1/fd/" + fd))
port = call(438, init, port, 0)
frame = bytes.fromhex(sys.argv[1])
os.set_blocking(port, True)
while True:
    os.write(port, frame * (65536 // len(frame)))
"#;

fn hex(bytes: &[u8]) -> String {
    let mut hex = String::new();
    for byte in bytes {
        write!(hex, "{byte:02x}").unwrap();
    }
    hex
}

/// [`around`] with a flood of these bytes.
fn flooded(bytes: &[u8]) -> Kiln {
    let hex = hex(bytes);
    let kiln = around(&format!("python3 flood {hex}"));
    kiln.file("tests/flood", FLOOD);
    kiln
}

#[test]
fn a_flood_of_garbage_on_the_control_port_costs_the_test_that_sends_it_alone() {
    let kiln = flooded(b"\0no frame at all\0");
    // On a busy machine, python3 may take longer to start than the limit for attaching.
    let output = run_scaled(&kiln, &["6.1"], "20").args(["-j", "1"]).run();
    let reason = assert_one_lost(&kiln, &output);
    assert!(reason.contains("damaged frames"), "{reason}");
}

#[test]
fn a_flood_of_valid_frames_on_the_control_port_ends_at_the_test_s_limit() {
    use guest_init::frame;
    use guest_init::message::{GuestEvent, Stream};

    let frames = [
        // Unknown processes, and output that could fill memory.
        frame::encode(&GuestEvent::Alive { since_boot_ns: 0 }).unwrap(),
        frame::encode(&GuestEvent::Output {
            process: 1,
            stream: Stream::Stdout,
            data: vec![b'x'; 4096],
        })
        .unwrap(),
        frame::encode(&GuestEvent::Output {
            process: 4_000_000,
            stream: Stream::Stdout,
            data: vec![b'x'; 4096],
        })
        .unwrap(),
    ]
    .concat();
    let hex = hex(&frames);
    let kiln = suite(&format!(
        "NAME 1 before\nRUN echo hello\nEXPECT hello\nTIMEOUT 20\n\n\
         NAME 2 harm\nRUN python3 flood {hex}\nEXPECT never\nTIMEOUT 5\n\n\
         NAME 3 after\nRUN echo hello\nEXPECT hello\nTIMEOUT 20\n\n"
    ));
    kiln.file("tests/flood", FLOOD);
    let output = run_scaled(&kiln, &["6.1"], "4").args(["-j", "1"]).run();
    let events = events(&out(&kiln));
    let verdict = |id: &str| {
        events
            .iter()
            .find(|event| event["event"] == "test_finished" && event["id"] == id)
            .map(|event| event["verdict"].as_str().unwrap().to_owned())
    };
    assert_eq!(verdict("suite.1 before").as_deref(), Some("pass"));
    assert_eq!(verdict("suite.3 after").as_deref(), Some("pass"));
    // Its own verdict depends on what the flood damaged.
    let harm = verdict("suite.2 harm").unwrap();
    assert!(["timeout", "lost"].contains(&harm.as_str()), "{harm}");
    assert!([97, 100].contains(&output.code()), "{}", output.code());
    let log = fs::metadata(out(&kiln).join("events.jsonl")).unwrap().len();
    assert!(log < 4 << 20, "{log} bytes of events");
    kiln.assert_nothing_left();
}

#[test]
fn ctrl_c_in_the_teardown_ends_it_and_keeps_every_verdict() {
    let kiln = suite("NAME 1 only\nRUN echo hello\nEXPECT hello\nTIMEOUT 20\n");
    let running = run(&kiln, &["6.1"]).start();
    let start = Instant::now();
    while !fs::read_to_string(out(&kiln).join("events.jsonl"))
        .is_ok_and(|text| text.contains("test_finished"))
    {
        assert!(start.elapsed() < Duration::from_secs(90));
        std::thread::sleep(Duration::from_millis(1));
    }
    running.signal(Signal::SIGINT);
    let output = running.wait();
    // The signal may come after the end of the teardown.
    assert!([0, 130].contains(&output.code()), "{}", output.err());
    assert_verdicts(&kiln, &output, &["1 only pass"]);
    kiln.assert_nothing_left();
    kiln.assert_no_temporary_files();
}
