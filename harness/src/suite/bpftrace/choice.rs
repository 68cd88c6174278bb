//! Chooses the dialect of a directory of tests, and says why.
//!
//! The user's choice comes first; then the engine beside the tests, which belongs to them; then the
//! version of bpftrace, which may differ from that of the tests; then the newest dialect.

use super::engine::EngineBeside;
use super::version::is_from_git;
use super::{Dialect, Vocabulary};

/// The choice.
#[derive(Debug, Clone)]
pub struct Choice {
    /// The dialect, and what tests may contain.
    pub vocabulary: Vocabulary,
    /// What decided.
    pub by: By,
    /// What the user should know about it: things that disagree, or cannot be read.
    pub note: Option<String>,
}

/// What decided the dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// `--dialect`.
    Option,
    /// The engine beside the tests.
    Engine,
    /// The version of bpftrace.
    Version,
    /// Nothing else: the newest dialect.
    Default,
}

impl By {
    /// Its name in machine-readable reports.
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
                "using the rules of {}, as --dialect says, although the engine beside the tests \
                 ({}) is of {}",
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
                "using the rules of {}, from the engine beside the tests ({}), although bpftrace \
                 reports version {version}",
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

/// By the version, if no engine decides.
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
                "{what} is older than {0}, the oldest whose tests kiln knows; using the rules of \
                 {0}",
                dialect.name
            )),
        };
    }
    let (dialect, by, why) = if let (Some(dialect), Some(version)) = (by_version, version) {
        let why = format!("from the version of bpftrace, {version}");
        (dialect, By::Version, why)
    } else {
        let why = "the newest that kiln knows".to_owned();
        (Dialect::newest(), By::Default, why)
    };
    let unknown = match engine {
        EngineBeside::Absent => None,
        EngineBeside::Unreadable { path, reason } => Some((path, reason.as_str())),
        EngineBeside::Read { path, .. } => Some((path, "it resembles none that kiln knows")),
    };
    let note = unknown.map(|(path, reason)| {
        format!(
            "cannot determine the version of the engine beside the tests ({}): {reason}; using the \
             rules of {}, {why}",
            path.display(),
            dialect.name,
        )
    });
    // Tests with an unknown engine may be newer than kiln, and those of a build from git may be
    // newer than the release that it reports.
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

/// The vocabulary of a dialect. Tests without a version may be newer than the newest one.
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
