#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::sync::OnceLock;

use super::{Script, check, uses};
use crate::bpf::report::{Level, Verdict};
use crate::bpf::{Facts, Report};
use crate::btf::fixture::Builder;
use crate::btf::{ByteOrder, KernelBtf, Kind};

/// What kernels from 5.11 on tell of each BTF object: whether it is the kernel's own.
const KERNEL_BTF: &str = "kernel_btf";

/// Types of a small kernel:
///
/// ```c
/// struct cfs_rq { unsigned nr; };
/// struct entity { struct cfs_rq *cfs_rq; union { int a; int b; }; };
/// struct task_struct { int pid; struct entity se; struct task_struct *parent; struct gone *far;
///                      struct cfs_rq queues[4]; void *any; };
/// struct trace_event_raw_switch { int prev; unsigned __data_loc_name; };
/// struct bpf_btf_info { int kernel_btf; };
/// struct bpf_iter__task { struct task_struct *task; };
/// int bpf_iter_task(void);
/// struct task_struct *open(struct task_struct *who, int flags);
/// typedef void (*btf_trace_switch)(void *);
/// ```
pub(super) fn types() -> Vec<u8> {
    let mut btf = Builder::new(ByteOrder::Little);
    let int = btf.int("int", 4, 1);
    let number = btf.int("unsigned int", 4, 0);
    let queue = btf.composite(Kind::Struct, "cfs_rq", 4, &[("nr", number, 0, 0)]);
    let to_queue = btf.to(Kind::Ptr, "", queue);
    let inner = btf.composite(Kind::Union, "", 4, &[("a", int, 0, 0), ("b", int, 0, 0)]);
    let entity = &[("cfs_rq", to_queue, 0, 0), ("", inner, 64, 0)];
    let entity = btf.composite(Kind::Struct, "entity", 16, entity);
    let queues = btf.array(queue, int, 4);
    let gone = btf.fwd("gone", false);
    let to_gone = btf.to(Kind::Ptr, "", gone);
    let anything = btf.to(Kind::Ptr, "", 0);
    let task = 12;
    let members = &[
        ("pid", int, 0, 0),
        ("se", entity, 64, 0),
        ("parent", task + 1, 192, 0),
        ("far", to_gone, 256, 0),
        ("queues", queues, 320, 0),
        ("any", anything, 448, 0),
    ];
    let void = btf.proto(0, &[]);
    assert_eq!(
        btf.composite(Kind::Struct, "task_struct", 64, members),
        task
    );
    let to_task = btf.to(Kind::Ptr, "", task);
    let record = &[("prev", int, 0, 0), ("__data_loc_name", number, 32, 0)];
    btf.composite(Kind::Struct, "trace_event_raw_switch", 8, record);
    btf.composite(
        Kind::Struct,
        "bpf_iter__task",
        8,
        &[("task", to_task, 0, 0)],
    );
    btf.composite(Kind::Struct, "bpf_btf_info", 4, &[(KERNEL_BTF, int, 0, 0)]);
    btf.func("bpf_iter_task", void, 0);
    let open = btf.proto(to_task, &[("who", to_task), ("flags", int)]);
    btf.func("open", open, 1);
    let probe = btf.proto(0, &[("", anything)]);
    let to_probe = btf.to(Kind::Ptr, "", probe);
    btf.to(Kind::Typedef, "btf_trace_switch", to_probe);
    btf.to(Kind::Typedef, "btf_trace_of_class", to_probe);
    btf.bytes()
}

fn kernel(types: Option<Vec<u8>>) -> Facts {
    Facts {
        name: "kernel".to_owned(),
        release: None,
        btf: types.map(|types| KernelBtf::of_image(types).unwrap()),
        config: None,
        image: None,
        of_image: OnceLock::new(),
    }
}

fn on(script: &str, types: Option<Vec<u8>>) -> Report {
    check(&Script::parse("x.bt", script.to_owned()), &kernel(types))
}

/// The findings, each as its line, a colon and what it is about.
fn found(script: &str) -> Vec<String> {
    let report = on(script, Some(types()));
    let refused = report.findings.iter();
    let refused = refused.filter(|finding| finding.level == Level::Refused);
    let shown = refused.map(|finding| {
        let line = finding.source.as_ref().unwrap().line;
        format!("{line}:{}", finding.subject)
    });
    shown.collect()
}

