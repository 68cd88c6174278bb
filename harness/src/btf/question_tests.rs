//! Questions to small kernels.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use proptest::prelude::*;

use super::diff::{self, Change, Filter, Happened, Step};
use super::fixture::Builder;
use super::kernel::RawModule;
use super::show::{Said, Shown, near};
use super::store::{Fingerprint, Store};
use super::*;
use crate::kernel::Cache;

/// A kernel whose `task.pid` lies behind so many bytes, with a module.
fn kernel(before_pid: u32) -> KernelBtf {
    let mut b = Builder::new(ByteOrder::Little);
    let int = b.int("int", 4, 1);
    let typedef = b.to(Kind::Typedef, "pid_t", int);
    let mm = b.composite(
        Kind::Struct,
        "mm",
        16,
        &[("users", int, 0, 0), ("low", int, 64, 3)],
    );
    let pointer = b.to(Kind::Ptr, "", mm);
    let array = b.array(mm, int, 2);
    b.composite(
        Kind::Struct,
        "task",
        64,
        &[
            ("pid", typedef, before_pid * 8, 0),
            ("mm", pointer, 128, 0),
            ("all", array, 192, 0),
        ],
    );
    b.enumeration("colour", false, &[("RED", 0), ("GREEN", 5)]);
    b.enumeration("", false, &[("LIMIT", 7)]);
    let task = b.to(Kind::Ptr, "", 6);
    let proto = b.proto(int, &[("task", task)]);
    let func = b.func("do_task", proto, 1);
    b.func("not_marked", proto, 0);
    b.decl_tag("bpf_kfunc", func, -1);
    let probe = b.proto(0, &[("", task), ("task", task), ("", int)]);
    let probe_pointer = b.to(Kind::Ptr, "", probe);
    b.to(Kind::Typedef, "btf_trace_task_new", probe_pointer);
    let named = b.proto(int, &[("__data", task), ("task", task), ("flags", int)]);
    b.func("__traceiter_task_new", named, 0);
    b.var("tasks", int, 1);
    let base = b.build();
    let mut m = Builder::over(&base);
    m.composite(Kind::Struct, "of_module", 8, &[("task", task, 0, 0)]);
    // A copy, and another of the same name.
    m.composite(
        Kind::Struct,
        "mm",
        16,
        &[("users", int, 0, 0), ("low", int, 64, 3)],
    );
    m.composite(Kind::Struct, "task", 4, &[("pid", int, 0, 0)]);
    let module = RawModule {
        name: "mod".to_owned(),
        path: "mod.ko".into(),
        btf: m.bytes(),
        base: None,
    };
    KernelBtf::read(Path::new("vmlinux"), b.bytes(), vec![module]).unwrap()
}

fn shown(text: &str) -> String {
    let query = Query::parse(text).unwrap();
    let said = |name: &str, release: &str, answers| Said {
        kernel: name.to_owned(),
        release: Some(release.to_owned()),
        answers: Ok(answers),
    };
    let ask = |before_pid| Some(ask(&kernel(before_pid), &query).unwrap());
    let said = vec![
        said("new", "6.12.1", ask(8)),
        said("none", "5.4.0", None),
        said("old", "5.10.3", ask(4)),
        said("older", "5.4.1", ask(4)),
    ];
    Shown::new(&query, said).text(false)
}

#[test]
fn kernels_are_grouped_by_what_they_have() {
    assert_eq!(
        shown("task.pid"),
        "task.pid\n\
         \x20 KERNELS     BYTE  BIT  SIZE  IN       TYPE\n\
         \x20 none                                  this kernel has no BTF\n\
         \x20 older, old  4     32   4     vmlinux  pid_t\n\
         \x20             0     0    4     mod      int\n\
         \x20 new         8     64   4     vmlinux  pid_t\n\
         \x20             0     0    4     mod      int\n"
    );
    assert_eq!(
        shown("of_module"),
        "of_module\n\
         \x20 KERNELS   SIZE  PARTS  IN   TYPE\n\
         \x20 none                        this kernel has no BTF\n\
         \x20 older on  8     1      mod  struct of_module\n"
    );
}

/// The lines about the newest kernel, without the name of it.
fn newest(text: &str) -> Vec<String> {
    let query = Query::parse(text).unwrap();
    let said = Said {
        kernel: "k".to_owned(),
        release: None,
        answers: Ok(Some(ask(&kernel(8), &query).unwrap())),
    };
    let text = Shown::new(&query, vec![said]).text(false);
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    text.lines()
        .map(words)
        .filter(|l| !l.starts_with("KERNELS") && !l.is_empty())
        .collect()
}

