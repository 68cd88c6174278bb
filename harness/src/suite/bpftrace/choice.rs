//! Whose rules hold for a directory of tests, and why.
//!
//! What the user says counts; else the engine beside the tests, which belongs to
//! them; else the version of bpftrace, which need not be that of the tests; else
//! the newest dialect that there is.

use super::engine::EngineBeside;
use super::version::is_from_git;
use super::{Dialect, Vocabulary};

/// What was chosen.
#[derive(Debug, Clone)]
pub struct Choice {
    /// The rules, and what tests may say.
    pub vocabulary: Vocabulary,
    /// What decided.
    pub by: By,
    /// What the user should know of it: where things disagree, or cannot be
    /// read.
    pub note: Option<String>,
}

/// What decided whose rules hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// `--dialect`.
    Option,
    /// The engine beside the tests.
    Engine,
    /// The version of bpftrace.
    Version,
    /// Nothing: the newest dialect.
    Default,
}

impl By {
    /// As reports for machines have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Option => "option",
            Self::Engine => "engine",
            Self::Version => "version",
            Self::Default => "default",
        }
    }
}

/// Chooses by `--dialect`, the engine beside the tests, and what bpftrace prints
/// as its version.
pub fn choose(
    option: Option<&'static Dialect>,
    engine: &EngineBeside,
    version: Option<&str>,
) -> Choice {
    let by_version = version.and_then(Dialect::from_info);
    let of_engine = match engine {
        EngineBeside::Read { engine, .. } => engine.dialect(option.or(by_version)),
        EngineBeside::Absent | EngineBeside::Unreadable { .. } => None,
    };
    match (option, of_engine) {
        (Some(dialect), _) => named(dialect, engine, of_engine),
        (None, Some(dialect)) => by_engine(dialect, engine, version, by_version),
        (None, None) => without(engine, version, by_version),
    }
}

/// By `--dialect`.
fn named(
    dialect: &'static Dialect,
    engine: &EngineBeside,
    of_engine: Option<&'static Dialect>,
) -> Choice {
    let (vocabulary, note) = match (engine, of_engine) {
        (EngineBeside::Read { engine, .. }, Some(found)) if found == dialect => {
            (Vocabulary::of_engine(engine, dialect), None)
        }
        (EngineBeside::Read { path, .. }, Some(found)) => {
            let note = format!(
                "the rules are those of {}, as --dialect says; the engine beside the tests ({}) \
                 is of {}",
                dialect.name,
                path.display(),
                found.name
            );
            (closed(dialect), Some(note))
        }
        _ => (closed(dialect), None),
    };
    Choice {
        vocabulary,
        by: By::Option,
        note,
    }
}

/// By the engine.
fn by_engine(
    dialect: &'static Dialect,
    beside: &EngineBeside,
    version: Option<&str>,
    by_version: Option<&'static Dialect>,
) -> Choice {
    let (vocabulary, note) = match (beside, version) {
        (EngineBeside::Read { path, engine }, Some(version)) if by_version != Some(dialect) => {
            let note = format!(
                "the rules are those of {}, by the engine beside the tests ({}); bpftrace calls \
                 itself {version}",
                dialect.name,
                path.display(),
            );
            (Vocabulary::of_engine(engine, dialect), Some(note))
        }
        (EngineBeside::Read { engine, .. }, _) => (Vocabulary::of_engine(engine, dialect), None),
        _ => (closed(dialect), None),
    };
    Choice {
        vocabulary,
        by: By::Engine,
        note,
    }
}

/// By the version, where no engine says anything.
fn without(
    engine: &EngineBeside,
    version: Option<&str>,
    by_version: Option<&'static Dialect>,
) -> Choice {
    let too_old = match engine {
        EngineBeside::Read { engine, path } if engine.is_too_old() => Some((
            By::Engine,
            format!("the engine beside the tests ({})", path.display()),
        )),
        _ => version
            .filter(|version| Dialect::is_too_old(version))
            .map(|version| (By::Version, format!("bpftrace {version}"))),
    };
    if let Some((by, what)) = too_old {
        let dialect = Dialect::oldest();
        return Choice {
            vocabulary: Vocabulary::of(dialect),
            by,
            note: Some(format!(
                "{what} is older than {0}, the oldest whose tests kiln knows; the rules are \
                 those of {0}",
                dialect.name
            )),
        };
    }
    let (dialect, by, why) = if let (Some(dialect), Some(version)) = (by_version, version) {
        let why = format!("by the version of bpftrace, {version}");
        (dialect, By::Version, why)
    } else {
        let why = "the newest that kiln knows".to_owned();
        (Dialect::newest(), By::Default, why)
    };
    let unknown = match engine {
        EngineBeside::Absent => None,
        EngineBeside::Unreadable { path, reason } => Some((path, reason.as_str())),
        EngineBeside::Read { path, .. } => Some((path, "it is like none that kiln knows")),
    };
    let note = unknown.map(|(path, reason)| {
        format!(
            "cannot tell of which version the engine beside the tests ({}) is: {reason}; the \
             rules are those of {}, {why}",
            path.display(),
            dialect.name,
        )
    });
    // Tests with an engine that we do not know may be newer than kiln, and those
    // of a build from git newer than the release that it is called after.
    let newer = unknown.is_some() || version.is_some_and(is_from_git);
    Choice {
        vocabulary: if newer {
            Vocabulary::open(dialect)
        } else {
            closed(dialect)
        },
        by,
        note,
    }
}

/// What a dialect has. The newest one may be older than tests that say nothing
/// of themselves.
fn closed(dialect: &'static Dialect) -> Vocabulary {
    if dialect == Dialect::newest() {
        Vocabulary::open(dialect)
    } else {
        Vocabulary::of(dialect)
    }
}

#[cfg(test)]
#[path = "choice_tests.rs"]
mod tests;
