//! Which kernel, from where: sources, cache, images, modules.

pub mod archive;
mod at_once;
mod cache;
mod changed;
pub mod check;
mod configure;
mod debian;
mod digest;
mod disk;
mod download;
mod error;
pub mod facts;
pub mod image;
mod kconfig;
mod kernel_image;
mod layout;
mod locate;
mod lock;
pub mod modules;
mod options;
mod partial;
mod pin;
mod pins;
mod pool;
mod prepare;
mod progress;
mod provide;
mod prune;
mod signed_modules;
mod source;
mod symbols;
pub mod wants;

pub(crate) use at_once::at_once;
pub use cache::Cache;
pub use changed::{ChangedOption, changed_options};
pub use debian::{KernelNames, kernels_of_index};
pub use digest::hex;
pub use error::Error;
pub use kernel_image::KernelImage;
pub use locate::locate;
pub use lock::{Lock, LockedFile, LockedKernel};
pub use pin::{NewPin, pin};
pub use pool::{in_pool, select};
pub use progress::{Progress, Transfer, Watcher};
pub use provide::{
    changelog_between, debug_image, is_cached, packages_of, provide, provide_all, size_in_cache,
    status, update,
};
pub use prune::{Keep, cached_kernels, prune};
pub use symbols::Symbols;

use std::cmp::Ordering;

/// The order of versions of packages, as in deb-version(7): `7.3~rc7` comes before `7.3`. What is
/// none comes first.
pub fn compare_versions(a: &str, b: &str) -> Ordering {
    debian::compare(a, b)
}
