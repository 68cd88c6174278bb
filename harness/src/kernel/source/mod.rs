//! Where kernels come from.
//!
//! A source says only what its content is and how to get it; the cache does the
//! rest. Some name their content themselves, by a hash or a path; of others the
//! newest is asked for once and pinned.

mod apt;
mod mirror;
mod nix;
mod path;
mod url;

#[cfg(test)]
mod tests;

use std::path::Path;

use super::cache::Key;
use super::layout::Layout;
use super::lock::Pin;
use super::prepare::Taking;
use super::{Cache, Error, Progress, Status};
use crate::arch::Arch;
use crate::config::Source;

/// For whom something is fetched, and with what.
pub(super) struct Asked<'a> {
    /// The kernel's name.
    pub(super) name: &'a str,
    /// What it is to be for.
    pub(super) arch: Arch,
    /// The directory that relative flakes are relative to.
    pub(super) base: &'a Path,
    /// Sources keep their own state there.
    pub(super) cache: &'a Cache,
    /// Who hears how far it is.
    pub(super) progress: &'a Progress,
}

/// One kernel's content: equal keys, equal kernels.
pub(super) trait Content {
    /// What the kernel is made from.
    fn key(&self) -> Result<Key, Error>;

    /// Gets it, with `work` for whatever needs room meanwhile.
    fn get(&self, asked: &Asked<'_>, work: &Path) -> Result<(Layout, Taking), Error>;

    /// What is known of it without fetching anything.
    fn status(&self, asked: &Asked<'_>) -> Result<Status, Error> {
        let key = self.key()?.for_arch(asked.arch);
        let kernel = asked.cache.prepared(&key, asked.name);
        Ok(Status {
            cached: kernel.is_some(),
            version: kernel.map(|kernel| kernel.release),
        })
    }
}

/// A source whose newest content is asked for once and pinned.
pub(super) trait Pinning {
    /// Asks for the newest there is; `before` is what the kernel is pinned to.
    fn resolve(&self, asked: &Asked<'_>, before: Option<&Pin>) -> Result<Pin, Error>;

    /// What `pin` names; `None` if it was made for another source: a pin of
    /// another suite or package is no pin at all.
    fn content<'p>(&'p self, pin: &'p Pin) -> Option<Box<dyn Content + 'p>>;
}

/// How a source names its content.
pub(super) enum Supply<'s> {
    /// By itself.
    Fixed(Box<dyn Content + 's>),
    /// By a pin.
    Pinned(Box<dyn Pinning + 's>),
}

/// What the source `source` of a `kernels.toml` has.
pub(super) fn supply(source: &Source) -> Supply<'_> {
    match source {
        Source::Apt(source) => Supply::Pinned(Box::new(apt::Archive(source))),
        Source::Nix(installable) => Supply::Pinned(Box::new(nix::Flake(installable))),
        Source::Url(source) => Supply::Fixed(Box::new(url::Download(source))),
        Source::Path(path) => Supply::Fixed(local(path)),
    }
}

/// The kernel at `path`, an absolute path of a directory or an image.
pub(super) fn local(path: &Path) -> Box<dyn Content + '_> {
    Box::new(path::Local(path))
}
