//! Kernel reports and ends of guests: an oops, a warning that the console does not show, a reboot,
//! a power-off, another kernel. None of these tests passes.

use std::fs;
use std::time::Duration;

use crate::support::broken_module::{self, DIVIDE, OOPS};
use crate::support::material::Material;
use crate::support::suite::{
    assert_verdicts, count, events, finished, out, run, run_scaled, suite, verdicts,
};
use crate::support::{KERNELS, Kiln, checkout};
use serde_json::Value;

fn reports(kiln: &Kiln) -> Vec<Value> {
    let mut all = events(&out(kiln));
    all.retain(|event| event["event"] == "kernel_report");
    all
}

#[test]
fn an_oops_fails_its_test_alone_on_each_kernel_with_and_without_timestamps() {
    let kiln = suite(
        "NAME 1 divide\nRUN insmod ./divide-$(uname -r).ko; echo hello\nEXPECT hello\nTIMEOUT 100\n\n\
         NAME 2 untimed\nRUN echo N >/sys/module/printk/parameters/time; \
         insmod ./oops-$(uname -r).ko; echo hello\nEXPECT hello\nTIMEOUT 100\n",
    );
    for kernel in KERNELS {
        broken_module::write_for(&kiln, kernel, "divide", &DIVIDE);
        broken_module::write_for(&kiln, kernel, "oops", &OOPS);
    }
    let output = run_scaled(&kiln, &KERNELS, "20")
        .args(["-j", "1"])
        .deadline(Duration::from_secs(300))
        .run();
    output.assert_code(100);
    let mut expected = Vec::new();
    for kernel in KERNELS {
        for id in ["suite.1 divide", "suite.2 untimed"] {
            expected.push((kernel.into(), id.into(), "fail".into()));
        }
    }
    expected.sort();
    assert_eq!(verdicts(&out(&kiln)), expected, "{}", output.err());
    let reports = reports(&kiln);
    assert_eq!(reports.len(), 2 * KERNELS.len(), "{reports:?}");
    for report in &reports {
        assert_eq!(report["kind"], "oops", "{report}");
        let text = report["text"].as_str().unwrap();
        let line = match report["test"].as_str() {
            Some("suite.1 divide") => "divide error: 0000 [#1]",
            Some("suite.2 untimed") => "invalid opcode: 0000 [#1]",
            _ => panic!("{report}"),
        };
        assert!(text.contains(line) && text.contains("RIP:"), "{text}");
    }
    let divide = finished(&out(&kiln), "suite.1 divide");
    let reason = divide["reason"].as_str().unwrap();
    assert!(reason.contains("the kernel reported: "), "{reason}");
    assert_eq!(divide["rules"][0], "kernel-report");
    // A kernel that oopsed in a process still holds its locks.
    assert_eq!(count(&events(&out(&kiln)), "vm_started"), 2 * KERNELS.len());
    kiln.assert_nothing_left();
}

/// For python3 in the guest: `kexec_load` is system call 246, `reboot` 169. The
/// other kernel prints a line to the first serial port and then faults until the
/// machine resets: `cld; mov dx, 0x3f8; lea rsi, [text]`, `lodsb; test al, al; jz;
/// out dx, al; jmp`, `lidt [zeros]; int3`.
const KEXEC: &str = r#"
import ctypes, os, sys
call = ctypes.CDLL(None, use_errno=True).syscall
code = bytes.fromhex("fc66baf803488d351a000000ac84c07403eeebf80f011d01000000cc")
code += bytes(10) + b"[    0.000000] Linux version 9.9\r\n\0"
code = ctypes.create_string_buffer(code)
at = 0x2000000
segment = (ctypes.c_size_t * 4)(ctypes.addressof(code), len(code), at, 4096)
if call(246, ctypes.c_size_t(at), 1, segment, 0):
    sys.exit("kexec_load: " + os.strerror(ctypes.get_errno()))
call(169, 0xfee1dead, 672274793, 0x45584543, 0)
"#;

#[test]
fn a_guest_that_ends_during_a_test_is_reported_and_its_test_is_lost() {
    let kiln = suite(
        "NAME 1 reboot\nRUN echo b >/proc/sysrq-trigger; sleep 1000\nEXPECT never\nTIMEOUT 100\n\n\
         NAME 2 off\nRUN echo o >/proc/sysrq-trigger; sleep 1000\nEXPECT never\nTIMEOUT 100\n\n\
         NAME 3 kexec\nRUN python3 kexec; sleep 1000\nEXPECT never\nTIMEOUT 100\n\n\
         NAME 4 after\nRUN echo hello\nEXPECT hello\nTIMEOUT 20\n",
    );
    kiln.file("tests/kexec", KEXEC);
    // Python takes longer to start than the attach limit.
    let output = run_scaled(&kiln, &["6.1"], "20")
        .args(["-j", "1", "--hang-timeout", "30s"])
        .deadline(Duration::from_secs(300))
        .run();
    output.assert_code(97);
    let expected = [
        "1 reboot lost",
        "2 off lost",
        "3 kexec lost",
        "4 after pass",
    ];
    assert_verdicts(&kiln, &output, &expected);
    for (id, words) in [
        ("suite.1 reboot", "the guest rebooted"),
        ("suite.2 off", "the guest powered itself off"),
        ("suite.3 kexec", "after the guest started another kernel"),
    ] {
        let test = finished(&out(&kiln), id);
        let reason = test["reason"].as_str().unwrap();
        assert!(reason.contains(words), "{id}: {reason}");
    }
    kiln.assert_nothing_left();
}

