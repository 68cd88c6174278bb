//! The guest's root: what it sees as `/`.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::hint::Hint;
use crate::store::STORE_DIR as NIX_STORE;

/// Directories of a host root that guest-init covers with its own filesystems. If something of the
/// host's below them is needed, it gets its own share.
const COVERED: [&str; 5] = ["/proc", "/sys", "/dev", "/run", "/tmp"];

/// Why something cannot be shared.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `--root` is not a known kind.
    #[error("unknown root `{0}`")]
    UnknownRoot(String),
    /// A directory to share does not exist or is not a directory.
    #[error("cannot share {}: {reason}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The skeleton for a Nix root could not be written.
    #[error("cannot make the root skeleton in {}: {source}", path.display())]
    Skeleton {
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The kernel's configuration could not be read.
    #[error("cannot read the kernel's configuration {}: {source}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The contents of a Nix store could not be read.
    #[error("cannot read the store {}: {source}", path.display())]
    Store {
        /// The store.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl Hint for Error {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::UnknownRoot(_) => vec![
                "roots are `host`, `dir:PATH`, `nix` (the store at /nix/store) and `nix:STORE`"
                    .to_owned(),
            ],
            Self::Directory { path, .. } if path == Path::new(NIX_STORE) => {
                vec!["name another store with `--root nix:STORE`".to_owned()]
            }
            _ => Vec::new(),
        }
    }
}

/// What the guest sees as `/`, under a copy-on-write overlay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Root {
    /// The host's own root.
    Host,
    /// A directory tree with a userland in it.
    Dir(PathBuf),
    /// A small generated skeleton with a store at `/nix/store`.
    Nix(NixRoot),
}

/// A store as a root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NixRoot {
    /// The directory that holds the store's files.
    pub store: PathBuf,
    /// Names of the store paths that the guest sees; `None` shows all.
    pub only: Option<Vec<String>>,
    /// Names of store paths that `/bin/sh` and `/usr/bin/env` come from if they can.
    pub first: Vec<String>,
}

impl NixRoot {
    /// All of the store in this directory.
    pub fn all(store: impl Into<PathBuf>) -> Self {
        Self {
            store: store.into(),
            only: None,
            first: Vec::new(),
        }
    }
}

impl Root {
    /// Checks that a root's directory exists, before anything is looked up in it.
    pub fn check(&self) -> Result<(), Error> {
        match self {
            Self::Dir(dir) => directory(dir).map(|_| ()),
            Self::Host | Self::Nix(_) => Ok(()),
        }
    }

    /// Whether a guest sees this path of the host without another share.
    pub fn shows(&self, path: &Path) -> bool {
        match self {
            Self::Host => !COVERED.iter().any(|covered| path.starts_with(covered)),
            Self::Dir(_) => false,
            Self::Nix(_) => path.starts_with(NIX_STORE),
        }
    }

    /// `nix` on NixOS, where little is outside the store; `host` elsewhere.
    pub fn default_here() -> Self {
        if Path::new("/etc/NIXOS").exists() {
            Self::Nix(NixRoot::all(NIX_STORE))
        } else {
            Self::Host
        }
    }
}

impl FromStr for Root {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text.split_once(':') {
            None if text == "host" => Ok(Self::Host),
            None if text == "nix" => Ok(Self::Nix(NixRoot::all(NIX_STORE))),
            Some(("dir", path)) if !path.is_empty() => Ok(Self::Dir(PathBuf::from(path))),
            Some(("nix", path)) if !path.is_empty() => Ok(Self::Nix(NixRoot::all(path))),
            _ => Err(Error::UnknownRoot(text.to_owned())),
        }
    }
}

/// The absolute path of an existing directory.
pub(super) fn directory(path: &Path) -> Result<PathBuf, Error> {
    let failed = |reason: String| Error::Directory {
        path: path.to_owned(),
        reason,
    };
    let path = path
        .canonicalize()
        .map_err(|error| failed(error.to_string()))?;
    if path.is_dir() {
        Ok(path)
    } else {
        Err(failed("not a directory".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn roots_are_read_from_their_names() {
        assert_eq!("host".parse::<Root>().unwrap(), Root::Host);
        assert_eq!(
            "dir:/x y".parse::<Root>().unwrap(),
            Root::Dir("/x y".into())
        );
        assert_eq!(
            "nix".parse::<Root>().unwrap(),
            Root::Nix(NixRoot::all(NIX_STORE))
        );
        assert!("dir:".parse::<Root>().is_err());
        assert!("hosts".parse::<Root>().is_err());
    }
}
