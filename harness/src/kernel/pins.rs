//! Where pins are kept: `kernels.lock` beside a `kernels.toml`; for the
//! built-in catalogue its built-in lock, with newer pins in the cache.

use std::path::PathBuf;

use super::cache::Key;
use super::lock::{Lock, LockedKernel, LockedNix, Pin};
use super::{Cache, Error};
use crate::config::{AptSource, BUILT_IN_LOCK, Catalogue};

/// The pins of a catalogue.
#[derive(Debug, Clone)]
pub struct Pins {
    /// What can be changed.
    lock: Lock,
    /// What stands behind it and cannot.
    built_in: Lock,
    path: PathBuf,
}

impl Pins {
    /// Reads the pins of `catalogue`.
    pub fn load(catalogue: &Catalogue, cache: &Cache) -> Result<Self, Error> {
        let (path, built_in) = match catalogue.lock_path() {
            Some(path) => (path, Lock::default()),
            None => (
                cache.root().join("built-in-kernels.lock"),
                Lock::parse(BUILT_IN_LOCK, "the built-in kernels.lock")?,
            ),
        };
        Ok(Pins {
            lock: Lock::load(&path)?,
            built_in,
            path,
        })
    }

    /// The pin of the kernel `name`, if it was made for this `source`.
    pub fn get(&self, name: &str, source: &AptSource) -> Option<&LockedKernel> {
        [&self.lock, &self.built_in]
            .into_iter()
            .find_map(|lock| lock.get(name).filter(|pin| pin.is_of(source)))
    }

    /// The store paths of the kernel `name`, if they were pinned for this
    /// `installable`.
    pub fn get_nix(&self, name: &str, installable: &str) -> Option<&LockedNix> {
        let pin = self.lock.get_nix(name);
        pin.filter(|pin| pin.installable == installable)
    }

    /// Writes `pins` down and drops those of kernels that are not in the
    /// catalogue any more. Other harnesses' pins, made meanwhile, stay.
    pub(super) fn store(
        catalogue: &Catalogue,
        cache: &Cache,
        pins: Vec<Pin>,
    ) -> Result<PathBuf, Error> {
        let path = Self::load(catalogue, cache)?.path;
        let id = Key::new("lock-file", [path.as_os_str().as_encoded_bytes()]);
        if catalogue.lock_path().is_none() {
            std::fs::create_dir_all(cache.root()).map_err(Error::io("create", cache.root()))?;
        }
        let _lock = cache.lock(&id.to_string(), || {})?;
        let mut lock = Lock::load(&path)?;
        lock.retain(|name| catalogue.kernel(name).is_some());
        for pin in pins {
            lock.set(pin);
        }
        lock.store(&path)?;
        Ok(path)
    }
}
