//! Which tests: `--allowlist FILE`.
//!
//! One id or filter per line; `#` in column 0 starts a comment. bpftrace's engine has taken such
//! lists since v0.23 (with ids only).

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::{Filter, FilterError, TestId};
use crate::hint::Hint;

/// Characters that make a line a filter instead of an id, unless it is the id of a test.
const OF_PATTERNS: [char; 13] = [
    '^', '$', '*', '+', '?', '[', ']', '(', ')', '{', '}', '|', '\\',
];

/// What can be wrong with an allow-list.
#[derive(Debug, Error)]
pub enum AllowlistError {
    /// The file cannot be read, or is not text.
    #[error("cannot read the allow-list {}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A line is neither an id nor a filter.
    #[error("{}:{line}: {source}", .path.display())]
    BadFilter {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        source: FilterError,
    },
    /// The list contains no test.
    #[error("none of {total} tests is in the allow-list {}", .path.display())]
    NothingAllowed {
        /// The file.
        path: PathBuf,
        /// How many tests there are.
        total: usize,
    },
}

impl Hint for AllowlistError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Read { .. } => Vec::new(),
            Self::BadFilter { source, .. } => source.hints(),
            Self::NothingAllowed { .. } => {
                vec!["`kiln list` prints the ids, `suite.name`, one per line".to_owned()]
            }
        }
    }
}

/// An allow-list.
#[derive(Debug, Clone)]
pub struct Allowlist {
    path: PathBuf,
    /// Lines that are not comments, with their numbers from 1.
    entries: Vec<(usize, String)>,
}

/// The tests that an allow-list selects.
#[derive(Debug)]
pub struct Allowed<T> {
    /// The tests, in their order.
    pub tests: Vec<T>,
    /// Lines that match no test, each as `FILE:LINE: what`.
    pub unknown: Vec<String>,
}

impl Allowlist {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, AllowlistError> {
        let text = std::fs::read_to_string(path).map_err(|source| AllowlistError::Read {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self::parse(path, &text))
    }

    fn parse(path: &Path, text: &str) -> Self {
        let lines = text.lines().enumerate();
        Self {
            path: path.to_owned(),
            entries: lines
                .filter(|(_, line)| !line.starts_with('#') && !line.trim().is_empty())
                .map(|(index, line)| (index + 1, line.trim().to_owned()))
                .collect(),
        }
    }

    /// Those of `tests` in the list. `elsewhere` are ids that exist, but not here: a line that
    /// names one is not a mistake.
    pub fn allow<T>(
        &self,
        tests: Vec<T>,
        id: impl Fn(&T) -> &TestId,
        elsewhere: &[TestId],
    ) -> Result<Allowed<T>, AllowlistError> {
        let total = tests.len();
        let ids: Vec<String> = tests.iter().map(|test| id(test).to_string()).collect();
        let known: HashSet<&str> = ids.iter().map(String::as_str).collect();
        let elsewhere: HashSet<String> = elsewhere.iter().map(TestId::to_string).collect();
        let (mut listed, mut filters) = (HashSet::new(), Vec::new());
        let mut unknown = Vec::new();
        for (line, entry) in &self.entries {
            if known.contains(entry.as_str()) {
                listed.insert(entry.as_str());
            } else if elsewhere.contains(entry) {
            } else if is_id(entry) {
                let nearest = nearest(entry, &ids);
                unknown.push(self.located(*line, &format!("there is no test `{entry}`{nearest}")));
            } else {
                let filter = Filter::new(&[entry]).map_err(|source| AllowlistError::BadFilter {
                    path: self.path.clone(),
                    line: *line,
                    source,
                })?;
                if !ids
                    .iter()
                    .any(|id| filter.includes(id) || filter.excludes(id))
                {
                    unknown.push(self.located(*line, &format!("no test matches `{entry}`")));
                }
                filters.push(filter);
            }
        }
        let everything = !self.entries.is_empty()
            && listed.is_empty()
            && filters.iter().all(Filter::includes_everything)
            && filters.len() == self.entries.len();
        let allowed = |id: &str| {
            let included = everything
                || listed.contains(id)
                || filters.iter().any(|filter| filter.includes(id));
            included && !filters.iter().any(|filter| filter.excludes(id))
        };
        let tests: Vec<T> = tests
            .into_iter()
            .zip(&ids)
            .filter(|(_, id)| allowed(id))
            .map(|(test, _)| test)
            .collect();
        if tests.is_empty() {
            return Err(AllowlistError::NothingAllowed {
                path: self.path.clone(),
                total,
            });
        }
        Ok(Allowed { tests, unknown })
    }

