//! `REQUIRES_FEATURE`: what this bpftrace can do here, according to `bpftrace --info`.

use std::collections::BTreeMap;

use super::feature::{AOT, KnownFeature, Probe};
use super::{FeatureRequirement, Vocabulary};

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
