//! Which kernel, from where: sources, cache, vmlinux, modules.

mod archive;
mod cache;
mod compression;
mod debian;
mod digest;
mod download;
mod error;
mod layout;
mod lock;
pub mod modules;
mod pins;
mod prepare;
mod progress;
mod provide;
mod source;
#[cfg(test)]
mod test_image;
pub mod vmlinux;

pub use cache::Cache;
pub use error::Error;
pub use lock::{Lock, LockedFile, LockedKernel, LockedNix, Pin};
pub use pins::Pins;
pub use progress::{FileProgress, Progress, Transfer, Watcher};
pub use provide::{Update, provide, status, update};
pub use source::Status;

use std::path::PathBuf;

/// How a kernel image is entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BootProtocol {
    /// An uncompressed ELF `vmlinux` with a PVH entry note
    /// (`XEN_ELFNOTE_PHYS32_ENTRY`): skips the guest's own decompression.
    Pvh,
    /// A `bzImage`, by the Linux/x86 boot protocol.
    BzImage,
}

/// One bootable kernel, in the cache or in place, ready to be booted.
#[derive(Debug, Clone)]
pub struct KernelImage {
    /// The name it was selected by: of `kernels.toml`, or the path as given.
    pub name: String,
    /// `uname -r` of the kernel, such as `6.1.0-50-cloud-amd64`.
    pub release: String,
    /// The image to hand to QEMU's `-kernel`.
    pub image: PathBuf,
    /// How `image` is entered.
    pub boot_protocol: BootProtocol,
    /// The directory that is `/lib/modules/<release>` (holds `kernel/`,
    /// `modules.builtin`, ...); `None` for an image alone.
    pub modules: Option<PathBuf>,
    /// Where the index of `modules` was left that cannot stand beside them, for
    /// [`modules::Index::open_remembered`].
    pub module_index: Option<PathBuf>,
}

impl KernelImage {
    /// SHA-256 of the image, in 64 hexadecimal digits. Read anew each time: a
    /// kernel that is named by its path may have been built again.
    pub fn sha256(&self) -> Result<String, Error> {
        digest::of_file(&self.image)
    }
}
