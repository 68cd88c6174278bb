//! Debian packages: deb(5).

use std::io::{self, ErrorKind, Read};

use super::stream::decoded;
use super::tar;
use super::unpacked::Unpacked;

/// What an `ar` archive begins with.
const MAGIC: &[u8; 8] = b"!<arch>\n";
/// Bytes before each member, and where among them its size is, in decimal digits.
const HEADER: usize = 60;
const SIZE: std::ops::Range<usize> = 48..58;

/// Unpacks a package.
pub(super) fn unpack(reader: impl Read, unpacked: &mut Unpacked<'_>) -> io::Result<()> {
    tar::unpack(&decoded(data(reader)?)?, unpacked)
}

/// The member `data.tar.*` of a package, which has the files. Packages have no long names, which crates
/// for `ar` read as well: `ar` 0.9 panics over some of them.
pub(super) fn data<R: Read>(mut reader: R) -> io::Result<io::Take<R>> {
    let mut magic = [0; MAGIC.len()];
    reader.read_exact(&mut magic)?;
    if &magic != MAGIC {
        return Err(invalid("it is not an ar archive"));
    }
    loop {
        let mut header = [0; HEADER];
        reader
            .read_exact(&mut header)
            .map_err(|error| match error.kind() {
                ErrorKind::UnexpectedEof => io::Error::other("it has no data.tar"),
                _ => error,
            })?;
        let size = std::str::from_utf8(&header[SIZE])
            .ok()
            .and_then(|digits| digits.trim_end().parse::<u64>().ok())
            .ok_or_else(|| invalid("the size of a member is not a number"))?;
        if header.starts_with(b"data.tar") {
            return Ok(reader.take(size));
        }
        // Members begin at even places.
        let mut member = reader.by_ref().take(size + size % 2);
        io::copy(&mut member, &mut io::sink())?;
    }
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn member(name: &str, size: &str, content: &str) -> String {
        format!("{name:16}{:32}{size:10}`\n{content}", "")
    }

    #[test]
    fn the_files_are_found_behind_members_of_odd_sizes() {
        let deb = [
            "!<arch>\n",
            &member("debian-binary", "3", "2.0\n"),
            &member("data.tar", "5", "files and more"),
        ];
        let mut found = String::new();
        let deb = deb.concat();
        data(deb.as_bytes())
            .unwrap()
            .read_to_string(&mut found)
            .unwrap();
        assert_eq!(found, "files");
    }

    #[test]
    fn what_is_not_a_package_is_an_error() {
        let said = |text: &str| data(text.as_bytes()).unwrap_err().to_string();
        assert_eq!(said("!<arch>?"), "it is not an ar archive");
        assert_eq!(said("!<arch>\n"), "it has no data.tar");
        let archive = |members: &str| said(&format!("!<arch>\n{members}"));
        // Of the names that no table has, and of one longer than memory.
        for name in ["/800000000000", "//", "#1/9999999999"] {
            let members = member(name, "9999999999", "");
            assert_eq!(archive(&members), "it has no data.tar");
        }
        let members = member("control.tar", "-1", "");
        assert_eq!(archive(&members), "the size of a member is not a number");
        assert_eq!(archive(&"x".repeat(59)), "it has no data.tar");
    }
}
