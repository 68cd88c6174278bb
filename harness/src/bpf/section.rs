//! What the name of a program's section says: its type, and what it attaches to.
//!
//! The names are libbpf's (`section_defs` of libbpf 1.7), the types those of `enum bpf_prog_type`
//! and `enum bpf_attach_type` without their prefixes.

/// What a section's name says about its programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// Programs in it are loaded only if somebody asks for it (`SEC("?…")`).
    pub optional: bool,
    /// The program type, such as `TRACING`; `None` for a name that libbpf does not know.
    pub program_type: Option<&'static str>,
    /// The attach type that the kernel checks when it loads the program, such as `TRACE_FENTRY`.
    pub attach_type: Option<Attachment>,
    /// What it attaches to.
    pub target: Target,
}

/// An attach type, and when a kernel that does not know it says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attachment {
    /// Without `BPF_`.
    pub name: &'static str,
    /// When the program is loaded; else when it is attached.
    pub at_load: bool,
}

/// What a program attaches to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A kernel function, by its symbol; the kernel looks it up when the program is attached.
    Kprobe {
        /// Its name.
        function: String,
        /// The probe is at its return.
        at_return: bool,
    },
    /// Kernel functions that match a pattern.
    KprobeMulti(String),
    /// A system call.
    Syscall(String),
    /// A function in the BTF of the kernel or a module; the kernel looks it up when the program is
    /// loaded.
    Function {
        /// The module, if the section names one.
        module: Option<String>,
        /// Its name.
        name: String,
        /// The program changes what it returns, which few functions allow.
        modifies_return: bool,
    },
    /// A raw tracepoint whose arguments have types.
    TypedTracepoint {
        /// The module, if the section names one.
        module: Option<String>,
        /// Its name.
        name: String,
    },
    /// A raw tracepoint.
    RawTracepoint(String),
    /// A trace event.
    Tracepoint {
        /// Such as `sched`.
        system: String,
        /// Such as `sched_switch`.
        name: String,
    },
    /// A hook of the Linux security modules.
    Lsm(String),
    /// An iterator.
    Iterator(String),
    /// A member of a struct of functions.
    StructOps,
    /// A function of another BPF program, which only the loader knows.
    Program,
    /// The section should name a target and does not; the loader has to.
    Missing,
    /// Something outside of the kernel's symbols: a device, a control group, a program's function.
    Elsewhere,
}

/// How a section's name goes on after its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rest {
    Kprobe,
    Kretprobe,
    KprobeMulti,
    Syscall,
    Function,
    ModifiesReturn,
    TypedTracepoint,
    RawTracepoint,
    Tracepoint,
    Lsm,
    Iterator,
    StructOps,
    Program,
    /// A target outside the kernel, or no target.
    Any,
    /// Nothing may follow.
    Nothing,
}

