//! A Release file: describes a suite and lists its indices.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::date::date;

/// The contents of a Release file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Release {
    suite: Option<String>,
    codename: Option<String>,
    date: Option<DateTime<Utc>>,
    valid_until: Option<DateTime<Utc>>,
    /// Indices can be fetched by their hash.
    pub(super) by_hash: bool,
    files: BTreeMap<String, Entry>,
}

/// A file that a Release file lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// 64 lower-case hexadecimal digits.
    pub(super) sha256: String,
    /// In bytes.
    pub(super) size: u64,
}

impl Release {
    /// Reads the text; the error says why it is not a Release file.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut release = Self::default();
        let mut field = "";
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix([' ', '\t']) {
                if field.eq_ignore_ascii_case("SHA256") {
                    let (name, entry) = entry(rest)
                        .ok_or_else(|| format!("{rest:?} is not a hash, a size and a path"))?;
                    release.files.insert(name, entry);
                }
                continue;
            }
            let Some((name, value)) = line.split_once(':') else {
                field = "";
                continue;
            };
            field = name;
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "suite" => release.suite = Some(value.to_owned()),
                "codename" => release.codename = Some(value.to_owned()),
                "date" => release.date = date(value),
                "valid-until" => release.valid_until = date(value),
                "acquire-by-hash" => release.by_hash = value.eq_ignore_ascii_case("yes"),
                _ => {}
            }
        }
        if release.files.is_empty() {
            return Err("it lists no files with SHA256".to_owned());
        }
        Ok(release)
    }

    /// Whether it is for the requested suite, by either name. A suite with a slash, such as
    /// `stable/updates`, has different names.
    pub(super) fn is_of(&self, suite: &str) -> bool {
        suite.contains('/')
            || self.names().next().is_none()
            || self.names().any(|name| name == suite)
    }

    /// Its names: suite and codename.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.suite.iter().chain(&self.codename).map(String::as_str)
    }

    /// Its age, if it expired before `now`.
    pub(super) fn expired_for(&self, now: DateTime<Utc>) -> Option<TimeDelta> {
        let expired = self.valid_until.filter(|until| *until < now)?;
        Some(now - self.date.unwrap_or(expired))
    }

    /// Until when it is to be used, in seconds since 1970.
    pub(super) fn valid_until(&self) -> Option<i64> {
        self.valid_until.map(|until| until.timestamp())
    }

    /// The index called `packages`, in the first of `forms` that is listed.
    pub(super) fn index(&self, packages: &str, forms: [&str; 4]) -> Option<(&str, &Entry)> {
        forms.iter().find_map(|form| {
            let name = format!("{packages}{form}");
            let (name, entry) = self.files.get_key_value(&name)?;
            Some((name.as_str(), entry))
        })
    }
}

/// ` HASH SIZE PATH`.
fn entry(line: &str) -> Option<(String, Entry)> {
    let mut words = line.split_whitespace();
    let sha256 = words.next()?;
    let size = words.next()?.parse().ok()?;
    let name = words.next()?;
    let hex = sha256.len() == 64 && sha256.bytes().all(|b| b.is_ascii_hexdigit());
    (hex && words.next().is_none()).then(|| {
        (
            name.to_owned(),
            Entry {
                sha256: sha256.to_ascii_lowercase(),
                size,
            },
        )
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn text(extra: &str) -> String {
        format!(
            "Origin: Debian\nSuite: oldstable-security\nCodename: bookworm-security\n\
             Date: Thu, 26 Nov 2026 21:03:35 UTC\n{extra}MD5Sum:\n 00 1 main/binary-amd64/Packages\n\
             SHA256:\n {a} 7 main/binary-amd64/Packages.gz\n {b} 9 main/binary-amd64/Packages.xz\n",
            a = "a".repeat(64),
            b = "B".repeat(64),
        )
    }

    #[test]
    fn the_smallest_form_of_an_index_is_taken_with_its_hash() {
        let release = Release::parse(&text("Acquire-By-Hash: yes\n")).unwrap();
        assert!(release.by_hash);
        let (name, entry) = release
            .index("main/binary-amd64/Packages", super::super::INDEX_FORMS)
            .unwrap();
        assert_eq!(name, "main/binary-amd64/Packages.xz");
        assert_eq!(
            (entry.sha256.as_str(), entry.size),
            ("b".repeat(64).as_str(), 9)
        );
        assert!(
            release
                .index("contrib/binary-amd64/Packages", super::super::INDEX_FORMS)
                .is_none()
        );
    }

    #[test]
    fn a_suite_is_known_by_both_names_and_by_no_other() {
        let release = Release::parse(&text("")).unwrap();
        assert!(release.is_of("oldstable-security") && release.is_of("bookworm-security"));
        assert!(!release.is_of("trixie-security"));
        assert!(release.is_of("stable/updates"));
    }

    #[test]
    fn metadata_past_its_date_says_its_age() {
        let release =
            Release::parse(&text("Valid-Until: Thu, 03 Dec 2026 21:03:35 UTC\n")).unwrap();
        let at = |text| date(text).unwrap();
        assert_eq!(
            release.expired_for(at("Wed, 02 Dec 2026 00:00:00 UTC")),
            None
        );
        let age = release
            .expired_for(at("Sun, 06 Dec 2026 21:03:35 UTC"))
            .unwrap();
        assert_eq!(age.num_days(), 10);
        let forever = Release::parse(&text("")).unwrap();
        assert_eq!(
            forever.expired_for(at("Sun, 06 Dec 2099 21:03:35 UTC")),
            None
        );
    }

    #[test]
    fn an_invalid_release_file_is_refused() {
        assert!(Release::parse("<html>\n").is_err());
        assert!(Release::parse("Suite: x\nSHA256:\n zz 1 main\n").is_err());
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(SHA256:\n|Date: |Valid-Until: |[ a-f0-9:/\n]){0,40}") {
            let _ = Release::parse(&text);
        }
    }
}
