//! Kernel name → [`KernelImage`], from the cache or its source.

use std::path::{Path, PathBuf};

use super::at_once::{DOWNLOADS, at_once};
use super::lock::{LockedKernel, Pin};
use super::pins::Pins;
use super::source::{self, Content, Pinning, Request, Status, Supply};
use super::{Cache, Error, KernelImage, Progress};
use crate::arch::Arch;
use crate::config::{AptSource, Catalogue, Kernel, Origin, PoolKernel, Selected, Source};

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
    let request = request(
        catalogue,
        (selected.name(), selected.arch()),
        cache,
        progress,
    );
    let kernel = match selected {
        Selected::Named(kernel) => kernel,
        Selected::Pooled(kernel) => return pooled(kernel, &request),
        Selected::Path { path, .. } => return get(&*source::local(path), &request),
        Selected::Host => return get(&*source::host(), &request),
        Selected::Files { paths, .. } => return get(&*source::together(paths), &request),
    };
    match source::supply(&kernel.source) {
        Supply::Fixed(content) => get(&*content, &request),
        Supply::Pinned(source) => {
            let pins = Pins::load(catalogue, cache)?;
            if let Some(content) = pinned(&*source, &pins, kernel) {
                return get(&*content, &request);
            }
            let pin = source
                .resolve(&request, None)
                .map_err(|error| not_cached(&request, error))?;
            Pins::store(catalogue, cache, vec![pin.clone()])?;
            let content = source.content(&pin).ok_or_else(|| Error::NotPinned {
                name: kernel.name.clone(),
            })?;
            get(&*content, &request)
        }
    }
}

fn pooled(kernel: &PoolKernel, request: &Request<'_>) -> Result<KernelImage, Error> {
    let pin = source::whole_pin_of(request, kernel).map_err(|error| not_cached(request, error))?;
    let content = source::packages(kernel, &pin);
    get(&*content, request).map_err(|error| match error {
        Error::PinGone { .. } => Error::LeftPool {
            pool: kernel.pool().to_owned(),
            source: Box::new(error),
        },
        other => other,
    })
}

fn get(content: &dyn Content, request: &Request<'_>) -> Result<KernelImage, Error> {
    let key = content.key()?.for_arch(request.arch);
    let kernel = request
        .cache
        .provide(&key, request.name, request.progress, |work| {
            content.get(request, work)
        })
        .map_err(|error| not_cached(request, error))?;
    content.secure(&kernel)?;
    Ok(kernel)
}

/// Names the kernel that cannot be fetched.
fn not_cached(request: &Request<'_>, error: Error) -> Error {
    match error {
        Error::Download { .. } | Error::Offline { .. } => Error::NotCached {
            name: request.name.to_owned(),
            source: Box::new(error),
        },
        other => other,
    }
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

/// Whether a kernel of a pool can be booted without its archive.
pub fn is_cached(kernel: &PoolKernel, cache: &Cache) -> Result<bool, Error> {
    let Some(pin) = source::pin_of(kernel, cache) else {
        return Ok(false);
    };
    let key = source::packages(kernel, &pin).key()?;
    let key = key.for_arch(kernel.arch);
    Ok(cache.prepared(&key, &kernel.name).is_some())
}

/// Provides several kernels, some at once, and tells of each when all before it
/// have come.
///
/// Blocks as [`provide`] does.
pub fn provide_all(
    catalogue: &Catalogue,
    selected: &[Selected],
    cache: &Cache,
    progress: &Progress,
) -> Vec<Result<KernelImage, Error>> {
    at_once(selected, DOWNLOADS, |selected| {
        provide(catalogue, selected, cache, progress)
    })
}

/// What `selected` is made of, if it is of packages, and where they are from: with
/// it the same bytes can be had again. The SHA-1 of files that were never fetched
/// by this cache is missing.
pub fn packages_of(
    catalogue: &Catalogue,
    selected: &Selected,
    cache: &Cache,
) -> Result<Option<(AptSource, LockedKernel)>, Error> {
    match selected {
        Selected::Pooled(kernel) => {
            let pin = source::pin_of(kernel, cache);
            Ok(pin.map(|pin| (kernel.source.clone(), pin)))
        }
        Selected::Named(kernel) => {
            let Source::Apt(source) = &kernel.source else {
                return Ok(None);
            };
            let pins = Pins::load(catalogue, cache)?;
            let mut of_kernel = pins.of(&kernel.name, kernel.arch);
            Ok(of_kernel.find_map(|pin| match pin {
                Pin::Apt(pin) if pin.is_of(source) => Some((source.clone(), pin.clone())),
                _ => None,
            }))
        }
        Selected::Path { .. } | Selected::Files { .. } | Selected::Host => Ok(None),
    }
}

/// A request for the kernel of this name and architecture.
fn request<'a>(
    catalogue: &'a Catalogue,
    (name, arch): (&'a str, Arch),
    cache: &'a Cache,
    progress: &'a Progress,
) -> Request<'a> {
    Request {
        name,
        arch,
        base: base(catalogue),
        cache,
        progress,
    }
}

