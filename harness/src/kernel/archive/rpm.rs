//! RPM packages, of versions 3 to 6 of the format: the `rpm` crate reads the
//! headers, the payload is a cpio archive.
//!
//! The crate reads payloads too, but looks every file up in the list of all, and
//! a kernel has thousands. It also trusts the sizes in a header, which are
//! therefore checked before it sees them.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::io::{self, BufRead, Cursor, Read};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use nix::sys::stat::SFlag;
use rpm::{IndexTag, PackageMetadata};

use super::stream::decoded;
use super::unpacked::{Entry, Unpacked};

/// Size of the lead, in bytes (rpm's `docs/manual/format_lead.md`).
const LEAD: usize = 96;
/// Size of what stands before the index of a header, and of an entry of the
/// index, in bytes (`docs/manual/format_header.md`).
const INTRO: usize = 16;
/// rpm itself allows 65,535 entries and 256 MiB (`lib/header_internal.hh`); a
/// kernel with debug information has a header of some MiB.
const MAX_ENTRIES: u32 = 0xffff;
const MAX_DATA: u32 = 64 << 20;

/// Magic numbers of the payload's entries: cpio's "new ASCII" format, with and
/// without checksums, and rpm's own, which leaves all but the number of the file
/// to the header.
const NEWC: [&[u8]; 2] = [b"070701", b"070702"];
const STRIPPED: &[u8] = b"07070X";

/// Longest target of a link, in bytes (`PATH_MAX`).
const MAX_NAME: u64 = 4096;

/// Unpacks a package.
pub(super) fn unpack(mut reader: impl BufRead, unpacked: &mut Unpacked<'_>) -> io::Result<()> {
    let mut headers = vec![0; LEAD];
    reader.read_exact(&mut headers)?;
    copy_header(&mut reader, &mut headers)?;
    // The signature's header fills whole words of 8 bytes.
    let padding = headers.len().next_multiple_of(8) - headers.len();
    read_more(&mut reader, padding, &mut headers)?;
    copy_header(&mut reader, &mut headers)?;
    let metadata = PackageMetadata::parse(&mut headers.as_slice()).map_err(io::Error::other)?;

    let stream = decoded(reader)?;
    let mut payload = Payload {
        stream: &stream,
        metadata: &metadata,
        listed: None,
    };
    // Of several names of one file only the last has its content.
    let mut names: HashMap<Inode, Vec<PathBuf>> = HashMap::new();
    loop {
        stream.expect_header();
        let Some(member) = payload.next()? else {
            break;
        };
        stream.is_at(&member.path);
        stream.expect_content();
        let path = member.path.as_path();
        let mut content = (&stream).take(member.size);
        match (&member.kind, member.linked) {
            (Entry::File, Some(inode)) if member.size == 0 => {
                names.entry(inode).or_default().push(path.to_owned());
            }
            _ => unpacked.add(path, member.size, member.kind, &mut content)?,
        }
        io::copy(&mut content, &mut io::sink())?;
        skip(&stream, padding_of(member.size))?;
        let others = member.linked.filter(|_| member.size > 0);
        for name in others
            .and_then(|inode| names.remove(&inode))
            .into_iter()
            .flatten()
        {
            let target = Entry::HardLink(path.to_owned());
            unpacked.add(&name, 0, target, &mut io::empty())?;
        }
    }
    // Files without content.
    for name in names.into_values().flatten() {
        unpacked.add(&name, 0, Entry::File, &mut io::empty())?;
    }
    Ok(())
}

/// Device, in two numbers, and inode.
type Inode = (u32, u32, u32);

/// One file of a payload; its content follows.
struct Member {
    /// Relative to the root.
    path: PathBuf,
    kind: Entry,
    /// Bytes of the content.
    size: u64,
    /// What it is known by if it has several names.
    linked: Option<Inode>,
}

/// The entries of a payload.
struct Payload<'a, R> {
    stream: R,
    metadata: &'a PackageMetadata,
    /// The files of the header, read when a payload leaves them to it.
    listed: Option<Vec<Member>>,
}

impl<R: Read + Copy> Payload<'_, R> {
    /// The next one; `None` at the end.
    fn next(&mut self) -> io::Result<Option<Member>> {
        let mut magic = [0; 6];
        self.stream.read_exact(&mut magic)?;
        if NEWC.contains(&magic.as_slice()) {
            return self.newc(magic);
        }
        if magic != *STRIPPED {
            return Err(io::Error::other("its payload is not a cpio archive"));
        }
        let mut digits = [0; 8];
        self.stream.read_exact(&mut digits)?;
        skip(self.stream, padding_of(6 + 8))?;
        let index = usize::try_from(number(digits)?).map_err(io::Error::other)?;
        if self.listed.is_none() {
            self.listed = Some(listed(self.metadata)?);
        }
        let member = self
            .listed
            .as_mut()
            .and_then(|listed| listed.get_mut(index))
            .ok_or_else(|| io::Error::other(format!("its header has no file {index}")))?;
        let next = Member {
            path: member.path.clone(),
            // Each comes once.
            kind: std::mem::replace(&mut member.kind, Entry::Special("there twice")),
            size: member.size,
            linked: member.linked,
        };
        self.symlink(next).map(Some)
    }

    fn newc(&mut self, magic: [u8; 6]) -> io::Result<Option<Member>> {
        let header = Cursor::new(magic).chain(self.stream);
        let reader = cpio::newc::Reader::new(header)?;
        let entry = reader.entry();
        if entry.is_trailer() {
            return Ok(None);
        }
        let device = (entry.dev_major(), entry.dev_minor(), entry.ino());
        let member = Member {
            path: PathBuf::from(entry.name()),
            kind: kind(entry.mode()),
            size: u64::from(entry.file_size()),
            linked: (entry.nlink() > 1).then_some(device),
        };
        self.symlink(member).map(Some)
    }

    /// The content of a link is where it leads to.
    fn symlink(&mut self, mut member: Member) -> io::Result<Member> {
        if let Entry::Symlink(target) = &mut member.kind {
            if member.size > MAX_NAME {
                return Err(io::Error::other("a link in its payload is too long"));
            }
            let mut text = Vec::new();
            self.stream.take(member.size).read_to_end(&mut text)?;
            skip(self.stream, padding_of(member.size))?;
            *target = PathBuf::from(OsString::from_vec(text));
            member.size = 0;
        }
        Ok(member)
    }
}

