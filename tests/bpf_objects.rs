//! `kiln btf check`: BPF objects against the types, configuration and symbols of kernels, and what
//! the kernels themselves say.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::support::{KERNELS, Kiln, Output, checkout};

/// Each object of `tests/data/bpf`, and what becomes of it on 5.10, 6.1 and 6.12.
const OBJECTS: [(&str, [&str; 3]); 26] = [
    ("bitfield", ["fails", "loads", "loads"]),
    ("config", ["fails", "fails", "loads"]),
    ("config_weak", ["loads", "loads", "loads"]),
    ("enum_guarded", ["loads", "loads", "loads"]),
    ("enum_value", ["fails", "fails", "loads"]),
    ("flavours", ["loads", "loads", "loads"]),
    ("helper_new", ["fails", "loads", "loads"]),
    ("hook_new", ["fails", "fails", "loads"]),
    ("iterator_new", ["fails", "fails", "fails"]),
    ("kfunc", ["fails", "fails", "loads"]),
    ("kfunc_weak", ["loads", "loads", "loads"]),
    ("kprobe_gone", ["loads", "loads", "loads"]),
    ("matches", ["loads", "loads", "loads"]),
    ("moved_field", ["loads", "loads", "loads"]),
    ("of_module", ["loads", "loads", "loads"]),
    ("ops", ["loads", "loads", "loads"]),
    ("ops_new", ["fails", "fails", "fails"]),
    ("renamed_field", ["loads", "loads", "fails"]),
    ("resized", ["loads", "loads", "fails"]),
    ("resized_unsigned", ["loads", "loads", "loads"]),
    ("signedness", ["loads", "loads", "loads"]),
    ("subprogram", ["loads", "loads", "loads"]),
    ("target_gone", ["loads", "loads", "loads"]),
    ("tracepoint_new", ["fails", "fails", "loads"]),
    ("type_new", ["fails", "loads", "loads"]),
    ("types", ["loads", "loads", "loads"]),
];

/// Those that are also loaded, for every reason one: a load takes half a second under emulation.
const LOADED: [&str; 15] = [
    "bitfield",
    "config",
    "config_weak",
    "enum_value",
    "flavours",
    "hook_new",
    "kfunc",
    "matches",
    "moved_field",
    "of_module",
    "renamed_field",
    "resized",
    "resized_unsigned",
    "subprogram",
    "types",
];

/// How long booting two kernels and loading all that may take on a busy machine.
const LOADING: Duration = Duration::from_secs(600);

/// One that knows all relocations: clang 14 of Debian 12 does not.
fn clang() -> Command {
    let is_there = |name: &&str| Command::new(name).arg("--version").output().is_ok();
    let names = ["clang-16", "clang-19", "clang-18"];
    Command::new(names.into_iter().find(is_there).unwrap_or("clang"))
}

/// Compiles `tests/data/bpf/NAME.bpf.c` into the working directory.
fn compile(kiln: &Kiln, name: &str, flags: &[&str]) -> PathBuf {
    let source = format!("tests/data/bpf/{name}.bpf.c");
    compile_file(kiln, &checkout().join(source), flags)
}

/// Compiles `NAME.bpf.c` to `NAME.bpf.o` in the working directory.
pub(crate) fn compile_file(kiln: &Kiln, source: &Path, flags: &[&str]) -> PathBuf {
    let name = source.file_stem().unwrap();
    let object = kiln.work().join(name).with_extension("bpf.o");
    let compiled = clang()
        .args(flags)
        .args([
            "-O2",
            "-D__TARGET_ARCH_x86",
            "-idirafter",
            "/usr/include/x86_64-linux-gnu",
        ])
        .arg("-c")
        .arg(source)
        .arg("-o")
        .arg(&object)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&compiled.stderr);
    assert!(compiled.status.success(), "{}: {said}", source.display());
    object
}

pub(crate) fn object(kiln: &Kiln, name: &str) -> PathBuf {
    compile(kiln, name, &["-g", "-target", "bpf"])
}

pub(crate) fn objects<'a>(kiln: &Kiln, names: impl IntoIterator<Item = &'a str>) -> Vec<PathBuf> {
    names.into_iter().map(|name| object(kiln, name)).collect()
}

pub(crate) fn on_kernels(kernels: &[&str]) -> Vec<String> {
    let kernels = kernels.iter();
    kernels
        .flat_map(|kernel| ["-k".to_owned(), (*kernel).to_owned()])
        .collect()
}

