//! Ranges of versions: `6.1`, `>=5.15`, `>=5.10, <6.2`.

/// The numbers at the beginning of a version: `6.1.0-56-cloud` is 6.1.0.
pub(crate) fn numbers(version: &str) -> Vec<u64> {
    let version = version.trim().trim_start_matches('v');
    let end = version
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(version.len());
    version[..end]
        .split('.')
        .map_while(|number| number.parse().ok())
        .collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Relation {
    Less,
    LessOrEqual,
    Equal,
    Greater,
    GreaterOrEqual,
}

/// Several comparisons that must all match.
///
/// Only as many numbers of a version are compared as the range gives: 6.1.7 is `6.1` and `<=6.1`,
/// and not `>6.1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionRange(Vec<(Relation, Vec<u64>)>);

impl VersionRange {
    /// Reads comparisons, separated by commas.
    pub fn parse(text: &str) -> Result<Self, String> {
        text.split(',')
            .map(|one| {
                let one = one.trim();
                let (relation, version) = [
                    ("<=", Relation::LessOrEqual),
                    (">=", Relation::GreaterOrEqual),
                    ("<", Relation::Less),
                    (">", Relation::Greater),
                    ("=", Relation::Equal),
                ]
                .into_iter()
                .find_map(|(sign, relation)| Some((relation, one.strip_prefix(sign)?)))
                .unwrap_or((Relation::Equal, one));
                let version = version.trim();
                let numbers = numbers(version);
                let whole = version.chars().all(|c| c.is_ascii_digit() || c == '.');
                if numbers.is_empty() || !whole || version.split('.').count() != numbers.len() {
                    return Err(format!(
                        "\"{text}\" is not a range of versions; allowed: versions such as 6.1, \
                         with < <= > >= before them, separated by commas"
                    ));
                }
                Ok((relation, numbers))
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Whether a version is in the range; one that does not begin with a number is in no range.
    pub fn has(&self, version: &str) -> bool {
        let version = numbers(version);
        !version.is_empty()
            && self.0.iter().all(|(relation, bound)| {
                let number = |index| version.get(index).copied().unwrap_or(0);
                let version: Vec<u64> = (0..bound.len()).map(number).collect();
                match relation {
                    Relation::Less => version < *bound,
                    Relation::LessOrEqual => version <= *bound,
                    Relation::Equal => version == *bound,
                    Relation::Greater => version > *bound,
                    Relation::GreaterOrEqual => version >= *bound,
                }
            })
    }

    /// The numbers of its first bound.
    pub(crate) fn first_bound(&self) -> &[u64] {
        self.0.first().map_or(&[], |(_, bound)| bound)
    }
}

/// The first two numbers of a version, as in entries that kiln writes.
pub(crate) fn series(version: &str) -> Option<String> {
    let numbers = numbers(version);
    let first: Vec<String> = numbers.iter().take(2).map(ToString::to_string).collect();
    (!first.is_empty()).then(|| first.join("."))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_version_is_compared_as_far_as_the_range_goes() {
        let has = |range: &str, version: &str| VersionRange::parse(range).unwrap().has(version);
        for (range, inside, outside) in [
            ("6.1", "6.1.0-56-cloud-amd64", "6.12.1"),
            ("<=6.1", "6.1.7", "6.2"),
            (">6.1", "6.2", "6.1.7"),
            ("<6.1", "5.10.262", "6.1.7"),
            (">=5.10, <6.2", "6.1", "6.2"),
            ("= 0.17", "v0.17.0", "v0.18"),
            (">=6", "7.3.4", "5.19"),
        ] {
            assert!(has(range, inside), "{inside} is {range}");
            assert!(!has(range, outside), "{outside} is not {range}");
        }
        assert!(!has(">=0.1", "no version"));
    }

    #[test]
    fn an_invalid_range_is_refused() {
        for text in [
            "",
            "6.*",
            "<",
            ">=5.10 <6",
            "six",
            "6.1,",
            "6..1",
            "6.1-rc1",
        ] {
            assert!(VersionRange::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_series_has_two_numbers() {
        assert_eq!(series("6.1.0-56-cloud-amd64").as_deref(), Some("6.1"));
        assert_eq!(series("v0.17.0").as_deref(), Some("0.17"));
        assert_eq!(series("head"), None);
    }
}
