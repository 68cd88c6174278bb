//! Where a `kernels.toml` comes from.

use std::path::PathBuf;

/// Where a [`Catalogue`](super::Catalogue) was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// This file, as an absolute path.
    File(PathBuf),
    /// The catalogue built into the binary.
    BuiltIn,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Origin::File(path) => write!(f, "{}", path.display()),
            Origin::BuiltIn => f.write_str("the built-in kernels.toml"),
        }
    }
}
