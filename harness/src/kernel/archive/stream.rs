//! The streams that archives are read from: unpacked, and with an end.

use std::cell::{Cell, RefCell};
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};

use liblzma::stream::{CONCATENATED, Stream};

use super::unpacked::{MAX_BYTES, Refusal};
use crate::kernel::image::compression::MEMORY_LIMIT;

/// Bytes that identify a file's type.
const MAGIC_XZ: &[u8] = b"\xfd7zXZ\0";
const MAGIC_ZSTD: &[u8] = b"\x28\xb5\x2f\xfd";
const MAGIC_GZIP: &[u8] = b"\x1f\x8b";
/// Bytes of what describes an entry, long names included.
const MAX_HEADER: u64 = 1 << 20;

/// Whether a file that begins with `head` is compressed as archives are.
pub(super) fn is_compressed(head: &[u8]) -> bool {
    [MAGIC_XZ, MAGIC_ZSTD, MAGIC_GZIP]
        .iter()
        .any(|magic| head.starts_with(magic))
}

/// What `stream` unpacks to, by its first bytes; itself if it is not compressed.
pub(super) fn decoded<'a>(mut stream: impl Read + 'a) -> io::Result<Bounded<'a>> {
    let mut magic = [0; 8];
    let length = read_some(&mut stream, &mut magic)?;
    let magic = &magic[..length];
    let stream = Cursor::new(magic.to_vec()).chain(stream);
    Ok(Bounded::new(if magic.starts_with(MAGIC_XZ) {
        let decoder = Stream::new_stream_decoder(MEMORY_LIMIT, CONCATENATED)?;
        Box::new(liblzma::read::XzDecoder::new_stream(stream, decoder))
    } else if magic.starts_with(MAGIC_ZSTD) {
        Box::new(zstd::Decoder::new(stream)?)
    } else if magic.starts_with(MAGIC_GZIP) {
        Box::new(flate2::read::MultiGzDecoder::new(stream))
    } else {
        Box::new(stream)
    }))
}

/// Fills `buffer` as far as there is data.
pub(super) fn read_some(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match reader.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

/// A stream that ends with an error where it gives more than it may.
pub(super) struct Bounded<'s> {
    stream: RefCell<Box<dyn Read + 's>>,
    /// Bytes that may still come.
    left: Cell<u64>,
    /// The same until the next [`expect`](Self::expect).
    expected: Cell<u64>,
    /// The last entry that was seen.
    at: RefCell<PathBuf>,
}

impl<'s> Bounded<'s> {
    pub(super) fn new(stream: Box<dyn Read + 's>) -> Self {
        Bounded {
            stream: RefCell::new(stream),
            // Headers come on top of what the entries have.
            left: Cell::new(MAX_BYTES + (1 << 30)),
            expected: Cell::new(u64::MAX),
            at: RefCell::default(),
        }
    }

    /// The entry at `path` has come.
    pub(super) fn is_at(&self, path: &Path) {
        self.at.replace(path.to_owned());
    }

    /// From now on `bytes` may come.
    pub(super) fn expect(&self, bytes: u64) {
        self.expected.set(bytes);
    }

    /// What describes an entry comes now.
    pub(super) fn expect_header(&self) {
        self.expect(MAX_HEADER);
    }

    /// The content of an entry comes now.
    pub(super) fn expect_content(&self) {
        self.expect(u64::MAX);
    }
}

impl Read for &Bounded<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.stream.borrow_mut().read(buffer)?;
        for bound in [&self.left, &self.expected] {
            let Some(left) = bound.get().checked_sub(read as u64) else {
                return Err(Refusal::error(
                    &self.at.borrow(),
                    "what follows it has no end".to_owned(),
                ));
            };
            bound.set(left);
        }
        Ok(read)
    }
}
