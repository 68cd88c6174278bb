//! From a kernel image as distributions ship it to the one that QEMU boots.
//!
//! A `bzImage` carries the real kernel, an ELF `vmlinux`, as a compressed
//! payload. Booted as a `bzImage` the guest unpacks it, which takes a slow guest
//! a second and more; unpacked once on the host it is entered directly by PVH.
//! Layout of the image: `Documentation/arch/x86/boot.rst` of Linux 6.12.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use object::elf;
use object::read::elf::{FileHeader, ProgramHeader};
use object::{Endianness, LittleEndian};

use super::BootProtocol;
use super::compression::Compression;
use crate::hint::Hint;
use crate::whole_file;

/// No kernel unpacks to more than this: what says so is damaged.
const MAX_UNPACKED: u64 = 1 << 30;

/// Linux: type of the Xen note that holds the 32-bit PVH entry point
/// (`include/xen/interface/elfnote.h`).
const XEN_ELFNOTE_PHYS32_ENTRY: u32 = 18;

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

impl Hint for Error {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::NotAKernel { .. } => vec![
                "give a bzImage (`/boot/vmlinuz-*`, `arch/x86/boot/bzImage`) or an ELF vmlinux \
                 for x86-64"
                    .to_owned(),
            ],
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

/// Writes to `dest` what QEMU is to boot of `image`: the uncompressed ELF
/// `vmlinux` where it has a PVH entry point, the `bzImage` itself where not.
/// `dest` appears whole or not at all.
pub fn unpack(image: &Path, dest: &Path) -> Result<BootProtocol, Error> {
    let data = read(image)?;
    if is_elf(&data) {
        if !is_x86_64(&data) {
            return Err(not_a_kernel(image, "it is an ELF file for another machine"));
        }
        if !has_pvh_entry(&data) {
            return Err(Error::NoEntry { path: image.into() });
        }
        write(dest, &data)?;
        return Ok(BootProtocol::Pvh);
    }
    let header = SetupHeader::parse(&data).map_err(|reason| not_a_kernel(image, reason))?;
    match header.vmlinux(image, &data)? {
        Some(vmlinux) if has_pvh_entry(&vmlinux) => {
            write(dest, &vmlinux)?;
            Ok(BootProtocol::Pvh)
        }
        _ => {
            write(dest, &data)?;
            Ok(BootProtocol::BzImage)
        }
    }
}

/// What `uname -r` says under this kernel, such as `6.1.0-50-cloud-amd64`: from
/// the version string of a `bzImage` or the banner of an ELF `vmlinux`.
pub fn release(image: &Path) -> Result<String, Error> {
    let data = read(image)?;
    let found = if is_elf(&data) {
        banner_release(&data)
    } else {
        SetupHeader::parse(&data)
            .map_err(|reason| not_a_kernel(image, reason))?
            .release(&data)
    };
    found.ok_or_else(|| Error::NoRelease { path: image.into() })
}

fn not_a_kernel(path: &Path, reason: &'static str) -> Error {
    Error::NotAKernel {
        path: path.into(),
        reason,
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

/// The fields of the x86 setup header that matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct SetupHeader {
    /// Byte offset of the version string; `None` when there is none.
    kernel_version: Option<usize>,
    /// Byte offset of the payload.
    payload_start: u64,
    /// Bytes of the payload, the size field at its end included.
    payload_length: u64,
}

impl SetupHeader {
    /// Reads the header of an image; the error says why it is none.
    fn parse(data: &[u8]) -> Result<Self, &'static str> {
        const TOO_SHORT: &str = "it is too short for the header of a bzImage";
        if u16_at(data, 0x1fe).ok_or(TOO_SHORT)? != 0xaa55
            || data.get(0x202..0x206).ok_or(TOO_SHORT)? != b"HdrS"
        {
            return Err("it is neither a bzImage nor an ELF file");
        }
        // The payload's fields came with protocol 2.08 (Linux 2.6.26).
        if u16_at(data, 0x206).ok_or(TOO_SHORT)? < 0x0208 {
            return Err("its boot protocol is older than 2.08");
        }
        // "If setup_sects is 0, it is 4": for very old boot loaders.
        let setup_sects = match data.get(0x1f1).ok_or(TOO_SHORT)? {
            0 => 4,
            sects => u64::from(*sects),
        };
        let version = usize::from(u16_at(data, 0x20e).ok_or(TOO_SHORT)?);
        let offset = u64::from(u32_at(data, 0x248).ok_or(TOO_SHORT)?);
        Ok(Self {
            kernel_version: (version != 0).then_some(version + 0x200),
            payload_start: (setup_sects + 1) * 512 + offset,
            payload_length: u64::from(u32_at(data, 0x24c).ok_or(TOO_SHORT)?),
        })
    }

    fn release(&self, data: &[u8]) -> Option<String> {
        release_word(data.get(self.kernel_version?..)?)
    }

    fn payload<'data>(&self, image: &Path, data: &'data [u8]) -> Result<&'data [u8], Error> {
        let end = self.payload_start + self.payload_length;
        let range = usize::try_from(self.payload_start)
            .ok()
            .zip(usize::try_from(end).ok());
        range
            .and_then(|(start, end)| data.get(start..end))
            .ok_or_else(|| Error::Truncated {
                path: image.into(),
                expected: end,
                actual: data.len() as u64,
            })
    }

    /// The unpacked ELF kernel; `None` when its compression is one that only the
    /// kernel's own decompressor is asked to know (bzip2, LZO).
    fn vmlinux(&self, image: &Path, data: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        const LEFT_TO_THE_GUEST: [&[u8]; 2] = [b"BZh", b"\x89LZO"];
        let payload = self.payload(image, data)?;
        if is_elf(payload) {
            return Ok(Some(payload.to_vec()));
        }
        if LEFT_TO_THE_GUEST
            .iter()
            .any(|magic| payload.starts_with(magic))
        {
            return Ok(None);
        }
        let compression = Compression::detect(payload)
            .ok_or_else(|| not_a_kernel(image, "its payload is in no known format"))?;
        let size_field = payload.len().saturating_sub(4);
        let expected = u64::from(u32_at(payload, size_field).unwrap_or(0));
        // The build appends the size to every format but gzip, which ends with
        // it by itself (`scripts/Makefile.lib`).
        let stream = match compression {
            Compression::Gzip => payload,
            _ => &payload[..size_field],
        };
        let damaged = |source| Error::Unpack {
            path: image.into(),
            compression: compression.name(),
            source,
        };
        let mut vmlinux = Vec::new();
        compression
            .reader(stream)
            .map_err(damaged)?
            .take(expected.min(MAX_UNPACKED) + 1)
            .read_to_end(&mut vmlinux)
            .map_err(damaged)?;
        if vmlinux.len() as u64 != expected {
            return Err(Error::Size {
                path: image.into(),
                expected,
                actual: vmlinux.len() as u64,
            });
        }
        if !is_x86_64(&vmlinux) {
            return Err(not_a_kernel(image, "its payload is not an x86-64 ELF file"));
        }
        Ok(Some(vmlinux))
    }
}

