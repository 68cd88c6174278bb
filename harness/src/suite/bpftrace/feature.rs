//! The features of `REQUIRES_FEATURE`, and those of each version's engine.

/// A feature's name and the text of `bpftrace --info` that makes it true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Feature {
    /// As in `REQUIRES_FEATURE`.
    pub name: &'static str,
    /// Searched for anywhere in the output; `None` means a build option that `--info` does not
    /// print.
    pub probe: Option<&'static str>,
}

const fn feature(name: &'static str, probe: &'static str) -> Feature {
    Feature {
        name,
        probe: Some(probe),
    }
}

pub(super) const AOT: Feature = Feature {
    name: "aot",
    probe: None,
};
const LOOP: Feature = feature("loop", "Loop support: yes");
const PROBE_READ_KERNEL: Feature = feature("probe_read_kernel", "probe_read_kernel: yes");
const BTF: Feature = feature("btf", "btf: yes");
const BTF_LIBBPF: Feature = feature("btf", "btf (depends on Build:libbpf): yes");
const KFUNC: Feature = feature("kfunc", "kfunc: yes");
const FENTRY: Feature = feature("fentry", "fentry: yes");
const DPATH: Feature = feature("dpath", "dpath: yes");
const UPROBE_REFCOUNT: Feature = feature(
    "uprobe_refcount",
    "uprobe refcount (depends on Build:bcc bpf_attach_uprobe refcount): yes",
);
/// True for any value: upstream's probe string lost its end.
const UPROBE_REFCOUNT_PRINTED: Feature = feature("uprobe_refcount", "uprobe refcount");
const BCC_USDT_ADDSEM: Feature = feature("bcc_usdt_addsem", "bcc_usdt_addsem: yes");
const SIGNAL: Feature = feature("signal", "send_signal: yes");
const ITER: Feature = feature("iter", "iter: yes");
const ITER_TASK: Feature = feature("iter:task", "iter:task: yes");
const ITER_TASK_FILE: Feature = feature("iter:task_file", "iter:task_file: yes");
const ITER_TASK_VMA: Feature = feature("iter:task_vma", "iter:task_vma: yes");
const LIBPATH_RESOLV: Feature = feature("libpath_resolv", "bcc library path resolution: yes");
const DWARF_LIBDW: Feature = feature("dwarf", "libdw (DWARF support): yes");
const DWARF_LIBLLDB: Feature = feature("dwarf", "liblldb (DWARF support): yes");
const KERNEL_DWARF: Feature = feature("kernel_dwarf", "Kernel DWARF: yes");
const KPROBE_MULTI: Feature = feature("kprobe_multi", "kprobe_multi: yes");
const KPROBE_SESSION: Feature = feature("kprobe_session", "kprobe_session: yes");
const UPROBE_MULTI: Feature = feature("uprobe_multi", "uprobe_multi: yes");
const SKBOUTPUT: Feature = feature("skboutput", "skboutput: yes");
const GET_TAI_NS: Feature = feature("get_tai_ns", "get_ktime_ns: yes");
const GET_FUNC_IP: Feature = feature("get_func_ip", "get_func_ip: yes");
const JIFFIES64: Feature = feature("jiffies64", "jiffies64: yes");
const LOOKUP_PERCPU_ELEM: Feature = feature("lookup_percpu_elem", "lookup_percpu_elem: yes");
const DWUNWIND: Feature = feature("dwunwind", "dwunwind (DWARF stack unwinding): yes");
const BLAZESYM: Feature = feature("blazesym", "blazesym (advanced symbolization): yes");

/// A feature, and how to detect it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownFeature {
    /// As in `REQUIRES_FEATURE`.
    pub name: String,
    /// What makes it true.
    pub probe: Probe,
}

/// What makes a feature true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// This text occurs anywhere in the output of `bpftrace --info`.
    Printed(String),
    /// A build option that `--info` does not print.
    Build,
    /// The engine detects it in a way that we cannot read.
    Unreadable,
}

impl From<&Feature> for KnownFeature {
    fn from(feature: &Feature) -> Self {
        Self {
            name: feature.name.to_owned(),
            probe: feature
                .probe
                .map_or(Probe::Build, |probe| Probe::Printed(probe.to_owned())),
        }
    }
}

