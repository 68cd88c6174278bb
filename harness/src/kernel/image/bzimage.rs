//! The bzImage: an ELF `vmlinux` as a compressed payload, after the code that unpacks it in the
//! guest.
//!
//! Layout of the image: `Documentation/arch/x86/boot.rst` of Linux 6.12.

use std::io::Read as _;
use std::path::Path;

use super::bytes::{release_word, u16_at, u32_at};
use super::compression::Compression;
use super::elf::{self, is_elf};
use super::error::{Error, Refusal};
use super::limit::MAX_IMAGE;

/// The fields of the x86 setup header that matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SetupHeader {
    /// Byte offset of the version string, if the image has one.
    kernel_version: Option<usize>,
    /// Byte offset of the payload.
    payload_start: u64,
    /// Bytes of the payload, including the size field at its end.
    payload_length: u64,
}

/// Whether an image has the header of a bzImage.
pub(super) fn is_bzimage(data: &[u8]) -> bool {
    data.get(0x202..0x206) == Some(b"HdrS")
}

impl SetupHeader {
    /// Reads the header of an image.
    pub(super) fn parse(data: &[u8]) -> Result<Self, Refusal> {
        const TOO_SHORT: Refusal =
            Refusal::NotAKernel("it is too short for the header of a bzImage");
        if u16_at(data, 0x1fe).ok_or(TOO_SHORT)? != 0xaa55
            || (data.len() >= 0x206 && !is_bzimage(data))
        {
            return Err(Refusal::NotAKernel(
                "it is neither a bzImage nor an ELF file",
            ));
        }
        let protocol = u16_at(data, 0x206).ok_or(TOO_SHORT)?;
        // The payload's fields came with protocol 2.08 (Linux 2.6.26).
        if protocol < 0x0208 {
            return Err(Refusal::NotAKernel("its boot protocol is older than 2.08"));
        }
        // `xloadflags` came with 2.12 (Linux 3.8), and its first bit,
        // XLF_KERNEL_64, is set in every kernel for 64 bits.
        if protocol >= 0x020c && u16_at(data, 0x236).ok_or(TOO_SHORT)? & 1 == 0 {
            return Err(Refusal::Foreign("32-bit x86".to_owned()));
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

    pub(super) fn release(&self, data: &[u8]) -> Option<String> {
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

    /// The unpacked ELF kernel; `None` for a compression that is unknown here, which is left to the
    /// kernel's own decompressor.
    pub(super) fn vmlinux(&self, image: &Path, data: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let payload = self.payload(image, data)?;
        if is_elf(payload) {
            return Ok(Some(payload.to_vec()));
        }
        if payload.is_empty() {
            return Err(Refusal::NotAKernel("its payload is empty").of(image));
        }
        let Some(compression) = Compression::detect(payload) else {
            return Ok(None);
        };
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
            .take(expected.min(MAX_IMAGE) + 1)
            .read_to_end(&mut vmlinux)
            .map_err(damaged)?;
        if vmlinux.len() as u64 != expected {
            return Err(Error::Size {
                path: image.into(),
                expected,
                actual: vmlinux.len() as u64,
            });
        }
        if !is_elf(&vmlinux) {
            return Err(Refusal::NotAKernel("its payload is not an ELF file").of(image));
        }
        elf::arch(&vmlinux).map_err(|refusal| refusal.of(image))?;
        Ok(Some(vmlinux))
    }
}
