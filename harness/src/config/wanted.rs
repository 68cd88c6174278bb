//! Which kernels of a pool: the part after the colon in `debian:6.18`.

use std::fmt;

use super::version_range::{VersionRange, numbers};

/// What [`Wanted::parse`] accepts, for messages.
pub(crate) const ALLOWED: &str = "a version (6.18 is its newest, 6.12.100 that one), a range (>=6.16, <7.1), series (the newest of each), series with a range (series, >=6.1) or *";

/// Which kernels of a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    text: String,
    pub(crate) what: What,
}

/// The same by kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    /// All of them.
    All,
    /// The newest of each series, such as 6.12; with a range, of the series in it.
    Series(Option<VersionRange>),
    /// The newest whose version begins with these numbers.
    Newest(VersionRange),
    /// All in a range.
    Range(VersionRange),
    /// One build: by a version with more than numbers (`7.3-rc7`, `6.12.90-1`), or by its release
    /// (`6.1.0-56-cloud-amd64`).
    Build(String),
}

impl Wanted {
    /// Reads the text; the error says what is allowed.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        // As in tags.
        let tag = text.strip_prefix('v');
        let text = tag
            .filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
            .unwrap_or(text);
        let what = match text.strip_prefix("series") {
            Some("") => What::Series(None),
            Some(rest) => {
                let range = rest.trim_start().strip_prefix(',').and_then(range);
                What::Series(Some(range.ok_or_else(|| refused(text))?))
            }
            None if text == "*" => What::All,
            None => one_or_range(text).ok_or_else(|| refused(text))?,
        };
        Ok(Self {
            text: text.to_owned(),
            what,
        })
    }

    /// The same, but with every kernel of a series instead of its newest.
    #[must_use]
    pub fn with_older(mut self) -> Self {
        if let What::Newest(range) = self.what {
            self.what = What::Range(range);
        }
        self
    }

    /// The numbers to search for the nearest kernels if there is no match; empty if all are equally
    /// near.
    pub(crate) fn numbers(&self) -> Vec<u64> {
        match &self.what {
            What::All | What::Series(None) => Vec::new(),
            What::Series(Some(range)) | What::Newest(range) | What::Range(range) => {
                range.first_bound().to_vec()
            }
            What::Build(text) => numbers(text),
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn one_or_range(text: &str) -> Option<What> {
    if !text.starts_with(|c: char| c.is_ascii_digit()) || text.contains(',') {
        return range(text).map(What::Range);
    }
    if let Some(series) = text.strip_suffix(".*") {
        return plain(series).map(What::Range);
    }
    if text.contains(|c: char| !c.is_ascii_digit() && c != '.') {
        let word = |c: char| c.is_ascii_alphanumeric() || ".+~:-_".contains(c);
        return text.chars().all(word).then(|| What::Build(text.to_owned()));
    }
    plain(text).map(What::Newest)
}

fn plain(numbers: &str) -> Option<VersionRange> {
    let only = numbers.chars().all(|c| c.is_ascii_digit() || c == '.');
    only.then(|| VersionRange::parse(numbers).ok()).flatten()
}

fn range(text: &str) -> Option<VersionRange> {
    VersionRange::parse(text).ok()
}

fn refused(text: &str) -> String {
    format!("\"{text}\" is neither a version nor a range; allowed: {ALLOWED}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn what(text: &str) -> What {
        Wanted::parse(text).unwrap().what
    }

    #[test]
    fn numbers_are_the_newest_and_signs_make_a_range() {
        assert!(matches!(what("6.18"), What::Newest(_)));
        assert!(matches!(what("6.12.100"), What::Newest(_)));
        assert_eq!(what("v6.18"), what("6.18"));
        assert!(matches!(what(">=6.16, <7.1"), What::Range(_)));
        assert!(matches!(what("=6.12"), What::Range(_)));
        assert!(matches!(what("6.1, 6.1.170"), What::Range(_)));
        assert!(matches!(what("6.12.*"), What::Range(_)));
        assert_eq!(what("*"), What::All);
        assert_eq!(what("series"), What::Series(None));
        assert!(matches!(what("series, >=6.1,<7"), What::Series(Some(_))));
        for build in ["7.3-rc7", "6.12.90-2~bpo12+1", "6.1.0-56-cloud-amd64"] {
            assert_eq!(what(build), What::Build(build.to_owned()));
        }
    }

    #[test]
    fn what_is_neither_is_refused_with_what_is_allowed() {
        for text in [
            "",
            "x",
            "six",
            ">=",
            ">=6.16 <7.1",
            "6..1",
            "6.",
            "^6.1",
            "6.*.1",
            "series 6",
            "seriesx",
            "series,",
            "6.12 - 7",
            ">=7.3-rc1",
            "@",
            "[6]",
            "**",
        ] {
            let error = Wanted::parse(text).unwrap_err();
            assert!(
                error.contains("allowed: a version (6.18"),
                "{text}: {error}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_is_shown_reads_back(text in "[0-9a-z.*<>=, ~+:-]{0,24}") {
            if let Ok(wanted) = Wanted::parse(&text) {
                prop_assert_eq!(Wanted::parse(&wanted.to_string()).unwrap(), wanted);
            }
        }
    }
}
