//! Files of lzop, the container of kernels with `CONFIG_KERNEL_LZO`: a header, and blocks of LZO1X
//! that each state their size. The layout is that of lzop 1.04 (`conf.h`, `lzop.c`), which
//! `lib/decompress_unlzo.c` of Linux reads too.

use std::io::{self, Read};

/// The first bytes of a file.
pub(super) const MAGIC: &[u8] = b"\x89LZO\0\r\n\x1a\n";

/// The first version with a time of 64 bits, and a level, in its header.
const LATER_HEADER: u16 = 0x0940;
/// lzop's largest block in bytes.
const MAX_BLOCK: usize = 64 << 20;

// Flags of the header.
const ADLER32_OF_PLAIN: u32 = 0x1;
const ADLER32_OF_PACKED: u32 = 0x2;
const EXTRA_FIELD: u32 = 0x40;
const CRC32_OF_PLAIN: u32 = 0x100;
const CRC32_OF_PACKED: u32 = 0x200;
const FILTER: u32 = 0x800;

/// Unpacks one block after the other.
pub(super) struct Reader<'data> {
    rest: &'data [u8],
    flags: u32,
    block: io::Cursor<Vec<u8>>,
    ended: bool,
}

impl<'data> Reader<'data> {
    /// A reader of a file's content, the header of which must be whole.
    pub(super) fn new(data: &'data [u8]) -> io::Result<Self> {
        let mut rest = data
            .strip_prefix(MAGIC)
            .ok_or_else(|| invalid("no file of lzop"))?;
        let version = u16::from_be_bytes(take(&mut rest)?);
        let _library: [u8; 2] = take(&mut rest)?;
        if version >= LATER_HEADER {
            let _needed: [u8; 2] = take(&mut rest)?;
        }
        let _method: [u8; 1] = take(&mut rest)?;
        if version >= LATER_HEADER {
            let _level: [u8; 1] = take(&mut rest)?;
        }
        let flags = u32::from_be_bytes(take(&mut rest)?);
        if flags & (FILTER | EXTRA_FIELD) != 0 {
            return Err(invalid("a filter or an extra field, which no kernel has"));
        }
        let _mode_and_time: [u8; 8] = take(&mut rest)?;
        if version >= LATER_HEADER {
            let _late_time: [u8; 4] = take(&mut rest)?;
        }
        let [name] = take(&mut rest)?;
        skip(&mut rest, usize::from(name))?;
        let _checksum: [u8; 4] = take(&mut rest)?;
        Ok(Self {
            rest,
            flags,
            block: io::Cursor::default(),
            ended: false,
        })
    }

    /// Unpacks the next block; false at the end. A damaged one shows by its size: the checksums do
    /// not count.
    fn next_block(&mut self) -> io::Result<bool> {
        let plain = u32::from_be_bytes(take(&mut self.rest)?) as usize;
        if plain == 0 {
            return Ok(false);
        }
        let packed = u32::from_be_bytes(take(&mut self.rest)?) as usize;
        if plain > MAX_BLOCK || packed > plain {
            return Err(invalid("a block of an impossible size"));
        }
        let mut checksums = [ADLER32_OF_PLAIN, CRC32_OF_PLAIN].to_vec();
        if packed < plain {
            checksums.extend([ADLER32_OF_PACKED, CRC32_OF_PACKED]);
        }
        let checksums = checksums.iter().filter(|flag| self.flags & **flag != 0);
        skip(&mut self.rest, 4 * checksums.count())?;
        let data = skip(&mut self.rest, packed)?;
        let mut block = vec![0; plain];
        if packed == plain {
            block.copy_from_slice(data);
        } else {
            let unpacked = lzokay::decompress::decompress(data, &mut block);
            if unpacked != Ok(plain) {
                return Err(invalid("a damaged block"));
            }
        }
        self.block = io::Cursor::new(block);
        Ok(true)
    }
}

impl Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.block.read(buffer)?;
            if count > 0 || self.ended || buffer.is_empty() {
                return Ok(count);
            }
            self.ended = !self.next_block()?;
        }
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> io::Result<[u8; N]> {
    let (first, after) = rest.split_first_chunk().ok_or_else(cut_short)?;
    *rest = after;
    Ok(*first)
}

fn skip<'data>(rest: &mut &'data [u8], count: usize) -> io::Result<&'data [u8]> {
    let (first, after) = rest.split_at_checked(count).ok_or_else(cut_short)?;
    *rest = after;
    Ok(first)
}

fn cut_short() -> io::Error {
    io::Error::new(
        io::ErrorKind::UnexpectedEof,
        "the file of lzop is cut short",
    )
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    /// A file as `lzop -9` of Linux' build makes it, with one checksum a block.
    pub(in super::super) fn pack(data: &[u8]) -> Vec<u8> {
        let mut file = MAGIC.to_vec();
        file.extend([0x10, 0x40, 0x20, 0xa0, 0x09, 0x40, 3, 9]);
        file.extend(ADLER32_OF_PLAIN.to_be_bytes());
        file.extend([0; 12]);
        file.extend(*b"\x04name\0\0\0\0");
        for block in data.chunks(256 << 10) {
            let packed = lzokay::compress::compress(block).unwrap();
            let packed = if packed.len() < block.len() {
                packed
            } else {
                block.to_vec()
            };
            for size in [block.len(), packed.len(), 0] {
                file.extend(u32::try_from(size).unwrap().to_be_bytes());
            }
            file.extend(packed);
        }
        file.extend([0; 4]);
        file
    }

    fn unpack(file: &[u8]) -> io::Result<Vec<u8>> {
        let mut plain = Vec::new();
        Reader::new(file)?.take(1 << 24).read_to_end(&mut plain)?;
        Ok(plain)
    }

    #[test]
    fn a_file_of_the_program_itself_unpacks() {
        // printf 'kiln kiln kiln kiln kiln kiln kiln\n' | lzop -9
        const FILE: &[u8] = b"\x89LZO\0\r\n\x1a\n\x10\x40\x20\xa0\x09\x40\x03\x09\x03\0\0\x0d\
            \0\0\0\0\x6b\x0b\x19\xe2\0\0\0\0\0\x29\xe0\x02\xe7\
            \0\0\0\x23\0\0\0\x0d\xe7\x68\x0c\x8d\x16kiln ;\x11\0\n\x11\0\0\0\0\0\0";
        let text = b"kiln kiln kiln kiln kiln kiln kiln\n";
        assert_eq!(unpack(FILE).unwrap(), text);
        for cut in MAGIC.len()..FILE.len() {
            assert!(unpack(&FILE[..cut]).is_err(), "{cut}");
        }
    }

    proptest! {
        #[test]
        fn what_was_packed_unpacks(data in proptest::collection::vec(0_u8..4, 0..4096)) {
            let twice = [data.clone(), data].concat();
            prop_assert_eq!(unpack(&pack(&twice)).unwrap(), twice);
        }

        #[test]
        fn damage_never_panics(
            patch in proptest::collection::vec((any::<u16>(), any::<u8>()), 1..8),
            cut in 0_usize..64,
        ) {
            let mut file = pack(&[b"kiln ".repeat(500), (0..=255).collect()].concat());
            for (at, byte) in patch {
                let at = usize::from(at) % file.len();
                file[at] = byte;
            }
            file.truncate(file.len() - cut);
            let _ = unpack(&file);
        }
    }
}
