//! `runner = "command"`: any command.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::table::Table;
use crate::config::check::{Checker, absolute};
use crate::environment;

/// Default limit of a command.
const TIMEOUT: Duration = Duration::from_secs(300);

/// How a command reports its results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ResultsFormat {
    /// Its exit status is the verdict.
    Exit,
    /// The Test Anything Protocol, versions 12 to 14.
    Tap,
    /// The kernel's dialect of it (Documentation/dev-tools/ktap.rst).
    Ktap,
    /// A JUnit XML file.
    Junit,
    /// GoogleTest's XML file, requested with `GTEST_OUTPUT`.
    Gtest,
    /// What Rust's test programs print: for people, or JSON.
    Libtest,
    /// What Go's test programs print with `-test.v`, or test2json's events.
    Go,
}

impl ResultsFormat {
    /// Whether results are on standard output, unless in a file.
    pub fn is_printed(self) -> bool {
        matches!(self, Self::Tap | Self::Ktap | Self::Libtest | Self::Go)
    }

    /// Whether results are in an XML file.
    pub fn is_xml(self) -> bool {
        matches!(self, Self::Junit | Self::Gtest)
    }
}

/// A suite of one command, or of one command for each of some files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandTable {
    /// Program and arguments; `{file}` and `{results}` are replaced.
    pub command: Vec<String>,
    /// How it reports its results.
    pub results: ResultsFormat,
    /// The results file in the guest, relative to `cwd`.
    pub results_file: Option<String>,
    /// Where it runs, in the guest; absolute.
    pub cwd: PathBuf,
    /// Whether `cwd` is a directory of the host that the guest must see.
    pub cwd_is_host: bool,
    /// Its variables, besides those that every command has; placeholders are replaced as in the
    /// command.
    pub env: BTreeMap<String, String>,
    /// Globs of names of the host's variables to pass on.
    pub env_pass: Vec<String>,
    /// How long it may take on a machine of reference speed.
    pub timeout: Duration,
    /// One test for each file that this glob matches. Absolute: in the guest's
    /// root; else relative to the file of the catalogue.
    pub each: Option<String>,
    /// The directory that a relative `each` starts from; absolute.
    pub base: PathBuf,
    /// The exit status of a test that does not apply.
    pub skip_code: Option<i32>,
}

/// The keys of a table besides its runner.
pub(super) const KEYS: [&str; 9] = [
    "command",
    "results",
    "results-file",
    "cwd",
    "env",
    "env-pass",
    "timeout",
    "each",
    "skip-code",
];

impl Checker<'_> {
    pub(super) fn command(&mut self, table: &mut Table) -> Option<CommandTable> {
        let label = table.label.clone();
        let command = self.take::<Vec<String>>(table, "command");
        let results = self.take::<ResultsFormat>(table, "results");
        let results_file = self.take::<String>(table, "results-file");
        let cwd = self.take::<PathBuf>(table, "cwd");
        let env = self.take::<BTreeMap<String, String>>(table, "env");
        let env_pass = self.take::<Vec<String>>(table, "env-pass");
        let timeout = self.take::<String>(table, "timeout");
        let each = self.take::<String>(table, "each");
        let skip_code = self.take::<i32>(table, "skip-code");
        let Some(command) = command else {
            self.lacks(
                table,
                "command",
                "command = [\"program\", \"argument\", ...]",
            );
            return None;
        };
        if command.get_ref().first().is_none_or(String::is_empty) {
            self.problem(
                &command.span(),
                format!("{label} has an empty command; allowed: [\"program\", \"argument\", ...]"),
            );
        }
        let results = results
            .as_ref()
            .map_or(ResultsFormat::Exit, |results| *results.get_ref());
        let env = env.map(Spanned::into_inner).unwrap_or_default();
        let uses = |placeholder: &str| {
            command
                .get_ref()
                .iter()
                .chain(env.values())
                .any(|text| text.contains(placeholder))
        };
        if results == ResultsFormat::Junit && results_file.is_none() && !uses("{results}") {
            self.problem(
                &command.span(),
                format!(
                    "{label} does not name its JUnit file; allowed: results-file = \"PATH\", \
                    or {{results}} in the command, such as \"--junitxml={{results}}\""
                ),
            );
        }
        if let (ResultsFormat::Exit, Some(file)) = (results, &results_file) {
            self.problem(
                &file.span(),
                format!(
                    "{label} has a results-file, but its result is its exit status; allowed: \
                    results = \"tap\", \"ktap\", \"junit\", \"gtest\", \"libtest\" or \"go\" beside it"
                ),
            );
        }
        match &each {
            Some(each) if !uses("{file}") => self.problem(
                &each.span(),
                format!(
                    "{label} has each, but no {{file}} in its command; allowed: command = \
                    [\"program\", \"{{file}}\"]"
                ),
            ),
            Some(each) => {
                if let Err(error) = globset::Glob::new(each.get_ref()) {
                    self.problem(
                        &each.span(),
                        format!(
                            "{label}: each: {}; allowed: a glob such as \"tests/*.bt\"",
                            error.kind()
                        ),
                    );
                }
            }
            None if uses("{file}") => self.problem(
                &command.span(),
                format!(
                    "{label} has {{file}} in its command, but no each; allowed: each = \
                    \"tests/*.bt\" beside it"
                ),
            ),
            None => {}
        }
        if let Some(code) = &skip_code
            && !(1..=255).contains(code.get_ref())
        {
            self.problem(
                &code.span(),
                format!("{label}: skip-code is out of range; allowed: 1 to 255 (kernel selftests: 4, Automake: 77)"),
            );
        }
        let mut limit = TIMEOUT;
        if let Some(text) = timeout {
            match crate::duration::parse(text.get_ref()) {
                Ok(time) if !time.is_zero() => limit = time,
                Ok(_) => self.problem(
                    &text.span(),
                    format!("{label}: timeout is 0; allowed: a time such as \"90s\" or \"10m\""),
                ),
                Err(error) => self.problem(
                    &text.span(),
                    format!(
                        "{label}: timeout: {error}; allowed: a time such as \"90s\" or \"10m\""
                    ),
                ),
            }
        }
        for (name, at) in env.keys().map(|name| (name, table.at.clone())) {
            if name.is_empty() || name.contains(['=', '\0']) {
                self.problem(
                    &at,
                    format!("{label}: env has the name {name:?}; allowed: a name without ="),
                );
            }
        }
        if let Some(names) = &env_pass {
            for error in names
                .get_ref()
                .iter()
                .filter_map(|name| environment::glob(name).err())
            {
                self.problem(
                    &names.span(),
                    format!("{label}: env-pass: {error}; allowed: globs such as [\"CARGO_*\"]"),
                );
            }
        }
        let cwd_is_host = cwd.as_ref().is_none_or(|cwd| cwd.get_ref().is_relative());
        Some(CommandTable {
            command: command.into_inner(),
            results,
            results_file: results_file.map(Spanned::into_inner),
            cwd: cwd.map_or_else(
                || self.base.clone(),
                |cwd| absolute(&self.base, cwd.get_ref()),
            ),
            cwd_is_host,
            env,
            env_pass: env_pass.map(Spanned::into_inner).unwrap_or_default(),
            timeout: limit,
            each: each.map(Spanned::into_inner),
            base: self.base.clone(),
            skip_code: skip_code.map(Spanned::into_inner),
        })
    }
}
