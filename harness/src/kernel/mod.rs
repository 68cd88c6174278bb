//! Which kernel, from where: sources, cache, vmlinux, modules.

mod archive;
mod cache;
mod compression;
mod digest;
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
pub use progress::{FileProgress, Progress};
pub use provide::{Status, Update, provide, status, update};

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
}

impl KernelImage {
    /// SHA-256 of the image, in 64 hexadecimal digits. Kept beside the image,
    /// which never changes: reading all of it takes longer than all else that
    /// a kernel in the cache needs.
    pub fn sha256(&self) -> Result<String, Error> {
        let kept = self.image.with_extension("sha256");
        if let Ok(text) = std::fs::read_to_string(&kept)
            && text.len() == 64
            && text.bytes().all(|byte| byte.is_ascii_hexdigit())
        {
            return Ok(text);
        }
        let hash = digest::of_file(&self.image)?;
        let keep = || -> std::io::Result<()> {
            let dir = kept.parent().unwrap_or(std::path::Path::new("/"));
            let mut file = tempfile::NamedTempFile::new_in(dir)?;
            std::io::Write::write_all(&mut file, hash.as_bytes())?;
            file.persist(&kept)?;
            Ok(())
        };
        // A cache that cannot be written costs the time again.
        if let Err(error) = keep() {
            tracing::debug!("the hash of {} is not kept: {error}", self.image.display());
        }
        Ok(hash)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_hash_of_an_image_is_kept_and_a_damaged_one_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let kernel = KernelImage {
            name: "k".into(),
            release: "6.1.0".into(),
            image: dir.path().join("image"),
            boot_protocol: BootProtocol::Pvh,
            modules: None,
        };
        std::fs::write(&kernel.image, "abc").unwrap();
        // Of FIPS 180-2, appendix B.1.
        let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(kernel.sha256().unwrap(), hash);
        let kept = dir.path().join("image.sha256");
        assert_eq!(std::fs::read_to_string(&kept).unwrap(), hash);
        std::fs::write(&kept, "half").unwrap();
        assert_eq!(kernel.sha256().unwrap(), hash);
        std::fs::remove_file(&kernel.image).unwrap();
        assert_eq!(kernel.sha256().unwrap(), hash, "it was kept again");
    }
}
