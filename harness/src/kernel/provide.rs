//! Kernel name → [`KernelImage`], from the cache or its source.

use super::lock::LockedKernel;
use super::pins::Pins;
use super::source::{apt, path, url};
use super::{Cache, Error, KernelImage, Progress, prepare};
use crate::config::{Catalogue, Kernel, Selected, Source};

/// Provides what was selected from `catalogue`, ready to boot. An apt kernel
/// without a pin is pinned to the newest match first.
///
/// Blocks while it downloads; call it where blocking is allowed.
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
                Pins::store(catalogue, cache, vec![pin.clone()])?;
                pin
            };
            apt::provide(&kernel.name, source, &pin, cache, progress)
        }
        Source::Url(source) => url::provide(&kernel.name, source, cache, progress),
        Source::Path(path) => path::provide(&kernel.name, path, cache, progress),
        Source::Nix(_) => Err(Error::NixUnsupported {
            origin: catalogue.origin.clone(),
            line: kernel.line,
            name: kernel.name.clone(),
        }),
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
        Source::Nix(_) => Status {
            version: None,
            cached: false,
        },
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
    let mut pins: Vec<LockedKernel> = Vec::new();
    let mut updates = Vec::new();
    for kernel in kernels {
        let source = Pins::applies(kernel).ok_or_else(|| Error::NotPinned {
            name: kernel.name.clone(),
        })?;
        let pin = apt::resolve(&kernel.name, source, cache, progress)?;
        updates.push(Update {
            name: kernel.name.clone(),
            before: before
                .get(&kernel.name, source)
                .map(|pin| pin.version().to_owned()),
            after: pin.version().to_owned(),
        });
        pins.push(pin);
    }
    Pins::store(catalogue, cache, pins)?;
    Ok(updates)
}
