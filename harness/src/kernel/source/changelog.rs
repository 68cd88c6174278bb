//! The changelog of a kernel's package (Debian Policy 4.4 and 12.7), which is in the package itself.

use std::cmp::Ordering;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use super::super::debian::compare;
use super::super::lock::LockedKernel;
use super::super::{Error, archive};
use super::Request;
use super::package::{fetch, mirror};
use crate::config::AptSource;

/// Names of the file: that of a package of Debian's own, and that of others.
const NAMES: [&str; 2] = ["changelog.Debian.gz", "changelog.gz"];
/// Bytes of entries to keep: an upstream release has some thousand changes.
const MOST: usize = 256 << 10;

/// What the changelog of the kernel of a pin says of versions after `since`, the newest first.
/// Fetches its package again, since the cache keeps the kernel alone.
pub(in super::super) fn since(
    request: &Request<'_>,
    source: &AptSource,
    pin: &LockedKernel,
    since: &str,
) -> Result<Option<String>, Error> {
    let Some((image, _)) = pin.image() else {
        return Ok(None);
    };
    let deb = fetch(request, &mirror(source), image)?.path;
    let directory = request.cache.subdirectory("tmp")?;
    let file = tempfile::NamedTempFile::new_in(&directory)
        .map_err(Error::io("create a file in", &directory))?;
    let mut taken = NAMES.iter().map(|name| {
        let path = format!("usr/share/doc/{}/{name}", image.package);
        archive::take_file(&deb, &image.package, path.as_ref(), file.path())
    });
    let found = taken.any(|taken| taken.is_ok());
    fs::remove_file(&deb).map_err(Error::io("remove", &deb))?;
    if !found {
        return Ok(None);
    }
    entries(file.path(), since).map(Some)
}

fn entries(file: &Path, since: &str) -> Result<String, Error> {
    let opened = File::open(file).map_err(Error::io("open", file))?;
    let mut text = String::new();
    for line in BufReader::new(MultiGzDecoder::new(opened)).split(b'\n') {
        let line = line.map_err(Error::io("read", file))?;
        let line = String::from_utf8_lossy(&line);
        let is_old =
            version(&line).is_some_and(|version| compare(version, since) != Ordering::Greater);
        if is_old || text.len() + line.len() > MOST {
            break;
        }
        text.push_str(&line);
        text.push('\n');
    }
    Ok(text)
}

/// The version of an entry, if this is its first line: `linux (6.1.192-2) bookworm; urgency=high`.
fn version(line: &str) -> Option<&str> {
    let (name, rest) = line.split_once(" (")?;
    let is_first = !name.is_empty() && !name.starts_with(char::is_whitespace);
    let (version, _) = rest.split_once(')')?;
    is_first.then_some(version)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    const LOG: &str = "linux (6.1.3-1) sid; urgency=medium

  * third (really)

 -- A <a@example.org>  Mon, 02 Jan 2023 00:00:00 +0000

linux (6.1.2-1) sid; urgency=medium

  * second

linux (6.1.1-1) sid; urgency=medium

  * first
";

    #[test]
    fn only_what_came_after_a_version_is_taken() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut encoder = GzEncoder::new(file.reopen().unwrap(), Compression::fast());
        encoder.write_all(LOG.as_bytes()).unwrap();
        encoder.finish().unwrap();
        let after = |version: &str| entries(file.path(), version).unwrap();
        let found = after("6.1.1-1");
        assert!(
            found.contains("third (really)") && found.contains("second"),
            "{found}"
        );
        assert!(!found.contains("first"), "{found}");
        // A version that the changelog does not name.
        assert!(after("6.1.2-1~bpo1").contains("second"));
        assert_eq!(after("6.1.3-1"), "");
    }
}
