//! Decides whether to skip a test before any of it runs.

use std::cmp::Ordering;
use std::fmt;

use super::RuntimeTest;
use super::loose_version::{self, Incomparable};

/// Why a test does not apply here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SkipReason {
    /// It uses something that this kiln does not know.
    Newer(Vec<String>),
    /// `MIN_KERNEL` is above this kernel.
    MinKernel(String),
    /// `MAX_KERNEL` is below this kernel.
    MaxKernel(String),
    /// `SKIP_IF_ENV_HAS`: the variable and its value.
    Environment(String, String),
    /// This command of `REQUIRES` failed.
    Requires(String),
    /// These features are missing, or with `!` are present.
    Features(Vec<String>),
    /// `bpftrace --info` does not print these at all, so they are unknown.
    UnknownFeatures(Vec<String>),
    /// The program cannot be compiled ahead of time.
    AotUnsupported,
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newer(what) => write!(
                f,
                "this kiln does not know {}; a newer one may",
                what.join(" and ")
            ),
            Self::MinKernel(version) => write!(f, "needs at least kernel {version}"),
            Self::MaxKernel(version) => write!(f, "needs at most kernel {version}"),
            Self::Environment(name, value) => write!(f, "skips where {name} is `{value}`"),
            Self::Requires(command) => write!(f, "unmet: {command}"),
            Self::Features(names) => write!(f, "missing feature: {}", names.join(", ")),
            Self::UnknownFeatures(names) => write!(
                f,
                "unknown feature, not printed by this bpftrace: {}",
                names.join(", ")
            ),
            Self::AotUnsupported => f.write_str("cannot be compiled ahead of time"),
        }
    }
}

/// Whether the kernel or the environment skips a test. `release` is the
/// guest's `uname -r`, `env` looks up a variable of the harness.
pub fn precheck(
    test: &RuntimeTest,
    release: &str,
    env: impl Fn(&str) -> Option<String>,
) -> Result<Option<SkipReason>, Incomparable> {
    if !test.newer.is_empty() {
        return Ok(Some(SkipReason::Newer(test.newer.clone())));
    }
    if let Some(min) = &test.min_kernel
        && loose_version::compare(min, release)? == Ordering::Greater
    {
        return Ok(Some(SkipReason::MinKernel(min.clone())));
    }
    if let Some(max) = &test.max_kernel
        && loose_version::compare(max, release)? == Ordering::Less
    {
        return Ok(Some(SkipReason::MaxKernel(max.clone())));
    }
    if let Some((name, value)) = &test.skip_if_env_has
        // An unset variable counts as empty.
        && env(name).unwrap_or_default() == *value
    {
        return Ok(Some(SkipReason::Environment(name.clone(), value.clone())));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::suite::bpftrace::parse::one;

    fn reason(directives: &str, release: &str) -> Option<SkipReason> {
        let test = one("head", &format!("NAME a\nRUN b\nEXPECT c\n{directives}\n"));
        precheck(&test, release, |name| {
            (name == "CI").then(|| "true".to_owned())
        })
        .unwrap()
    }

    #[test]
    fn kernels_out_of_bounds_skip() {
        let min = "MIN_KERNEL 6.1";
        assert!(reason(min, "5.10.0-30-cloud-amd64").is_some());
        assert!(reason(min, "6.1.0-50-cloud-amd64").is_none());
        let max = "MAX_KERNEL 6.12";
        assert!(reason(max, "6.12.1").is_some());
        assert!(reason(max, "6.1.0").is_none());
    }

    #[test]
    fn a_variable_of_the_harness_skips() {
        assert!(reason("SKIP_IF_ENV_HAS CI=true", "6.1").is_some());
        assert!(reason("SKIP_IF_ENV_HAS CI=false", "6.1").is_none());
        assert!(reason("SKIP_IF_ENV_HAS OTHER=", "6.1").is_some());
    }

    #[test]
    fn a_version_without_order_is_an_error() {
        let test = one("head", "NAME a\nRUN b\nEXPECT c\nMIN_KERNEL v5.4\n");
        assert!(precheck(&test, "6.1", |_| None).is_err());
    }
}