fn u16_at(data: &[u8], offset: usize) -> Option<u16> {
    let bytes = data.get(offset..)?.first_chunk()?;
    Some(u16::from_le_bytes(*bytes))
}

fn u32_at(data: &[u8], offset: usize) -> Option<u32> {
    let bytes = data.get(offset..)?.first_chunk()?;
    Some(u32::from_le_bytes(*bytes))
}

fn is_elf(data: &[u8]) -> bool {
    data.starts_with(&elf::ELFMAG)
}

fn elf_header(data: &[u8]) -> Option<&elf::FileHeader64<Endianness>> {
    elf::FileHeader64::<Endianness>::parse(data).ok()
}

fn is_x86_64(data: &[u8]) -> bool {
    elf_header(data).is_some_and(|header| {
        header
            .endian()
            .is_ok_and(|endian| header.e_machine(endian) == elf::EM_X86_64)
    })
}

/// Whether an ELF kernel has the note by which QEMU finds its PVH entry point;
/// like QEMU, this looks at the program headers only.
fn has_pvh_entry(data: &[u8]) -> bool {
    let search = || -> object::Result<bool> {
        let header = elf::FileHeader64::<LittleEndian>::parse(data)?;
        for segment in header.program_headers(LittleEndian, data)? {
            let Some(mut notes) = segment.notes(LittleEndian, data)? else {
                continue;
            };
            while let Some(note) = notes.next()? {
                if note.name() == b"Xen" && note.n_type(LittleEndian).0 == XEN_ELFNOTE_PHYS32_ENTRY
                {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    };
    // A kernel with headers that cannot be read is one QEMU cannot enter either.
    search().unwrap_or(false)
}

/// The release in the banner, `Linux version 6.1.0-50-cloud-amd64 (…) …`.
fn banner_release(data: &[u8]) -> Option<String> {
    const BANNER: &[u8] = b"Linux version ";
    memchr::memmem::find_iter(data, BANNER).find_map(|at| {
        let rest = &data[at + BANNER.len()..];
        rest.first()?
            .is_ascii_digit()
            .then(|| release_word(rest))
            .flatten()
    })
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
