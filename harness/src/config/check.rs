//! Collects the problems of a `kernels.toml`, with their lines.

use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;

use super::error::{ConfigError, Problem};
use super::origin::Origin;

/// Jaro-Winkler similarity of a word and what its writer probably meant: `memroy` and `memory` have
/// 0.96, `qemu_args` and `qemu-args` 0.96, `colour` and `oci` 0.5.
const LIKELY: f64 = 0.85;

/// Collects problems; knows the text, to turn offsets into lines.
pub(super) struct Checker<'a> {
    text: &'a str,
    pub(super) origin: Origin,
    pub(super) base: PathBuf,
    problems: Vec<Problem>,
}

/// The line, from 1, that the byte at `offset` of `text` is in.
pub(crate) fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|b| *b == b'\n').count()
}

/// The words between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// ` (did you mean …?)` if one of the `known` words is so near to an unknown one that it was
/// probably meant.
pub(super) fn near<'a>(unknown: &str, known: impl Iterator<Item = &'a str>) -> String {
    let likeness = |known: &str| strsim::jaro_winkler(unknown, known);
    let nearest = known.max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    match nearest {
        Some(known) if likeness(known) >= LIKELY => format!(" (did you mean `{known}`?)"),
        _ => String::new(),
    }
}

/// Rewords serde's message so that what is allowed comes after a semicolon.
pub(crate) fn explain(message: &str) -> String {
    let message = message.trim_end().replace('\n', " ");
    if let Some((what, allowed)) = message.split_once(", expected ") {
        let allowed = allowed.trim_start_matches("one of ");
        let near = match what.strip_prefix("unknown ") {
            Some(unknown) => near(quoted(unknown).next().unwrap_or_default(), quoted(allowed)),
            None => String::new(),
        };
        let what = what.replacen("unknown field", "unknown key", 1);
        return format!("{what}; allowed here: {allowed}{near}");
    }
    if message.starts_with("duplicate key") {
        return format!("{message}; each name may occur only once");
    }
    if let Some(field) = message.strip_prefix("missing field ") {
        return format!("missing key {field}; it is required here");
    }
    message
}

impl<'a> Checker<'a> {
    /// For a file in the directory `base`.
    pub(super) fn new(text: &'a str, origin: Origin, base: PathBuf) -> Self {
        Self {
            text,
            origin,
            base,
            problems: Vec::new(),
        }
    }

    pub(super) fn line(&self, at: &Range<usize>) -> usize {
        line_of(self.text, at.start)
    }

    pub(super) fn problem(&mut self, at: &Range<usize>, message: impl Into<String>) {
        let problem = Problem {
            origin: self.origin.clone(),
            line: self.line(at),
            message: message.into(),
        };
        self.problems.push(problem);
    }

    /// All problems, in the order of the file.
    pub(super) fn into_error(mut self) -> ConfigError {
        self.problems.sort_by_key(|problem| problem.line);
        ConfigError::Invalid {
            problems: self.problems,
        }
    }

    /// How many problems there are so far.
    pub(super) fn count(&self) -> usize {
        self.problems.len()
    }

    /// A name must be distinguishable from a glob, a group and a path.
    pub(super) fn name(&mut self, what: &str, name: &Spanned<String>) {
        let text = name.get_ref();
        let bad = text.is_empty()
            || text.starts_with(['@', '-', '.'])
            || text.chars().any(|c| {
                is_glob_char(c) || c == '/' || c == ',' || c.is_whitespace() || c.is_control()
            });
        if bad {
            self.problem(
                &name.span(),
                format!("{what} name {text:?} cannot be selected; allowed: a name without / , * ? [ ] {{ }} ! or blanks that does not begin with @ - or a dot"),
            );
        }
    }
}

/// Characters that make a word a glob.
pub(super) fn is_glob_char(c: char) -> bool {
    matches!(c, '*' | '?' | '[' | ']' | '{' | '}' | '!')
}

/// `path` as seen from `base`, without following links.
pub(super) fn absolute(base: &Path, path: &Path) -> PathBuf {
    let joined = base.join(path);
    std::path::absolute(&joined).unwrap_or(joined)
}
