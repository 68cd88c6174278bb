//! `kiln btf` of bpftrace scripts: what each finds on a kernel, without booting it. What bpftrace
//! itself says is asked in `bpf_objects.rs`, in VMs that boot there anyway.

use std::path::PathBuf;

use serde_json::Value;

use crate::bpf_objects::{object, on_kernels};
use crate::support::{KERNELS, Kiln, Output};

/// Reads a field that 6.12 calls otherwise.
const RENAMED: &str = "\
#!/usr/bin/env bpftrace
#ifndef BPFTRACE_HAVE_BTF
#include <linux/sched.h>
#endif
BEGIN
{
\t$queue = (struct cfs_rq *)curtask->se.cfs_rq;
\tprintf(\"%d\\n\", $queue->h_nr_running);
}
";

/// Each script, and what becomes of it on 5.10, 6.1 and 6.12.
const SCRIPTS: [(&str, &str, [&str; 3]); 8] = [
    ("renamed", RENAMED, ["loads", "loads", "fails"]),
    (
        "gone",
        "kprobe:swap_readpage { exit(); }\n",
        ["loads", "loads", "no target"],
    ),
    (
        "either",
        "kprobe:swap_readpage,\nkprobe:swap_read_folio { exit(); }\n",
        ["loads", "loads", "loads"],
    ),
    (
        "reason",
        "tracepoint:skb:kfree_skb { @[args->reason] = count(); }\n",
        ["fails", "loads", "loads"],
    ),
    (
        "parameter",
        "kfunc:vfs_open { print(args->path->dentry); }\nfexit:vfs_open { print(args.nothing); }\n",
        ["no BTF", "fails", "fails"],
    ),
    (
        "tracepoint",
        "tracepoint:sched:sched_prepare_exec { exit(); }\n",
        // Modules of 5.10 have no BTF: one of them may have it.
        ["loads", "no target", "loads"],
    ),
    (
        "of_module",
        "kprobe:nft_do_chain { exit(); }\ntracepoint:xfs:xfs_read_agf { print(args.agno); }\n",
        ["loads", "loads", "loads"],
    ),
    (
        "others",
        "uprobe:/bin/bash:readline { } interval:s:1 { } kprobe:vfs_* { } END { print(@x->y); }\n",
        ["loads", "loads", "loads"],
    ),
];

pub(crate) fn script(kiln: &Kiln, name: &str) -> PathBuf {
    let (_, text, _) = SCRIPTS.iter().find(|(other, ..)| *other == name).unwrap();
    kiln.file(&format!("{name}.bt"), text)
}

fn check(kiln: &Kiln, args: &[&str]) -> Output {
    kiln.plain(["btf", "check"])
        .args(on_kernels(&KERNELS))
        .args(args)
        .run()
}

#[test]
fn each_script_is_checked_against_what_each_kernel_has() {
    let kiln = Kiln::new();
    for (name, ..) in SCRIPTS {
        script(&kiln, name);
    }
    let object = object(&kiln, "moved_field");
    // No shell is here that would find the files.
    let output = check(
        &kiln,
        &["--format", "json", "*.bt", object.to_str().unwrap()],
    );
    output.assert_code(100);
    let document: Value = serde_json::from_str(&output.out()).unwrap();
    assert_eq!(document["objects"].as_array().unwrap().len(), 1);
    let scripts = document["scripts"].as_array().unwrap();
    assert_eq!(scripts.len(), SCRIPTS.len());
    let mut wrong = Vec::new();
    for one in scripts {
        let path = one["script"].as_str().unwrap();
        let expected = SCRIPTS
            .iter()
            .find(|(name, ..)| path.ends_with(&format!("/{name}.bt")));
        let (_, _, expected) = expected.unwrap();
        for (result, expected) in one["kernels"].as_array().unwrap().iter().zip(expected) {
            let verdict = match result["verdict"].as_str().unwrap() {
                "unattached" => "no target",
                "no-btf" => "no BTF",
                verdict => verdict,
            };
            if verdict != *expected {
                wrong.push(format!("{path}: {result:#}"));
            }
        }
        if path.ends_with("/of_module.bt") {
            // They have to be loaded before the script is.
            let modules = one["kernels"][2]["modules"].to_string();
            assert_eq!(modules, "[\"nf_tables\",\"xfs\"]", "{one:#}");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn reasons_name_the_line_of_the_script() {
    let kiln = Kiln::new();
    let path = script(&kiln, "renamed");
    let output = check(&kiln, &["renamed.bt"]);
    output.assert_code(100);
    let said = output.out();
    assert!(
        said.starts_with('─') && said.contains("\nscript  "),
        "{said}"
    );
    let expected = "\
renamed.bt
  fails on 6.12
    struct cfs_rq.h_nr_running: struct cfs_rq has no field h_nr_running (near: nr_running, h_nr_runnable, idle_nr_running)
      renamed.bt:8:17: printf(\"%d\\n\", $queue->h_nr_running);
";
    assert!(said.contains(expected), "{said}");
    // Somebody knows that.
    let known = kiln.file(
        "known.toml",
        "[[known]]\ntest = \"btf.renamed.bt\"\nkernel = \">=6.12\"\nresult = \"fail\"\nreason = \"renamed\"\n",
    );
    let output = check(
        &kiln,
        &[
            "--expectations",
            known.to_str().unwrap(),
            path.to_str().unwrap(),
        ],
    );
    output.assert_code(0);
    assert!(output.out().contains("fails (known)"), "{}", output.out());
    // Others of the list are there: only --all tells, and only where the script does not mind.
    kiln.file(
        "mind.bt",
        "config = { missing_probes = ignore; }\nkprobe:swap_readpage, kprobe:swap_read_folio { }\n",
    );
    let output = check(&kiln, &["mind.bt"]);
    output.assert_code(0);
    assert!(!output.out().contains("swap_readpage"), "{}", output.out());
    let output = check(&kiln, &["mind.bt", "--all"]);
    assert!(
        output
            .out()
            .contains("absent, but checked for, on 6.12\n    function swap_readpage"),
        "{}",
        output.out()
    );
}

#[test]
fn what_is_no_script_is_named() {
    let kiln = Kiln::new();
    kiln.file("binary.bt", b"\xff\xfe");
    kiln.file("empty.bt", "// nothing\n");
    for (file, why) in [
        (
            "binary.bt",
            "binary.bt is not a bpftrace script: invalid utf-8",
        ),
        (
            "empty.bt",
            "empty.bt is not a bpftrace script: it has no probe",
        ),
        ("none.bt", "cannot read none.bt: No such file"),
        ("no*.bt", "no file matches"),
    ] {
        let output = check(&kiln, &[file]);
        output.assert_code(96);
        assert!(output.err().contains(why), "{}", output.err());
    }
    // Whatever is not named like one is an object.
    let output = check(&kiln, &[kiln.file("script", "BEGIN { }").to_str().unwrap()]);
    output.assert_code(96);
    assert!(
        output.err().contains("is not a BPF object: it is text"),
        "{}",
        output.err()
    );
}

#[test]
fn a_comparison_can_be_of_what_scripts_use() {
    let kiln = Kiln::new();
    script(&kiln, "renamed");
    script(&kiln, "gone");
    let output = kiln
        .plain(["btf", "diff", "6.1", "6.12", "--format", "json"])
        .args(["--used-by", "renamed.bt", "gone.bt"])
        .run();
    output.assert_code(0);
    let steps: Value = serde_json::from_str(&output.out()).unwrap();
    let changes = steps[0]["changes"].as_array().unwrap().iter();
    let changes = changes.map(|change| {
        let parts = change["parts"].as_array().into_iter().flatten();
        let parts: Vec<&str> = parts.map(|part| part["name"].as_str().unwrap()).collect();
        format!("{}: {}", change["name"].as_str().unwrap(), parts.join(" "))
    });
    let changes: Vec<String> = changes.collect();
    assert!(
        changes.contains(&"cfs_rq: h_nr_running".to_owned()),
        "{changes:?}"
    );
    assert!(
        changes.contains(&"swap_readpage: ".to_owned()),
        "{changes:?}"
    );
}
