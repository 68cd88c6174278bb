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
mod limit;
mod lzop;
pub(super) mod names;
mod slim;
#[cfg(test)]
pub(super) mod test_image;
mod uki;

pub use error::Error;
pub(super) use error::titles;

use std::fs::File;
use std::io::{Read, Seek as _, Write as _};
use std::path::Path;

use limit::MAX_IMAGE;
use object::read::ReadCache;

use self::bzimage::SetupHeader;
use self::compression::Compression;
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
                "it is an EFI program, but neither a bzImage nor a unified kernel image, which has \
                 a kernel in its section .linux",
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
pub fn vmlinux(image: &Path) -> Result<Option<Vec<u8>>, Error> {
    let data = read(image)?;
    match recognise(&data) {
        Ok((_, Format::BzImage(header))) => header.vmlinux(image, &data),
        Ok((_, Format::Elf)) => Ok(Some(data)),
        Err(refusal) => Err(refusal.of(image)),
    }
}

/// The bytes of the image in a file: of an ELF file what boots, of a unified kernel image its
/// kernel, and of an image that is compressed as a whole what it unpacks to.
fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let failed = |source| Error::Read {
        path: path.into(),
        source,
    };
    let mut file = File::open(path).map_err(failed)?;
    let mut magic = Vec::new();
    (&file).take(4).read_to_end(&mut magic).map_err(failed)?;
    if is_elf(&magic) {
        return read_elf(path, &file);
    }
    file.rewind().map_err(failed)?;
    let mut data = read_at_most(path, &file)?;
    if let Some(kernel) = uki::kernel(&data) {
        if data.len() < kernel.end {
            return Err(Error::Truncated {
                path: path.into(),
                expected: kernel.end as u64,
                actual: data.len() as u64,
            });
        }
        data.truncate(kernel.end);
        data.drain(..kernel.start);
    }
    match Compression::detect(&data) {
        Some(compression) => unpack_whole(path, compression, data),
        None => Ok(data),
    }
}

/// What of the ELF file at `path` boots.
fn read_elf(path: &Path, mut file: &File) -> Result<Vec<u8>, Error> {
    let failed = |source| Error::Read {
        path: path.into(),
        source,
    };
    let whole = ReadCache::new(file);
    let end = slim::loaded_end(&whole);
    let actual = file.metadata().map_err(failed)?.len();
    file.rewind().map_err(failed)?;
    match end {
        // Headers that cannot be read, or nothing that is loaded: what that is shows later.
        Err(_) | Ok(None) => read_at_most(path, file),
        Ok(Some(expected)) if expected > actual => Err(Error::Truncated {
            path: path.into(),
            expected,
            actual,
        }),
        Ok(Some(end)) => {
            let loaded = read_at_most(path, file.take(end))?;
            Ok(slim::slim(loaded, &whole))
        }
    }
}

/// What an image unpacks to, if that is a kernel for a PC; otherwise it stays as it is.
fn unpack_whole(path: &Path, compression: Compression, data: Vec<u8>) -> Result<Vec<u8>, Error> {
    let mut plain = Vec::new();
    let unpacked = compression
        .reader(&data)
        .and_then(|reader| reader.take(MAX_IMAGE + 1).read_to_end(&mut plain));
    if !is_elf(&plain) && !bzimage::is_bzimage(&plain) {
        return Ok(data);
    }
    unpacked.map_err(|source| Error::Unpack {
        path: path.into(),
        compression: compression.name(),
        source,
    })?;
    match slim::loaded_end(&*plain) {
        Ok(Some(end)) if end <= plain.len() as u64 => {
            let end = usize::try_from(end).unwrap_or(plain.len());
            Ok(slim::slim(plain[..end].to_vec(), &*plain))
        }
        _ => Ok(plain),
    }
}

fn read_at_most(path: &Path, from: impl Read) -> Result<Vec<u8>, Error> {
    let mut data = Vec::new();
    from.take(MAX_IMAGE + 1)
        .read_to_end(&mut data)
        .map_err(|source| Error::Read {
            path: path.into(),
            source,
        })?;
    if data.len() as u64 > MAX_IMAGE {
        return Err(Refusal::NotAKernel("it is larger than any kernel (1 GiB)").of(path));
    }
    Ok(data)
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
