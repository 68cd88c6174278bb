//! Where kernels come from.
//!
//! A source only says what its content is and how to get it; the cache does the rest. Some name
//! their content themselves, by a hash or a path; for others, kiln asks once for the newest content
//! and pins it.

mod apt;
mod build_id;
pub(super) mod changelog;
mod content;
pub(super) mod debug_image;
pub(super) mod debuginfod;
mod files;
mod host;
mod mirror;
mod nix;
mod oci;
mod old_package;
mod package;
mod path;
mod unlisted;

#[cfg(test)]
mod tests;

pub(super) use apt::{Place, complete_pin, packages, pin_of, place, whole_pin_of};
pub use content::Status;
pub(super) use content::{Content, Pinning, Request};

use std::path::{Path, PathBuf};

use crate::config::Source;

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
