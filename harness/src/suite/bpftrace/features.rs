//! `REQUIRES_FEATURE`: what this bpftrace can do here, according to `bpftrace --info`.

use std::collections::BTreeMap;

use super::vocabulary::{KnownFeature, Probe};
use super::{FeatureRequirement, Vocabulary};

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

const AOT: Feature = Feature {
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

/// What `bpftrace --info` says of a feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeatureState {
    /// It is supported.
    Yes,
    /// It is not supported.
    No,
    /// This bpftrace does not print it at all, so it is unknown; upstream's engine treats it as
    /// `No`.
    Unknown,
}

/// Whether the features that a test needs are met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeatureCheck {
    /// All are.
    Met,
    /// These are not; with `!` if they should be absent.
    Missing(Vec<String>),
    /// This bpftrace does not print these.
    Unknown(Vec<String>),
}

/// What this bpftrace can do on this kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Features {
    states: BTreeMap<String, FeatureState>,
}

impl Features {
    /// Reads the output of `bpftrace --info`, from both streams. `aot` says whether it was built
    /// with ahead-of-time compilation, which it does not print.
    pub fn parse(info: &str, vocabulary: &Vocabulary, aot: Option<bool>) -> Self {
        let state = |feature: &KnownFeature| match &feature.probe {
            Probe::Build if feature.name == AOT.name => match aot {
                Some(true) => FeatureState::Yes,
                Some(false) => FeatureState::No,
                None => FeatureState::Unknown,
            },
            Probe::Build | Probe::Unreadable => FeatureState::Unknown,
            Probe::Printed(probe) if info.contains(probe) => FeatureState::Yes,
            Probe::Printed(probe) => {
                let key = probe.strip_suffix(" yes");
                if key.is_some_and(|key| info.contains(key)) {
                    FeatureState::No
                } else {
                    FeatureState::Unknown
                }
            }
        };
        Self {
            states: vocabulary
                .features
                .iter()
                .map(|feature| (feature.name.clone(), state(feature)))
                .collect(),
        }
    }

    /// What is known about a feature.
    pub fn state(&self, name: &str) -> FeatureState {
        *self.states.get(name).unwrap_or(&FeatureState::Unknown)
    }

    /// Whether a test's features are met. A missing feature outweighs an unknown one; `compat`
    /// treats an unknown one as absent, like upstream.
    pub fn check(&self, wanted: &[FeatureRequirement], compat: bool) -> FeatureCheck {
        let (mut missing, mut unknown) = (Vec::new(), Vec::new());
        for requirement in wanted {
            let sign = if requirement.negated { "!" } else { "" };
            let shown = format!("{sign}{}", requirement.name);
            match self.state(&requirement.name) {
                FeatureState::Unknown if !compat => unknown.push(shown),
                state if (state == FeatureState::Yes) == requirement.negated => missing.push(shown),
                _ => {}
            }
        }
        if !missing.is_empty() {
            FeatureCheck::Missing(missing)
        } else if !unknown.is_empty() {
            FeatureCheck::Unknown(unknown)
        } else {
            FeatureCheck::Met
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::Dialect;
    use super::*;

    const INFO: &str = "\
Kernel helpers
  probe_read_kernel: yes
  dpath: no
Kernel features
  btf: yes
  iter:task: no
Probe types
  kprobe_multi: yes
";

    fn check(wanted: &[&str], compat: bool) -> FeatureCheck {
        let vocabulary = Vocabulary::of(Dialect::for_version("0.17").unwrap());
        let wanted: Vec<_> = wanted
            .iter()
            .map(|name| FeatureRequirement {
                name: name.trim_start_matches('!').to_owned(),
                negated: name.starts_with('!'),
            })
            .collect();
        Features::parse(INFO, &vocabulary, Some(false)).check(&wanted, compat)
    }

    #[test]
    fn printed_features_are_true_or_false() {
        assert_eq!(check(&["btf", "!dpath", "!aot"], false), FeatureCheck::Met);
        let missing = FeatureCheck::Missing(vec!["iter:task".to_owned(), "!btf".to_owned()]);
        assert_eq!(check(&["iter:task", "!btf"], false), missing);
    }

    #[test]
    fn a_feature_that_is_not_printed_is_unknown() {
        let unknown = FeatureCheck::Unknown(vec!["libpath_resolv".to_owned()]);
        assert_eq!(check(&["libpath_resolv"], false), unknown);
        let missing = FeatureCheck::Missing(vec!["libpath_resolv".to_owned()]);
        assert_eq!(check(&["libpath_resolv"], true), missing);
        assert_eq!(check(&["!libpath_resolv"], true), FeatureCheck::Met);
    }

    #[test]
    fn a_missing_feature_outweighs_an_unknown_one() {
        let missing = FeatureCheck::Missing(vec!["dpath".to_owned()]);
        assert_eq!(check(&["loop", "dpath"], false), missing);
    }
}