#[test]
fn paths_lead_through_pointers_arrays_and_typedefs() {
    assert_eq!(
        newest("task.mm.low"),
        [
            "task.mm.low",
            "k 8 64 3 bits vmlinux int, offset in struct mm"
        ]
    );
    assert_eq!(
        newest("task->mm->users")[1],
        "k 0 0 4 vmlinux int, offset in struct mm"
    );
    assert_eq!(newest("task.all.low")[1], "k 32 256 3 bits vmlinux int");
    assert_eq!(newest("task.all[1].users")[1], "k 40 320 4 vmlinux int");
    assert_eq!(
        newest("struct task.all[1]")[1],
        "k 40 320 16 vmlinux struct mm"
    );
    assert_eq!(
        newest("of_module.task.pid")[1],
        "k 8 64 4 mod pid_t, offset in struct task"
    );
    assert_eq!(
        newest("mm.*"),
        [
            "mm.users",
            "k 0 0 4 vmlinux int",
            "mm.low",
            "k 8 64 3 bits vmlinux int"
        ]
    );
    assert_eq!(newest("task.pid.x")[1], "k absent");
}

#[test]
fn functions_values_and_tracepoints_are_found() {
    assert_eq!(
        newest("func:do_task")[1],
        "k vmlinux int do_task(struct task *task)"
    );
    assert_eq!(newest("kfunc:*")[0], "kfunc:do_task");
    assert_eq!(newest("kfunc:*").len(), 2);
    assert_eq!(newest("enum:colour.GREEN")[1], "k vmlinux 5 in enum colour");
    assert_eq!(newest("enum:LIMIT")[1], "k vmlinux 7");
    assert_eq!(newest("enum:colour")[1], "k 4 2 vmlinux enum colour");
    assert_eq!(
        newest("tp:task:task_new")[1],
        "k vmlinux (struct task *task, int flags)"
    );
    assert_eq!(newest("var:tas?s")[1], "k 4 vmlinux int tasks");
    assert_eq!(newest("pid_t")[1], "k 4 vmlinux typedef of int");
    assert_eq!(newest("*_module")[1], "k 8 1 mod struct of_module");
}

#[test]
fn questions_that_mean_nothing_are_refused() {
    for (text, reason) in [
        ("", "a name is missing"),
        ("func:", "a name is missing"),
        ("x:y", "there is no `x:`"),
        ("task..pid", "a name is missing"),
        ("task[1", "unclosed character class"),
        ("task.{a", "unclosed alternate group"),
    ] {
        let error = Query::parse(text).unwrap_err().to_string();
        assert!(error.contains(reason), "{text}: {error}");
    }
}

#[test]
fn near_names_are_of_the_kind_that_was_asked_for() {
    let near = |text: &str| near(&kernel(4), &Query::parse(text).unwrap());
    assert_eq!(near("tsk"), ["task"]);
    assert_eq!(near("func:do_tsk")[0], "func:do_task");
    assert_eq!(near("task.pidd")[0], "task.pid");
    assert_eq!(near("tp:x:task_old")[0], "tp:task_new");
}

fn differences(before: &KernelBtf, after: &KernelBtf) -> Vec<Change> {
    diff::compare(before, after, &Filter::default()).unwrap()
}

#[test]
fn a_member_that_moved_is_the_only_difference() {
    assert!(differences(&kernel(4), &kernel(4)).is_empty());
    let changes = differences(&kernel(4), &kernel(8));
    assert_eq!(changes.len(), 1);
    let change = &changes[0];
    assert_eq!(
        (change.name.as_str(), change.happened),
        ("task", Happened::Changed)
    );
    let step = Step {
        before: "a".to_owned(),
        after: "b".to_owned(),
        not_compared: None,
        note: None,
        changes,
    };
    assert_eq!(
        diff::text(&[step]),
        "a to b\n\nstructs: 1 changed\n  ! struct task, 64 bytes\n\
         \x20     moved +4 bytes, byte 4 to 8: pid\n"
    );
}

