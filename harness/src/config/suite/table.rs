//! A suite's table, key by key.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::Spanned;

use crate::config::check::{Checker, explain};

/// A suite's table as in the file.
pub(in crate::config) type RawSuite = BTreeMap<Spanned<String>, Spanned<toml::Value>>;

/// The keys of a suite's table that have not been read yet.
pub(super) struct Table {
    /// `suite "NAME"`, for messages.
    pub(super) label: String,
    /// The position of its runner.
    pub(super) at: Range<usize>,
    /// All runners, for messages.
    pub(super) runners: String,
    pub(super) values: BTreeMap<String, Spanned<toml::Value>>,
    /// Keys whose values are of the wrong type.
    refused: Vec<String>,
}

impl Table {
    /// Of the suite `name`.
    pub(super) fn new(name: &Spanned<String>, runners: String) -> Self {
        Self {
            label: format!("suite \"{}\"", name.get_ref()),
            at: name.span(),
            runners,
            values: BTreeMap::new(),
            refused: Vec::new(),
        }
    }
}

impl Checker<'_> {
    /// The value of a key, if the suite has it.
    pub(super) fn take<T: DeserializeOwned>(
        &mut self,
        table: &mut Table,
        key: &str,
    ) -> Option<Spanned<T>> {
        let value = table.values.remove(key)?;
        let at = value.span();
        match value.into_inner().try_into() {
            Ok(value) => Some(Spanned::new(at, value)),
            Err(error) => {
                let problem = explain(error.message());
                self.problem(&at, format!("{}: {key}: {problem}", table.label));
                table.refused.push(key.to_owned());
                None
            }
        }
    }

    /// A required key.
    pub(super) fn lacks(&mut self, table: &Table, key: &str, allowed: &str) {
        if !table.refused.iter().any(|refused| refused == key) {
            let label = &table.label;
            let problem = format!("{label} lacks the key {key}; allowed: {allowed}");
            self.problem(&table.at, problem);
        }
    }
}
