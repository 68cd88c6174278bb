use super::*;

#[test]
fn a_section_says_what_its_programs_are_and_attach_to() {
    let of = |name: &str| {
        let section = Section::of(name);
        (section.program_type, section.target)
    };
    let function = |module: Option<&str>, name: &str, modifies_return| Target::Function {
        module: module.map(str::to_owned),
        name: name.to_owned(),
        modifies_return,
    };
    for (name, program_type, target) in [
        (
            "kprobe/do_unlinkat+0x10",
            "KPROBE",
            Target::Kprobe {
                function: "do_unlinkat".to_owned(),
                at_return: false,
            },
        ),
        (
            "fentry/do_unlinkat",
            "TRACING",
            function(None, "do_unlinkat", false),
        ),
        (
            "fexit/xfs:xfs_open",
            "TRACING",
            function(Some("xfs"), "xfs_open", false),
        ),
        ("fmod_ret.s/vmlinux:f", "TRACING", function(None, "f", true)),
        (
            "raw_tp/sched_switch",
            "RAW_TRACEPOINT",
            Target::RawTracepoint("sched_switch".to_owned()),
        ),
        (
            "tp/sched/sched_switch",
            "TRACEPOINT",
            Target::Tracepoint {
                system: "sched".to_owned(),
                name: "sched_switch".to_owned(),
            },
        ),
        ("lsm/file_open", "LSM", Target::Lsm("file_open".to_owned())),
        (
            "iter.s/task",
            "TRACING",
            Target::Iterator("task".to_owned()),
        ),
        ("struct_ops/init", "STRUCT_OPS", Target::StructOps),
        ("fentry", "TRACING", Target::Missing),
        ("uprobe//bin/sh:main", "KPROBE", Target::Elsewhere),
        ("xdp", "XDP", Target::Elsewhere),
    ] {
        assert_eq!(of(name), (Some(program_type), target), "{name}");
    }
}

#[test]
fn only_whole_names_count() {
    for name in ["xdpx", "kprobes/x", "xdp/other", "tracing/x", ".text", ""] {
        assert_eq!(Section::of(name).program_type, None, "{name}");
    }
    let optional = Section::of("?lsm/file_open");
    assert!(optional.optional);
    assert_eq!(optional.attach_type.map(|kind| kind.name), Some("LSM_MAC"));
}