#[test]
fn what_is_stored_is_found_again() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::of(&Cache::at(directory.path()));
    let mut fingerprint = Fingerprint::new();
    fingerprint.add_name(Path::new("a"));
    let fingerprint = fingerprint.finish();
    assert!(store.seen(&fingerprint).is_none());
    let kernel = kernel(4);
    store.keep(&fingerprint, Some("6.1"), Some(&kernel));
    let seen = store.seen(&fingerprint).unwrap();
    assert_eq!(seen.release.as_deref(), Some("6.1"));
    let hash = seen.btf.unwrap();
    let load = || store.load(&hash, Path::new("vmlinux"));
    let loaded = load().unwrap();
    assert_eq!(loaded.names().bytes(), kernel.names().bytes());
    let module = loaded.unit_of("mod").unwrap();
    let bytes = |kernel: &KernelBtf| kernel.unit(module).unwrap().bytes().to_vec();
    assert_eq!(bytes(&loaded), bytes(&kernel));
    assert!(differences(&kernel, &loaded).is_empty());

    // A file that was cut is read from the kernel again.
    let path = directory.path().join("btf").join(format!("{hash}.btf"));
    let whole = std::fs::read(&path).unwrap();
    for length in [0, 9, 20, whole.len() - 1] {
        std::fs::write(&path, &whole[..length]).unwrap();
        assert!(load().is_none(), "{length}");
    }
    store.keep("none", None, None);
    assert_eq!(store.seen("none").unwrap().btf, None);
}

#[test]
fn a_module_over_another_base_is_told_from_a_damaged_one() {
    let mut b = Builder::new(ByteOrder::Little);
    let int = b.int("int", 4, 1);
    let base = b.build();
    let mut m = Builder::over(&base);
    m.composite(Kind::Struct, "s", 8, &[("member", int, 0, 0)]);
    let mut other = Builder::new(ByteOrder::Little);
    other.int("long", 8, 1);
    let read = |btf: Vec<u8>| {
        let module = RawModule {
            name: "mod".to_owned(),
            path: "mod.ko".into(),
            btf,
            base: None,
        };
        KernelBtf::read(Path::new("vmlinux"), other.bytes(), vec![module])
    };
    let error = read(m.bytes()).unwrap_err();
    assert!(matches!(error, Error::OtherBase { .. }), "{error}");
    let cut = m.bytes();
    let error = read(cut[..cut.len() - 1].to_vec()).unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
}

#[test]
fn anonymous_types_that_point_to_themselves_end() {
    let mut b = Builder::new(ByteOrder::Little);
    // struct { … *next; }, which C has no words for.
    b.composite(Kind::Struct, "", 8, &[("next", 2, 0, 0)]);
    b.to(Kind::Ptr, "", 1);
    b.composite(Kind::Struct, "s", 8, &[("all", 2, 0, 0)]);
    // A chain of 2,000 of them.
    let mut next = 0;
    for _ in 0..2000 {
        let inner = b.composite(Kind::Struct, "", 8, &[("next", next, 0, 0)]);
        next = b.to(Kind::Ptr, "", inner);
    }
    b.composite(Kind::Struct, "chain", 8, &[("next", next, 0, 0)]);
    // Prototypes that hold two, that hold two, …
    let mut proto = b.proto(0, &[]);
    for _ in 0..50 {
        proto = b.proto(0, &[("a", proto), ("b", proto)]);
    }
    b.func("f", proto, 0);
    let bytes = b.bytes();
    let kernel = KernelBtf::read(Path::new("vmlinux"), bytes, Vec::new()).unwrap();
    assert!(differences(&kernel, &kernel).is_empty());
    assert!(header(kernel.vmlinux()).is_err());
    for text in ["*", "*.*", "func:*"] {
        let query = Query::parse(text).unwrap();
        assert!(!ask(&kernel, &query).unwrap().is_empty());
    }
}

proptest! {
    // Each asks everything.
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_bytes_can_be_asked_everything(
        patch in proptest::collection::vec((any::<u16>(), any::<u8>()), 0..6),
    ) {
        let kernel = kernel(4);
        let (vmlinux, module) = (kernel.vmlinux().bytes(), kernel.unit(1).unwrap().bytes());
        let length = |bytes: &[u8]| u16::try_from(bytes.len()).unwrap().to_le_bytes();
        let mut input = [&length(vmlinux), &length(module), vmlinux, module].concat();
        exercise(&input);
        for (at, byte) in patch {
            let at = usize::from(at) % input.len();
            input[at] = byte;
        }
        exercise(&input);
    }

    #[test]
    fn any_question_is_read_or_refused(text in "[a-z:.*\\[\\]{}>-]{0,20}") {
        if let Ok(query) = Query::parse(&text) {
            let kernel = kernel(4);
            let _ = ask(&kernel, &query).unwrap();
            let _ = near(&kernel, &query);
        }
    }
}
