//! Output for GitHub Actions: groups, annotations, and the summary of a step.
//!
//! A line that begins with `::` (after blanks) or contains `##[` is a command
//! (<https://docs.github.com/actions/reference/workflow-commands>), whoever printed it. Commands
//! are written only here; text in them goes through [`property`] or [`data`], and other text is
//! printed after a mark.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::escape;

/// Most bytes of a step's summary: GitHub refuses one that is longer.
pub const MAX_SUMMARY: usize = 1024 * 1024;

/// Replaces a page that is too long.
const FULL: &str = "A part of this summary is left out: it is too long.\n\n";

/// Characters of a message in an annotation; GitHub cuts off at 4 KB.
const MAX_MESSAGE: usize = 2000;

/// GitHub Actions, if this process runs there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Github {
    /// The checkout: annotations name files relative to it.
    workspace: Option<PathBuf>,
    /// The file to which the step's summary is appended.
    summary: Option<PathBuf>,
}

/// The severity of an annotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// It fails the run.
    Error,
    /// It does not.
    Warning,
}

/// A note at a line of a file.
#[derive(Debug, Clone)]
pub struct Annotation<'a> {
    /// Its severity.
    pub level: Level,
    /// A short title.
    pub title: &'a str,
    /// The file and its line, from 1.
    pub place: Option<(&'a Path, usize)>,
    /// The message.
    pub message: &'a str,
}

/// A line that starts a group, which the log shows folded.
pub fn group(title: &str) -> String {
    format!("::group::{}", data(title))
}

/// The line that ends it.
pub const END_GROUP: &str = "::endgroup::";

/// A line that the runner never takes for a command.
pub fn marked(line: &str) -> String {
    format!("| {}", escape::line(line))
}

impl Github {
    /// Reads the environment of this process.
    pub fn detect() -> Option<Self> {
        Self::from_env(|name| std::env::var_os(name))
    }

    /// One with this checkout and this file.
    #[cfg(test)]
    pub(super) fn of(workspace: PathBuf, summary: PathBuf) -> Self {
        Self {
            workspace: Some(workspace),
            summary: Some(summary),
        }
    }

    fn from_env(variable: impl Fn(&str) -> Option<std::ffi::OsString>) -> Option<Self> {
        let file = |name| variable(name).filter(|value| !value.is_empty());
        variable("GITHUB_ACTIONS")
            .is_some_and(|value| value == "true")
            .then(|| Self {
                workspace: file("GITHUB_WORKSPACE").map(PathBuf::from),
                summary: file("GITHUB_STEP_SUMMARY").map(PathBuf::from),
            })
    }

    /// The line that annotates.
    pub fn annotation(&self, annotation: &Annotation<'_>) -> String {
        let level = match annotation.level {
            Level::Error => "error",
            Level::Warning => "warning",
        };
        let mut line = format!("::{level} title={}", property(annotation.title));
        if let Some((file, number)) = annotation.place {
            let file = self.relative(file);
            let file = property(&file.to_string_lossy()).into_owned();
            // Writing to a string cannot fail.
            let _ = write!(line, ",file={file},line={number}");
        }
        let message = escape::clip(annotation.message, MAX_MESSAGE);
        format!("{line}::{}", data(&message))
    }

    /// Annotations are shown in the diff by paths of the repository.
    fn relative<'p>(&self, file: &'p Path) -> &'p Path {
        self.workspace
            .as_ref()
            .and_then(|workspace| file.strip_prefix(workspace).ok())
            .unwrap_or(file)
    }

    /// How many bytes the step's summary may still grow by.
    pub fn summary_room(&self) -> usize {
        let there = self.summary.as_ref().and_then(|path| path.metadata().ok());
        let there = there.map_or(0, |file| usize::try_from(file.len()).unwrap_or(MAX_SUMMARY));
        MAX_SUMMARY.saturating_sub(there)
    }

    /// Adds Markdown to the step's summary, if there is one, or a note if the summary would become
    /// longer than [`MAX_SUMMARY`]. The error names the file.
    pub fn add_summary(&self, markdown: &str) -> Result<(), (PathBuf, io::Error)> {
        let Some(path) = &self.summary else {
            return Ok(());
        };
        OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .and_then(|mut file| {
                let length = file.metadata()?.len() + markdown.len() as u64;
                let text = if length > MAX_SUMMARY as u64 {
                    FULL
                } else {
                    markdown
                };
                file.write_all(text.as_bytes())
            })
            .map_err(|error| (path.clone(), error))
    }
}

