//! Where pins are stored: `kernels.lock` beside a `kernels.toml`; for the built-in catalogue its
//! built-in lock, with newer pins in the cache.

use std::path::PathBuf;

use super::cache::Key;
use super::lock::{Lock, Pin};
use super::{Cache, Error};
use crate::arch::Arch;
use crate::config::{BUILT_IN_LOCK, Catalogue};

/// The pins of a catalogue.
#[derive(Debug, Clone)]
pub struct Pins {
    /// The pins that can be changed.
    lock: Lock,
    /// The built-in pins behind them.
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

    /// The pins of the kernel `name` for `arch`, the one to be preferred first.
    pub fn of(&self, name: &str, arch: Arch) -> impl Iterator<Item = &Pin> {
        [&self.lock, &self.built_in]
            .into_iter()
            .filter_map(move |lock| lock.get(name))
            .filter(move |pin| pin.arch() == arch)
    }

    /// Writes `pins`, and drops those of kernels that are no longer in the catalogue. Keeps pins
    /// that other harnesses made meanwhile.
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
