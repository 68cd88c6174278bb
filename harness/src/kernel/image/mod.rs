//! From a kernel image as distributions ship it to the one that QEMU boots.
//!
//! A `bzImage` carries the real kernel, an ELF `vmlinux`, as a compressed
//! payload. Booted as a `bzImage` the guest unpacks it, which takes a slow guest
//! a second and more; unpacked once on the host it is entered directly by PVH.

mod bzimage;
pub(super) mod compression;
mod efi;
mod elf;
mod foreign;
pub(super) mod names;
#[cfg(test)]
pub(super) mod test_image;

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use self::bzimage::SetupHeader;
use self::elf::{banner_release, has_pvh_entry, is_elf};
use crate::arch::Arch;
use crate::hint::Hint;
use crate::whole_file;

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

/// What an image that QEMU can boot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bootable {
    /// The architecture it is for.
    pub arch: Arch,
    /// How it is entered.
    pub boot_protocol: BootProtocol,
}

/// Why a kernel image cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The image cannot be read.
    #[error("cannot read the kernel image {}", path.display())]
    Read {
        /// The image.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The unpacked image cannot be written.
    #[error("cannot write the unpacked kernel {}", path.display())]
    Write {
        /// The file to be written.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is something else.
    #[error("{} is not an x86-64 kernel: {reason}", path.display())]
    NotAKernel {
        /// The file.
        path: PathBuf,
        /// What it lacks.
        reason: &'static str,
    },
    /// A kernel that no VM of kiln's runs.
    #[error("{} is a kernel for {arch}, and kiln boots kernels for {} only", path.display(), titles())]
    OtherArchitecture {
        /// The image.
        path: PathBuf,
        /// What it is for.
        arch: String,
    },
    /// The file ends before what its header announces.
    #[error("the kernel image {} is cut short: its payload ends at byte {expected}, the file at byte {actual}", path.display())]
    Truncated {
        /// The image.
        path: PathBuf,
        /// Bytes that the header announces.
        expected: u64,
        /// Bytes that there are.
        actual: u64,
    },
    /// The payload does not unpack.
    #[error("the {compression} payload of the kernel image {} is damaged", path.display())]
    Unpack {
        /// The image.
        path: PathBuf,
        /// Compression of the payload.
        compression: &'static str,
        /// What the decoder says.
        source: io::Error,
    },
    /// The payload unpacks to another size than it says.
    #[error("the payload of the kernel image {} unpacks to {actual} bytes, not to the {expected} it says", path.display())]
    Size {
        /// The image.
        path: PathBuf,
        /// Bytes that the payload's size field announces.
        expected: u64,
        /// Bytes unpacked, counted no further than one too many.
        actual: u64,
    },
    /// An ELF kernel that QEMU cannot enter.
    #[error("{} is an ELF kernel without a PVH entry point", path.display())]
    NoEntry {
        /// The image.
        path: PathBuf,
    },
    /// The kernel does not say which release it is.
    #[error("the kernel image {} does not say its release", path.display())]
    NoRelease {
        /// The image.
        path: PathBuf,
    },
}

impl Error {
    /// The same of an image that the user knows by another path.
    pub(super) fn of(mut self, path: impl Into<PathBuf>) -> Self {
        match &mut self {
            Self::Read { path: known, .. }
            | Self::Write { path: known, .. }
            | Self::NotAKernel { path: known, .. }
            | Self::OtherArchitecture { path: known, .. }
            | Self::Truncated { path: known, .. }
            | Self::Unpack { path: known, .. }
            | Self::Size { path: known, .. }
            | Self::NoEntry { path: known }
            | Self::NoRelease { path: known } => *known = path.into(),
        }
        self
    }

    /// The image.
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Read { path, .. }
            | Self::Write { path, .. }
            | Self::NotAKernel { path, .. }
            | Self::OtherArchitecture { path, .. }
            | Self::Truncated { path, .. }
            | Self::Unpack { path, .. }
            | Self::Size { path, .. }
            | Self::NoEntry { path }
            | Self::NoRelease { path } => path,
        }
    }
}

impl Hint for Error {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::NotAKernel { .. } => vec![
                "give a bzImage (`/boot/vmlinuz-*`, `arch/x86/boot/bzImage`) or an ELF vmlinux \
                 for x86-64"
                    .to_owned(),
            ],
            Self::OtherArchitecture { .. } => {
                let names = Arch::ALL.map(|arch| {
                    let (title, debian, nix) = (arch.title(), arch.debian(), arch.nix());
                    format!("{title} ({debian} in Debian, {nix} in Nix)")
                });
                vec![format!("give one that is built for {}", names.join(" or "))]
            }
            Self::Truncated { .. } | Self::Unpack { .. } | Self::Size { .. } => {
                vec!["fetch or build the kernel again".to_owned()]
            }
            Self::NoEntry { .. } => {
                vec!["give its bzImage instead, or build it with CONFIG_PVH=y".to_owned()]
            }
            Self::Read { path, source } if source.kind() == io::ErrorKind::PermissionDenied => {
                vec![super::error::readable(path)]
            }
            Self::Read { .. } | Self::Write { .. } | Self::NoRelease { .. } => Vec::new(),
        }
    }
}