/// A probe with this body.
fn body(body: &str) -> Vec<String> {
    found(&format!("BEGIN {{ {body} }}"))
}

#[test]
fn fields_that_the_kernel_does_not_have_are_named_with_their_line() {
    let script = "#!/usr/bin/env bpftrace\n\
        /* a comment\n # with a line like a directive\n */\n\
        profile:hz:99\n{\n\
        \t$task = (struct task_struct *)curtask;\n\
        \t$q = (struct cfs_rq *)$task->se.cfs_rq;\n\
        \t@ = lhist($q->nr_running, 0, 100, 1); // not $q->other\n\
        \tprintf(\"$q->third\");\n}\n";
    let report = on(script, Some(types()));
    assert_eq!(report.verdict, Verdict::Fails);
    let [finding] = report.findings.as_slice() else {
        panic!("{:?}", report.findings);
    };
    assert_eq!(finding.subject, "struct cfs_rq.nr_running");
    assert_eq!(finding.reason, "struct cfs_rq has no field nr_running");
    let source = finding.source.as_ref().unwrap();
    assert_eq!((source.line, source.column), (9, 12));
    assert!(source.text.starts_with("@ = lhist("), "{}", source.text);
}

#[test]
fn paths_are_followed_through_casts_variables_pointers_arrays_and_unions() {
    for fine in [
        "$t = curtask; print($t->pid);",
        "print(curtask.parent.parent->se.a);",
        "print(((struct task_struct *)arg0)->parent->se.cfs_rq->nr);",
        "print(((struct task_struct *) arg0)[1].pid);",
        "print((*(struct task_struct *)arg0).pid);",
        "print(curtask->queues[@x[tid] + 1].nr);",
        "print(offsetof(struct task_struct, se.b));",
        "$t = (struct task_struct *)(arg0 + 8); print($t->pid);",
    ] {
        assert!(body(fine).is_empty(), "{fine}: {:?}", body(fine));
    }
    for (wrong, expected) in [
        ("$t = curtask; print($t->x);", "struct task_struct.x"),
        ("print(curtask.parent.parent->se.x);", "struct entity.x"),
        (
            "print(((struct task_struct *)arg0)->se.cfs_rq->x);",
            "struct cfs_rq.x",
        ),
        (
            "print(((struct task_struct *)arg0)[1].x);",
            "struct task_struct.x",
        ),
        ("print(curtask->queues[curtask->pid].x);", "struct cfs_rq.x"),
        (
            "print(curtask->queues[curtask->y].nr);",
            "struct task_struct.y",
        ),
        (
            "print(offsetof(struct task_struct, se.x));",
            "struct entity.x",
        ),
        ("print(((struct nothing *)arg0)->x);", "struct nothing"),
        (
            "$t = (struct task_struct *)(arg0 + 8); $u = $t->parent; print($u->x);",
            "struct task_struct.x",
        ),
        (
            "if (pid) { $t = (struct cfs_rq *)arg0; } else { $t = curtask; print($t->x); }",
            "struct task_struct.x",
        ),
    ] {
        assert_eq!(body(wrong), [format!("1:{expected}")], "{wrong}");
    }
    // A variable that got something missing is no second finding.
    let twice = "$a = curtask->x; print($a->y); print($a->z);";
    assert_eq!(body(twice), ["1:struct task_struct.x"]);
}

