//! Packages and tar archives, of which only the kernel's parts are taken: the
//! image, its configuration and the module tree.
//!
//! Nothing in an archive is trusted: [`Unpacked`] makes directories and regular
//! files below one directory and nothing else, and [`Bounded`](stream::Bounded) ends a stream
//! that unpacks to more than a kernel can have.

mod deb;
mod one;
mod rpm;
mod stream;
mod tar;
mod unpacked;

#[cfg(test)]
mod test_archives;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use nix::errno::Errno;

use super::Error;
use stream::{decoded, read_some};
use unpacked::{Refusal, Unpacked};

pub use one::take_file;
pub use unpacked::Came;

/// Bytes that tell what a file is; this one is of ar(5).
const MAGIC_AR: &[u8] = b"!<arch>\n";
/// The lead of an RPM (rpm's `docs/manual/format_lead.md`).
const MAGIC_RPM: &[u8] = b"\xed\xab\xee\xdb";
/// POSIX.1-1988 (ustar): the magic is at this offset of the first header.
const USTAR_OFFSET: usize = 257;

/// Bytes that are read at once; more than what says what a file is.
const BUFFER: usize = 128 << 10;

/// What a file is that may hold a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A Debian package.
    Deb,
    /// An RPM package.
    Rpm,
    /// A tar archive, plain or compressed: Arch's packages are such.
    Tar,
}

impl Kind {
    /// What the file at `path` is; `None` if it is no archive. An image never
    /// begins like one.
    pub fn of(path: &Path) -> Result<Option<Self>, Error> {
        let mut reader = File::open(path).map_err(Error::io("open", path))?;
        let mut head = [0; USTAR_OFFSET + 5];
        let length = read_some(&mut reader, &mut head).map_err(Error::io("read", path))?;
        Ok(Self::of_head(&head[..length]))
    }

    /// The same by the first bytes of a file.
    fn of_head(head: &[u8]) -> Option<Self> {
        let head = &head[..head.len().min(USTAR_OFFSET + 5)];
        let is_tar =
            stream::is_compressed(head) || head.get(USTAR_OFFSET..) == Some(b"ustar".as_slice());
        if head.starts_with(MAGIC_AR) {
            Some(Self::Deb)
        } else if head.starts_with(MAGIC_RPM) {
            Some(Self::Rpm)
        } else {
            is_tar.then_some(Self::Tar)
        }
    }
}

/// Unpacks the kernel's parts of the archive `file` below the directory `dest`;
/// `what` names it in errors. Gives `None` if it is no archive.
pub fn unpack(file: &Path, what: &str, dest: &Path) -> Result<Option<Came>, Error> {
    unpack_from(open(file)?, what, dest)
}

/// The same of what `reader` gives.
pub fn unpack_from(
    mut reader: impl BufRead,
    what: &str,
    dest: &Path,
) -> Result<Option<Came>, Error> {
    let head = reader.fill_buf().map_err(|error| told(what, &error))?;
    let Some(kind) = Kind::of_head(head) else {
        return Ok(None);
    };
    let mut unpacked = Unpacked::below(dest);
    let done = match kind {
        Kind::Deb => deb::unpack(reader, &mut unpacked),
        Kind::Rpm => rpm::unpack(reader, &mut unpacked),
        Kind::Tar => decoded(reader).and_then(|stream| tar::unpack(&stream, &mut unpacked)),
    };
    done.map_err(|error| told(what, &error))?;
    Ok(Some(unpacked.came()))
}

/// Lays a layer of a container image over what is in `dest`: the kernel's parts
/// come, and what the layer removes goes.
pub fn unpack_layer(file: &Path, what: &str, dest: &Path) -> Result<(), Error> {
    unpack_layer_from(open(file)?, what, dest)
}

/// The same of what `reader` gives.
pub fn unpack_layer_from(reader: impl BufRead, what: &str, dest: &Path) -> Result<(), Error> {
    let mut unpacked = Unpacked::layers(dest);
    decoded(reader)
        .and_then(|stream| tar::unpack(&stream, &mut unpacked))
        .map_err(|error| told(what, &error))
}

fn open(file: &Path) -> Result<BufReader<File>, Error> {
    let opened = File::open(file).map_err(Error::io("open", file))?;
    Ok(BufReader::with_capacity(BUFFER, opened))
}

/// A full disk is not a damaged archive.
fn told(what: &str, error: &io::Error) -> Error {
    if super::error::is_disk_full(error) {
        return Error::io("unpack", what.as_ref())(Errno::ENOSPC.into());
    }
    match Refusal::of(error) {
        Some(refusal) => Error::Refused {
            archive: what.to_owned(),
            entry: refusal.entry.clone(),
            reason: refusal.reason.clone(),
        },
        None => Error::Archive {
            what: what.to_owned(),
            reason: crate::hint::with_causes(error),
        },
    }
}
