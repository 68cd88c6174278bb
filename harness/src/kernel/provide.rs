//! Kernel name → [`KernelImage`], from the cache or its source.

use std::path::{Path, PathBuf};

use super::lock::Pin;
use super::pins::Pins;
use super::source::{apt, nix, path, url};
use super::{Cache, Error, KernelImage, Progress, prepare};
use crate::config::{Catalogue, Kernel, Origin, Selected, Source};

/// Provides what was selected from `catalogue`, ready to boot. A kernel from
/// apt or Nix without a pin is pinned first.
///
/// Blocks while it downloads or builds; call it where blocking is allowed.
pub fn provide(
    catalogue: &Catalogue,
    selected: &Selected,
    cache: &Cache,
    progress: &Progress,
) -> Result<KernelImage, Error> {
    let kernel = match selected {
        Selected::Named(kernel) => kernel,
        Selected::Path { given, path } => return path::provide(given, path, cache, progress),
    };
    match &kernel.source {
        Source::Apt(source) => {
            let pinned = Pins::load(catalogue, cache)?
                .get(&kernel.name, source)
                .cloned();
            let pin = if let Some(pin) = pinned {
                pin
            } else {
                let pin = apt::resolve(&kernel.name, source, cache, progress)?;
                Pins::store(catalogue, cache, vec![Pin::Apt(pin.clone())])?;
                pin
            };
            apt::provide(&kernel.name, source, &pin, cache, progress)
        }
        Source::Url(source) => url::provide(&kernel.name, source, cache, progress),
        Source::Path(path) => path::provide(&kernel.name, path, cache, progress),
        Source::Nix(installable) => {
            let base = base(catalogue);
            let pins = Pins::load(catalogue, cache)?;
            let pin = if let Some(pin) = pins.get_nix(&kernel.name, installable) {
                pin.clone()
            } else {
                let pin = nix::resolve(&kernel.name, installable, &base, cache, progress)?;
                Pins::store(catalogue, cache, vec![Pin::Nix(pin.clone())])?;
                pin
            };
            nix::provide(&pin, &base, cache, progress)
        }
    }
}

/// What relative flakes are relative to: the directory of the catalogue.
fn base(catalogue: &Catalogue) -> PathBuf {
    match &catalogue.origin {
        Origin::File(path) => path.parent().unwrap_or(Path::new("/")).to_path_buf(),
        Origin::BuiltIn => PathBuf::from("/"),
    }
}

/// What is known of a kernel without fetching anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Its version: Debian's for a package, `uname -r` for a prepared kernel
    /// from elsewhere; `None` if it has never been looked at.
    pub version: Option<String>,
    /// Whether it can be booted without its source.
    pub cached: bool,
}

/// Says what is known of `kernel`, a kernel of `catalogue`.
pub fn status(catalogue: &Catalogue, kernel: &Kernel, cache: &Cache) -> Result<Status, Error> {
    let prepared = |key| prepare::load(&cache.kernel_dir(&key), &kernel.name);
    Ok(match &kernel.source {
        Source::Apt(source) => {
            let pins = Pins::load(catalogue, cache)?;
            let pin = pins.get(&kernel.name, source);
            Status {
                version: pin.map(|pin| pin.version().to_owned()),
                cached: pin.is_some_and(|pin| prepared(apt::key(pin)).is_some()),
            }
        }
        Source::Url(source) => {
            let image = prepared(url::key(source));
            Status {
                cached: image.is_some(),
                version: image.map(|image| image.release),
            }
        }
        Source::Path(path) => {
            let found = super::layout::find(path).ok();
            Status {
                cached: found.is_some(),
                version: found.map(|layout| layout.release),
            }
        }
        Source::Nix(installable) => {
            let pins = Pins::load(catalogue, cache)?;
            let image = pins
                .get_nix(&kernel.name, installable)
                .and_then(|pin| prepared(nix::key(pin)));
            Status {
                cached: image.is_some(),
                version: image.map(|image| image.release),
            }
        }
    })
}

/// A change that [`update`] made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// The kernel.
    pub name: String,
    /// Version it was pinned to; `None` if it was not.
    pub before: Option<String>,
    /// Version it is pinned to now.
    pub after: String,
}

/// Pins `kernels`, kernels of `catalogue`, to the newest version there is.
/// Nothing is written unless all of them were found.
pub fn update(
    catalogue: &Catalogue,
    kernels: &[&Kernel],
    cache: &Cache,
    progress: &Progress,
) -> Result<Vec<Update>, Error> {
    let before = Pins::load(catalogue, cache)?;
    let mut pins: Vec<Pin> = Vec::new();
    let mut updates = Vec::new();
    for kernel in kernels {
        let (pin, was, now) = match &kernel.source {
            Source::Apt(source) => {
                let pin = apt::resolve(&kernel.name, source, cache, progress)?;
                let was = before.get(&kernel.name, source);
                let was = was.map(|pin| pin.version().to_owned());
                let now = pin.version().to_owned();
                (Pin::Apt(pin), was, now)
            }
            Source::Nix(installable) => {
                let base = base(catalogue);
                let pin = nix::resolve(&kernel.name, installable, &base, cache, progress)?;
                let was = before.get_nix(&kernel.name, installable);
                let was = was.map(|pin| pin.paths.join(" "));
                let now = pin.paths.join(" ");
                (Pin::Nix(pin), was, now)
            }
            Source::Url(_) | Source::Path(_) => {
                return Err(Error::NotPinned {
                    name: kernel.name.clone(),
                });
            }
        };
        updates.push(Update {
            name: kernel.name.clone(),
            before: was,
            after: now,
        });
        pins.push(pin);
    }
    Pins::store(catalogue, cache, pins)?;
    Ok(updates)
}