#[test]
fn nothing_is_said_of_what_is_not_known() {
    for unknown in [
        // Of another type than the kernel's, or of none.
        "print(curtask->any->x); print(curtask->far->x); print(curtask->pid.x);",
        "$t = (struct task_struct **)arg0; print($t->x); print(((struct task_struct **)arg0)[0]->x);",
        "$t = @task[tid]; print($t->x); print(@task[tid]->x); print(arg0->x); print($1->x);",
        "$t = pid ? curtask : curtask; print($t->x);",
        "$t = 1; $t = curtask; print($t->x);",
        "let $t: struct other *; $t = curtask; print($t->x);",
        "if (pid) { $t = curtask; } print($t->x);",
        "for ($kv : @m) { print($kv.0->x, $kv.1.x); }",
        "$t = f(curtask); print($t->x); print(args.x, ctx.x, retval.x);",
        "print(\"curtask->x\"); // curtask->x\n /* curtask->x */",
        // Not to its end.
        "((((curtask->",
        "print(curtask->; $",
    ] {
        assert!(body(unknown).is_empty(), "{unknown}: {:?}", body(unknown));
    }
    let reads = "BEGIN { print(((struct task_struct *)arg0)->x); }";
    assert_eq!(found(reads).len(), 1);
    for before in [
        "struct task_struct { int x; };",
        "#include <linux/sched.h>\n",
        "#include \"own.h\"\n",
        "typedef struct { int x; } other_t;",
        "import \"lib.bt\";",
        "#if SOMETHING\n#include <linux/sched.h>\n#endif\n",
        "#define task_struct other\n",
        "BEGIN { if comptime (1 == 2) { } }",
        "#ifdef BPFTRACE_HAVE_BTF\n#include <linux/sched.h>\n#endif\n",
    ] {
        let script = format!("{before}{reads}");
        assert!(found(&script).is_empty(), "{before}: {:?}", found(&script));
    }
    for before in [
        "#ifndef BPFTRACE_HAVE_BTF\n#include <linux/sched.h>\nstruct task_struct { int x; };\n#endif\n",
        "#ifdef BPFTRACE_HAVE_BTF\n#define AF_INET 2\n#else\n#include <linux/sched.h>\n#endif\n",
        "#include <sys/socket.h>\n",
        "config = { missing_probes = ignore; }\n",
        "macro m($x) { $x->y }\n",
        "struct other { int x; };\n",
    ] {
        let script = format!("{before}{reads}");
        assert_eq!(found(&script).len(), 1, "{before}");
    }
}

#[test]
fn arguments_are_those_of_the_probe() {
    for (probe, fine, wrong, expected) in [
        (
            "tracepoint:a:switch",
            "args->prev",
            "args->next",
            "tracepoint a:switch",
        ),
        (
            "tracepoint:a:switch",
            "args.name",
            "args.nam",
            "tracepoint a:switch",
        ),
        (
            "t:a:switch",
            "args.common_pid",
            "args.pid",
            "tracepoint a:switch",
        ),
        (
            "kfunc:open",
            "args->who->se.a",
            "args->who->x",
            "struct task_struct.x",
        ),
        ("fentry:open", "args.flags", "args.mode", "function open"),
        (
            "fentry:vmlinux:open",
            "args.flags",
            "args.mode",
            "function open",
        ),
        (
            "fexit:open",
            "retval->pid",
            "retval->x",
            "struct task_struct.x",
        ),
        (
            "iter:task",
            "ctx->task->pid",
            "ctx->task->x",
            "struct task_struct.x",
        ),
        (
            "it:task:/sys/fs/bpf/pin",
            "ctx.task.pid",
            "ctx.job",
            "struct bpf_iter__task.job",
        ),
    ] {
        let script = |reads: &str| format!("{probe}\n/{reads}/\n{{ exit(); }}\n");
        assert!(
            found(&script(fine)).is_empty(),
            "{probe}: {:?}",
            found(&script(fine))
        );
        assert_eq!(found(&script(wrong)), [format!("2:{expected}")], "{probe}");
    }
    for unknown in [
        // Its record has the name of its class.
        "tracepoint:a:of_class { print(args.x); }",
        // Their fields are not in BTF.
        "tracepoint:syscalls:sys_enter_open { print(args.x); }",
        "tracepoint:a:sw* { print(args.x); }",
        "tracepoint:*:switch { print(args.x); }",
        "kprobe:open { print(args.x); print(retval.x); }",
        "uprobe:/bin/bash:readline { print(args.x); }",
        "fentry:op* { print(args.x); }",
        "fentry:bpf:prog { print(args.x); }",
    ] {
        assert!(found(unknown).is_empty(), "{unknown}: {:?}", found(unknown));
    }
}

#[test]
fn probes_of_a_list_may_stand_in_for_each_other() {
    let levels = |script: &str| {
        let report = on(script, Some(types()));
        let levels = report.findings.iter().map(|finding| finding.level);
        (report.verdict, levels.collect::<Vec<_>>())
    };
    let gone = |script| levels(&format!("{script} {{ exit(); }}"));
    // Without modules, nothing more can be said of functions and tracepoints that are not there.
    assert_eq!(
        gone("tracepoint:a:gone"),
        (Verdict::Loads, vec![Level::Unsure])
    );
    assert_eq!(
        gone("fentry:gone"),
        (Verdict::Unattached, vec![Level::Unattached])
    );
    assert_eq!(
        gone("iter:gone"),
        (Verdict::Unattached, vec![Level::Unattached])
    );
    assert_eq!(
        gone("fentry:gone,\nfentry:open"),
        (Verdict::Loads, vec![Level::Unsure])
    );
    assert_eq!(
        gone("config = { missing_probes = \"warn\" }\nfentry:gone, fentry:open"),
        (Verdict::Loads, vec![Level::Guarded])
    );
    assert_eq!(gone("fentry:gone,fentry:gone2").0, Verdict::Unattached);
    // Arguments are asked of those that are there.
    assert!(found("fentry:gone,fentry:open { print(args.who); }").is_empty());
    assert_eq!(
        found("fentry:gone,fentry:open { print(args.x); }"),
        ["1:function open"]
    );
}

