//! Parses [`Expectations`], and reports everything that is wrong with its line.

use std::ops::Range as Span;
use std::path::Path;

use serde::Deserialize;
use toml::Spanned;

use super::{Entry, Expectations, ExpectationsError, Tests};
use crate::config::{Origin, Problem, VersionRange, explain, line_of};
use crate::run::event::{Known, KnownResult};
use crate::suite::Filter;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    #[serde(default)]
    known: Vec<Spanned<RawKnown>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawKnown {
    test: Option<Spanned<OneOrMore>>,
    filter: Option<Spanned<String>>,
    suite: Option<String>,
    kernel: Option<Spanned<OneOrMore>>,
    bpftrace: Option<Spanned<OneOrMore>>,
    result: Spanned<String>,
    reason: Spanned<String>,
    link: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a string or a list of strings")]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl OneOrMore {
    fn into_vec(self) -> Vec<String> {
        match self {
            Self::One(one) => vec![one],
            Self::More(more) => more,
        }
    }
}

struct Checker<'a> {
    text: &'a str,
    path: &'a Path,
    problems: Vec<Problem>,
}

impl Expectations {
    /// Reads `text`; `path` is for messages.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ExpectationsError> {
        let mut checker = Checker {
            text,
            path,
            problems: Vec::new(),
        };
        let mut entries = Vec::new();
        match toml::from_str::<RawFile>(text) {
            Ok(raw) => {
                for known in raw.known {
                    entries.extend(checker.entry(known));
                }
            }
            Err(error) => checker.problem(&error.span().unwrap_or(0..0), explain(error.message())),
        }
        if checker.problems.is_empty() {
            Ok(Self { entries })
        } else {
            Err(ExpectationsError::Invalid {
                problems: checker.problems,
            })
        }
    }
}

impl Checker<'_> {
    fn problem(&mut self, at: &Span<usize>, message: impl Into<String>) {
        self.problems.push(Problem {
            origin: Origin::File(self.path.to_owned()),
            line: line_of(self.text, at.start),
            message: message.into(),
        });
    }

    fn entry(&mut self, raw: Spanned<RawKnown>) -> Option<Entry> {
        let at = raw.span();
        let raw = raw.into_inner();
        let before = self.problems.len();
        let tests = self.tests(&at, raw.test, raw.filter);
        let kernels = self.ranges(raw.kernel);
        let bpftrace = self.ranges(raw.bpftrace);
        let result = match raw.result.get_ref().as_str() {
            "fail" => KnownResult::Fail,
            "flaky" => KnownResult::Flaky,
            "skip" => KnownResult::Skip,
            other => {
                self.problem(
                    &raw.result.span(),
                    format!("unknown result {other:?}; allowed: \"fail\", \"flaky\" and \"skip\""),
                );
                KnownResult::Fail
            }
        };
        if raw.reason.get_ref().trim().is_empty() {
            self.problem(
                &raw.reason.span(),
                "the reason is empty; say why, for readers of reports",
            );
        }
        if self.problems.len() > before {
            return None;
        }
        Some(Entry {
            tests: tests?,
            kernels,
            bpftrace,
            suite: raw.suite,
            known: Known {
                result,
                reason: raw.reason.into_inner(),
                link: raw.link,
            },
            line: line_of(self.text, at.start),
        })
    }

    fn tests(
        &mut self,
        at: &Span<usize>,
        test: Option<Spanned<OneOrMore>>,
        filter: Option<Spanned<String>>,
    ) -> Option<Tests> {
        match (test, filter) {
            (Some(test), None) => {
                let span = test.span();
                let ids = test.into_inner().into_vec();
                if ids.is_empty() {
                    self.problem(
                        &span,
                        "`test` names no test; allowed: ids as `kiln list` prints them",
                    );
                }
                Some(Tests::Ids(ids))
            }
            (None, Some(filter)) => match Filter::new(&[filter.get_ref()]) {
                Ok(read) => Some(Tests::Filter(read)),
                Err(error) => {
                    self.problem(&filter.span(), error.to_string());
                    None
                }
            },
            _ => {
                self.problem(
                    at,
                    "an entry needs exactly one of `test` (ids as `kiln list` prints them) and \
                     `filter` (as for -t)",
                );
                None
            }
        }
    }

    fn ranges(&mut self, raw: Option<Spanned<OneOrMore>>) -> Vec<VersionRange> {
        let Some(raw) = raw else {
            return Vec::new();
        };
        let span = raw.span();
        let texts = raw.into_inner().into_vec();
        if texts.is_empty() {
            self.problem(
                &span,
                "the list is empty; leave out the key if it does not matter",
            );
        }
        let mut ranges = Vec::new();
        for text in texts {
            match VersionRange::parse(&text) {
                Ok(range) => ranges.push(range),
                Err(message) => self.problem(&span, message),
            }
        }
        ranges
    }
}