#[test]
fn a_kernel_that_dies_before_hello_is_reported_with_its_last_line() {
    let kiln = Kiln::new();
    let tree = kiln.work().join("tree");
    let material = Material::of(&kiln);
    material.unpack(&tree, &[]);
    let module = format!(
        "lib/modules/{}/kernel/fs/overlayfs/overlay.ko",
        material.release
    );
    let module = tree.join(module);
    let broken = broken_module::patched(fs::read(&module).unwrap(), "init_module", &DIVIDE);
    fs::write(&module, broken).unwrap();
    let output = kiln
        .vm(["exec", "-k", "./tree", "--", "true"])
        .deadline(Duration::from_secs(60))
        .run();
    output
        .assert_code(125)
        .assert_err_contains("the kernel panicked: Attempted to kill init!")
        .assert_err_contains("divide error: 0000 [#1]")
        .assert_err_contains("RIP: 0010:ovl_init")
        .assert_err_contains("Kernel Offset: disabled");
    kiln.assert_nothing_left();
}

#[test]
fn a_kernel_that_dies_at_shutdown_fails_the_run() {
    let kiln = suite("NAME 1 only\nRUN insmod ./md.ko; echo hello\nEXPECT hello\nTIMEOUT 20\n");
    // Code that runs when the guest powers off.
    let module = Material::of(&kiln)
        .modules
        .join("kernel/drivers/md/md-mod.ko");
    let module = fs::read(module).unwrap();
    // Any other module would be unloaded after the test.
    let module = broken_module::permanent(module);
    let broken = broken_module::patched(module, "md_notify_reboot", &DIVIDE);
    kiln.file("tests/md.ko", broken);
    let output = run(&kiln, &["6.1"]).run();
    assert_verdicts(&kiln, &output, &["1 only pass"]);
    output.assert_code(100);
    assert!(
        output.out().contains("divide error: 0000 [#1]"),
        "{}",
        output.out()
    );
    let [report] = &reports(&kiln)[..] else {
        panic!("one report expected: {:?}", reports(&kiln));
    };
    assert_eq!(report["fails"], true);
    assert!(report["test"].is_null(), "{report}");
    let text = report["text"].as_str().unwrap();
    assert!(text.contains("md_notify_reboot"), "{text}");
    assert!(text.contains("Kernel panic - not syncing"), "{text}");
    kiln.assert_nothing_left();
}

#[test]
fn known_reports_are_allowed_and_silent_kernels_are_detected() {
    let kiln = suite(
        "NAME 1 allowed\nRUN insmod ./oops.ko; echo hello\nEXPECT hello\nTIMEOUT 100\n\n\
         NAME 2 harmless\nRUN echo 'BUG: mine' >/dev/ttyS0; echo hello\nEXPECT hello\nTIMEOUT 20\n\n\
         NAME 3 denied\nRUN echo 'mydrv: reset 7' >/dev/kmsg; echo hello\nEXPECT hello\nTIMEOUT 20\n\n\
         NAME 4 silent\nRUN dmesg -n 1; echo 512 >/proc/sys/kernel/tainted; echo hello\n\
         EXPECT hello\nTIMEOUT 20\n",
    );
    broken_module::write(&kiln, "oops", &OOPS);
    let config = kiln.file(
        "kernels.toml",
        fs::read_to_string(checkout().join("kernels.toml")).unwrap()
            + "\n[[kernel-log]]\nallow = '^RIP: .*init_module.* \\[dummy\\]'\n\
               reason = 'the driver is known to die'\nkernels = '6.*'\n\
               [[kernel-log]]\ndeny = '^mydrv: reset \\d'\nreason = 'it must not reset'\n",
    );
    let lock = fs::read(checkout().join("kernels.lock")).unwrap();
    kiln.file("kernels.lock", lock);
    let kiln = kiln.config(config);
    let output = run(&kiln, &["6.1"]).args(["-j", "1", "--keep-vm=1s"]).run();
    output.assert_code(100);
    let expected = [
        "1 allowed pass",
        "2 harmless pass",
        "3 denied fail",
        "4 silent fail",
    ];
    assert_verdicts(&kiln, &output, &expected);
    // The VM of a test that only the kernel's report failed stays, too.
    for (id, stays) in [("1 allowed", false), ("3 denied", true), ("4 silent", true)] {
        let words = format!("suite.{id} failed; its VM ");
        assert_eq!(output.out().contains(&words), stays, "{}", output.out());
    }
    let reports = reports(&kiln);
    let of = |id: &str| {
        let mut found = reports.iter().filter(|report| report["test"] == id);
        found.next().unwrap_or_else(|| panic!("{id}: {reports:?}"))
    };
    assert_eq!(reports.len(), 3, "{reports:?}");
    let allowed = of("suite.1 allowed");
    assert_eq!(allowed["kind"], "oops");
    assert_eq!(allowed["allowed"], "the driver is known to die");
    let denied = of("suite.3 denied");
    assert_eq!(
        (&denied["kind"], &denied["denied"]),
        (&"denied".into(), &"it must not reset".into())
    );
    assert_eq!(of("suite.4 silent")["kind"], "taint");
    let reason = finished(&out(&kiln), "suite.3 denied")["reason"].clone();
    let reason = reason.as_str().unwrap();
    assert!(
        reason.contains("mydrv: reset 7 (denied: it must not reset)"),
        "{reason}"
    );
    // A module that oopsed while loading remains, and so does the failure.
    assert_eq!(count(&events(&out(&kiln)), "vm_started"), 3);
}