#[test]
fn attach_points_may_have_slashes_patterns_and_predicates() {
    let script = Script::parse(
        "x.bt",
        "uprobe:/bin/bash:readline,\nuretprobe:libc:f\n/pid == 1 / 2/ { exit() }\n\
         kprobe:vfs_*/arg0/{ }\nk:a+0x10,kprobe:0xffff { } interval:s:1 { } usdt:/x:a:b { }\n\
         kprobe:lookup_fast.constprop.* { } END { }"
            .to_owned(),
    );
    assert_eq!(
        script.probes(),
        [
            vec!["uprobe:/bin/bash:readline", "uretprobe:libc:f"],
            vec!["kprobe:vfs_*"],
            vec!["k:a+0x10", "kprobe:0xffff"],
            vec!["interval:s:1"],
            vec!["usdt:/x:a:b"],
            vec!["kprobe:lookup_fast.constprop.*"],
            vec!["END"],
        ]
    );
}

#[test]
fn a_kernel_without_btf_says_so_where_the_script_needs_it() {
    let verdict = |script: &str| on(script, None).verdict;
    assert_eq!(verdict("BEGIN { print(curtask->pid); }"), Verdict::NoBtf);
    assert_eq!(verdict("fentry:open { exit(); }"), Verdict::NoBtf);
    assert_eq!(verdict("BEGIN { exit(); }"), Verdict::Loads);
    let own = "#ifndef BPFTRACE_HAVE_BTF\n#include <linux/sched.h>\n#endif\n\
        BEGIN { print(curtask->pid); }";
    assert_eq!(verdict(own), Verdict::Loads);
}

#[test]
fn btf_that_a_kernel_does_not_list_is_none_for_bpftrace() {
    let mut older = types();
    let at = memchr::memmem::find(&older, KERNEL_BTF.as_bytes()).unwrap();
    older[at..at + KERNEL_BTF.len()].copy_from_slice(b"other_flag");
    let report = |script: &str| on(script, Some(older.clone()));
    let refused = report("BEGIN { print(curtask->pid); }");
    assert_eq!(refused.verdict, Verdict::NoBtf);
    assert!(
        refused.findings[0].reason.contains("does not list it"),
        "{refused:?}"
    );
    // The record of a tracepoint is the kernel's own account.
    assert_eq!(
        report("tracepoint:a:switch { print(args.prev); }").verdict,
        Verdict::Loads
    );
    assert_eq!(
        report("tracepoint:a:switch { print(args.next); }").verdict,
        Verdict::Fails
    );
    let own = "#ifndef BPFTRACE_HAVE_BTF\n#include <linux/sched.h>\n#endif\n\
        BEGIN { print(curtask->tid); }";
    assert_eq!(report(own).verdict, Verdict::Loads);
}

#[test]
fn what_a_script_uses_is_what_it_passes() {
    let script = Script::parse(
        "x.bt",
        "tracepoint:a:switch,kprobe:open,kprobe:vfs_* {\n\
         $q = curtask->se.cfs_rq; print($q->nr_running); print(args.prev); }"
            .to_owned(),
    );
    let kernel = kernel(Some(types()));
    let uses = uses(&script, kernel.types().unwrap());
    let names = |names: &BTreeSet<String>| names.iter().cloned().collect::<Vec<_>>().join(" ");
    let types: Vec<String> = uses
        .types
        .iter()
        .map(|(ty, members)| format!("{ty}: {}", names(members)))
        .collect();
    assert_eq!(
        types,
        [
            "cfs_rq: nr_running",
            "entity: cfs_rq",
            "task_struct: se",
            "trace_event_raw_switch: prev"
        ]
    );
    assert_eq!(names(&uses.functions), "open");
    assert_eq!(names(&uses.tracepoints), "switch");
}
