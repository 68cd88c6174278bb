//! Bytes of BTF and of its indexes: in memory, or in a file of the cache.

use std::fs::File;
use std::io;
use std::ops::{Deref, Range};
use std::sync::Arc;

use memmap2::Mmap;

use super::raw::ByteOrder;

/// Some bytes. Those of a file are read when somebody looks at them, so that a question about one
/// type reads a few pages of the megabytes that a kernel has.
#[derive(Debug, Clone)]
pub enum Bytes {
    /// In memory.
    Memory(Vec<u8>),
    /// A part of a file.
    Mapped(Mapped),
}

/// A part of a file.
#[derive(Debug, Clone)]
pub struct Mapped {
    file: Arc<Mmap>,
    range: Range<usize>,
}

impl Mapped {
    /// The whole of a file that nobody writes to: files of the cache are written under another
    /// name and then renamed.
    pub(super) fn of(file: &File) -> io::Result<Self> {
        // SAFETY: kiln never changes or shortens a file of the cache once it has its name, so the
        // bytes stay as they are for as long as they are mapped.
        let file = unsafe { Mmap::map(file) }?;
        let range = 0..file.len();
        Ok(Self {
            file: Arc::new(file),
            range,
        })
    }

    /// The next `length` bytes, which are then no longer in `self`.
    pub(super) fn take(&mut self, length: u64) -> Option<Self> {
        let middle = self.range.start.checked_add(length.try_into().ok()?)?;
        if middle > self.range.end {
            return None;
        }
        let taken = Self {
            file: Arc::clone(&self.file),
            range: self.range.start..middle,
        };
        self.range.start = middle;
        Some(taken)
    }
}

impl Deref for Mapped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.file[self.range.clone()]
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Memory(bytes) => bytes,
            Self::Mapped(mapped) => mapped,
        }
    }
}

impl Default for Bytes {
    fn default() -> Self {
        Self::Memory(Vec::new())
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Memory(bytes)
    }
}

/// Numbers of 32 bits, little-endian.
#[derive(Debug, Clone)]
pub(super) struct Numbers(Bytes);

impl Numbers {
    /// The numbers in some bytes.
    pub(super) fn of(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// How many they are.
    pub(super) fn len(&self) -> usize {
        self.0.len() / 4
    }

    /// The number with this index.
    pub(super) fn get(&self, index: usize) -> Option<u32> {
        ByteOrder::Little.u32_at(&self.0, index.checked_mul(4)?)
    }

    /// To be stored.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl FromIterator<u32> for Numbers {
    fn from_iter<I: IntoIterator<Item = u32>>(numbers: I) -> Self {
        let bytes: Vec<u8> = numbers.into_iter().flat_map(u32::to_le_bytes).collect();
        Self(bytes.into())
    }
}