pub(super) const V0_14: &[Feature] = &[
    LOOP,
    PROBE_READ_KERNEL,
    BTF_LIBBPF,
    DPATH,
    UPROBE_REFCOUNT,
    SIGNAL,
    ITER_TASK,
    ITER_TASK_FILE,
    LIBPATH_RESOLV,
    DWARF_LIBDW,
    AOT,
];
pub(super) const V0_15: &[Feature] = &[
    LOOP,
    PROBE_READ_KERNEL,
    BTF_LIBBPF,
    KFUNC,
    DPATH,
    UPROBE_REFCOUNT,
    BCC_USDT_ADDSEM,
    SIGNAL,
    ITER_TASK,
    ITER_TASK_FILE,
    LIBPATH_RESOLV,
    DWARF_LIBDW,
    AOT,
];
pub(super) const V0_16: &[Feature] = &[
    LOOP,
    PROBE_READ_KERNEL,
    BTF,
    KFUNC,
    DPATH,
    UPROBE_REFCOUNT,
    BCC_USDT_ADDSEM,
    SIGNAL,
    ITER_TASK,
    ITER_TASK_FILE,
    LIBPATH_RESOLV,
    DWARF_LIBDW,
    KPROBE_MULTI,
    AOT,
    SKBOUTPUT,
];
pub(super) const V0_17: &[Feature] = &[
    LOOP,
    PROBE_READ_KERNEL,
    BTF,
    KFUNC,
    DPATH,
    UPROBE_REFCOUNT,
    SIGNAL,
    ITER_TASK,
    ITER_TASK_FILE,
    LIBPATH_RESOLV,
    DWARF_LIBDW,
    KPROBE_MULTI,
    AOT,
    SKBOUTPUT,
];
pub(super) const V0_18: &[Feature] = &[
    LOOP,
    PROBE_READ_KERNEL,
    BTF,
    KFUNC,
    DPATH,
    UPROBE_REFCOUNT,
    SIGNAL,
    ITER_TASK,
    ITER_TASK_FILE,
    ITER_TASK_VMA,
    LIBPATH_RESOLV,
    DWARF_LIBDW,
    KPROBE_MULTI,
    AOT,
    SKBOUTPUT,
];
pub(super) const V0_19: &[Feature] = &[
    LOOP,
    PROBE_READ_KERNEL,
    BTF,
    KFUNC,
    DPATH,
    UPROBE_REFCOUNT,
    SIGNAL,
    ITER_TASK,
    ITER_TASK_FILE,
    ITER_TASK_VMA,
    LIBPATH_RESOLV,
    DWARF_LIBDW,
    KPROBE_MULTI,
    AOT,
    SKBOUTPUT,
    GET_TAI_NS,
    GET_FUNC_IP,
];
pub(super) const V0_20: &[Feature] = &[
    LOOP,
    PROBE_READ_KERNEL,
    BTF,
    KFUNC,
    DPATH,
    UPROBE_REFCOUNT,
    SIGNAL,
    ITER_TASK,
    ITER_TASK_FILE,
    ITER_TASK_VMA,
    LIBPATH_RESOLV,
    DWARF_LIBDW,
    KPROBE_MULTI,
    UPROBE_MULTI,
    AOT,
    SKBOUTPUT,
    GET_TAI_NS,
    GET_FUNC_IP,
    JIFFIES64,
];
pub(super) const V0_21: &[Feature] = &[
    LOOP,
    PROBE_READ_KERNEL,
    BTF,
    KFUNC,
    DPATH,
    UPROBE_REFCOUNT,
    SIGNAL,
    ITER,
    LIBPATH_RESOLV,
    DWARF_LIBLLDB,
    KPROBE_MULTI,
    UPROBE_MULTI,
    AOT,
    SKBOUTPUT,
    GET_TAI_NS,
    GET_FUNC_IP,
    JIFFIES64,
];
pub(super) const V0_22: &[Feature] = &[
    LOOP,
    PROBE_READ_KERNEL,
    BTF,
    FENTRY,
    DPATH,
    UPROBE_REFCOUNT_PRINTED,
    SIGNAL,
    ITER,
    LIBPATH_RESOLV,
    DWARF_LIBLLDB,
    KERNEL_DWARF,
    KPROBE_MULTI,
    UPROBE_MULTI,
    AOT,
    SKBOUTPUT,
    GET_TAI_NS,
    GET_FUNC_IP,
    JIFFIES64,
];
pub(super) const V0_24: &[Feature] = &[
    LOOP,
    PROBE_READ_KERNEL,
    BTF,
    FENTRY,
    DPATH,
    SIGNAL,
    ITER,
    LIBPATH_RESOLV,
    DWARF_LIBDW,
    KPROBE_MULTI,
    KPROBE_SESSION,
    UPROBE_MULTI,
    AOT,
    SKBOUTPUT,
    GET_TAI_NS,
    GET_FUNC_IP,
    JIFFIES64,
    LOOKUP_PERCPU_ELEM,
];
pub(super) const V0_26: &[Feature] = &[
    LOOP,
    PROBE_READ_KERNEL,
    BTF,
    FENTRY,
    DPATH,
    SIGNAL,
    ITER,
    LIBPATH_RESOLV,
    DWARF_LIBDW,
    KPROBE_MULTI,
    KPROBE_SESSION,
    UPROBE_MULTI,
    AOT,
    SKBOUTPUT,
    GET_TAI_NS,
    GET_FUNC_IP,
    JIFFIES64,
    LOOKUP_PERCPU_ELEM,
    DWUNWIND,
];
pub(super) const HEAD: &[Feature] = &[
    LOOP,
    PROBE_READ_KERNEL,
    BTF,
    FENTRY,
    DPATH,
    SIGNAL,
    ITER,
    LIBPATH_RESOLV,
    DWARF_LIBDW,
    KPROBE_MULTI,
    KPROBE_SESSION,
    UPROBE_MULTI,
    AOT,
    SKBOUTPUT,
    GET_TAI_NS,
    GET_FUNC_IP,
    JIFFIES64,
    LOOKUP_PERCPU_ELEM,
    DWUNWIND,
    BLAZESYM,
];
