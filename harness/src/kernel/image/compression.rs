//! The compressions of kernels and their modules, recognised by magic number and read as streams.

use std::io::{self, Read};

use liblzma::stream::Stream;

use super::lzop;

/// Memory that a decoder may use: the kernel's own builds use dictionaries of
/// up to 128 MiB (`scripts/Makefile.lib`, `zstd22` and `xzkern`).
pub(in crate::kernel) const MEMORY_LIMIT: u64 = 512 << 20;

/// How some bytes are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    /// RFC 1952.
    Gzip,
    /// The .xz container, with or without an x86 branch filter.
    Xz,
    /// The older LZMA_alone container.
    Lzma,
    /// RFC 8878.
    Zstd,
    /// LZ4 with the legacy frame that `lz4 -l` writes, or the current one.
    Lz4,
    /// bzip2.
    Bzip2,
    /// LZO1X in the container of lzop.
    Lzo,
}

impl Compression {
    /// The compression of `data` by its first bytes; `None` if the format is unknown here.
    pub(crate) fn detect(data: &[u8]) -> Option<Self> {
        const MAGICS: [(&[u8], Compression); 8] = [
            (&[0x1f, 0x8b], Compression::Gzip),
            (&[0xfd, b'7', b'z', b'X', b'Z', 0], Compression::Xz),
            (&[0x5d, 0, 0], Compression::Lzma),
            (&[0x28, 0xb5, 0x2f, 0xfd], Compression::Zstd),
            (&[0x02, 0x21, 0x4c, 0x18], Compression::Lz4),
            (&[0x04, 0x22, 0x4d, 0x18], Compression::Lz4),
            (b"BZh", Compression::Bzip2),
            (lzop::MAGIC, Compression::Lzo),
        ];
        MAGICS
            .iter()
            .find(|(magic, _)| data.starts_with(magic))
            .map(|&(_, compression)| compression)
    }

    /// The name of the format.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Xz => "xz",
            Self::Lzma => "lzma",
            Self::Zstd => "zstd",
            Self::Lz4 => "lz4",
            Self::Bzip2 => "bzip2",
            Self::Lzo => "lzo",
        }
    }

    /// A reader of the unpacked `data`. Of the container formats only the first stream is read, so
    /// that bytes after it do no harm; for the legacy frame of lz4, which has no end mark, `data`
    /// must end with the stream.
    pub(crate) fn reader(self, data: &[u8]) -> io::Result<Box<dyn Read + '_>> {
        Ok(match self {
            Self::Gzip => Box::new(flate2::bufread::GzDecoder::new(data)),
            Self::Xz => Box::new(liblzma::bufread::XzDecoder::new_stream(
                data,
                Stream::new_stream_decoder(MEMORY_LIMIT, 0)?,
            )),
            Self::Lzma => Box::new(liblzma::bufread::XzDecoder::new_stream(
                data,
                Stream::new_lzma_decoder(MEMORY_LIMIT)?,
            )),
            Self::Zstd => {
                let decoder = zstd::stream::read::Decoder::with_buffer(data)?;
                Box::new(decoder.single_frame())
            }
            Self::Lz4 => Box::new(lz4_flex::frame::FrameDecoder::new(data)),
            Self::Bzip2 => Box::new(bzip2::bufread::BzDecoder::new(data)),
            Self::Lzo => Box::new(lzop::Reader::new(data)?),
        })
    }
}