/// Text as the message of a command; keeps line breaks.
fn data(text: &str) -> Cow<'_, str> {
    encode(text, &['%', '\r', '\n'])
}

/// Text as a property of a command.
fn property(text: &str) -> Cow<'_, str> {
    encode(text, &['%', '\r', '\n', ':', ','])
}

/// As in GitHub's toolkit, after making invisible characters visible.
fn encode<'t>(text: &'t str, special: &[char]) -> Cow<'t, str> {
    let text = escape::block(text);
    if !text.contains(special) {
        return text;
    }
    let mut encoded = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if special.contains(&c) {
            let _ = write!(encoded, "%{:02X}", u32::from(c));
        } else {
            encoded.push(c);
        }
    }
    Cow::Owned(encoded)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn github(variables: &[(&str, &str)]) -> Option<Github> {
        Github::from_env(|name| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| value.into())
        })
    }

    fn here() -> Github {
        github(&[("GITHUB_ACTIONS", "true"), ("GITHUB_WORKSPACE", "/w/repo")]).unwrap()
    }

    #[test]
    fn it_is_github_where_the_environment_says_so() {
        assert_eq!(github(&[]), None);
        assert_eq!(github(&[("GITHUB_ACTIONS", "false")]), None);
        let unset = github(&[("GITHUB_ACTIONS", "true"), ("GITHUB_STEP_SUMMARY", "")]).unwrap();
        assert_eq!(unset.summary, None);
        unset.add_summary("nowhere").unwrap();
    }

    #[test]
    fn an_annotation_names_the_line_in_the_repository() {
        let annotation = Annotation {
            level: Level::Error,
            title: "5.10, call.str: fails",
            place: Some((Path::new("/w/repo/tests/runtime/call"), 12)),
            message: "100% wrong:\nexpected a,b",
        };
        assert_eq!(
            here().annotation(&annotation),
            "::error title=5.10%2C call.str%3A fails,file=tests/runtime/call,line=12::\
             100%25 wrong:%0Aexpected a,b"
        );
    }

    #[test]
    fn a_summary_is_added_to_what_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("summary");
        let variables = [
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_STEP_SUMMARY", path.to_str().unwrap()),
        ];
        let github = github(&variables).unwrap();
        github.add_summary("one\n").unwrap();
        github.add_summary("two\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\ntwo\n");
        // GitHub rejects a summary that is too long.
        github.add_summary(&"x".repeat(MAX_SUMMARY)).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, format!("one\ntwo\n{FULL}"));
    }

    /// Splits a line like GitHub's runner (`ActionCommand.TryParseV2`).
    fn parsed(line: &str) -> (String, Vec<(String, String)>, String) {
        let rest = line.trim_start().strip_prefix("::").unwrap();
        let (head, message) = rest.split_once("::").unwrap();
        let (name, properties) = head.split_once(' ').unwrap_or((head, ""));
        let properties = properties
            .split(',')
            .filter_map(|pair| pair.split_once('='))
            .map(|(key, value)| (key.to_owned(), decoded(value)))
            .collect();
        (name.to_owned(), properties, decoded(message))
    }

    fn decoded(text: &str) -> String {
        let text = text.replace("%0D", "\r").replace("%0A", "\n");
        let text = text.replace("%3A", ":").replace("%2C", ",");
        text.replace("%25", "%")
    }

    proptest! {
        #[test]
        fn whatever_is_said_is_said_and_commands_nothing(
            title: String, file in "[^\0]*", message in any::<String>(),
        ) {
            let path = PathBuf::from(&file);
            let annotation = Annotation {
                level: Level::Warning,
                title: &title,
                place: Some((&path, 7)),
                message: &message,
            };
            let line = here().annotation(&annotation);
            prop_assert!(!line.contains(['\n', '\r', '\x1b']), "{:?}", line);
            prop_assert!(!line.contains("##["), "{:?}", line);
            let (name, properties, said) = parsed(&line);
            prop_assert_eq!(name, "warning");
            let keys: Vec<_> = properties.iter().map(|(key, _)| key.as_str()).collect();
            prop_assert_eq!(keys, ["title", "file", "line"]);
            prop_assert_eq!(&properties[0].1, &escape::block(&title));
            prop_assert_eq!(said, escape::block(&message).into_owned());
        }

        #[test]
        fn a_group_is_one_line(title: String) {
            let line = group(&title);
            prop_assert!(!line.contains(['\n', '\r', '\x1b']), "{:?}", line);
            prop_assert!(line.starts_with("::group::"));
        }
    }
}