/// The debug image of `selected`: what was fetched before, or with `fetch` from Debian's archives if it
/// is a kernel of Debian's, else from the servers of `DEBUGINFOD_URLS`. `None` if none of them has it.
/// `release` is that of the kernel.
pub fn debug_image(
    catalogue: &Catalogue,
    (selected, release): (&Selected, &str),
    cache: &Cache,
    fetch: bool,
    progress: &Progress,
) -> Result<Option<PathBuf>, Error> {
    let of_debian = match packages_of(catalogue, selected, cache)? {
        Some((source, pin)) => {
            let request = request(catalogue, (selected.name(), pin.arch), cache, progress);
            if fetch {
                let kernel = || provide(catalogue, selected, cache, progress);
                source::debug_image::fetched(&request, &source, &pin, kernel).map(Some)
            } else {
                source::debug_image::kept(&request, &pin)
            }
        }
        None => Ok(None),
    };
    if let Ok(Some(_)) = of_debian {
        return of_debian;
    }
    let servers = if fetch {
        source::debuginfod::servers()
    } else {
        Vec::new()
    };
    // Reading the image for its build ID takes as long as unpacking it.
    if servers.is_empty() && !source::debuginfod::may_have(cache, release)? {
        return of_debian;
    }
    let kernel = provide(catalogue, selected, cache, progress)?;
    match source::debuginfod::find(cache, progress, &kernel, &servers) {
        Ok(Some(found)) => Ok(Some(found)),
        // Debian's answer says more about its own kernels.
        Ok(None) => of_debian,
        Err(error) => of_debian.and(Err(error)),
    }
}

/// What the changelog of the second kernel says of versions after the first, if both are of Debian's
/// packages.
pub fn changelog_between(
    catalogue: &Catalogue,
    [before, after]: [&Selected; 2],
    cache: &Cache,
    progress: &Progress,
) -> Result<Option<String>, Error> {
    let (Some((_, before)), Some((source, pin))) = (
        packages_of(catalogue, before, cache)?,
        packages_of(catalogue, after, cache)?,
    ) else {
        return Ok(None);
    };
    let request = request(catalogue, (after.name(), pin.arch), cache, progress);
    source::changelog::since(&request, &source, &pin, before.version())
}

/// Returns what is known about `kernel`, a kernel of `catalogue`.
pub fn status(catalogue: &Catalogue, kernel: &Kernel, cache: &Cache) -> Result<Status, Error> {
    let silent = Progress::silent();
    let request = request(catalogue, (&kernel.name, kernel.arch), cache, &silent);
    match source::supply(&kernel.source) {
        Supply::Fixed(content) => content.status(&request),
        Supply::Pinned(source) => {
            let pins = Pins::load(catalogue, cache)?;
            let content = pinned(&*source, &pins, kernel);
            content.map_or_else(|| Ok(Status::default()), |content| content.status(&request))
        }
    }
}

/// What `kernel` takes in the cache, in bytes; `None` if it is not there, or has
/// never been looked at.
pub fn size_in_cache(
    catalogue: &Catalogue,
    kernel: &Kernel,
    cache: &Cache,
) -> Result<Option<u64>, Error> {
    let size = |content: &dyn Content| {
        let key = content.key()?.for_arch(kernel.arch);
        Ok(cache.size_of(&key))
    };
    match source::supply(&kernel.source) {
        Supply::Fixed(content) => size(&*content),
        Supply::Pinned(source) => {
            let pins = Pins::load(catalogue, cache)?;
            let content = pinned(&*source, &pins, kernel);
            content.map_or(Ok(None), |content| size(&*content))
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
    let resolved = at_once(kernels, DOWNLOADS, |kernel| {
        let Supply::Pinned(source) = source::supply(&kernel.source) else {
            return Err(Error::NotPinned {
                name: kernel.name.clone(),
            });
        };
        let was = before
            .of(&kernel.name, kernel.arch)
            .find(|pin| source.content(pin).is_some());
        let request = request(catalogue, (&kernel.name, kernel.arch), cache, progress);
        let pin = source.resolve(&request, was)?;
        let update = Update {
            name: kernel.name.clone(),
            before: was.map(Pin::version),
            after: pin.version(),
        };
        Ok((pin, update))
    });
    let mut pins: Vec<Pin> = Vec::new();
    let mut updates = Vec::new();
    for resolved in resolved {
        let (pin, update) = resolved?;
        pins.push(pin);
        updates.push(update);
    }
    Pins::store(catalogue, cache, pins)?;
    Ok(updates)
}