    fn located(&self, line: usize, what: &str) -> String {
        format!("{}:{line}: {what}", self.path.display())
    }
}

/// Whether a line can only be an id: every id has a dot. A leading `-` makes an excluding filter.
fn is_id(entry: &str) -> bool {
    let excludes = |item: &str| item.starts_with('-');
    entry.contains('.') && !entry.contains(OF_PATTERNS) && !entry.split(':').any(excludes)
}

fn nearest(entry: &str, ids: &[String]) -> String {
    ids.iter()
        .map(|id| (strsim::damerau_levenshtein(entry, id), id))
        .filter(|(distance, _)| *distance <= 3)
        .min()
        .map_or_else(String::new, |(_, id)| format!(" (did you mean {id}?)"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn tests() -> Vec<TestId> {
        vec![
            TestId::new("call", "kstack"),
            TestId::new("call", "str"),
            TestId::new("call", "strftime"),
            TestId::new("usdt", "probes - (all)"),
            TestId::new("map", "a:b"),
        ]
    }

    fn allow(text: &str) -> Result<(Vec<String>, Vec<String>), AllowlistError> {
        let list = Allowlist::parse(Path::new("list"), text);
        let elsewhere = [TestId::new("call", "s390x")];
        let allowed = list.allow(tests(), |id| id, &elsewhere)?;
        let ids = allowed.tests.iter().map(ToString::to_string).collect();
        Ok((ids, allowed.unknown))
    }

    fn ids(text: &str) -> Vec<String> {
        let (ids, unknown) = allow(text).unwrap();
        assert_eq!(unknown, Vec::<String>::new());
        ids
    }

    #[test]
    fn an_id_selects_its_test_alone() {
        assert_eq!(ids("# all\n\n call.str \r\n"), ["call.str"]);
        let odd = "usdt.probes - (all)\nmap.a:b\n";
        assert_eq!(ids(odd), ["usdt.probes - (all)", "map.a:b"]);
    }

    #[test]
    fn a_line_that_is_not_an_id_is_a_filter() {
        assert_eq!(ids("^call:-kstack"), ["call.str", "call.strftime"]);
        assert_eq!(ids("map\ncall.str"), ["call.str", "map.a:b"]);
        assert_eq!(ids("call\n-str"), ["call.kstack"]);
        assert_eq!(ids("-call").len(), 2);
        assert_eq!(ids("call.str:-call.strftime"), ["call.str"]);
    }

    #[test]
    fn what_names_no_test_is_named() {
        let (ids, unknown) = allow("call.str\ncall.strr\n^nothing$\n").unwrap();
        assert_eq!(ids, ["call.str"]);
        assert_eq!(
            unknown,
            [
                "list:2: there is no test `call.strr` (did you mean call.str?)",
                "list:3: no test matches `^nothing$`"
            ]
        );
    }

    #[test]
    fn a_test_of_another_machine_is_not_an_error_and_selects_nothing() {
        assert_eq!(ids("call.s390x\ncall.str"), ["call.str"]);
        assert!(allow("call.s390x\n").is_err());
        // Not even beside a line that only excludes.
        assert!(allow("call.s390x\n-kstack\n").is_err());
    }

    #[test]
    fn a_list_without_a_test_is_an_error() {
        for text in ["", "# nothing\n", "call.nothing\n"] {
            let error = allow(text).unwrap_err();
            assert_eq!(
                error.to_string(),
                "none of 5 tests is in the allow-list list"
            );
        }
    }

    #[test]
    fn a_bad_filter_is_reported_with_its_line() {
        let error = allow("call.str\n(\n").unwrap_err().to_string();
        assert!(error.starts_with("list:2: filter `(`: "), "{error}");
    }
}
