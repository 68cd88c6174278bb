//! `kiln btf extract --min`: the types that objects need, and that libbpf takes for the kernel's own.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::bpf_objects::{objects, results};
use crate::support::Kiln;

#[test]
fn what_objects_need_of_a_kernel_is_what_bpftool_takes() {
    let kiln = Kiln::new();
    let names = [
        "bitfield",
        "flavours",
        "matches",
        "moved_field",
        "resized",
        "subprogram",
        "types",
    ];
    let objects = objects(&kiln, names);
    let whole = kiln.plain(["btf", "extract", "-k", "6.12", "whole"]).run();
    whole.assert_code(0);
    let min = kiln
        .plain(["btf", "extract", "-k", "6.12", "min", "--min"])
        .args(&objects)
        .run();
    min.assert_code(0);
    let (ours, whole) = (
        kiln.work().join("min/vmlinux"),
        kiln.work().join("whole/vmlinux"),
    );
    let theirs = kiln.work().join("theirs.btf");
    let made = kiln
        .host_command("bpftool")
        .args(["gen", "min_core_btf"])
        .args([&whole, &theirs])
        .args(&objects)
        .output()
        .unwrap();
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    // Types by name and content; ids and their order are nobody's business.
    let types = |path: &Path| {
        let dump = kiln
            .host_command("bpftool")
            .args(["btf", "dump", "file"])
            .arg(path)
            .args(["format", "c"])
            .output()
            .unwrap();
        assert!(dump.status.success());
        let text = String::from_utf8(dump.stdout).unwrap();
        let mut types: Vec<String> = text.split("\n\n").map(str::to_owned).collect();
        types.sort();
        types
    };
    assert_eq!(types(&ours), types(&theirs));
    assert!(fs::metadata(&ours).unwrap().len() < 10_000);
    // The object finds there what it finds on the kernel.
    let check = |kernel: &str| {
        let output = kiln
            .plain(["btf", "check", "--format", "json", "-k", kernel])
            .args(&objects)
            .run();
        let values = |result: &Value| {
            let relocations = result["relocations"].as_array().unwrap().iter();
            relocations
                .map(|one| one["value"].clone())
                .collect::<Vec<_>>()
        };
        // Ids are others.
        let fixed = |((name, _), result): (&(String, String), &Value)| {
            (name != "types").then(|| (name.clone(), values(result)))
        };
        results(&output)
            .iter()
            .filter_map(fixed)
            .collect::<Vec<_>>()
    };
    assert_eq!(check("6.12"), check("./min/vmlinux"));
    assert_loads_alike(&kiln, &objects, [&ours, &theirs]);
}

/// libbpf loads the objects in a VM with either file in place of the kernel's own types
/// (`btf_custom_path`), and relocates them alike.
fn assert_loads_alike(kiln: &Kiln, objects: &[PathBuf], types: [&Path; 2]) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/bpf/load_with_types.c");
    let loader = kiln.work().join("load_with_types");
    let compiled = kiln
        .host_command("gcc")
        .arg("-o")
        .args([&loader, &source])
        .arg("-lbpf")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&compiled.stderr);
    assert!(compiled.status.success(), "{said}");
    let words = |types: &Path| {
        // Both files have ids of their own, which one object asks for.
        let objects = objects.iter().map(PathBuf::as_path);
        let objects = objects.filter(|object| !object.ends_with("types.bpf.o"));
        let files = [&loader, types].into_iter().chain(objects);
        let files: Vec<_> = files.map(|file| file.to_str().unwrap()).collect();
        files.join(" ")
    };
    let script = format!("{} && echo == && {}", words(types[0]), words(types[1]));
    let output = kiln
        .vm(["exec", "-k", "6.12", "--", "sh", "-c", &script])
        .run();
    output.assert_code(0);
    let said = output.out().replace('\r', "");
    let (ours, theirs) = said.split_once("==\n").unwrap();
    assert_eq!(ours, theirs);
    assert!(ours.contains("moved_field.bpf.o: loads"), "{ours}");
    assert!(ours.contains("resized.bpf.o: fails"), "{ours}");
    assert!(ours.matches(": patched insn").count() > 15, "{ours}");
}
