//! Which kernel, from where: sources, cache, images, modules.

mod archive;
mod cache;
mod debian;
mod digest;
mod download;
mod error;
pub mod image;
mod layout;
mod lock;
pub mod modules;
mod pins;
mod prepare;
mod progress;
mod provide;
mod source;

pub use cache::Cache;
pub use error::Error;
pub use image::BootProtocol;
pub use lock::{Lock, LockedFile, LockedKernel, LockedNix, Pin};
pub use pins::Pins;
pub use progress::{FileProgress, Progress, Transfer, Watcher};
pub use provide::{Update, provide, status, update};
pub use source::Status;

use std::path::PathBuf;

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
    /// How QEMU enters `image`.
    pub boot_protocol: BootProtocol,
    /// The directory that is `/lib/modules/<release>` (holds `kernel/`,
    /// `modules.builtin`, ...); `None` for an image alone.
    pub modules: Option<PathBuf>,
    /// Where the index of `modules` is stored if it cannot be beside them, for
    /// [`modules::Index::open_remembered`].
    pub module_index: Option<PathBuf>,
}

impl KernelImage {
    /// SHA-256 of the image, in 64 hexadecimal digits. Computed each time: a kernel that is named
    /// by its path may have been rebuilt.
    pub fn sha256(&self) -> Result<String, Error> {
        digest::of_file(&self.image)
    }
}
