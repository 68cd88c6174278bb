//! The order of kernels, and how much each divides.

use std::cmp::Ordering;

use crate::config::{numbers, series};
use crate::kernel::compare_versions;

/// A kernel to sort.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Version of the kernel, such as `6.18.15` or `7.3-rc7`, or its release.
    pub upstream: String,
    /// Version of its package; its release if it comes from no package.
    pub package: String,
}

impl Version {
    /// Whether both are builds of one version.
    fn is_build_of(&self, other: &Self) -> bool {
        self.upstream == other.upstream
    }

    fn is_of_series_of(&self, other: &Self) -> bool {
        series(&self.upstream) == series(&other.upstream)
    }
}

/// Older before newer: by version, then by build.
pub fn compare(a: &Version, b: &Version) -> Ordering {
    let by_version = numbers(&a.upstream).cmp(&numbers(&b.upstream));
    by_version
        // A release candidate comes before its release: Debian's versions say so with `~`.
        .then_with(|| compare_versions(&a.package, &b.package))
        .then_with(|| a.package.cmp(&b.package))
}

/// The rank of each kernel of a sorted list: 2 for the newest of a series, 1 for the newest build
/// of a version, 0 for others.
pub fn ranks(sorted: &[Version]) -> Vec<u8> {
    let next = sorted.iter().skip(1).map(Some).chain([None]);
    let ranks = sorted.iter().zip(next).map(|(version, next)| match next {
        Some(next) if version.is_build_of(next) => 0,
        Some(next) if version.is_of_series_of(next) => 1,
        _ => 2,
    });
    ranks.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        let (upstream, package) = text.split_once(' ').unwrap_or((text, text));
        Version {
            upstream: upstream.to_owned(),
            package: package.to_owned(),
        }
    }

    #[test]
    fn series_come_before_versions_and_versions_before_builds() {
        let sorted = [
            "6.1.170 6.1.170-1",
            "6.1.192 6.1.192-1",
            "6.1.192 6.1.192-2",
            "6.12.43 6.12.43-1~bpo12+1",
            "6.12.43 6.12.43-1",
            "7.3-rc7 7.3~rc7-1~exp1",
            "7.3 7.3-1",
            "7.3.4 7.3.4-1",
        ];
        let sorted: Vec<Version> = sorted.iter().map(|text| version(text)).collect();
        let mut mixed = sorted.clone();
        mixed.reverse();
        mixed.swap(1, 5);
        mixed.sort_by(compare);
        assert_eq!(mixed, sorted);
        assert_eq!(ranks(&sorted), [1, 0, 2, 0, 2, 1, 1, 2]);
    }

    #[test]
    fn releases_of_builds_of_ones_own_are_sorted_by_their_numbers() {
        let mut releases = ["6.9.0-rc1-g1", "6.10.0", "5.15.0-dirty", "6.1.0"].map(version);
        releases.sort_by(compare);
        let sorted: Vec<&str> = releases.iter().map(|v| v.upstream.as_str()).collect();
        assert_eq!(sorted, ["5.15.0-dirty", "6.1.0", "6.9.0-rc1-g1", "6.10.0"]);
    }
}
