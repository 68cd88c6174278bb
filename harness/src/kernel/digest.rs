//! SHA-256 of files and streams.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::Error;

/// Lower-case hexadecimal digits of `bytes`.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// SHA-256 of a file's content, in hexadecimal digits.
pub(super) fn of_file(path: &Path) -> Result<String, Error> {
    let mut file = File::open(path).map_err(Error::io("open", path))?;
    let mut hash = HashingWriter::new(io::sink());
    io::copy(&mut file, &mut hash).map_err(Error::io("read", path))?;
    Ok(hash.finish())
}

/// SHA-1 of the file at `path`, in hexadecimal digits, if its SHA-256 is
/// `sha256`.
pub(super) fn sha1_if(path: &Path, sha256: &str) -> io::Result<String> {
    let content = std::fs::read(path)?;
    if of_bytes(&content) != sha256 {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(hex(&Sha1::digest(&content)))
}

/// SHA-256 of `bytes`, in hexadecimal digits.
pub(super) fn of_bytes(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Hashes everything that passes through.
pub(super) struct HashingWriter<W> {
    inner: W,
    hash: Sha256,
}

impl<W: Write> HashingWriter<W> {
    pub(super) fn new(inner: W) -> Self {
        HashingWriter {
            inner,
            hash: Sha256::new(),
        }
    }

    /// SHA-256 of everything written, in hexadecimal digits.
    pub(super) fn finish(self) -> String {
        hex(&self.hash.finalize())
    }
}

impl<W: Write> Write for HashingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_hash_of_a_file_is_the_published_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("abc");
        std::fs::write(&path, b"abc").unwrap();
        // FIPS 180-4, example of a one-block message.
        assert_eq!(
            of_file(&path).unwrap(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
