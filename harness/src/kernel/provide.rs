//! Kernel name → [`KernelImage`], from the cache or its source.

use std::path::Path;

use super::lock::Pin;
use super::pins::Pins;
use super::source::{self, Asked, Content, Pinning, Status, Supply};
use super::{Cache, Error, KernelImage, Progress};
use crate::config::{Catalogue, Kernel, Origin, Selected};

/// Provides the selected kernel from `catalogue`, ready to boot. A kernel whose source needs a pin
/// is first pinned if it has none.
///
/// Blocks while it downloads or builds; call it where blocking is allowed.
pub fn provide(
    catalogue: &Catalogue,
    selected: &Selected,
    cache: &Cache,
    progress: &Progress,
) -> Result<KernelImage, Error> {
    let asked = Asked {
        name: selected.name(),
        arch: selected.arch(),
        base: base(catalogue),
        cache,
        progress,
    };
    let kernel = match selected {
        Selected::Named(kernel) => kernel,
        Selected::Path { path, .. } => return get(&*source::local(path), &asked),
    };
    match source::supply(&kernel.source) {
        Supply::Fixed(content) => get(&*content, &asked),
        Supply::Pinned(source) => {
            let pins = Pins::load(catalogue, cache)?;
            if let Some(content) = pinned(&*source, &pins, kernel) {
                return get(&*content, &asked);
            }
            let pin = source.resolve(&asked, None)?;
            Pins::store(catalogue, cache, vec![pin.clone()])?;
            let content = source.content(&pin).ok_or_else(|| Error::NotPinned {
                name: kernel.name.clone(),
            })?;
            get(&*content, &asked)
        }
    }
}

fn get(content: &dyn Content, asked: &Asked<'_>) -> Result<KernelImage, Error> {
    let key = content.key()?.for_arch(asked.arch);
    asked
        .cache
        .provide(&key, asked.name, asked.progress, |work| {
            content.get(asked, work)
        })
}

/// What `kernel` of `source` is pinned to.
fn pinned<'p>(
    source: &'p (dyn Pinning + 'p),
    pins: &'p Pins,
    kernel: &'p Kernel,
) -> Option<Box<dyn Content + 'p>> {
    pins.of(&kernel.name, kernel.arch)
        .find_map(|pin| source.content(pin))
}

/// The directory for relative flakes: that of the catalogue.
fn base(catalogue: &Catalogue) -> &Path {
    match &catalogue.origin {
        Origin::File(path) => path.parent().unwrap_or(Path::new("/")),
        Origin::BuiltIn => Path::new("/"),
    }
}

/// Returns what is known about `kernel`, a kernel of `catalogue`.
pub fn status(catalogue: &Catalogue, kernel: &Kernel, cache: &Cache) -> Result<Status, Error> {
    let asked = Asked {
        name: &kernel.name,
        arch: kernel.arch,
        base: base(catalogue),
        cache,
        progress: &Progress::silent(),
    };
    match source::supply(&kernel.source) {
        Supply::Fixed(content) => content.status(&asked),
        Supply::Pinned(source) => {
            let pins = Pins::load(catalogue, cache)?;
            let content = pinned(&*source, &pins, kernel);
            content.map_or_else(|| Ok(Status::default()), |content| content.status(&asked))
        }
    }
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

/// Pins `kernels`, kernels of `catalogue`, to the newest version. Writes nothing unless it finds
/// all of them.
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
        let Supply::Pinned(source) = source::supply(&kernel.source) else {
            return Err(Error::NotPinned {
                name: kernel.name.clone(),
            });
        };
        let was = before
            .of(&kernel.name, kernel.arch)
            .find(|pin| source.content(pin).is_some());
        let asked = Asked {
            name: &kernel.name,
            arch: kernel.arch,
            base: base(catalogue),
            cache,
            progress,
        };
        let pin = source.resolve(&asked, was)?;
        updates.push(Update {
            name: kernel.name.clone(),
            before: was.map(Pin::version),
            after: pin.version(),
        });
        pins.push(pin);
    }
    Pins::store(catalogue, cache, pins)?;
    Ok(updates)
}