/// A kind of section: its name, the program type, the attach type, the rest.
type Kind = (&'static str, &'static str, &'static str, Rest);

const KINDS: &[Kind] = &[
    ("socket", "SOCKET_FILTER", "", Rest::Nothing),
    (
        "sk_reuseport/migrate",
        "SK_REUSEPORT",
        "SK_REUSEPORT_SELECT_OR_MIGRATE",
        Rest::Nothing,
    ),
    (
        "sk_reuseport",
        "SK_REUSEPORT",
        "SK_REUSEPORT_SELECT",
        Rest::Nothing,
    ),
    ("kprobe", "KPROBE", "", Rest::Kprobe),
    ("kretprobe", "KPROBE", "", Rest::Kretprobe),
    ("uprobe", "KPROBE", "", Rest::Any),
    ("uprobe.s", "KPROBE", "", Rest::Any),
    ("uretprobe", "KPROBE", "", Rest::Any),
    ("uretprobe.s", "KPROBE", "", Rest::Any),
    (
        "kprobe.multi",
        "KPROBE",
        "TRACE_KPROBE_MULTI",
        Rest::KprobeMulti,
    ),
    (
        "kretprobe.multi",
        "KPROBE",
        "TRACE_KPROBE_MULTI",
        Rest::KprobeMulti,
    ),
    (
        "kprobe.session",
        "KPROBE",
        "TRACE_KPROBE_SESSION",
        Rest::KprobeMulti,
    ),
    ("uprobe.multi", "KPROBE", "TRACE_UPROBE_MULTI", Rest::Any),
    ("uretprobe.multi", "KPROBE", "TRACE_UPROBE_MULTI", Rest::Any),
    (
        "uprobe.session",
        "KPROBE",
        "TRACE_UPROBE_SESSION",
        Rest::Any,
    ),
    ("uprobe.multi.s", "KPROBE", "TRACE_UPROBE_MULTI", Rest::Any),
    (
        "uretprobe.multi.s",
        "KPROBE",
        "TRACE_UPROBE_MULTI",
        Rest::Any,
    ),
    (
        "uprobe.session.s",
        "KPROBE",
        "TRACE_UPROBE_SESSION",
        Rest::Any,
    ),
    ("ksyscall", "KPROBE", "", Rest::Syscall),
    ("kretsyscall", "KPROBE", "", Rest::Syscall),
    ("usdt", "KPROBE", "", Rest::Any),
    ("usdt.s", "KPROBE", "", Rest::Any),
    ("tc/ingress", "SCHED_CLS", "TCX_INGRESS", Rest::Nothing),
    ("tc/egress", "SCHED_CLS", "TCX_EGRESS", Rest::Nothing),
    ("tcx/ingress", "SCHED_CLS", "TCX_INGRESS", Rest::Nothing),
    ("tcx/egress", "SCHED_CLS", "TCX_EGRESS", Rest::Nothing),
    ("tc", "SCHED_CLS", "", Rest::Nothing),
    ("classifier", "SCHED_CLS", "", Rest::Nothing),
    ("action", "SCHED_ACT", "", Rest::Nothing),
    (
        "netkit/primary",
        "SCHED_CLS",
        "NETKIT_PRIMARY",
        Rest::Nothing,
    ),
    ("netkit/peer", "SCHED_CLS", "NETKIT_PEER", Rest::Nothing),
    ("tracepoint", "TRACEPOINT", "", Rest::Tracepoint),
    ("tp", "TRACEPOINT", "", Rest::Tracepoint),
    ("tracepoint.s", "TRACEPOINT", "", Rest::Tracepoint),
    ("tp.s", "TRACEPOINT", "", Rest::Tracepoint),
    ("raw_tracepoint", "RAW_TRACEPOINT", "", Rest::RawTracepoint),
    ("raw_tp", "RAW_TRACEPOINT", "", Rest::RawTracepoint),
    (
        "raw_tracepoint.s",
        "RAW_TRACEPOINT",
        "",
        Rest::RawTracepoint,
    ),
    ("raw_tp.s", "RAW_TRACEPOINT", "", Rest::RawTracepoint),
    (
        "raw_tracepoint.w",
        "RAW_TRACEPOINT_WRITABLE",
        "",
        Rest::RawTracepoint,
    ),
    (
        "raw_tp.w",
        "RAW_TRACEPOINT_WRITABLE",
        "",
        Rest::RawTracepoint,
    ),
    ("tp_btf", "TRACING", "TRACE_RAW_TP", Rest::TypedTracepoint),
    ("tp_btf.s", "TRACING", "TRACE_RAW_TP", Rest::TypedTracepoint),
    ("fentry", "TRACING", "TRACE_FENTRY", Rest::Function),
    ("fmod_ret", "TRACING", "MODIFY_RETURN", Rest::ModifiesReturn),
    ("fexit", "TRACING", "TRACE_FEXIT", Rest::Function),
    ("fentry.s", "TRACING", "TRACE_FENTRY", Rest::Function),
    (
        "fmod_ret.s",
        "TRACING",
        "MODIFY_RETURN",
        Rest::ModifiesReturn,
    ),
    ("fexit.s", "TRACING", "TRACE_FEXIT", Rest::Function),
    ("fsession", "TRACING", "TRACE_FSESSION", Rest::Function),
    ("fsession.s", "TRACING", "TRACE_FSESSION", Rest::Function),
    ("fentry.multi", "TRACING", "TRACE_FENTRY_MULTI", Rest::Any),
    ("fentry.multi.s", "TRACING", "TRACE_FENTRY_MULTI", Rest::Any),
    ("fexit.multi", "TRACING", "TRACE_FEXIT_MULTI", Rest::Any),
    ("fexit.multi.s", "TRACING", "TRACE_FEXIT_MULTI", Rest::Any),
    (
        "fsession.multi",
        "TRACING",
        "TRACE_FSESSION_MULTI",
        Rest::Any,
    ),
    (
        "fsession.multi.s",
        "TRACING",
        "TRACE_FSESSION_MULTI",
        Rest::Any,
    ),
    ("freplace", "EXT", "", Rest::Program),
    ("lsm", "LSM", "LSM_MAC", Rest::Lsm),
    ("lsm.s", "LSM", "LSM_MAC", Rest::Lsm),
    ("lsm_cgroup", "LSM", "LSM_CGROUP", Rest::Lsm),
    ("iter", "TRACING", "TRACE_ITER", Rest::Iterator),
    ("iter.s", "TRACING", "TRACE_ITER", Rest::Iterator),
    ("syscall", "SYSCALL", "", Rest::Nothing),
    ("xdp.frags/devmap", "XDP", "XDP_DEVMAP", Rest::Nothing),
    ("xdp/devmap", "XDP", "XDP_DEVMAP", Rest::Nothing),
    ("xdp.frags/cpumap", "XDP", "XDP_CPUMAP", Rest::Nothing),
    ("xdp/cpumap", "XDP", "XDP_CPUMAP", Rest::Nothing),
    ("xdp.frags", "XDP", "XDP", Rest::Nothing),
    ("xdp", "XDP", "XDP", Rest::Nothing),
    ("perf_event", "PERF_EVENT", "", Rest::Nothing),
    ("lwt_in", "LWT_IN", "", Rest::Nothing),
    ("lwt_out", "LWT_OUT", "", Rest::Nothing),
    ("lwt_xmit", "LWT_XMIT", "", Rest::Nothing),
    ("lwt_seg6local", "LWT_SEG6LOCAL", "", Rest::Nothing),
    ("sockops", "SOCK_OPS", "CGROUP_SOCK_OPS", Rest::Nothing),
    (
        "sk_skb/stream_parser",
        "SK_SKB",
        "SK_SKB_STREAM_PARSER",
        Rest::Nothing,
    ),
    (
        "sk_skb/stream_verdict",
        "SK_SKB",
        "SK_SKB_STREAM_VERDICT",
        Rest::Nothing,
    ),
    ("sk_skb/verdict", "SK_SKB", "SK_SKB_VERDICT", Rest::Nothing),
    ("sk_skb", "SK_SKB", "", Rest::Nothing),
    ("sk_msg", "SK_MSG", "SK_MSG_VERDICT", Rest::Nothing),
    ("lirc_mode2", "LIRC_MODE2", "LIRC_MODE2", Rest::Nothing),
    (
        "flow_dissector",
        "FLOW_DISSECTOR",
        "FLOW_DISSECTOR",
        Rest::Nothing,
    ),
    (
        "cgroup_skb/ingress",
        "CGROUP_SKB",
        "CGROUP_INET_INGRESS",
        Rest::Nothing,
    ),
    (
        "cgroup_skb/egress",
        "CGROUP_SKB",
        "CGROUP_INET_EGRESS",
        Rest::Nothing,
    ),
    ("cgroup/skb", "CGROUP_SKB", "", Rest::Nothing),
    (
        "cgroup/sock_create",
        "CGROUP_SOCK",
        "CGROUP_INET_SOCK_CREATE",
        Rest::Nothing,
    ),
    (
        "cgroup/sock_release",
        "CGROUP_SOCK",
        "CGROUP_INET_SOCK_RELEASE",
        Rest::Nothing,
    ),
    (
        "cgroup/sock",
        "CGROUP_SOCK",
        "CGROUP_INET_SOCK_CREATE",
        Rest::Nothing,
    ),
    (
        "cgroup/post_bind4",
        "CGROUP_SOCK",
        "CGROUP_INET4_POST_BIND",
        Rest::Nothing,
    ),
    (
        "cgroup/post_bind6",
        "CGROUP_SOCK",
        "CGROUP_INET6_POST_BIND",
        Rest::Nothing,
    ),
    (
        "cgroup/bind4",
        "CGROUP_SOCK_ADDR",
        "CGROUP_INET4_BIND",
        Rest::Nothing,
    ),
    (
        "cgroup/bind6",
        "CGROUP_SOCK_ADDR",
        "CGROUP_INET6_BIND",
        Rest::Nothing,
    ),
    (
        "cgroup/connect4",
        "CGROUP_SOCK_ADDR",
        "CGROUP_INET4_CONNECT",
        Rest::Nothing,
    ),
    (
        "cgroup/connect6",
        "CGROUP_SOCK_ADDR",
        "CGROUP_INET6_CONNECT",
        Rest::Nothing,
    ),
    (
        "cgroup/connect_unix",
        "CGROUP_SOCK_ADDR",
        "CGROUP_UNIX_CONNECT",
        Rest::Nothing,
    ),
    (
        "cgroup/sendmsg4",
        "CGROUP_SOCK_ADDR",
        "CGROUP_UDP4_SENDMSG",
        Rest::Nothing,
    ),
    (
        "cgroup/sendmsg6",
        "CGROUP_SOCK_ADDR",
        "CGROUP_UDP6_SENDMSG",
        Rest::Nothing,
    ),
    (
        "cgroup/sendmsg_unix",
        "CGROUP_SOCK_ADDR",
        "CGROUP_UNIX_SENDMSG",
        Rest::Nothing,
    ),
    (
        "cgroup/recvmsg4",
        "CGROUP_SOCK_ADDR",
        "CGROUP_UDP4_RECVMSG",
        Rest::Nothing,
    ),
    (
        "cgroup/recvmsg6",
        "CGROUP_SOCK_ADDR",
        "CGROUP_UDP6_RECVMSG",
        Rest::Nothing,
    ),
    (
        "cgroup/recvmsg_unix",
        "CGROUP_SOCK_ADDR",
        "CGROUP_UNIX_RECVMSG",
        Rest::Nothing,
    ),
    (
        "cgroup/getpeername4",
        "CGROUP_SOCK_ADDR",
        "CGROUP_INET4_GETPEERNAME",
        Rest::Nothing,
    ),
    (
        "cgroup/getpeername6",
        "CGROUP_SOCK_ADDR",
        "CGROUP_INET6_GETPEERNAME",
        Rest::Nothing,
    ),
    (
        "cgroup/getpeername_unix",
        "CGROUP_SOCK_ADDR",
        "CGROUP_UNIX_GETPEERNAME",
        Rest::Nothing,
    ),
    (
        "cgroup/getsockname4",
        "CGROUP_SOCK_ADDR",
        "CGROUP_INET4_GETSOCKNAME",
        Rest::Nothing,
    ),
    (
        "cgroup/getsockname6",
        "CGROUP_SOCK_ADDR",
        "CGROUP_INET6_GETSOCKNAME",
        Rest::Nothing,
    ),
    (
        "cgroup/getsockname_unix",
        "CGROUP_SOCK_ADDR",
        "CGROUP_UNIX_GETSOCKNAME",
        Rest::Nothing,
    ),
    (
        "cgroup/sysctl",
        "CGROUP_SYSCTL",
        "CGROUP_SYSCTL",
        Rest::Nothing,
    ),
    (
        "cgroup/getsockopt",
        "CGROUP_SOCKOPT",
        "CGROUP_GETSOCKOPT",
        Rest::Nothing,
    ),
    (
        "cgroup/setsockopt",
        "CGROUP_SOCKOPT",
        "CGROUP_SETSOCKOPT",
        Rest::Nothing,
    ),
    (
        "cgroup/dev",
        "CGROUP_DEVICE",
        "CGROUP_DEVICE",
        Rest::Nothing,
    ),
    ("struct_ops", "STRUCT_OPS", "", Rest::StructOps),
    ("struct_ops.s", "STRUCT_OPS", "", Rest::StructOps),
    ("sk_lookup", "SK_LOOKUP", "SK_LOOKUP", Rest::Nothing),
    ("netfilter", "NETFILTER", "NETFILTER", Rest::Nothing),
];

/// Program types whose attach type the kernel checks when it loads a program
/// (`bpf_prog_load_check_attach`, `bpf_check_attach_target`).
const CHECKED_AT_LOAD: &[&str] = &[
    "TRACING",
    "LSM",
    "CGROUP_SKB",
    "CGROUP_SOCK",
    "CGROUP_SOCK_ADDR",
    "CGROUP_SOCKOPT",
    "SK_LOOKUP",
    "SK_REUSEPORT",
    "NETFILTER",
];

impl Section {
    /// What the name of a section says.
    pub fn of(name: &str) -> Self {
        let (optional, name) = match name.strip_prefix('?') {
            Some(rest) => (true, rest),
            None => (false, name),
        };
        let matching = KINDS
            .iter()
            .find_map(|kind| Some((kind, rest(kind, name)?)));
        let Some((&(_, program_type, attach_type, kind), rest)) = matching else {
            return Self {
                optional,
                program_type: None,
                attach_type: None,
                target: Target::Elsewhere,
            };
        };
        Self {
            optional,
            program_type: Some(program_type),
            attach_type: (!attach_type.is_empty()).then(|| Attachment {
                name: attach_type,
                at_load: CHECKED_AT_LOAD.contains(&program_type),
            }),
            target: target(kind, rest),
        }
    }
}

/// What follows the kind of a section, `None` if it is of another kind.
fn rest<'n>((kind, _, _, rest): &Kind, name: &'n str) -> Option<&'n str> {
    let after = name.strip_prefix(kind)?;
    match rest {
        Rest::Nothing => after.is_empty().then_some(""),
        _ if after.is_empty() => Some(""),
        _ => after.strip_prefix('/'),
    }
}

