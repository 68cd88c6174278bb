//! The Nix store on this machine: its contents, and how to add to it.
//!
//! Everything goes through the `nix` command, which finds the daemon or opens the store itself.
//! Paths are the store's own, `/nix/store/…`, whether they are there on this host or below the
//! directory of a chroot store.

mod build;
mod command;
mod dev_shell;
mod error;

pub use command::nix_version;
pub use error::Error;

use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Where Nix keeps its store, and where a guest sees it.
pub const STORE_DIR: &str = "/nix/store";

/// Names the store to use, like `--store`.
pub const STORE_VARIABLE: &str = "KILN_NIX_STORE";

/// A store whose files are on this machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Store {
    /// The argument of `nix --store`; `None` leaves the choice to Nix.
    setting: Option<String>,
    /// The root of a chroot store: its files are in `nix/store` below.
    chroot: Option<PathBuf>,
}

impl FromStr for Store {
    type Err = Error;

    /// Reads a setting of `nix --store`: a directory (a chroot store),
    /// `local?root=DIR`, `auto`, `daemon` or `local`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let unknown = || Error::UnknownStore {
            store: text.to_owned(),
        };
        let (kind, settings) = text.split_once('?').unwrap_or((text, ""));
        let root = settings
            .split('&')
            .find_map(|setting| setting.strip_prefix("root="));
        match (kind, root) {
            ("local", Some(root)) => Self::chroot(Path::new(root)),
            ("" | "auto" | "local" | "daemon", None) => Ok(Self {
                setting: (!text.is_empty()).then(|| text.to_owned()),
                chroot: None,
            }),
            (path, None) if path.contains('/') && !path.contains("://") => {
                Self::chroot(Path::new(path))
            }
            _ => Err(unknown()),
        }
    }
}

impl Store {
    /// The chroot store in the directory `root`, which Nix creates if necessary.
    pub fn chroot(root: &Path) -> Result<Self, Error> {
        let root = std::path::absolute(root).map_err(|source| Error::Io {
            action: "find",
            path: root.to_owned(),
            source,
        })?;
        let setting = root.to_str().ok_or_else(|| Error::UnknownStore {
            store: root.display().to_string(),
        })?;
        Ok(Self {
            setting: Some(setting.to_owned()),
            chroot: Some(root),
        })
    }

    /// The store that [`STORE_VARIABLE`] names, else Nix's default, which `NIX_REMOTE` may have
    /// changed.
    pub fn from_env() -> Result<Self, Error> {
        let variable = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
        if let Some(setting) = variable(STORE_VARIABLE) {
            return setting.parse();
        }
        match variable("NIX_REMOTE") {
            Some(setting) => setting.parse(),
            None => Ok(Self::default()),
        }
    }

    /// The store whose files are in the directory `files`; `None` if Nix cannot use it, because it
    /// does not end in `nix/store`.
    pub fn of_files(files: &Path) -> Option<Self> {
        if files == Path::new(STORE_DIR) {
            return Some(Self::default());
        }
        let root = files.parent()?.parent()?;
        if root.join("nix/store") == files {
            Self::chroot(root).ok()
        } else {
            None
        }
    }

    /// The directory that holds the store's files on this host.
    pub fn files(&self) -> PathBuf {
        match &self.chroot {
            Some(root) => root.join("nix/store"),
            None => PathBuf::from(STORE_DIR),
        }
    }

    /// Where a store path is on this host; other paths are unchanged.
    pub fn on_host(&self, path: &Path) -> PathBuf {
        match path.strip_prefix(STORE_DIR) {
            Ok(below) => self.files().join(below),
            Err(_) => path.to_owned(),
        }
    }
}

/// The name of the store path that `path` is, or is in: `HASH-NAME`.
pub fn name_of(path: &Path) -> Option<&str> {
    let below = path.strip_prefix(STORE_DIR).ok()?;
    below.components().next()?.as_os_str().to_str()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_store_is_a_setting_of_nix_or_a_directory() {
        for setting in ["auto", "daemon", "local"] {
            let store: Store = setting.parse().unwrap();
            assert_eq!(store.files(), Path::new(STORE_DIR));
        }
        for setting in ["/srv/st", "local?root=/srv/st", "/srv/st/"] {
            let store: Store = setting.parse().unwrap();
            assert_eq!(store.files(), Path::new("/srv/st/nix/store"), "{setting}");
        }
        for setting in ["ssh-ng://host", "https://cache.example.org", "elsewhere"] {
            assert!(setting.parse::<Store>().is_err(), "{setting}");
        }
    }

    #[test]
    fn a_path_of_a_chroot_store_lies_below_its_root() {
        let store: Store = "/srv/st".parse().unwrap();
        let path = Path::new("/nix/store/aaa-bash/bin/sh");
        assert_eq!(
            store.on_host(path),
            Path::new("/srv/st/nix/store/aaa-bash/bin/sh")
        );
        assert_eq!(store.on_host(Path::new("/bin/sh")), Path::new("/bin/sh"));
        assert_eq!(name_of(path), Some("aaa-bash"));
        assert_eq!(name_of(Path::new("/nix/store")), None);
    }

    #[test]
    fn a_directory_of_files_is_a_store_where_nix_could_use_it() {
        let store = Store::of_files(Path::new("/srv/st/nix/store")).unwrap();
        assert_eq!(store.files(), Path::new("/srv/st/nix/store"));
        assert_eq!(Store::of_files(Path::new("/srv/st")), None);
    }
}
