//! From a kernel image as distributions ship it to the one that QEMU boots.
//!
//! A `bzImage` carries the real kernel, an ELF `vmlinux`, as a compressed payload. Booted as a
//! `bzImage`, the guest unpacks it, which takes a slow guest a second or more. Unpacked once on the
//! host, it is entered directly through PVH.

mod bytes;
mod bzimage;
pub(super) mod compression;
mod efi;
mod elf;
mod error;
mod foreign;
pub(super) mod names;
#[cfg(test)]
pub(super) mod test_image;

pub use error::Error;
pub(super) use error::titles;

use std::fs;
use std::io::Write as _;
use std::path::Path;

use self::bzimage::SetupHeader;
pub(in crate::kernel) use self::elf::has_btf;
use self::elf::{banner_release, has_pvh_entry, is_elf};
use self::error::Refusal;
use crate::arch::Arch;
use crate::whole_file;

/// How QEMU enters a kernel image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BootProtocol {
    /// An uncompressed ELF `vmlinux` with a PVH entry note
    /// (`XEN_ELFNOTE_PHYS32_ENTRY`): skips the guest's own decompression.
    Pvh,
    /// A `bzImage`, by the Linux/x86 boot protocol.
    BzImage,
}

/// The properties of an image that QEMU can boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bootable {
    /// Its architecture.
    pub arch: Arch,
    /// How QEMU enters it.
    pub boot_protocol: BootProtocol,
}

/// The formats of images.
enum Format {
    Elf,
    BzImage(SetupHeader),
}

/// The architecture and format of an image.
fn recognise(data: &[u8]) -> Result<(Arch, Format), Refusal> {
    if is_elf(data) {
        return Ok((elf::arch(data)?, Format::Elf));
    }
    SetupHeader::parse(data)
        .map(|header| (Arch::X86_64, Format::BzImage(header)))
        .map_err(|refusal| match foreign::architecture(data) {
            Some(name) => Refusal::Foreign(name.to_owned()),
            None if efi::machine(data).is_some() => Refusal::NotAKernel(
                "it is an EFI program but not a bzImage; a unified kernel image contains one in \
                 its section .linux",
            ),
            None => refusal,
        })
}

/// Writes to `dest` what QEMU should boot of `image`: the uncompressed ELF `vmlinux` if it has a
/// PVH entry point, else the `bzImage` itself. Writes `dest` atomically.
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
        // Ignore a damaged header here.
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

#[cfg(test)]
mod tests;