fn target(kind: Rest, rest: &str) -> Target {
    let of_module = || match rest.split_once(':') {
        Some((module, name)) if module != "vmlinux" => (Some(module.to_owned()), name.to_owned()),
        Some((_, name)) => (None, name.to_owned()),
        None => (None, rest.to_owned()),
    };
    match kind {
        Rest::Any | Rest::Nothing => Target::Elsewhere,
        Rest::StructOps => Target::StructOps,
        Rest::Program => Target::Program,
        _ if rest.is_empty() => Target::Missing,
        Rest::Kprobe | Rest::Kretprobe => Target::Kprobe {
            function: rest.split('+').next().unwrap_or(rest).to_owned(),
            at_return: kind == Rest::Kretprobe,
        },
        Rest::KprobeMulti => Target::KprobeMulti(rest.to_owned()),
        Rest::Syscall => Target::Syscall(rest.to_owned()),
        Rest::Function | Rest::ModifiesReturn => {
            let (module, name) = of_module();
            Target::Function {
                module,
                name,
                modifies_return: kind == Rest::ModifiesReturn,
            }
        }
        Rest::TypedTracepoint => {
            let (module, name) = of_module();
            Target::TypedTracepoint { module, name }
        }
        Rest::RawTracepoint => Target::RawTracepoint(rest.to_owned()),
        Rest::Tracepoint => match rest.split_once('/') {
            Some((system, name)) => Target::Tracepoint {
                system: system.to_owned(),
                name: name.to_owned(),
            },
            None => Target::Missing,
        },
        Rest::Lsm => Target::Lsm(rest.to_owned()),
        Rest::Iterator => Target::Iterator(rest.to_owned()),
    }
}

#[cfg(test)]
mod tests {
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
}
