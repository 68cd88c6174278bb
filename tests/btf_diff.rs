//! `kiln btf diff`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::btf::{btf, json, of};
use crate::support::Kiln;

/// Compiles the same source with two compilers, and has pahole make BTF of it.
fn compiled(kiln: &Kiln, compiler: &str, source: &Path) -> PathBuf {
    let object = kiln.path(format!("{compiler}.o"));
    of(Command::new(compiler)
        .args(["-g", "-O1", "-c", "-o"])
        .arg(&object)
        .arg(source));
    of(Command::new("pahole").arg("-J").arg(&object));
    object
}

const SOURCE: &str = "
enum colour { RED, GREEN = 5 };
union number { long i; unsigned long u; double d; };
struct node { struct node *next; const char *name; union number n; enum colour c;
    unsigned int low: 3, high: 5; _Bool set; unsigned char bytes[4];
    struct { short a; unsigned short b; }; int (*call)(struct node *, long long); };
typedef struct node node_t;
int visit(node_t *node, unsigned long count) { return node->call(node, (long long)count); }
";

#[test]
fn the_same_source_by_another_compiler_is_no_difference() {
    let kiln = Kiln::new();
    let source = kiln.file("same.c", SOURCE);
    let changed = SOURCE
        .replace("GREEN = 5", "GREEN = 6, BLUE")
        .replace("_Bool set;", "")
        .replace("unsigned long count)", "unsigned long count, int more)");
    let [gcc, clang] = ["gcc", "clang"].map(|compiler| compiled(&kiln, compiler, &source));
    let (gcc, clang) = (gcc.to_str().unwrap(), clang.to_str().unwrap());
    let same = btf(&kiln, &["diff", gcc, clang]);
    same.assert_code(0);
    assert!(same.out().contains("  no difference\n"), "{}", same.out());

    let after = kiln.path("after.o");
    fs::copy(gcc, &after).unwrap();
    let source = kiln.file("changed.c", changed);
    let before = after.to_str().unwrap();
    let gcc = compiled(&kiln, "gcc", &source);
    let differs = btf(&kiln, &["diff", before, gcc.to_str().unwrap()]);
    differs.assert_code(0);
    let text = differs.out();
    for line in [
        "structs: 1 changed",
        "enums: 1 changed",
        "      - GREEN = 5",
        "      + GREEN = 6",
        "      + BLUE = 7",
        "      - _Bool set",
        "  - int visit(node_t *node, long unsigned int count)",
        "  + int visit(node_t *node, long unsigned int count, int more)",
    ] {
        assert!(text.contains(line), "{line} is not in:\n{text}");
    }
}

#[test]
fn a_difference_can_be_limited_and_read_by_programs() {
    let kiln = Kiln::new();
    let only = ["--only", "task_struct", "--only", "func:sched_set*"];
    let steps = json(&btf(
        &kiln,
        &[
            &["diff", "5.10", "6.1", "6.12", "--format", "json"][..],
            &only,
        ]
        .concat(),
    ));
    let steps = steps.as_array().unwrap();
    assert_eq!(steps.len(), 2);
    let changes = steps[1]["changes"].as_array().unwrap();
    let task = changes
        .iter()
        .find(|change| change["name"] == "task_struct")
        .unwrap();
    let parts = task["parts"].as_array().unwrap();
    let of = |name: &str| parts.iter().find(|part| part["name"] == name).unwrap();
    // include/linux/sched.h: 8e1f385104ac removed it in 6.7.
    assert_eq!(of("thread_group")["change"], "removed");
    assert_eq!(of("dl_server")["change"], "added");
    let allowed = |change: &Value| {
        let name = change["name"].as_str().unwrap();
        name == "task_struct" || name.starts_with("sched_set")
    };
    assert!(changes.iter().all(allowed), "{changes:#?}");

    let text = btf(&kiln, &[&["diff", "6.1", "6.12"][..], &only[..2]].concat());
    text.assert_code(0);
    let longest = text
        .out()
        .lines()
        .map(|line| line.chars().count())
        .max()
        .unwrap();
    assert!(longest <= 100, "{longest} columns");
    let markdown = btf(
        &kiln,
        &[
            &["diff", "6.1", "6.12", "--format", "markdown"][..],
            &only[..2],
        ]
        .concat(),
    );
    assert!(
        markdown
            .out()
            .contains("### structs: 1 changed\n\n```diff\n")
    );
}
