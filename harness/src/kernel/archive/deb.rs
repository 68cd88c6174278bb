//! Debian packages: deb(5).

use std::io::{self, Read};

use super::stream::decoded;
use super::tar;
use super::unpacked::Unpacked;

/// Unpacks a package: an `ar` archive, the member `data.tar.*` of which has the
/// files.
pub(super) fn unpack(reader: impl Read, unpacked: &mut Unpacked<'_>) -> io::Result<()> {
    let mut archive = ar::Archive::new(reader);
    while let Some(member) = archive.next_entry() {
        let member = member?;
        if member.header().identifier().starts_with(b"data.tar") {
            return tar::unpack(&decoded(member)?, unpacked);
        }
    }
    Err(io::Error::other("it has no data.tar"))
}
