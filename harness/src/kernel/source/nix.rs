//! A kernel from Nix: the output of a flake, or a store path.
//!
//! What is pinned is the store path, whose hash covers everything the kernel
//! was built from; it is fetched from a binary cache where one has it, and
//! built from the flake otherwise.

use std::path::{Path, PathBuf};

use super::super::cache::Key;
use super::super::layout::Layout;
use super::super::lock::LockedNix;
use super::super::prepare::{self, Taking};
use super::super::{Cache, Error, KernelImage, Progress, layout};
use crate::store::{self, Store};

/// The cache key of a pin: the store paths, which hash all inputs.
pub(crate) fn key(pin: &LockedNix) -> Key {
    Key::new("nix", pin.paths.iter().map(String::as_bytes))
}

/// Builds or fetches `installable`, relative to `base`, and gives the pin of
/// what came.
pub(crate) fn resolve(
    name: &str,
    installable: &str,
    base: &Path,
    cache: &Cache,
    progress: &Progress,
) -> Result<LockedNix, Error> {
    let store = Store::from_env()?;
    let link = root_link(installable, cache)?;
    let tell = |text: &str| progress.line(text);
    let built = store.build(installable, base, Some(&link), &tell)?;
    let mut paths = Vec::new();
    for path in built {
        let text = path.to_str().map(str::to_owned);
        paths.push(text.ok_or_else(|| Error::NoImage { path: path.clone() })?);
    }
    let pin = LockedNix {
        name: name.to_owned(),
        installable: installable.to_owned(),
        paths,
    };
    // Nothing is pinned that has no kernel in it.
    find(&pin, &store)?;
    Ok(pin)
}

/// Provides the kernel of `pin` under its name, from the cache if it is there.
pub(crate) fn provide(
    pin: &LockedNix,
    base: &Path,
    cache: &Cache,
    progress: &Progress,
) -> Result<KernelImage, Error> {
    let key = key(pin);
    let name = &pin.name;
    if let Some(kernel) = prepare::load(&cache.kernel_dir(&key), name) {
        return Ok(kernel);
    }
    let store = Store::from_env()?;
    realise(pin, &store, base, cache, progress)?;
    // Also where the garbage collector took modules that were used in place.
    cache.discard_damaged(&key, |dir| prepare::load(dir, name).is_some())?;
    if let Some(filling) = cache.fill(&key, || progress.waiting(name))? {
        let layout = find(pin, &store)?;
        prepare::prepare(&layout, Taking::Borrow, &filling.kernel())?;
        filling.publish()?;
    }
    prepare::load(&cache.kernel_dir(&key), name).ok_or_else(|| Error::NoImage {
        path: pin.paths.first().map(PathBuf::from).unwrap_or_default(),
    })
}

/// Makes sure that the pinned paths are in the store.
fn realise(
    pin: &LockedNix,
    store: &Store,
    base: &Path,
    cache: &Cache,
    progress: &Progress,
) -> Result<(), Error> {
    let there = |path: &String| store.on_host(Path::new(path)).symlink_metadata().is_ok();
    if pin.paths.iter().all(there) {
        return Ok(());
    }
    let tell = |text: &str| progress.line(text);
    let fetched = pin
        .paths
        .iter()
        .try_for_each(|path| store.build(path, base, None, &tell).map(drop));
    match fetched {
        Ok(()) => return Ok(()),
        // No binary cache has it: built from the flake it must be the same.
        Err(store::Error::Failed { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let built = resolve(&pin.name, &pin.installable, base, cache, progress)?;
    if built.paths == pin.paths {
        Ok(())
    } else {
        Err(Error::NixChanged {
            name: pin.name.clone(),
            installable: pin.installable.clone(),
            pinned: pin.paths.join(" "),
            built: built.paths.join(" "),
        })
    }
}

/// The kernel in the pinned paths: an image in one of them, its modules there
/// or in another.
fn find(pin: &LockedNix, store: &Store) -> Result<Layout, Error> {
    let directories: Vec<PathBuf> = pin
        .paths
        .iter()
        .map(|path| store.on_host(Path::new(path)))
        .collect();
    layout::find_among(&directories).map_err(|error| match error {
        Error::NoImage { .. } => Error::NixWithoutKernel {
            name: pin.name.clone(),
            installable: pin.installable.clone(),
            path: pin.paths.join(" "),
            files: directories.clone(),
        },
        other => other,
    })
}

/// A link that keeps the garbage collector from the kernel; one for each
/// installable, so that an update lets go of the one before.
fn root_link(installable: &str, cache: &Cache) -> Result<PathBuf, Error> {
    let roots = cache.subdirectory("nix-roots")?;
    let key = Key::new("root", [installable.as_bytes()]);
    Ok(roots.join(key.to_string()))
}
