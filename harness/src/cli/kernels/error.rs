//! Why `kiln kernels` failed.

use std::io;
use std::path::PathBuf;

use crate::config::{ConfigError, SelectError};
use crate::hint::Hint;
use crate::kernel;
use crate::kernel::facts::BadConfig;

/// `kiln kernels` failed.
#[derive(Debug, thiserror::Error)]
pub(in super::super) enum KernelsError {
    /// A bad `kernels.toml`.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// No kernel of that name.
    #[error(transparent)]
    Select(#[from] SelectError),
    /// A kernel could not be fetched or pinned.
    #[error(transparent)]
    Kernel(#[from] kernel::Error),
    /// Several kernels, and one name for them.
    #[error("`{asked}` selects {count} kernels, and \"{name}\" can be the name of one")]
    OneName {
        /// What was asked for.
        asked: String,
        /// How many kernels that is.
        count: usize,
        /// The name.
        name: String,
    },
    /// What is to be pinned is not of a pool.
    #[error("`{asked}` is not POOL:VERSION")]
    NotOfAPool {
        /// What was asked for.
        asked: String,
    },
    /// The events of a run cannot be read.
    #[error("cannot tell the kernels of the run {}: {reason}", path.display())]
    Run {
        /// Its directory.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The configuration of a kernel cannot be read.
    #[error("{0}")]
    Configuration(BadConfig),
    /// Standard output is closed.
    #[error("cannot write to standard output: {0}")]
    Output(#[from] io::Error),
}

impl Hint for KernelsError {
    fn hints(&self) -> Vec<String> {
        match self {
            KernelsError::Config(error) => error.hints(),
            KernelsError::Select(error) => error.hints(),
            KernelsError::Kernel(error) => error.hints(),
            KernelsError::OneName { .. } => {
                vec!["leave the name out: each is then called by its version".to_owned()]
            }
            KernelsError::NotOfAPool { .. } => {
                vec!["such as debian:6.18; `kiln kernels search` lists what there is".to_owned()]
            }
            KernelsError::Run { .. } => {
                vec!["a run's directory holds events.jsonl; `kiln runs` lists the runs".to_owned()]
            }
            KernelsError::Configuration(_) => {
                vec!["this must be the .config that the kernel was built with".to_owned()]
            }
            KernelsError::Output(_) => Vec::new(),
        }
    }
}
