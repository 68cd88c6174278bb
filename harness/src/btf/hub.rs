//! BTFHub's layout of directories: `DISTRIBUTION/VERSION/ARCHITECTURE/RELEASE.btf.tar.xz`, each
//! archive with the file `RELEASE.btf` (<https://github.com/aquasecurity/btfhub-archive>).

use std::io;
use std::path::{Path, PathBuf};

/// Debian's releases by their suites.
const DEBIAN: [(&str, &str); 6] = [
    ("buster", "10"),
    ("bullseye", "11"),
    ("bookworm", "12"),
    ("trixie", "13"),
    ("forky", "14"),
    ("sid", "sid"),
];

/// `debian/12` for a kernel of such a suite; else what the release itself says, as Fedora's and
/// others' do; `None` if neither tells.
pub fn distribution(suite: Option<&str>, release: &str) -> Option<String> {
    if let Some(suite) = suite {
        // `bookworm-security` and `bookworm-backports` are of bookworm.
        let name = suite.split('-').next().unwrap_or(suite);
        let known = DEBIAN.iter().find(|(known, _)| *known == name);
        if let Some((_, version)) = known {
            return Some(format!("debian/{version}"));
        }
    }
    let marks = [
        (".fc", "fedora"),
        (".el", "centos"),
        (".amzn", "amzn"),
        ("+deb", "debian"),
    ];
    marks.iter().find_map(|(mark, distribution)| {
        let (_, version) = release.split_once(mark)?;
        let end = version.find(|c: char| !c.is_ascii_digit());
        let version = &version[..end.unwrap_or(version.len())];
        (!version.is_empty()).then(|| format!("{distribution}/{version}"))
    })
}

/// Where a kernel's BTF goes.
pub fn path(distribution: &str, machine: &str, release: &str) -> PathBuf {
    Path::new(distribution)
        .join(machine)
        .join(format!("{release}.btf.tar.xz"))
}

/// The archive.
pub fn archive(release: &str, btf: &[u8]) -> io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(liblzma::write::XzEncoder::new(Vec::new(), 6));
    let mut header = tar::Header::new_gnu();
    header.set_size(btf.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    archive.append_data(&mut header, format!("{release}.btf"), btf)?;
    archive.into_inner()?.finish()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::Read as _;

    use super::*;

    #[test]
    fn a_kernel_goes_where_btfhub_has_those_of_its_distribution() {
        let of = |suite, release| distribution(suite, release);
        let debian = Some("debian/12".to_owned());
        assert_eq!(of(Some("bookworm-security"), "6.1.0-56-amd64"), debian);
        let debian = Some("debian/13".to_owned());
        assert_eq!(of(None, "6.12.118+deb13-cloud-amd64"), debian);
        let fedora = Some("fedora/40".to_owned());
        assert_eq!(of(None, "6.8.5-301.fc40.x86_64"), fedora);
        let centos = Some("centos/9".to_owned());
        assert_eq!(of(None, "5.14.0-427.el9.x86_64"), centos);
        assert_eq!(of(Some("noble"), "6.8.0-31-generic"), None);
        let path = path("debian/12", "x86_64", "6.1.0-56-amd64");
        assert_eq!(
            path,
            Path::new("debian/12/x86_64/6.1.0-56-amd64.btf.tar.xz")
        );
    }

    #[test]
    fn an_archive_has_one_file() {
        let packed = archive("6.1", b"btf").unwrap();
        let mut archive = tar::Archive::new(liblzma::read::XzDecoder::new(&packed[..]));
        let mut entries = archive.entries().unwrap();
        let mut entry = entries.next().unwrap().unwrap();
        assert_eq!(entry.path().unwrap(), Path::new("6.1.btf"));
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        assert_eq!(text, "btf");
        assert!(entries.next().is_none());
    }
}
