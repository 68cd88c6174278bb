//! A guest's memory: the file that QEMU maps, together with the processes of shares, and its copy.
//!
//! Only pages that hold something are copied. A guest that has just booted has used some 90 MB of
//! its 2 GiB.

use std::fs::File;
use std::io::{self, BufWriter, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::sys::prctl;
use rustix::fs::{MemfdFlags, SeekFrom, memfd_create, seek};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// A page of the guest.
const PAGE: usize = 4096;
/// Bytes to read at once.
const BLOCK: usize = 1 << 20;

/// What a copy holds, in the order of its bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Content {
    /// Bytes of the memory.
    size: u64,
    /// Where they go. All else is zero.
    extents: Vec<Extent>,
    /// Checksum of the copy, CRC-32.
    checksum: u32,
}

/// Bytes that are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Extent {
    offset: u64,
    length: u64,
}

impl Content {
    /// Bytes of the copy; `None` of a damaged record.
    pub(super) fn length(&self) -> Option<u64> {
        let mut total = 0u64;
        for extent in &self.extents {
            if extent.offset.checked_add(extent.length)? > self.size {
                return None;
            }
            total = total.checked_add(extent.length)?;
        }
        Some(total)
    }
}

/// A guest's memory: a file without a place in any file system, which goes with the last process
/// that has it.
#[derive(Debug)]
pub struct Memory {
    file: File,
}

impl Memory {
    /// One of `size` bytes, which holds nothing yet.
    pub fn new(size: u64) -> io::Result<Self> {
        let file = File::from(memfd_create("kiln-guest", MemfdFlags::CLOEXEC)?);
        file.set_len(size)?;
        Ok(Self { file })
    }

    /// Where QEMU opens it, as long as this exists.
    pub fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd()).into()
    }

    /// The same memory for another thread.
    pub(super) fn another(&self) -> io::Result<File> {
        self.file.try_clone()
    }
}

/// Whether QEMU can open what is there: another process of the same user may not, if somebody has
/// forbidden to look into kiln.
pub(super) fn can_be_opened() -> bool {
    prctl::get_dumpable().unwrap_or_default()
}

/// Copies what a memory holds into the new file `to`, for this user alone.
pub(super) fn copy_out(memory: &File, to: &Path) -> io::Result<Content> {
    let file = File::options()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(to)?;
    let mut out = BufWriter::with_capacity(BLOCK, file);
    let mut content = Content {
        size: memory.metadata()?.len(),
        ..Content::default()
    };
    let mut checksum = crc32fast::Hasher::new();
    let mut block = vec![0; BLOCK];
    let mut at = 0;
    while let Some((start, end)) = next_data(memory, at)? {
        at = start;
        while at < end {
            let length = usize::try_from(end - at).unwrap_or(BLOCK).min(BLOCK);
            let bytes = &mut block[..length];
            memory.read_exact_at(bytes, at)?;
            for page in bytes.chunks(PAGE) {
                if !is_zero(page) {
                    checksum.update(page);
                    out.write_all(page)?;
                    content.add(at, page.len() as u64);
                }
                at += page.len() as u64;
            }
        }
    }
    out.flush()?;
    content.checksum = checksum.finalize();
    Ok(content)
}

/// Copies a copy into a memory that holds nothing yet. `false` if it is not what was copied.
pub(super) fn copy_in(from: &Path, content: &Content, memory: &File) -> io::Result<bool> {
    let mut file = File::open(from)?;
    if content.length() != Some(file.metadata()?.len()) || memory.metadata()?.len() != content.size
    {
        return Ok(false);
    }
    let mut checksum = crc32fast::Hasher::new();
    let mut block = vec![0; BLOCK];
    for extent in &content.extents {
        let (mut at, end) = (extent.offset, extent.offset + extent.length);
        while at < end {
            let length = usize::try_from(end - at).unwrap_or(BLOCK).min(BLOCK);
            let bytes = &mut block[..length];
            file.read_exact(bytes)?;
            checksum.update(bytes);
            memory.write_all_at(bytes, at)?;
            at += length as u64;
        }
    }
    Ok(checksum.finalize() == content.checksum)
}

