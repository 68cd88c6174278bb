//! What can be wrong with a suite's files: errors and warnings, with file and line.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;

use super::Directive;
use super::feature::KnownFeature;
use crate::hint::Hint;

/// Maximum edit distance between a word in a file and a suggestion.
const MAX_DISTANCE: usize = 2;

/// An error in a test file.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}:{line}: {kind}", .path.display())]
pub struct Problem {
    /// The file.
    pub path: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub kind: ProblemKind,
}

/// What is wrong in a test file, and what would be allowed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[allow(missing_docs)] // The messages say it.
pub enum ProblemKind {
    #[error("the file is not UTF-8 from here on")]
    NotUtf8,
    #[error("`{word}` is not a directive{}; allowed are {}", suggestion(.word, .allowed), .allowed.join(", "))]
    UnknownDirective {
        word: String,
        allowed: Arc<[String]>,
    },
    #[error("{} is not a directive of bpftrace {dialect}'s tests; it came with {since}", .directive.word())]
    DirectiveTooNew {
        directive: Directive,
        dialect: &'static str,
        since: &'static str,
    },
    #[error("{} takes a whole number{unit}, not `{value}`", .directive.word())]
    BadNumber {
        directive: Directive,
        value: String,
        unit: &'static str,
    },
    #[error("ENV takes words `NAME=VALUE` with exactly one `=` each, not `{word}`")]
    BadEnv { word: String },
    #[error("SKIP_IF_ENV_HAS takes `NAME=VALUE`, not `{value}`")]
    BadSkipIfEnvHas { value: String },
    #[error("`{name}` is not a feature; allowed are {} (each also with `!`), separated by one blank", names(.allowed))]
    UnknownFeature {
        name: String,
        allowed: Arc<[KnownFeature]>,
    },
    #[error("a test without NAME; every test needs one")]
    MissingName,
    #[error("a test without RUN and PROG; it needs one of them")]
    MissingProgram,
    #[error("RUN beside PROG; a test has one of them")]
    RunAndProg,
    #[error("a test without {allowed}")]
    MissingExpectation { allowed: &'static str },
    #[error("a test without TIMEOUT; this dialect requires one, in seconds")]
    MissingTimeout,
    #[error("{} beside another expectation; it must be the only one", .directive.word())]
    ExactNotAlone { directive: Directive },
    #[error("a RETURN_CODE other than 0 beside WILL_FAIL; a test has one of them")]
    WillFailWithReturnCode,
    #[error("NEW_PIDNS without BEFORE; something has to run in the new namespace")]
    NewPidnsWithoutBefore,
    #[error("{{{{BEFORE_PID}}}} beside NEW_PIDNS; the engine cannot combine them")]
    BeforePidInPidns,
    #[error("{{{{BEFORE_PID}}}} with {count} BEFORE; this dialect's engine requires exactly one")]
    BeforePidAmbiguous { count: usize },
    #[error(transparent)]
    BadPattern(#[from] crate::suite::PatternError),
    #[error("{} has no value", .directive.word())]
    NoValue { directive: Directive },
}

/// The nearest directive, if one is close. Computed only when shown, because a file of another kind
/// has thousands of such lines.
fn suggestion(word: &str, allowed: &[String]) -> String {
    let length = word.chars().count();
    allowed
        .iter()
        // The distance is at least the difference of the lengths.
        .filter(|known| known.len().abs_diff(length) <= MAX_DISTANCE)
        .map(|known| (strsim::damerau_levenshtein(word, known), known))
        .filter(|(distance, _)| *distance <= MAX_DISTANCE)
        .min()
        .map_or_else(String::new, |(_, nearest)| {
            format!(" (did you mean {nearest}?)")
        })
}

fn names(features: &[KnownFeature]) -> String {
    let names: Vec<_> = features
        .iter()
        .map(|feature| feature.name.as_str())
        .collect();
    names.join(", ")
}

/// Something that works here but not with upstream's engine, or that is probably a mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The file.
    pub path: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// What is odd.
    pub kind: WarningKind,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path.display(), self.line, self.kind)
    }
}

/// What is odd in a test file.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[allow(missing_docs)] // The messages say it.
pub enum WarningKind {
    #[error(
        "the file ends in a comment, so upstream's engine loses the test `{name}`; kiln runs \
        it"
    )]
    LostBlock { name: String },
    #[error(
        "a line of blanks does not separate tests: upstream's engine merges the two; kiln runs both"
    )]
    BlankSeparator,
    #[error(
        "no empty line before this NAME: upstream's engine merges the two tests; kiln runs \
        both"
    )]
    MissingSeparator,
    #[error("a line of blanks inside a test, at which upstream's engine stops; kiln ignores it")]
    BlankLine,
    #[error(
        "the file ends in a continued value without a newline: upstream's engine cuts off its last \
         character; kiln keeps it"
    )]
    LostCharacter,
    #[error("{} occurs twice; the last one counts", .directive.word())]
    DuplicateDirective { directive: Directive },
    #[error(
        "{} replaces the {} before it: in this dialect a test has one expectation",
        .directive.word(),
        .replaced.word()
    )]
    ReplacedExpectation {
        directive: Directive,
        replaced: Directive,
    },
    #[error("this kiln does not know {what}, so it skips the test; a newer kiln may know it")]
    Newer { what: String },
    #[error("`{id}` is also the id of the test at {first}; a filter cannot tell them apart")]
    DuplicateId { id: String, first: String },
}

/// Most errors that a message lists.
const MAX_SHOWN: usize = 20;

/// Why a directory could not be read as suites.
#[derive(Debug, Error)]
pub enum SuiteError {
    /// There is no such directory.
    #[error("suite {suite}: cannot find its tests in {}: {source}", .dir.display())]
    NoTests {
        /// The suite.
        suite: String,
        /// Where they should be.
        dir: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// There is no `runtime` directory.
    #[error("{}: no such directory", .path.display())]
    NoRuntimeDirectory {
        /// Where kiln looked for it.
        path: PathBuf,
    },
    /// The directory or a file in it could not be read.
    #[error("{}: {source}", .path.display())]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Files have errors: all of them, in the order of the files. The message
    /// has the first ones.
    #[error("{}", lines(.0))]
    Problems(Vec<Problem>),
}

/// The first [`MAX_SHOWN`], one line each, since every test of another version has an error.
fn lines(problems: &[Problem]) -> String {
    let shown = problems.iter().take(MAX_SHOWN).map(ToString::to_string);
    let more = match problems.len().saturating_sub(MAX_SHOWN) {
        0 => None,
        more => Some(format!(
            "and {more} more errors; `kiln lint` lists them all"
        )),
    };
    shown.chain(more).collect::<Vec<_>>().join("\n")
}

impl Hint for SuiteError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::NoTests { .. } => vec![
                "`make bpftrace` fetches Debian's; --tests DIR names another directory".to_owned(),
            ],
            Self::NoRuntimeDirectory { .. } => vec![
                "`--tests DIR` names the directory that holds `runtime/`, `tests` in bpftrace's sources"
                    .to_owned(),
            ],
            Self::Read { .. } => Vec::new(),
            Self::Problems(_) => vec![
                "if the tests are for another version of bpftrace, name it with `--dialect`"
                    .to_owned(),
            ],
        }
    }
}
