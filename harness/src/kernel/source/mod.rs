//! Where kernels come from.
//!
//! A source only says what its content is and how to get it; the cache does the rest. Some name
//! their content themselves, by a hash or a path; for others, kiln asks once for the newest content
//! and pins it.

mod apt;
mod files;
mod host;
mod mirror;
mod nix;
mod oci;
mod package;
mod path;
mod unlisted;

#[cfg(test)]
mod tests;

pub(super) use apt::{Place, complete_pin, packages, pin_of, place, whole_pin_of};

use std::path::{Path, PathBuf};

use super::cache::Key;
use super::layout::Layout;
use super::lock::Pin;
use super::prepare::Taking;
use super::{Cache, Error, KernelImage, Progress};
use crate::arch::Arch;
use crate::config::Source;

/// The context of a request to a source.
pub(super) struct Asked<'a> {
    /// The kernel's name.
    pub(super) name: &'a str,
    /// Its architecture.
    pub(super) arch: Arch,
    /// The directory for relative flakes.
    pub(super) base: &'a Path,
    /// Sources keep their own state there.
    pub(super) cache: &'a Cache,
    /// Where to show progress.
    pub(super) progress: &'a Progress,
}

/// What is known about a kernel without fetching anything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// Its version: Debian's for a package, `uname -r` for a prepared kernel from elsewhere; `None`
    /// if unknown so far.
    pub version: Option<String>,
    /// Whether it can boot without its source.
    pub cached: bool,
}

/// One kernel's content: equal keys mean equal kernels.
pub(super) trait Content {
    /// The inputs of the kernel.
    fn key(&self) -> Result<Key, Error>;

    /// Gets it, using `work` for temporary files.
    fn get(&self, asked: &Asked<'_>, work: &Path) -> Result<(Layout, Taking), Error>;

    /// Called before each use of the kernel in the cache: an error refuses it.
    fn secure(&self, _kernel: &KernelImage) -> Result<(), Error> {
        Ok(())
    }

    /// What is known about it without fetching anything.
    fn status(&self, asked: &Asked<'_>) -> Result<Status, Error> {
        let key = self.key()?.for_arch(asked.arch);
        let kernel = asked.cache.prepared(&key, asked.name);
        Ok(Status {
            cached: kernel.is_some(),
            version: kernel.map(|kernel| kernel.release),
        })
    }
}

/// A source whose newest content is looked up once and pinned.
pub(super) trait Pinning {
    /// Looks up the newest content; `before` is the present pin of the kernel.
    fn resolve(&self, asked: &Asked<'_>, before: Option<&Pin>) -> Result<Pin, Error>;

    /// The content that `pin` names; `None` if it was made for another source: a pin of another
    /// suite or package does not count.
    fn content<'p>(&'p self, pin: &'p Pin) -> Option<Box<dyn Content + 'p>>;
}

/// How a source names its content.
pub(super) enum Supply<'s> {
    /// By itself.
    Fixed(Box<dyn Content + 's>),
    /// By a pin.
    Pinned(Box<dyn Pinning + 's>),
}

/// The supply of a `kernels.toml`'s `source`.
pub(super) fn supply(source: &Source) -> Supply<'_> {
    match source {
        Source::Apt(source) => Supply::Pinned(Box::new(apt::Archive(source))),
        Source::Nix(installable) => Supply::Pinned(Box::new(nix::Flake(installable))),
        Source::Oci(image) => Supply::Pinned(Box::new(oci::Image(image))),
        Source::Url(source) => Supply::Fixed(Box::new(files::Files::of_url(source))),
        Source::Files(files) => Supply::Fixed(Box::new(files::Files::of(files))),
        Source::Path(path) => Supply::Fixed(local(path)),
    }
}

/// The kernel at `path`, an absolute path of a directory, an image, a package or
/// a directory of packages.
pub(super) fn local(path: &Path) -> Box<dyn Content + '_> {
    match files::packages(path) {
        Some(packages) => Box::new(packages),
        None => Box::new(path::Local(path)),
    }
}

/// The kernel that this machine runs.
pub(super) fn host() -> Box<dyn Content> {
    Box::new(host::Host)
}

/// The kernel that the files at `paths` make together; absolute.
pub(super) fn together(paths: &[PathBuf]) -> Box<dyn Content + '_> {
    Box::new(files::Files::at(paths))
}