/// What came out, by object and kernel.
pub(crate) fn results(output: &Output) -> BTreeMap<(String, String), Value> {
    let document: Value = serde_json::from_str(&output.out()).unwrap();
    let mut results = BTreeMap::new();
    for object in document["objects"].as_array().unwrap() {
        let path = Path::new(object["object"].as_str().unwrap());
        let name = path.file_name().unwrap().to_string_lossy();
        let name = name.strip_suffix(".bpf.o").unwrap();
        for kernel in object["kernels"].as_array().unwrap() {
            let key = (
                name.to_owned(),
                kernel["kernel"].as_str().unwrap().to_owned(),
            );
            results.insert(key, kernel.clone());
        }
    }
    results
}

#[test]
fn each_object_is_checked_against_what_each_kernel_has() {
    let kiln = Kiln::new();
    let objects = objects(&kiln, OBJECTS.map(|(name, _)| name));
    let output = kiln
        .plain(["btf", "check", "--format", "json"])
        .args(on_kernels(&KERNELS))
        .args(&objects)
        .run();
    output.assert_code(100);
    let results = results(&output);
    let mut wrong = Vec::new();
    for (name, expected) in OBJECTS {
        for (kernel, expected) in KERNELS.iter().zip(expected) {
            let result = &results[&(name.to_owned(), (*kernel).to_owned())];
            if result["verdict"] != expected {
                wrong.push(format!("{name} on {kernel}: {result:#}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // Each for its own reason, with its place in the source.
    let reason = |name: &str, kernel: &str| {
        let result = &results[&(name.to_owned(), kernel.to_owned())];
        let finding = &result["findings"][0];
        let line = finding["source"]["line"].as_u64().unwrap_or(0);
        format!(
            "{}: {} ({line})",
            finding["subject"].as_str().unwrap(),
            finding["reason"].as_str().unwrap()
        )
    };
    for (name, kernel, expected) in [
        (
            "renamed_field",
            "6.12",
            "struct cfs_rq.h_nr_running: struct cfs_rq has no field h_nr_running",
        ),
        (
            "enum_value",
            "6.1",
            "enum bpf_map_type has no value BPF_MAP_TYPE_ARENA",
        ),
        (
            "kfunc",
            "6.1",
            "kfunc bpf_task_from_pid: this kernel has no such function",
        ),
        (
            "hook_new",
            "6.1",
            "LSM hook bdev_alloc_security: this kernel has no such LSM hook",
        ),
        ("resized", "6.12", "it has 2 bytes in this kernel, not 4"),
        (
            "helper_new",
            "5.10",
            "helper #208: this kernel does not have it",
        ),
        (
            "type_new",
            "5.10",
            "BPF_PROG_TYPE_SYSCALL: this kernel does not have programs of this type",
        ),
        (
            "ops_new",
            "6.1",
            "struct_ops own (sched_ext_ops): this kernel lets no program be",
        ),
        (
            "tracepoint_new",
            "6.1",
            "tracepoint sched_prepare_exec: this kernel has no such tracepoint",
        ),
        (
            "iterator_new",
            "6.12",
            "iterator kmem_cache: this kernel has no such iterator",
        ),
    ] {
        let reason = reason(name, kernel);
        assert!(reason.contains(expected), "{name} on {kernel}: {reason}");
    }
    assert!(
        reason("resized", "6.12").ends_with("(7)"),
        "{}",
        reason("resized", "6.12")
    );
    // What is absent but never reached is no reason.
    let guarded = &results[&("flavours".to_owned(), "6.1".to_owned())]["relocations"];
    let states: Vec<&str> = guarded
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["state"].as_str().unwrap())
        .collect();
    assert!(
        states.contains(&"guarded") && states.contains(&"resolved"),
        "{states:?}"
    );
}

/// What libbpf's log says of the relocation `number` of the program or function `function`.
fn said<'o>(log: &'o str, function: &str, number: u64) -> Vec<&'o str> {
    let prefix = format!("libbpf: prog '{function}': relo #{number}: ");
    log.lines()
        .filter_map(|line| line.strip_prefix(&prefix))
        .collect()
}

/// Checks that each relocation became what libbpf's log says; returns how many there are.
fn assert_as_in_log(name: &str, result: &Value) -> usize {
    let log = result["loaded"]["output"].as_str().unwrap();
    let relocations = result["relocations"].as_array().unwrap();
    for one in relocations {
        let text = |key: &str| one[key].as_str().unwrap_or_default().to_owned();
        let said = said(log, &text("function"), one["number"].as_u64().unwrap());
        let says = |what: &str| said.iter().any(|line| line.contains(what));
        assert!(says(&text("local")), "{name}: {one:#}\n{said:?}");
        if one["target"].is_string() {
            // libbpf tries all candidates; those that do not match it calls `non-matching`.
            let matching = said
                .iter()
                .filter(|line| line.starts_with("matching candidate"));
            let found = matching
                .into_iter()
                .any(|line| line.ends_with(&text("target")));
            assert!(found, "{name}: {one:#}\n{said:?}");
        } else if !text("local").starts_with("<local_type_id>") {
            assert!(
                says("no matching targets found"),
                "{name}: {one:#}\n{said:?}"
            );
        }
        match one["value"].as_u64() {
            Some(value) => assert!(
                said.iter().any(|line| line.starts_with("patched insn")
                    && line.ends_with(&format!("-> {value}"))),
                "{name}: {one:#}\n{said:?}"
            ),
            None => assert!(says("w/ invalid insn"), "{name}: {one:#}\n{said:?}"),
        }
    }
    relocations.len()
}

/// bpftrace runs both scripts on 6.1, and says why it does not on 6.12.
fn assert_scripts(output: &Output) {
    let document: Value = serde_json::from_str(&output.out()).unwrap();
    let scripts = document["scripts"].as_array().unwrap().iter();
    let kernels = scripts.flat_map(|script| script["kernels"].as_array().unwrap());
    let said: Vec<_> = kernels
        .map(|result| {
            let loaded = &result["loaded"];
            let end = loaded["end"].as_str().unwrap();
            (
                result["verdict"].as_str().unwrap(),
                loaded["class"].as_str(),
                end,
            )
        })
        .collect();
    let [old_field, new_field, old_target, new_target] = said.as_slice() else {
        panic!("{said:?}");
    };
    assert_eq!(*old_field, ("loads", None, "it loads"));
    assert_eq!(*old_target, ("loads", None, "it loads"));
    assert_eq!((new_field.0, new_field.1), ("fails", Some("field")));
    assert!(new_field.2.contains("field.bt:1:22-"), "{new_field:?}");
    assert_eq!((new_target.0, new_target.1), ("unattached", Some("target")));
}

#[test]
fn kernels_take_what_passes_the_check_and_relocate_it_as_foreseen() {
    let kiln = Kiln::new();
    let objects = objects(&kiln, LOADED);
    let field = "BEGIN { printf(\"%d\", ((struct cfs_rq *)0)->h_nr_running); }\n";
    let scripts = [
        kiln.file("field.bt", field),
        kiln.file("gone.bt", "kprobe:swap_readpage { }\n"),
    ];
    let output = kiln
        .vm(["btf", "check", "--format", "json", "--load", "--loader"])
        .arg("bpftool -d prog loadall {object} /sys/fs/bpf/kiln-load")
        .args(on_kernels(&KERNELS[1..]))
        .args(&objects)
        .args(&scripts)
        .deadline(LOADING)
        .run();
    output.assert_code(100);
    let results = results(&output);
    assert_eq!(results.len(), 2 * LOADED.len());
    let mut relocations = 0;
    for ((name, kernel), result) in &results {
        let loads = result["loaded"]["loads"].as_bool().unwrap();
        let verdict = result["verdict"].as_str().unwrap();
        assert_eq!(verdict == "loads", loads, "{name} on {kernel}: {result:#}");
        // libbpf begins with relocations only when it has all names.
        if !matches!(name.as_str(), "config" | "kfunc") {
            relocations += assert_as_in_log(&format!("{name} on {kernel}"), result);
        }
    }
    assert!(relocations > 60, "{relocations}");
    assert_scripts(&output);
    kiln.assert_nothing_left();
}

#[test]
fn what_is_no_bpf_object_is_named_with_how_to_make_one() {
    let kiln = Kiln::new();
    let source = kiln.file("prog.bpf.c", "int x;\n");
    kiln.file("host.c", "int main(void) { return 0; }\n");
    let host = kiln.work().join("host.o");
    let compiled = kiln
        .host_command("gcc")
        .args(["-c", "host.c", "-o", "host.o"])
        .status()
        .unwrap();
    assert!(compiled.success());
    let without = compile(&kiln, "target_gone", &["-target", "bpf"]);
    let without = {
        let moved = kiln.work().join("without.bpf.o");
        fs::rename(&without, &moved).unwrap();
        moved
    };
    let big = compile(&kiln, "target_gone", &["-g", "-target", "bpfeb"]);
    let cut = kiln.file(
        "cut.bpf.o",
        &fs::read(object(&kiln, "moved_field")).unwrap()[..600],
    );
    let big_bytes = compile(&kiln, "target_gone", &["-g", "-target", "bpfeb"]);
    assert_eq!(big, big_bytes);
    for (path, why, is_hinted) in [
        (source.as_path(), "is not a BPF object: it is text", true),
        (&host, "is not a BPF object: it is for x86_64", true),
        (&without, "has no BTF", true),
        (&big, "is big-endian", true),
        (&cut, "is damaged", false),
        (
            Path::new("/nonexistent.bpf.o"),
            "cannot read /nonexistent.bpf.o: No such file",
            false,
        ),
    ] {
        let output = kiln.plain(["btf", "check", "-k", "6.1"]).arg(path).run();
        output.assert_code(96);
        let said = output.err();
        assert!(
            said.contains(why) && said.contains(&*path.to_string_lossy()),
            "{said}"
        );
        assert_eq!(
            said.contains("clang -g -O2 -target bpf -c"),
            is_hinted,
            "{said}"
        );
    }
}

#[test]
fn a_kernel_without_btf_says_so_and_others_are_checked() {
    let kiln = Kiln::new();
    let listed = kiln.plain(["kernels", "fetch", "-k", "6.1"]).run();
    let image = PathBuf::from(listed.out().trim().split('\t').next_back().unwrap());
    let bare = kiln.work().join("vmlinux");
    let removed = kiln
        .host_command("objcopy")
        .args(["--remove-section", ".BTF"])
        .args([&image, &bare])
        .status()
        .unwrap();
    assert!(removed.success());
    let (moved, plain) = (object(&kiln, "moved_field"), object(&kiln, "kprobe_gone"));
    let check = |kernels: &[&str], object: &Path| {
        let kernels = on_kernels(kernels);
        kiln.plain(["btf", "check"]).args(kernels).arg(object).run()
    };
    let output = check(&["./vmlinux", "6.12"], &moved);
    output.assert_code(0);
    assert!(
        output.out().contains("no BTF") && output.out().contains("loads"),
        "{}",
        output.out()
    );
    let output = check(&["./vmlinux"], &moved);
    output.assert_code(100);
    let said = output.out();
    assert!(
        said.contains("this kernel has none, and the object has CO-RE relocations"),
        "{said}"
    );
    // What needs no types is checked all the same.
    check(&["./vmlinux"], &plain).assert_code(0);
}

#[test]
fn what_is_known_to_fail_does_not_count() {
    let kiln = Kiln::new();
    let renamed = object(&kiln, "renamed_field");
    let expectations = kiln.file(
        "known.toml",
        "[[known]]\ntest = \"btf.renamed_field.bpf.o\"\nkernel = \">=6.12\"\nresult = \"fail\"\nreason = \"renamed\"\n",
    );
    let check = || {
        kiln.plain(["btf", "check", "-k", "6.1", "-k", "6.12"])
            .arg(&renamed)
    };
    check().run().assert_code(100);
    let output = check().arg("--expectations").arg(&expectations).run();
    output.assert_code(0);
    assert!(output.out().contains("fails (known)"), "{}", output.out());
}

#[test]
fn a_comparison_can_be_of_what_objects_use() {
    let kiln = Kiln::new();
    let object = object(&kiln, "renamed_field");
    let output = kiln
        .plain([
            "btf",
            "diff",
            "6.1",
            "6.12",
            "--format",
            "json",
            "--used-by",
        ])
        .arg(&object)
        .run();
    output.assert_code(0);
    let steps: Value = serde_json::from_str(&output.out()).unwrap();
    let changes = steps[0]["changes"].as_array().unwrap();
    let names: Vec<&str> = changes
        .iter()
        .map(|change| change["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["cfs_rq"], "{}", output.out());
    let parts = changes[0]["parts"].as_array().unwrap();
    let parts: Vec<&str> = parts
        .iter()
        .map(|part| part["name"].as_str().unwrap())
        .collect();
    assert_eq!(parts, ["h_nr_running"], "{}", output.out());
}