impl Content {
    fn add(&mut self, offset: u64, length: u64) {
        match self.extents.last_mut() {
            Some(last) if last.offset + last.length == offset => last.length += length,
            _ => self.extents.push(Extent { offset, length }),
        }
    }
}

/// The next part of a file that is not a hole.
fn next_data(file: &File, from: u64) -> io::Result<Option<(u64, u64)>> {
    let start = match seek(file, SeekFrom::Data(from)) {
        Ok(start) => start,
        Err(Errno::NXIO) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    Ok(Some((start, seek(file, SeekFrom::Hole(start))?)))
}

fn is_zero(page: &[u8]) -> bool {
    static ZEROS: [u8; PAGE] = [0; PAGE];
    *page == ZEROS[..page.len()]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const SIZE: u64 = 64 << 20;

    fn empty() -> File {
        let file = tempfile::tempfile().unwrap();
        file.set_len(SIZE).unwrap();
        file
    }

    fn written() -> File {
        let memory = empty();
        memory.write_all_at(b"first", 0).unwrap();
        memory.write_all_at(&[0; 3 * PAGE], 1 << 20).unwrap();
        memory.write_all_at(&vec![7; 3 * BLOCK], 5 << 20).unwrap();
        memory.write_all_at(b"last", SIZE - 4).unwrap();
        memory
    }

    fn whole(file: &File) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(SIZE).unwrap()];
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }

    #[test]
    fn a_copy_holds_what_is_there_and_gives_it_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("memory");
        let memory = written();
        let content = copy_out(&memory, &path).unwrap();
        let meta = path.metadata().unwrap();
        // Neither holes nor zeros, and nothing for others to read.
        assert_eq!(meta.len(), (2 * PAGE + 3 * BLOCK) as u64);
        assert_eq!(meta.permissions().mode() & 0o777, 0o600);
        let again = empty();
        assert!(copy_in(&path, &content, &again).unwrap());
        assert!(whole(&again) == whole(&memory));
    }

    #[test]
    fn a_copy_that_is_damaged_is_not_taken() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("memory");
        let content = copy_out(&written(), &path).unwrap();
        let good = fs::read(&path).unwrap();
        let mut flipped = good.clone();
        flipped[PAGE] ^= 1;
        for bad in [&flipped[..], &good[..good.len() - 1], b""] {
            fs::write(&path, bad).unwrap();
            assert!(!copy_in(&path, &content, &empty()).unwrap());
        }
        fs::write(&path, &good).unwrap();
        let small = tempfile::tempfile().unwrap();
        small.set_len(SIZE / 2).unwrap();
        assert!(!copy_in(&path, &content, &small).unwrap());
    }

    #[test]
    fn an_extent_beyond_the_memory_is_damage() {
        let extents = |offset, length| Content {
            size: SIZE,
            extents: vec![Extent { offset, length }],
            checksum: 0,
        };
        assert_eq!(extents(0, SIZE).length(), Some(SIZE));
        assert_eq!(extents(1, SIZE).length(), None);
        assert_eq!(extents(u64::MAX, 2).length(), None);
    }

    #[test]
    fn a_memory_is_opened_by_its_path_and_gone_with_the_last_who_has_it() {
        let memory = Memory::new(SIZE).unwrap();
        let path = memory.path();
        let opened = File::options().read(true).write(true).open(&path).unwrap();
        opened.write_all_at(b"here", 100).unwrap();
        let mut bytes = [0; 4];
        memory
            .another()
            .unwrap()
            .read_exact_at(&mut bytes, 100)
            .unwrap();
        assert_eq!(&bytes, b"here");
        assert_eq!(opened.metadata().unwrap().len(), SIZE);
        assert!(can_be_opened());
        drop(memory);
        assert!(!path.exists());
    }
}
