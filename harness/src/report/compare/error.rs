//! Why two runs cannot be compared.

use std::path::PathBuf;

use thiserror::Error;

use crate::hint::Hint;
use crate::run::event_log::EventLogError;

/// Why two runs cannot be compared.
#[derive(Debug, Error)]
pub enum CompareError {
    /// A run cannot be read.
    #[error(transparent)]
    Log(#[from] EventLogError),
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is no JUnit report.
    #[error("{} is not a JUnit file: {why}", path.display())]
    NotJunit {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The runs have no test in common.
    #[error("{before} and {after} have no test in common{why}")]
    NothingInCommon {
        /// The one run.
        before: String,
        /// The other.
        after: String,
        /// What they have instead.
        why: String,
    },
}

impl Hint for CompareError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Log(error) => error.hints(),
            Self::Read { .. } => Vec::new(),
            Self::NotJunit { .. } => {
                vec!["name a run directory, a run's id, last or last~1, or a JUnit file".to_owned()]
            }
            Self::NothingInCommon { .. } => vec![
                "tests are the same if kernel, suite and id are; `kiln runs` lists the runs with \
                 their kernels"
                    .to_owned(),
            ],
        }
    }
}
