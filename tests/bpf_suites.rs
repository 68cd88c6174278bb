//! Suites of BPF objects and bpftrace scripts, `runner = "btf"`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::bpf_objects::objects;
use crate::bpf_scripts::script;
use crate::support::Kiln;

/// A `kernels.toml` like that of the checkout, with a suite of objects.
fn suite_config(kiln: &Kiln, keys: &str) -> PathBuf {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let kernels = fs::read_to_string(checkout.join("kernels.toml")).unwrap();
    let (kernels, _) = kernels.split_once("[suites.").unwrap();
    fs::copy(
        checkout.join("kernels.lock"),
        kiln.work().join("kernels.lock"),
    )
    .unwrap();
    kiln.file(
        "kernels.toml",
        format!("{kernels}\n[suites.objects]\nrunner = \"btf\"\n{keys}\n"),
    )
}

#[test]
fn a_suite_of_objects_runs_without_a_vm() {
    let kiln = Kiln::new();
    let config = suite_config(&kiln, "objects = [\"*.bpf.o\"]");
    objects(&kiln, ["flavours", "renamed_field", "kprobe_gone"]);
    let kiln = kiln.config(config);
    let output = kiln
        .plain([
            "run",
            "-k",
            "6.1",
            "-k",
            "6.12",
            "--qemu",
            "/nonexistent",
            "--run-dir",
            "run",
        ])
        .run();
    output.assert_code(100);
    let said = output.out();
    assert!(
        said.contains("struct cfs_rq has no field h_nr_running"),
        "{said}"
    );
    let junit = fs::read_to_string(kiln.work().join("run/junit.xml")).unwrap();
    assert_eq!(junit.matches("<testcase").count(), 6, "{junit}");
    assert_eq!(junit.matches("<failure").count(), 1, "{junit}");
    let output = kiln
        .plain(["run", "-k", "6.1", "--qemu", "/nonexistent"])
        .run();
    output.assert_code(0);
    // Shards and filters work as for any suite.
    let output = kiln
        .plain([
            "run",
            "-k",
            "6.12",
            "--shard",
            "slice:1/3",
            "--run-dir",
            "shard",
        ])
        .run();
    output.assert_code(0);
    let output = kiln.plain(["list", "objects"]).run();
    output.assert_code(0);
    assert!(
        output.out().contains("objects.renamed_field.bpf.o"),
        "{}",
        output.out()
    );
}

#[test]
fn a_suite_that_loads_its_objects_goes_by_what_the_kernel_says() {
    let kiln = Kiln::new();
    let keys = "objects = [\"*.bpf.o\"]\nscripts = [\"*.bt\"]\nload = true";
    let config = suite_config(&kiln, keys);
    objects(&kiln, ["of_module", "renamed_field"]);
    // Its fields are no secret to bpftrace, which looks in the files of tracefs.
    let script = "tracepoint:syscalls:sys_enter_kill { print(args->nothing); }\n";
    kiln.file("syscall.bt", script);
    let kiln = kiln.config(config);
    let output = kiln.vm(["run", "-k", "6.12", "--run-dir", "run"]).run();
    output.assert_code(100);
    let junit = fs::read_to_string(kiln.work().join("run/junit.xml")).unwrap();
    assert_eq!(junit.matches("<testcase").count(), 3, "{junit}");
    assert_eq!(junit.matches("<failure").count(), 2, "{junit}");
    assert!(
        junit.contains("does not contain a field named &apos;nothing&apos;")
            || junit.contains("does not contain a field named 'nothing'"),
        "{junit}"
    );
    // The verifier's own words are kept.
    assert!(
        junit.contains("invalid CO-RE relocation") || junit.contains("invalid func unknown"),
        "{junit}"
    );
    kiln.assert_nothing_left();
}

#[test]
fn a_suite_of_scripts_runs_without_a_vm() {
    let kiln = Kiln::new();
    let config = suite_config(&kiln, "scripts = [\"*.bt\"]");
    script(&kiln, "renamed");
    script(&kiln, "either");
    let kiln = kiln.config(config);
    let output = kiln
        .plain(["run", "-k", "6.1", "-k", "6.12", "--qemu", "/nonexistent"])
        .args(["--run-dir", "run"])
        .run();
    output.assert_code(100);
    let junit = fs::read_to_string(kiln.work().join("run/junit.xml")).unwrap();
    assert_eq!(junit.matches("<testcase").count(), 4, "{junit}");
    assert_eq!(junit.matches("<failure").count(), 1, "{junit}");
    assert!(
        junit.contains("renamed.bt:8: struct cfs_rq.h_nr_running"),
        "{junit}"
    );
}
