//! What can be wrong with a `kernels.toml`.

use std::path::PathBuf;

use super::origin::Origin;
use crate::hint::Hint;

/// A `kernels.toml` could not be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file was read, but its content is wrong: all problems that were found, in the order of
    /// the file.
    #[error("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Invalid {
        /// At least one.
        problems: Vec<Problem>,
    },
}

/// One problem in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub origin: Origin,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong and what is allowed.
    pub message: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}: {}", self.origin, self.line, self.message)
    }
}

impl Hint for ConfigError {
    fn hints(&self) -> Vec<String> {
        match self {
            ConfigError::Read { .. } => vec![
                "without --config, kiln uses kernels.toml from this directory or a parent, or its \
                 built-in one"
                    .to_owned(),
            ],
            ConfigError::Invalid { .. } => Vec::new(),
        }
    }
}
