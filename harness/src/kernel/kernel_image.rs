//! One kernel that is ready to boot.

use std::path::PathBuf;

use super::error::Error;
use super::modules::{self, Index};
use super::{digest, signed_modules};
use crate::arch::Arch;

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
