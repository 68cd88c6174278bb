//! Which kernel, from where: sources, cache, images, modules.

pub mod archive;
mod at_once;
mod cache;
mod changed;
pub mod check;
mod debian;
mod digest;
mod disk;
mod download;
mod error;
pub mod facts;
pub mod image;
mod kconfig;
mod layout;
mod locate;
mod lock;
pub mod modules;
mod options;
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
pub use debian::kernels_of_index;
pub use error::Error;
pub use locate::locate;
pub use lock::{Lock, LockedFile, LockedKernel};
pub use pin::{NewPin, pin};
pub use pool::{in_pool, select};
pub use progress::{Progress, Transfer, Watcher};
pub use provide::{is_cached, packages_of, provide, provide_all, size_in_cache, status, update};
pub use prune::{Keep, cached_kernels, prune};
pub use symbols::Symbols;

use std::cmp::Ordering;
use std::path::PathBuf;

use crate::arch::Arch;
use modules::Index;

/// The order of versions of packages, as in deb-version(7): `7.3~rc7` comes before `7.3`. What is
/// none comes first.
pub fn compare_versions(a: &str, b: &str) -> Ordering {
    debian::compare(a, b)
}

/// One kernel, in the cache or in place, ready to boot.
#[derive(Debug, Clone)]
pub struct KernelImage {
    /// The name by which it was selected: from `kernels.toml`, or the path as given.
    pub name: String,
    /// What it runs on.
    pub arch: Arch,
    /// `uname -r` of the kernel, such as `6.1.0-50-cloud`.
    pub release: String,
    /// The image to hand to QEMU's `-kernel`.
    pub image: PathBuf,
    /// The directory that is `/lib/modules/<release>` (holds `kernel/`,
    /// `modules.builtin`, ...); `None` for an image alone.
    pub modules: Option<PathBuf>,
    /// Where the index of `modules` is stored if it cannot be beside them, for
    /// [`modules::Index::open_remembered`].
    pub module_index: Option<PathBuf>,
    /// A file with the configuration that it was built with, where it is known.
    pub config: Option<PathBuf>,
}

impl KernelImage {
    /// What the kernel's command line must say so that it boots as it is to.
    pub fn parameters(&self) -> Vec<String> {
        signed_modules::parameters(&self.image)
    }

    /// Its modules and builtins. Nothing is known of an image alone, so everything counts as built
    /// in.
    pub fn index(&self) -> Result<Index, modules::Error> {
        match (&self.modules, &self.module_index) {
            (Some(dir), Some(remembered)) => Index::open_remembered(dir, remembered),
            (Some(dir), None) => Index::open(dir),
            (None, _) => Ok(Index::all_builtin()),
        }
    }

    /// SHA-256 of the image, in 64 hexadecimal digits. Computed each time: a kernel that is named
    /// by its path may have been rebuilt.
    pub fn sha256(&self) -> Result<String, Error> {
        digest::of_file(&self.image)
    }
}
