//! Tar archives, and the layers of container images, which are such
//! (OCI Image Format Specification 1.1, `layer.md`).

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};

use tar::EntryType;

use super::stream::Bounded;
use super::unpacked::{Entry, Unpacked};

/// What stands in front of a name that a layer removes, and the name that
/// removes everything of its directory.
const WHITEOUT: &str = ".wh.";
const OPAQUE: &str = ".wh..wh..opq";

/// What may come behind the last entry: tar pads archives to whole records.
const MAX_PADDING: u64 = 16 << 20;

/// Unpacks the archive in `stream`.
pub(super) fn unpack(stream: &Bounded<'_>, unpacked: &mut Unpacked<'_>) -> io::Result<()> {
    let mut archive = tar::Archive::new(stream);
    // Entries are drained below, so that only headers are left to read here:
    // long names are kept in memory.
    stream.expect_header();
    for entry in archive.entries()? {
        let mut entry = entry?;
        stream.expect_content();
        let path = entry.path()?.into_owned();
        stream.is_at(&path);
        let size = entry.size();
        let removed = path.file_name().and_then(|name| name.to_str());
        match removed.filter(|_| unpacked.is_layered()) {
            Some(OPAQUE) => unpacked.clear(path.parent().unwrap_or(Path::new("")))?,
            Some(name) if name.starts_with(WHITEOUT) => {
                unpacked.remove(&path.with_file_name(&name[WHITEOUT.len()..]))?;
            }
            _ => {
                let link = entry.link_name()?.map(Cow::into_owned);
                let kind = kind(entry.header().entry_type(), link);
                unpacked.add(&path, size, kind, &mut entry)?;
            }
        }
        io::copy(&mut entry, &mut io::sink())?;
        stream.expect_header();
    }
    // Read to the end, so that the compression's checksum is checked.
    stream.expect(MAX_PADDING);
    io::copy(&mut { stream }, &mut io::sink())?;
    Ok(())
}

fn kind(kind: EntryType, link: Option<PathBuf>) -> Entry {
    match (kind, link) {
        (EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse, _) => Entry::File,
        (EntryType::Directory, _) => Entry::Directory,
        (EntryType::Link, Some(target)) => Entry::HardLink(target),
        (EntryType::Symlink, Some(target)) => Entry::Symlink(target),
        (EntryType::Char | EntryType::Block, _) => Entry::Special("a device"),
        (EntryType::Fifo, _) => Entry::Special("a FIFO"),
        _ => Entry::Special("of an unknown kind"),
    }
}
