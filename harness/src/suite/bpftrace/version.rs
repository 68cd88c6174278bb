//! Parses bpftrace's version.

/// Major and minor number of `0.17`, `v0.17.3` or `v0.26-rc0`.
pub(super) fn numbers(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.strip_prefix('v').unwrap_or(version).split('.');
    let major: u32 = parts.next()?.parse().ok()?;
    // Also `26-rc0` and `17-1`: the number is what counts.
    let minor = parts.next().map_or("0", |minor| {
        let digits = minor.find(|c: char| !c.is_ascii_digit());
        &minor[..digits.unwrap_or(minor.len())]
    });
    Some((major, minor.parse().ok()?))
}

/// The version among the words that bpftrace prints.
pub(super) fn version_in(printed: &str) -> Option<&str> {
    printed.split_whitespace().find(|word| {
        word.trim_start_matches('v')
            .starts_with(|c: char| c.is_ascii_digit())
    })
}

/// Whether this is the version of a build from git: `v0.26.0-e1b7c3934`, the last release with the
/// output of `git rev-parse --short` (upstream's cmake/Version.cmake), or `v0.25.0-12-gabcd` of
/// `git describe`.
pub(super) fn is_from_git(printed: &str) -> bool {
    let hash = |word: &str| word.len() >= 4 && word.bytes().all(|b| b.is_ascii_hexdigit());
    version_in(printed)
        .and_then(|version| version.split_once('-'))
        .is_some_and(|(_, suffixes)| {
            suffixes
                .split('-')
                .any(|word| hash(word.strip_prefix('g').unwrap_or(word)))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_shows_a_build_from_git() {
        for printed in [
            "bpftrace v0.26.0-e1b7c3934",
            "bpftrace v0.25.0-12-gabcd\n",
            "v0.26.0-rc1-3-g0123456-dirty",
        ] {
            assert!(is_from_git(printed), "{printed}");
        }
        for printed in ["bpftrace v0.26.0", "v0.26.0-rc1", "0.17.0-1", "UNKNOWN", ""] {
            assert!(!is_from_git(printed), "{printed}");
        }
    }

    #[test]
    fn major_and_minor_are_what_counts() {
        assert_eq!(numbers("v0.26-rc0"), Some((0, 26)));
        assert_eq!(numbers("1"), Some((1, 0)));
        assert_eq!(numbers("v0."), None);
        assert_eq!(version_in("bpftrace UNKNOWN"), None);
    }
}