/// What kiln boots, for messages.
pub(super) fn titles() -> String {
    Arch::ALL.map(Arch::title).join(" or ")
}

/// Why a file is not an image that can be booted.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Refusal {
    /// It lacks what makes it one.
    NotAKernel(&'static str),
    /// It is for this architecture.
    Foreign(String),
}

impl Refusal {
    /// The error of the file at `path`.
    fn of(self, path: &Path) -> Error {
        let path = path.into();
        match self {
            Self::NotAKernel(reason) => Error::NotAKernel { path, reason },
            Self::Foreign(arch) => Error::OtherArchitecture { path, arch },
        }
    }
}

/// The formats of images.
enum Format {
    Elf,
    BzImage(SetupHeader),
}

/// What an image is for, and its format.
fn recognise(data: &[u8]) -> Result<(Arch, Format), Refusal> {
    if is_elf(data) {
        return Ok((elf::arch(data)?, Format::Elf));
    }
    SetupHeader::parse(data)
        .map(|header| (Arch::X86_64, Format::BzImage(header)))
        .map_err(|refusal| match foreign::architecture(data) {
            Some(name) => Refusal::Foreign(name.to_owned()),
            None if efi::machine(data).is_some() => Refusal::NotAKernel(
                "it is an EFI program and no bzImage; a unified kernel image holds one in its \
                 section .linux",
            ),
            None => refusal,
        })
}

/// Writes to `dest` what QEMU is to boot of `image`: the uncompressed ELF
/// `vmlinux` where it has a PVH entry point, the `bzImage` itself where not.
/// `dest` appears whole or not at all.
pub fn unpack(image: &Path, dest: &Path) -> Result<Bootable, Error> {
    let data = read(image)?;
    let (arch, format) = recognise(&data).map_err(|refusal| refusal.of(image))?;
    let boot_protocol = match format {
        Format::Elf if has_pvh_entry(&data) => {
            write(dest, &data)?;
            BootProtocol::Pvh
        }
        Format::Elf => return Err(Error::NoEntry { path: image.into() }),
        Format::BzImage(header) => match header.vmlinux(image, &data)? {
            Some(vmlinux) if has_pvh_entry(&vmlinux) => {
                write(dest, &vmlinux)?;
                BootProtocol::Pvh
            }
            _ => {
                write(dest, &data)?;
                BootProtocol::BzImage
            }
        },
    };
    Ok(Bootable {
        arch,
        boot_protocol,
    })
}

/// What `uname -r` says under this kernel, such as `6.1.0-50-cloud-amd64`: from
/// the version string of a `bzImage` or the banner of an ELF `vmlinux`.
pub fn release(image: &Path) -> Result<String, Error> {
    let data = read(image)?;
    let found = match recognise(&data) {
        Ok((_, Format::BzImage(header))) => header.release(&data),
        Ok((_, Format::Elf)) => banner_release(&data),
        // A damaged header is not what was asked about.
        Err(Refusal::NotAKernel(_)) if is_elf(&data) => banner_release(&data),
        Err(refusal) => return Err(refusal.of(image)),
    };
    found.ok_or_else(|| Error::NoRelease { path: image.into() })
}

/// The `vmlinux` in `image`, where it can be unpacked.
pub(super) fn vmlinux(image: &Path) -> Result<Option<Vec<u8>>, Error> {
    let data = read(image)?;
    match recognise(&data) {
        Ok((_, Format::BzImage(header))) => header.vmlinux(image, &data),
        Ok((_, Format::Elf)) => Ok(Some(data)),
        Err(refusal) => Err(refusal.of(image)),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|source| Error::Read {
        path: path.into(),
        source,
    })
}

fn write(dest: &Path, data: &[u8]) -> Result<(), Error> {
    whole_file::write_with(dest, |file| {
        file.write_all(data)?;
        file.sync_all()
    })
    .map_err(|source| Error::Write {
        path: dest.into(),
        source,
    })
}

fn u16_at(data: &[u8], offset: usize) -> Option<u16> {
    let bytes = data.get(offset..)?.first_chunk()?;
    Some(u16::from_le_bytes(*bytes))
}

fn u32_at(data: &[u8], offset: usize) -> Option<u32> {
    let bytes = data.get(offset..)?.first_chunk()?;
    Some(u32::from_le_bytes(*bytes))
}

/// The first word of a version text. A release has at most 64 bytes
/// (`__NEW_UTS_LEN`), and printable ones: a path is made of it.
fn release_word(text: &[u8]) -> Option<String> {
    let text = &text[..text.len().min(65)];
    let end = text
        .iter()
        .position(|byte| matches!(byte, 0 | b' ' | b'\n'))?;
    let word = &text[..end];
    let names_a_directory = !matches!(word, b"" | b"." | b"..");
    (names_a_directory
        && word
            .iter()
            .all(|&byte| byte.is_ascii_graphic() && byte != b'/'))
    .then(|| String::from_utf8_lossy(word).into_owned())
}

#[cfg(test)]
mod tests;
