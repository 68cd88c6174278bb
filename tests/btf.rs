//! `kiln btf`: what it says of real kernels is what bpftool and pahole say.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::{Kiln, Output, pahole};

/// Has 64-bit enums, and modules with split BTF.
pub(crate) const NEW: &str = "6.12";

pub(crate) fn btf(kiln: &Kiln, args: &[&str]) -> Output {
    kiln.plain([&["btf"], args].concat()).run()
}

pub(crate) fn json(output: &Output) -> Value {
    output.assert_code(0);
    serde_json::from_str(&output.out()).unwrap()
}

/// What another program prints.
pub(crate) fn of(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// The raw BTF of a kernel and its modules, in files.
pub(crate) fn extracted(kiln: &Kiln, kernel: &str) -> PathBuf {
    let directory = kiln.path(format!("btf-{kernel}"));
    btf(
        kiln,
        &["extract", "-k", kernel, directory.to_str().unwrap()],
    )
    .assert_code(0);
    directory
}

/// A directory with some of those files: all modules would only take longer.
fn some_of(kiln: &Kiln, directory: &Path, files: &[&str]) -> PathBuf {
    let few = kiln.path("few");
    fs::create_dir(&few).unwrap();
    for file in files {
        fs::copy(directory.join(file), few.join(file)).unwrap();
    }
    few
}

/// What bpftool reads from raw BTF.
struct Oracle {
    types: BTreeMap<u64, Value>,
    /// The types of the file itself, without those of its base.
    own: Vec<u64>,
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

impl Oracle {
    fn of(vmlinux: &Path, module: Option<&Path>) -> Self {
        let mut types = BTreeMap::new();
        let mut own = Vec::new();
        for (file, is_base) in [(vmlinux, false)]
            .into_iter()
            .chain(module.map(|module| (module, true)))
        {
            own.clear();
            let mut bpftool = Command::new("bpftool");
            bpftool.arg("-j");
            if is_base {
                bpftool.arg("-B").arg(vmlinux);
            }
            let text = of(bpftool.args(["btf", "dump", "file"]).arg(file));
            let mut dump: Value = serde_json::from_str(&text).unwrap();
            for ty in dump["types"].as_array_mut().unwrap() {
                own.push(number(&ty["id"]));
                types.insert(number(&ty["id"]), ty.take());
            }
        }
        Self { types, own }
    }

    fn kind(&self, id: u64) -> &str {
        self.types
            .get(&id)
            .map_or("VOID", |ty| ty["kind"].as_str().unwrap())
    }

    fn size(&self, id: u64) -> Option<u64> {
        let ty = self.types.get(&id)?;
        match self.kind(id) {
            "PTR" => Some(8),
            "ARRAY" => Some(self.size(number(&ty["type_id"]))? * number(&ty["nr_elems"])),
            "TYPEDEF" | "CONST" | "VOLATILE" | "RESTRICT" | "TYPE_TAG" | "VAR" => {
                self.size(number(&ty["type_id"]))
            }
            _ => ty["size"].as_u64(),
        }
    }

    /// Members of a struct and of the anonymous ones in it: name, offset in bits, bits of a
    /// bitfield, size.
    fn members(&self, id: u64, offset: u64) -> Vec<(String, u64, Option<u64>, Option<u64>)> {
        let mut members = Vec::new();
        for member in self.types[&id]["members"].as_array().into_iter().flatten() {
            let at = offset + number(&member["bits_offset"]);
            let mut ty = number(&member["type_id"]);
            let name = member["name"].as_str().unwrap();
            if name == "(anon)" {
                while matches!(self.kind(ty), "CONST" | "VOLATILE") {
                    ty = number(&self.types[&ty]["type_id"]);
                }
                if matches!(self.kind(ty), "STRUCT" | "UNION") {
                    members.extend(self.members(ty, at));
                }
                continue;
            }
            let bits = member["bitfield_size"].as_u64().filter(|bits| *bits > 0);
            members.push((name.to_owned(), at, bits, self.size(ty)));
        }
        members
    }

    /// Every fact about the types with a name, in lines that [`ours`] has too.
    fn facts(&self) -> Vec<String> {
        let mut facts = Vec::new();
        for &id in &self.own {
            let ty = &self.types[&id];
            let name = ty["name"].as_str().unwrap_or("(anon)");
            let kind = self.kind(id);
            match kind {
                "STRUCT" | "UNION" if name != "(anon)" => {
                    let word = kind.to_lowercase();
                    let count = number(&ty["vlen"]);
                    facts.push(format!("{name}: {word} {:?} {count}", self.size(id)));
                    for (member, at, bits, size) in self.members(id, 0) {
                        facts.push(format!("{name}.{member}: {at} {bits:?} {size:?}"));
                    }
                }
                "ENUM" | "ENUM64" => {
                    if name != "(anon)" {
                        let count = number(&ty["vlen"]);
                        facts.push(format!("enum:{name}: enum {:?} {count}", self.size(id)));
                    }
                    for value in ty["values"].as_array().into_iter().flatten() {
                        let mut text = value["val"].to_string();
                        // bpftool 7.1 extends the sign of unsigned values, too.
                        if let (Some(wide), "ENUM", "UNSIGNED") = (
                            value["val"].as_u64(),
                            kind,
                            ty["encoding"].as_str().unwrap_or("UNSIGNED"),
                        ) {
                            text = (wide & u64::from(u32::MAX)).to_string();
                        }
                        let of = if name == "(anon)" {
                            text
                        } else {
                            format!("{text} in enum {name}")
                        };
                        facts.push(format!(
                            "enum:{}: value {of}",
                            value["name"].as_str().unwrap()
                        ));
                    }
                }
                "FUNC" => facts.push(format!("func:{name}: function")),
                "TYPEDEF" => facts.push(format!("{name}: typedef {:?}", self.size(id))),
                "VAR" => facts.push(format!("var:{name}: variable {:?}", self.size(id))),
                _ => {}
            }
        }
        facts.sort();
        facts.dedup();
        facts
    }
}

/// The same facts by `kiln btf show`, of the image and all modules in a directory.
fn ours(kiln: &Kiln, directory: &Path) -> Vec<String> {
    let directory = directory.to_str().unwrap();
    let mut args = vec!["show", "--format", "json", "-k", directory];
    args.extend(["*", "*.*", "enum:*", "func:*", "var:*"]);
    let shown = json(&btf(kiln, &args));
    let mut facts = Vec::new();
    for item in shown
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|s| s["items"].as_array().unwrap())
    {
        let name = item["name"].as_str().unwrap();
        let answers = item["groups"][0]["answers"].as_array().unwrap();
        for answer in answers {
            let size = answer["size"].as_u64();
            let kind = answer["kind"].as_str().unwrap();
            let text = answer["text"].as_str().unwrap();
            match kind {
                // As `enum:NAME`.
                "enum" if !name.contains(':') => {}
                "struct" | "union" | "enum" => {
                    let count = number(&answer["count"]);
                    facts.push(format!("{name}: {kind} {size:?} {count}"));
                }
                "member" if answer["within"].is_null() => {
                    let at = number(&answer["bit_offset"]);
                    let bits = answer["bitfield_bits"].as_u64();
                    facts.push(format!("{name}: {at} {bits:?} {size:?}"));
                }
                "value" => facts.push(format!("{name}: value {text}")),
                "function" => facts.push(format!("{name}: function")),
                "typedef" | "variable" => facts.push(format!("{name}: {kind} {size:?}")),
                _ => {}
            }
        }
    }
    facts.sort();
    facts.dedup();
    facts
}

/// Nothing is missing on either side; of typedefs, only kiln looks at members.
#[track_caller]
fn assert_equal(ours: &[String], theirs: &[String]) {
    let known: std::collections::HashSet<&String> = ours.iter().collect();
    let missing: Vec<_> = theirs
        .iter()
        .filter(|fact| !known.contains(fact))
        .take(9)
        .collect();
    assert!(missing.is_empty(), "kiln does not say: {missing:#?}");
    let structs: std::collections::HashSet<&str> = theirs
        .iter()
        .filter(|fact| fact.contains(": struct ") || fact.contains(": union "))
        .filter_map(|fact| fact.split(':').next())
        .collect();
    let known: std::collections::HashSet<&String> = theirs.iter().collect();
    let is_of_struct = |fact: &&String| match fact.split_once('.') {
        Some((name, _)) if !fact.contains("enum:") => structs.contains(name),
        _ => true,
    };
    let more: Vec<_> = ours
        .iter()
        .filter(is_of_struct)
        .filter(|fact| !known.contains(fact))
        .take(9)
        .collect();
    assert!(more.is_empty(), "bpftool does not say: {more:#?}");
}

#[test]
fn every_type_and_member_is_as_bpftool_and_pahole_say() {
    let kiln = Kiln::new();
    let directory = some_of(&kiln, &extracted(&kiln, NEW), &["vmlinux"]);
    let vmlinux = directory.join("vmlinux");
    let theirs = Oracle::of(&vmlinux, None).facts();
    assert!(theirs.len() > 100_000, "{}", theirs.len());
    let ours = ours(&kiln, &directory);
    assert_equal(&ours, &theirs);

    // Sizes of all structs, as pahole counts them.
    let sizes = of(Command::new("pahole")
        .args(["--sizes", "-F", "btf"])
        .arg(&vmlinux));
    let known: std::collections::HashSet<&str> = ours
        .iter()
        .filter_map(|fact| fact.rsplit_once(' ').map(|(fact, _)| fact))
        .collect();
    let mut compared = 0;
    for line in sizes.lines() {
        let mut words = line.split('\t');
        let (Some(name), Some(size)) = (words.next(), words.next()) else {
            continue;
        };
        let fact = |word: &str| format!("{name}: {word} Some({size})");
        assert!(
            known.contains(fact("struct").as_str()) || known.contains(fact("union").as_str()),
            "pahole says: {line}"
        );
        compared += 1;
    }
    assert!(compared > 5000, "{compared}");

    // Where their members are.
    let printed = of(Command::new("pahole").args(["-F", "btf"]).arg(&vmlinux));
    let members = pahole::members(&printed);
    assert!(members.len() > 50_000, "{}", members.len());
    let unknown = members.iter().filter(|fact| !known.contains(fact.as_str()));
    let unknown: Vec<_> = unknown.take(9).collect();
    assert!(unknown.is_empty(), "pahole says: {unknown:#?}");
}

#[test]
fn types_of_a_module_are_as_bpftool_says() {
    let kiln = Kiln::new();
    let directory = some_of(&kiln, &extracted(&kiln, NEW), &["vmlinux", "xfs"]);
    let module = directory.join("xfs");
    let oracle = Oracle::of(&directory.join("vmlinux"), Some(&module));
    let theirs = oracle.facts();
    assert!(theirs.len() > 5000, "{}", theirs.len());
    // What the image has with the same facts is shown as the image's.
    let ours = ours(&kiln, &directory);
    let missing: Vec<_> = theirs
        .iter()
        .filter(|fact| ours.binary_search(fact).is_err())
        .take(9)
        .collect();
    assert!(missing.is_empty(), "kiln does not say: {missing:#?}");
    let shown = btf(
        &kiln,
        &[
            "show",
            "-k",
            directory.to_str().unwrap(),
            "xfs_mount.m_super",
            "func:xfs_file_open",
        ],
    );
    shown.assert_code(0);
    let lines: Vec<String> = shown.out().lines().map(str::to_owned).collect();
    let row = lines
        .iter()
        .find(|line| line.contains("struct super_block *"))
        .unwrap();
    assert!(row.contains(" xfs "), "{row}");
}

/// The definitions of a header, sorted. Programs differ in the order, in the number that types of
/// one name get, and in attributes of small enums.
fn definitions(header: &str) -> Vec<String> {
    // Newer ones of bpftool begin with more of the preprocessor's and with functions.
    let other = |line: &&str| line.starts_with('#') || line.starts_with("extern ");
    let lines = header.lines().filter(|line| !other(line));
    let header = lines.collect::<Vec<_>>().join("\n");
    let mut definitions: Vec<String> = header
        .split(";\n\n")
        .map(str::trim_start)
        .map(|text| text.replace(" __attribute__((mode(byte)))", ""))
        .map(|text| text.replace(" __attribute__((preserve_access_index))", ""))
        .map(|text| {
            let mut plain = String::new();
            let mut rest = text.as_str();
            while let Some((before, after)) = rest.split_once("___") {
                plain.push_str(before);
                let digits = after.trim_start_matches(|c: char| c.is_ascii_digit());
                if digits.len() == after.len() {
                    plain.push_str("___");
                }
                rest = digits;
            }
            plain + rest
        })
        .filter(|text| text.contains('{') || text.starts_with("typedef"))
        .collect();
    definitions.sort();
    definitions.dedup();
    definitions
}

#[test]
fn a_header_is_as_bpftool_writes_it_and_clang_compiles_it() {
    let kiln = Kiln::new();
    // bpftool 7.5 leaves out the first definition when it sorts them.
    let help = Command::new("bpftool").args(["btf", "help"]).output();
    let sorts = memchr::memmem::find(&help.unwrap().stderr, b"unsorted").is_some();
    for kernel in ["6.1", NEW] {
        let header = btf(&kiln, &["header", "-k", kernel]);
        header.assert_code(0);
        let directory = extracted(&kiln, kernel);
        let mut bpftool = Command::new("bpftool");
        bpftool
            .args(["btf", "dump", "file"])
            .arg(directory.join("vmlinux"));
        bpftool
            .args(["format", "c"])
            .args(sorts.then_some("unsorted"));
        let theirs = definitions(&of(&mut bpftool));
        let ours = definitions(&header.out());
        assert!(theirs.len() > 10_000, "{}", theirs.len());
        let differing: Vec<_> = theirs
            .iter()
            .filter(|t| ours.binary_search(t).is_err())
            .collect();
        let first = &differing[..differing.len().min(3)];
        assert!(
            differing.is_empty(),
            "{} differ: {first:#?}",
            differing.len()
        );
        assert_eq!(ours.len(), theirs.len());

        kiln.file("vmlinux.h", header.out());
        let program = kiln.file(
            "program.c",
            "#include \"vmlinux.h\"\n\
             int pid(struct task_struct *task) { return task->pid; }\n\
             _Static_assert(sizeof(struct list_head) == 16, \"\");\n\
             _Static_assert(sizeof(struct bpf_insn) == 8, \"\");\n",
        );
        of(Command::new("clang")
            .args(["-target", "bpf", "-g", "-O2", "-Wall", "-c", "-o"])
            .arg(kiln.path("program.o"))
            .arg(program));
    }
}

#[test]
fn kernels_that_agree_share_a_line() {
    let kiln = Kiln::new();
    let asked = ["show", "-k", "6.12", "-k", "5.10", "-k", "6.1"];
    let value = "enum:bpf_prog_type.BPF_PROG_TYPE_NETFILTER";
    let shown = btf(&kiln, &[&asked[..], &[value, "list_head.prev"]].concat());
    shown.assert_code(0).assert_out(
        "enum:bpf_prog_type.BPF_PROG_TYPE_NETFILTER\n\
         \x20 KERNELS    IN       VALUE\n\
         \x20 5.10, 6.1           absent\n\
         \x20 6.12       vmlinux  32 in enum bpf_prog_type\n\
         \n\
         list_head.prev\n\
         \x20 KERNELS       BYTE  BIT  SIZE  IN       TYPE\n\
         \x20 5.10 to 6.12  8     64   8     vmlinux  struct list_head *\n",
    );
    let c = btf(&kiln, &["show", "-k", "6.1", "--c", "list_head"]);
    c.assert_code(0);
    let text = c.out();
    let definition =
        "struct list_head {\n\tstruct list_head *next;\n\tstruct list_head *prev;\n};\n";
    assert!(text.contains(definition), "{text}");
}

#[test]
fn what_no_kernel_has_gets_near_names_and_a_code_of_its_own() {
    let kiln = Kiln::new();
    btf(&kiln, &["show", "-k", "6.1", "task_strct"])
        .assert_code(4)
        .assert_err_contains("no kernel that was asked has `task_strct`")
        .assert_err_contains("task_struct");
    btf(&kiln, &["show", "-k", "6.1", "task_struct.pidd"])
        .assert_code(4)
        .assert_err_contains("task_struct.pid");
    btf(&kiln, &["show", "-k", "6.1", "nothing:x"])
        .assert_code(2)
        .assert_err_contains("there is no `nothing:`");
}
