//! kdump's compressed format, as far as kiln completes what QEMU writes of it.
//!
//! QEMU leaves the names of the kernel in the header empty, without which libkdumpfile, and so
//! drgn, does not recognise Linux; and it knows the kernel's vmcoreinfo only if the guest has
//! loaded `qemu_fw_cfg`. kiln knows the release, and finds the vmcoreinfo in the memory: a note at
//! the start of a page (kernel/crash_core.c of Linux). The layout is that of makedumpfile
//! (IMPLEMENTATION, diskdump_mod.h), and of the flattened form as well.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::FileExt as _;

use flate2::read::ZlibDecoder;

/// What the flattened form begins with, in a header of its own.
const FLAT_SIGNATURE: &[u8] = b"makedumpfile\0";
const FLAT_HEADER: usize = 4096;
/// Offset and size of the next part, big-endian.
const PART_HEADER: usize = 16;

const SIGNATURE: &[u8; 8] = b"KDUMP   ";
/// `struct new_utsname` in the header: six names of 65 bytes.
const NAMES: u64 = 12;
const NAME: usize = 65;
/// Where the header has its sizes.
const BLOCK_SIZE: u64 = 428;
const SUB_HEADER_BLOCKS: u64 = 432;
const BITMAP_BLOCKS: u64 = 436;
/// Sizes of blocks: longer than the header, and no longer than pages are.
const BLOCKS: std::ops::RangeInclusive<u64> = 512..=64 << 10;
/// A bit for each page of a guest of 2 TiB.
const MAX_BITMAP: u64 = 64 << 20;
/// Where the second header has the physical address of the kernel; place and size of the
/// vmcoreinfo, and then those of all notes.
const PHYS_BASE: u64 = 0;
const VMCOREINFO: u64 = 32;
/// A page's descriptor: offset, size, flags, and more flags.
const DESCRIPTOR: usize = 24;
const ZLIB: u32 = 1;
/// The note: sizes of name and content, its type, and the name, padded.
const NOTE_NAME_SIZE: u32 = 11;
const NOTE_TYPE: u32 = 0;
const NOTE_NAME: &[u8; 12] = b"VMCOREINFO\0\0";
const NOTE_HEADER: usize = 24;
/// Compressed bytes that are enough for a note's header, whatever the tables before it.
const NOTE_START: usize = 1024;
/// What the content begins with.
const FIRST_LINE: &[u8] = b"OSRELEASE=";
/// More than any kernel writes there; it has a page for it.
const MAX_VMCOREINFO: usize = 64 * 1024;
/// More than the notes of 255 processors take.
const MAX_NOTES: u64 = 1 << 20;

/// The names that a kernel has for itself.
#[derive(Debug, Clone)]
pub(super) struct Uname {
    /// As `uname -r` prints it.
    pub(super) release: String,
}

/// The flattened form on its way to a file.
#[derive(Debug, Default)]
pub(super) struct Flattened {
    /// Bytes of the next header.
    header: Vec<u8>,
    greeted: bool,
    /// Where the rest of the current part goes.
    offset: u64,
    left: u64,
    ended: bool,
}

impl Flattened {
    /// Takes the next bytes.
    pub(super) fn put(&mut self, mut bytes: &[u8], file: &File) -> io::Result<()> {
        while !bytes.is_empty() && !self.ended {
            if self.left > 0 {
                let length = bytes
                    .len()
                    .min(usize::try_from(self.left).unwrap_or(usize::MAX));
                let (part, rest) = bytes.split_at(length);
                file.write_all_at(part, self.offset)?;
                self.offset += length as u64;
                self.left -= length as u64;
                bytes = rest;
                continue;
            }
            let wanted = if self.greeted {
                PART_HEADER
            } else {
                FLAT_HEADER
            };
            let (part, rest) = bytes.split_at(bytes.len().min(wanted - self.header.len()));
            self.header.extend_from_slice(part);
            bytes = rest;
            if self.header.len() == wanted {
                let header = std::mem::take(&mut self.header);
                self.begin(&header)?;
            }
        }
        Ok(())
    }

