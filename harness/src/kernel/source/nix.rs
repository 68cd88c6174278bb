//! A kernel from Nix: the output of a flake, or a store path.
//!
//! The pin is the store path, whose hash covers everything the kernel was built from. It is fetched
//! from a binary cache if one has it, and built from the flake otherwise.

use std::path::{Path, PathBuf};

use super::super::cache::Key;
use super::super::layout::Layout;
use super::super::lock::{LockedNix, Pin};
use super::super::prepare::Taking;
use super::super::{Cache, Error, layout};
use super::content::{Content, Pinning, Request};
use crate::store::{self, Store};

/// The output of a flake, or a store path, as `nix build` takes it.
pub(super) struct Flake<'s>(pub(super) &'s str);

/// The store paths of its pin.
struct Outputs<'p>(&'p LockedNix);

impl Pinning for Flake<'_> {
    /// Builds or fetches it.
    fn resolve(&self, request: &Request<'_>, _before: Option<&Pin>) -> Result<Pin, Error> {
        build(self.0, request).map(Pin::Nix)
    }

    fn content<'p>(&'p self, pin: &'p Pin) -> Option<Box<dyn Content + 'p>> {
        match pin {
            Pin::Nix(pin) if pin.installable == self.0 => Some(Box::new(Outputs(pin))),
            _ => None,
        }
    }
}

impl Content for Outputs<'_> {
    /// The store paths, which hash all inputs.
    fn key(&self) -> Result<Key, Error> {
        Ok(Key::new("nix", self.0.paths.iter().map(String::as_bytes)))
    }

    fn get(&self, request: &Request<'_>, _work: &Path) -> Result<(Layout, Taking), Error> {
        let store = Store::from_env()?;
        realise(self.0, &store, request)?;
        Ok((find(self.0, &store)?, Taking::Borrow))
    }
}

/// Builds or fetches `installable` and returns the pin of the result.
fn build(installable: &str, request: &Request<'_>) -> Result<LockedNix, Error> {
    let store = Store::from_env()?;
    let link = root_link(installable, request.cache)?;
    let notify = |text: &str| request.progress.line(text);
    let built = store.build(installable, request.base, Some(&link), &notify)?;
    let mut paths = Vec::new();
    for path in built {
        let text = path.to_str().map(str::to_owned);
        paths.push(text.ok_or_else(|| Error::NoImage { path: path.clone() })?);
    }
    let pin = LockedNix {
        name: request.name.to_owned(),
        installable: installable.to_owned(),
        arch: request.arch,
        paths,
    };
    // Do not pin anything without a kernel.
    find(&pin, &store)?;
    Ok(pin)
}

/// Makes sure that the pinned paths are in the store.
fn realise(pin: &LockedNix, store: &Store, request: &Request<'_>) -> Result<(), Error> {
    let there = |path: &String| store.on_host(Path::new(path)).symlink_metadata().is_ok();
    if pin.paths.iter().all(there) {
        return Ok(());
    }
    let notify = |text: &str| request.progress.line(text);
    let fetched = pin
        .paths
        .iter()
        .try_for_each(|path| store.build(path, request.base, None, &notify).map(drop));
    match fetched {
        Ok(()) => return Ok(()),
        // No binary cache has it: a build from the flake must give the same.
        Err(store::Error::Failed { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let built = build(&pin.installable, request)?;
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

/// A link that protects the kernel from the garbage collector; one for each installable, so that an
/// update releases the previous one.
fn root_link(installable: &str, cache: &Cache) -> Result<PathBuf, Error> {
    let roots = cache.subdirectory("nix-roots")?;
    let key = Key::new("root", [installable.as_bytes()]);
    Ok(roots.join(key.to_string()))
}