/// The files that a header lists, in its order.
fn listed(metadata: &PackageMetadata) -> io::Result<Vec<Member>> {
    let entries = metadata.get_file_entries().map_err(io::Error::other)?;
    let numbers = |tag| {
        metadata
            .header
            .get_entry_data_as_u32_array(tag)
            .unwrap_or_default()
    };
    let devices = numbers(IndexTag::RPMTAG_FILEDEVICES);
    let inodes = numbers(IndexTag::RPMTAG_FILEINODES);
    let mut listed: Vec<Member> = entries
        .iter()
        .enumerate()
        .map(|(index, entry)| {
            let kind = kind(u32::from(entry.mode().raw_mode()));
            let has_content = matches!(kind, Entry::File | Entry::Symlink(_));
            let path = entry.path();
            Member {
                path: path.strip_prefix("/").map(Path::to_owned).unwrap_or(path),
                size: if has_content { entry.size() as u64 } else { 0 },
                linked: devices
                    .get(index)
                    .zip(inodes.get(index))
                    .map(|(device, inode)| (0, *device, *inode)),
                kind,
            }
        })
        .collect();
    // The last name of a file has its content.
    let mut seen = HashSet::new();
    for member in listed.iter_mut().rev() {
        if matches!(member.kind, Entry::File)
            && let Some(inode) = member.linked
            && !seen.insert(inode)
        {
            member.size = 0;
        }
    }
    Ok(listed)
}

/// Copies one header, if its sizes and what its index says of them fit each
/// other.
fn copy_header(reader: &mut impl Read, headers: &mut Vec<u8>) -> io::Result<()> {
    let damaged = || io::Error::other("its header is damaged");
    let start = headers.len();
    read_more(reader, INTRO, headers)?;
    let number = |bytes: &[u8], at: usize| -> Option<u32> {
        bytes
            .get(at..)?
            .first_chunk()
            .copied()
            .map(u32::from_be_bytes)
    };
    let intro = &headers[start..];
    let (Some(entries), Some(data)) = (number(intro, 8), number(intro, 12)) else {
        return Err(damaged());
    };
    if entries > MAX_ENTRIES || data > MAX_DATA {
        return Err(damaged());
    }
    read_more(reader, entries as usize * INTRO + data as usize, headers)?;
    let index = headers.get(start + INTRO..).unwrap_or_default();
    for entry in index.chunks_exact(INTRO).take(entries as usize) {
        // Tag, type, offset, count.
        let (Some(kind), Some(offset), Some(count)) =
            (number(entry, 4), number(entry, 8), number(entry, 12))
        else {
            return Err(damaged());
        };
        // Null, char, 8, 16, 32 and 64 bits; texts have at least a NUL each.
        let each: u64 = match kind {
            0 => 0,
            3 => 2,
            4 => 4,
            5 => 8,
            _ => 1,
        };
        let end = u64::from(offset) + each * u64::from(count);
        if offset > data || end > u64::from(data) || (kind == 0 && count > data) {
            return Err(damaged());
        }
    }
    Ok(())
}

/// Reads `length` bytes more. They are asked for as they come: a length that is
/// announced costs nothing.
fn read_more(reader: &mut impl Read, length: usize, to: &mut Vec<u8>) -> io::Result<()> {
    let read = reader.take(length as u64).read_to_end(to)?;
    if read == length {
        Ok(())
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

fn kind(mode: u32) -> Entry {
    match SFlag::from_bits_truncate(mode & SFlag::S_IFMT.bits()) {
        SFlag::S_IFREG => Entry::File,
        SFlag::S_IFDIR => Entry::Directory,
        SFlag::S_IFLNK => Entry::Symlink(PathBuf::new()),
        SFlag::S_IFCHR | SFlag::S_IFBLK => Entry::Special("a device"),
        SFlag::S_IFIFO => Entry::Special("a FIFO"),
        SFlag::S_IFSOCK => Entry::Special("a socket"),
        _ => Entry::Special("of an unknown kind"),
    }
}

/// A field of eight hexadecimal digits.
fn number(digits: [u8; 8]) -> io::Result<u32> {
    std::str::from_utf8(&digits)
        .ok()
        .and_then(|text| u32::from_str_radix(text, 16).ok())
        .ok_or_else(|| io::Error::other("its payload is damaged"))
}

/// Everything in a payload fills whole words of 4 bytes.
fn padding_of(length: u64) -> u64 {
    length.next_multiple_of(4) - length
}

fn skip(stream: impl Read, length: u64) -> io::Result<()> {
    let skipped = io::copy(&mut stream.take(length), &mut io::sink())?;
    if skipped == length {
        Ok(())
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}