    fn begin(&mut self, header: &[u8]) -> io::Result<()> {
        if !self.greeted {
            if !header.starts_with(FLAT_SIGNATURE) {
                return Err(bad("it is no flattened dump"));
            }
            self.greeted = true;
            return Ok(());
        }
        let number = |at: usize| {
            let bytes = header
                .get(at..at + 8)
                .and_then(|bytes| bytes.try_into().ok());
            i64::from_be_bytes(bytes.unwrap_or_default())
        };
        let (offset, size) = (number(0), number(8));
        if (offset, size) == (-1, -1) {
            self.ended = true;
            return Ok(());
        }
        match (u64::try_from(offset), u64::try_from(size)) {
            (Ok(offset), Ok(size)) if offset.checked_add(size).is_some() => {
                (self.offset, self.left) = (offset, size);
                Ok(())
            }
            _ => Err(bad("a part of it has no place")),
        }
    }

    /// Checks that nothing is missing.
    pub(super) fn finish(self) -> io::Result<()> {
        if self.ended {
            Ok(())
        } else {
            Err(io::Error::new(
                ErrorKind::UnexpectedEof,
                "the dump is not complete",
            ))
        }
    }
}

fn bad(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what.to_owned())
}

/// Adds what QEMU leaves out.
pub(super) fn complete(file: &File, uname: &Uname) -> io::Result<()> {
    let mut signature = [0; SIGNATURE.len()];
    file.read_exact_at(&mut signature, 0)?;
    if &signature != SIGNATURE {
        return Err(bad("it is no dump in kdump's format"));
    }
    // The third is the release. The version is the kernel's to say, in its memory.
    let names = ["Linux", "kiln", &uname.release, "#1"];
    for (at, name) in (NAMES..).step_by(NAME).zip(names) {
        let name = name.as_bytes();
        file.write_all_at(&name[..name.len().min(NAME - 1)], at)?;
    }
    let block = u64::from(number32(file, BLOCK_SIZE)?);
    if !BLOCKS.contains(&block) {
        return Err(bad("its blocks do not have the size of pages"));
    }
    let sub_header = block;
    if number64(file, sub_header + VMCOREINFO + 8)? > 0 {
        return Ok(());
    }
    let pages = Pages::of(file, block)?;
    // A kernel without kexec has none.
    let Some(text) = pages.vmcoreinfo()? else {
        return Ok(());
    };
    // Readers take it from among the notes where there are any: those of the processors.
    let mut notes = notes(file, sub_header)?;
    let at = notes.len() + NOTE_HEADER;
    let length = u32::try_from(text.len()).map_err(io::Error::other)?;
    for number in [NOTE_NAME_SIZE, length, NOTE_TYPE] {
        notes.extend(number.to_le_bytes());
    }
    notes.extend(NOTE_NAME);
    notes.extend(&text);
    notes.resize(notes.len().next_multiple_of(4), 0);
    let end = file.metadata()?.len();
    file.write_all_at(&notes, end)?;
    let places = [end + at as u64, text.len() as u64, end, notes.len() as u64];
    for (place, number) in (sub_header + VMCOREINFO..).step_by(8).zip(places) {
        file.write_all_at(&number.to_le_bytes(), place)?;
    }
    if let Some(base) = phys_base(&text) {
        file.write_all_at(&base.to_le_bytes(), sub_header + PHYS_BASE)?;
    }
    Ok(())
}

/// The notes that QEMU wrote.
fn notes(file: &File, sub_header: u64) -> io::Result<Vec<u8>> {
    let offset = number64(file, sub_header + VMCOREINFO + 16)?;
    let size = number64(file, sub_header + VMCOREINFO + 24)?;
    let mut notes = vec![0; usize::try_from(size.min(MAX_NOTES)).map_err(io::Error::other)?];
    file.read_exact_at(&mut notes, offset)?;
    Ok(notes)
}

/// Where the kernel's text is in physical memory, if it says so.
fn phys_base(vmcoreinfo: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(vmcoreinfo).ok()?;
    let mut lines = text.lines();
    lines.find_map(|line| line.strip_prefix("NUMBER(phys_base)=")?.parse().ok())
}

fn number32(file: &File, at: u64) -> io::Result<u32> {
    let mut bytes = [0; 4];
    file.read_exact_at(&mut bytes, at)?;
    Ok(u32::from_le_bytes(bytes))
}

fn number64(file: &File, at: u64) -> io::Result<u64> {
    let mut bytes = [0; 8];
    file.read_exact_at(&mut bytes, at)?;
    Ok(u64::from_le_bytes(bytes))
}

