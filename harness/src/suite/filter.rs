//! Which tests: `-t`.
//!
//! One filter is a list of patterns separated by colons; a pattern that starts with a dash excludes
//! (the rules of bpftrace's engine since v0.25). Several filters add up; one that only excludes
//! applies to all of them.

use thiserror::Error;

use super::{Flags, Pattern, PatternError, TestId};
use crate::hint::Hint;

/// What can be wrong with filters.
#[derive(Debug, Error)]
pub enum FilterError {
    /// A pattern is not a regular expression.
    #[error("filter `{filter}`: {source}")]
    BadPattern {
        /// The filter as given.
        filter: String,
        /// What is wrong with one of its patterns.
        source: PatternError,
    },
    /// The filters select none of the tests.
    #[error("no test of {total} matches {}", quoted(.filters))]
    NothingSelected {
        /// The filters as given.
        filters: Vec<String>,
        /// How many tests there are.
        total: usize,
    },
}

fn quoted(filters: &[String]) -> String {
    if filters.is_empty() {
        return "(no filter)".to_owned();
    }
    let quoted: Vec<String> = filters.iter().map(|f| format!("`{f}`")).collect();
    quoted.join(" or ")
}

impl Hint for FilterError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::BadPattern { .. } => vec![
                "a filter is a list of regular expressions separated by `:`; one that starts with `-` excludes"
                    .to_owned(),
            ],
            Self::NothingSelected { .. } => {
                vec!["`kiln list` prints the ids, `suite.name`, one per line".to_owned()]
            }
        }
    }
}

/// One `-t`.
#[derive(Debug)]
struct Clause {
    /// Empty in one that only excludes.
    included: Vec<Pattern>,
    excluded: Vec<Pattern>,
}

impl Clause {
    fn only_excludes(&self) -> bool {
        self.included.is_empty()
    }

    fn selects(&self, id: &str) -> bool {
        self.included.iter().any(|p| p.is_match(id)) && !self.excludes(id)
    }

    fn excludes(&self, id: &str) -> bool {
        self.excluded.iter().any(|p| p.is_match(id))
    }
}

/// All `-t` of one command line.
#[derive(Debug, Default)]
pub struct Filter {
    clauses: Vec<Clause>,
    given: Vec<String>,
}

impl Filter {
    /// Reads filters, one per `-t`; none selects everything.
    pub fn new<S: AsRef<str>>(filters: &[S]) -> Result<Self, FilterError> {
        let mut all = Self::default();
        for filter in filters {
            let filter = filter.as_ref();
            let mut clause = Clause {
                included: Vec::new(),
                excluded: Vec::new(),
            };
            for item in filter.split(':') {
                let (list, pattern) = match item.strip_prefix('-') {
                    Some(pattern) => (&mut clause.excluded, pattern),
                    None => (&mut clause.included, item),
                };
                list.push(Pattern::new(pattern, Flags::default()).map_err(|source| {
                    FilterError::BadPattern {
                        filter: filter.to_owned(),
                        source,
                    }
                })?);
            }
            all.clauses.push(clause);
            all.given.push(filter.to_owned());
        }
        Ok(all)
    }

    /// Whether a test is selected; patterns are searched for in the full id.
    pub fn selects(&self, id: &TestId) -> bool {
        if self.clauses.is_empty() {
            return true;
        }
        let id = id.to_string();
        !self.excludes(&id) && (self.includes_everything() || self.includes(&id))
    }

    /// Whether no filter selects tests; some may still exclude.
    pub(super) fn includes_everything(&self) -> bool {
        self.clauses.iter().all(Clause::only_excludes)
    }

    /// Whether a filter that selects anything selects this.
    pub(super) fn includes(&self, id: &str) -> bool {
        self.clauses.iter().any(|clause| clause.selects(id))
    }

    /// Whether a filter that only excludes excludes this.
    pub(super) fn excludes(&self, id: &str) -> bool {
        let mut all = self.clauses.iter().filter(|clause| clause.only_excludes());
        all.any(|clause| clause.excludes(id))
    }

    /// The selected ones of `tests`, in their order; an empty selection is
    /// [`FilterError::NothingSelected`].
    pub fn select<T>(
        &self,
        tests: Vec<T>,
        id: impl Fn(&T) -> &TestId,
    ) -> Result<Vec<T>, FilterError> {
        let total = tests.len();
        let selected: Vec<T> = tests.into_iter().filter(|t| self.selects(id(t))).collect();
        if selected.is_empty() {
            return Err(FilterError::NothingSelected {
                filters: self.given.clone(),
                total,
            });
        }
        Ok(selected)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn selected(filters: &[&str]) -> Vec<String> {
        let ids = vec![
            TestId::new("call", "kstack"),
            TestId::new("call", "str"),
            TestId::new("probe", "kprobe call"),
            TestId::new("map", "a"),
        ];
        Filter::new(filters)
            .unwrap()
            .select(ids, |id| id)
            .map(|ids| ids.iter().map(ToString::to_string).collect())
            .unwrap_or_default()
    }

    #[test]
    fn no_filter_selects_everything() {
        assert_eq!(selected(&[]).len(), 4);
        assert_eq!(selected(&[""]).len(), 4);
    }

    #[test]
    fn patterns_are_searched_for_in_the_full_id() {
        assert_eq!(selected(&["call"]).len(), 3);
        assert_eq!(selected(&["^call"]).len(), 2);
        assert_eq!(selected(&["be.kp"]), ["probe.kprobe call"]);
    }

    #[test]
    fn a_dash_excludes_within_its_own_filter() {
        assert_eq!(selected(&["^call.*:-call.kstack"]), ["call.str"]);
        assert_eq!(selected(&["-call"]), ["map.a"]);
    }

    #[test]
    fn several_filters_add_up() {
        assert_eq!(
            selected(&["^call.*:-kstack", "^map"]),
            ["call.str", "map.a"]
        );
    }

    #[test]
    fn a_filter_that_only_excludes_holds_for_all() {
        assert_eq!(selected(&["^call", "-kstack"]), ["call.str"]);
        assert_eq!(selected(&["-kstack", "^call"]), ["call.str"]);
        assert_eq!(selected(&["-^call", "-^map"]), ["probe.kprobe call"]);
    }

    #[test]
    fn an_empty_selection_is_an_error_of_its_own() {
        let error = Filter::new(&["nothing"])
            .unwrap()
            .select(vec![TestId::new("a", "b")], |id| id)
            .unwrap_err();
        assert!(matches!(
            error,
            FilterError::NothingSelected { total: 1, .. }
        ));
        assert_eq!(error.to_string(), "no test of 1 matches `nothing`");
    }

    #[test]
    fn a_bad_pattern_names_its_filter() {
        let error = Filter::new(&["a:(b"]).unwrap_err();
        assert!(error.to_string().starts_with("filter `a:(b`: "));
    }
}