/// The pages of a dump.
struct Pages<'f> {
    file: &'f File,
    size: usize,
    /// The descriptors, in the order of their pages' addresses.
    descriptors: Vec<u8>,
}

/// A page's place in the file.
#[derive(Clone, Copy)]
struct Descriptor {
    offset: u64,
    size: usize,
    compressed: bool,
}

impl<'f> Pages<'f> {
    fn of(file: &'f File, block: u64) -> io::Result<Self> {
        let headers = 1 + u64::from(number32(file, SUB_HEADER_BLOCKS)?);
        let bitmaps = u64::from(number32(file, BITMAP_BLOCKS)?);
        let length = file.metadata()?.len();
        let start = headers
            .checked_add(bitmaps)
            .and_then(|all| all.checked_mul(block));
        let start = start.filter(|start| *start <= length);
        let start = start.ok_or_else(|| bad("its headers are longer than the file"))?;
        // The second of two bitmaps says which pages follow.
        let half = bitmaps * block / 2;
        if half > MAX_BITMAP {
            return Err(bad("its bitmaps are longer than those of any guest"));
        }
        let half = usize::try_from(half).map_err(io::Error::other)?;
        let mut bitmap = vec![0; half];
        file.read_exact_at(&mut bitmap, start - half as u64)?;
        let count: usize = bitmap.iter().map(|byte| byte.count_ones() as usize).sum();
        let size = count * DESCRIPTOR;
        if start + size as u64 > length {
            return Err(bad("its table of pages is longer than the file"));
        }
        let mut descriptors = vec![0; size];
        file.read_exact_at(&mut descriptors, start)?;
        Ok(Self {
            file,
            size: usize::try_from(block).map_err(io::Error::other)?,
            descriptors,
        })
    }

    fn descriptor(&self, index: usize) -> Option<Descriptor> {
        let at = index.checked_mul(DESCRIPTOR)?;
        let bytes = self.descriptors.get(at..at + DESCRIPTOR)?;
        let number = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        Some(Descriptor {
            offset: u64::from(number(0)?) | u64::from(number(4)?) << 32,
            size: usize::try_from(number(8)?).ok()?.min(self.size * 2),
            compressed: number(12)? & ZLIB != 0,
        })
    }

    /// At most the first `length` bytes of a page, from at most `stored` bytes of the file.
    fn start(&self, page: Descriptor, length: usize, stored: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; page.size.min(stored)];
        self.file.read_exact_at(&mut bytes, page.offset)?;
        if !page.compressed {
            bytes.truncate(length);
            return Ok(bytes);
        }
        let mut start = Vec::with_capacity(length);
        // What is cut off ends in an error, after what there is.
        let _ = ZlibDecoder::new(bytes.as_slice())
            .take(length as u64)
            .read_to_end(&mut start);
        Ok(start)
    }

    /// The content of the kernel's note.
    fn vmcoreinfo(&self) -> io::Result<Option<Vec<u8>>> {
        let mut last = None;
        for index in 0.. {
            let Some(page) = self.descriptor(index) else {
                return Ok(None);
            };
            // All pages of zeros are one.
            if last.replace(page.offset) == Some(page.offset) {
                continue;
            }
            let start = self.start(page, NOTE_HEADER, NOTE_START)?;
            let Some(length) = note_length(&start) else {
                continue;
            };
            let mut text = Vec::new();
            for next in index.. {
                let Some(page) = self
                    .descriptor(next)
                    .filter(|_| text.len() < length + NOTE_HEADER)
                else {
                    break;
                };
                text.extend(self.start(page, self.size, usize::MAX)?);
            }
            let text = text
                .get(NOTE_HEADER..NOTE_HEADER + length)
                .unwrap_or_default();
            if text.starts_with(FIRST_LINE) {
                return Ok(Some(text.to_vec()));
            }
        }
        Ok(None)
    }
}

/// How long the content of the kernel's note is, if a page starts with one.
fn note_length(page: &[u8]) -> Option<usize> {
    let number = |at: usize| Some(u32::from_le_bytes(page.get(at..at + 4)?.try_into().ok()?));
    let is_note =
        number(0)? == NOTE_NAME_SIZE && number(8)? == NOTE_TYPE && page.get(12..24)? == NOTE_NAME;
    let length = usize::try_from(number(4)?).ok()?;
    (is_note && length <= MAX_VMCOREINFO).then_some(length)
}

#[cfg(test)]
#[path = "kdump_tests.rs"]
mod tests;
