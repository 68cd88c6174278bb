//! Archives for tests.
#![allow(clippy::unwrap_used)]

use std::io::Write;

#[derive(Clone, Copy)]
pub(super) enum Member<'a> {
    File(&'a [u8]),
    Link(&'a str),
    Hard(&'a str),
    Node(::tar::EntryType),
    /// Says a size that it does not have.
    Huge(u64),
}

pub(super) use Member::{File as Regular, Hard, Huge, Link, Node};

pub(super) fn tarball(members: &[(&str, Member<'_>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (path, member) in members {
        let mut header = ::tar::Header::new_gnu();
        let mut content: &[u8] = b"";
        header.set_mode(0o644);
        header.set_size(0);
        match *member {
            Regular(bytes) => {
                header.set_size(bytes.len() as u64);
                content = bytes;
            }
            Link(target) => {
                header.set_entry_type(::tar::EntryType::Symlink);
                header.set_link_name(target).unwrap();
            }
            Hard(target) => {
                header.set_entry_type(::tar::EntryType::Link);
                header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
            }
            Node(kind) => header.set_entry_type(kind),
            Huge(size) => header.set_size(size),
        }
        // `set_path` refuses the evil ones that some tests want.
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_cksum();
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.extend_from_slice(&[0; 1024]);
    bytes
}

pub(super) fn deb(files: &[(&str, Member<'_>)]) -> Vec<u8> {
    let mut builder = ar::Builder::new(Vec::new());
    let data = xz(&tarball(files));
    for (name, content) in [
        ("debian-binary", b"2.0\n".as_slice()),
        ("data.tar.xz", &data),
    ] {
        let header = ar::Header::new(name.as_bytes().to_vec(), content.len() as u64);
        builder.append(&header, content).unwrap();
    }
    builder.into_inner().unwrap()
}

/// A package with empty headers: its payload names the files by itself.
pub(super) fn rpm(payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 96];
    bytes[..6].copy_from_slice(b"\xed\xab\xee\xdb\x03\x00");
    bytes[76..80].copy_from_slice(&[0, 1, 0, 5]);
    for _ in 0..2 {
        bytes.extend_from_slice(b"\x8e\xad\xe8\x01\0\0\0\0\0\0\0\0\0\0\0\0");
    }
    bytes.extend_from_slice(&gzip(payload));
    bytes
}

/// A file of a cpio archive, by its mode, with so many names.
pub(super) fn cpio(path: &str, mode: u32, links: u32, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap();
    let entry = cpio::newc::Builder::new(path)
        .mode(mode)
        .nlink(links)
        .ino(7);
    let mut writer = entry.write(Vec::new(), length);
    writer.write_all(content).unwrap();
    writer.finish().unwrap()
}

pub(super) fn end(mut archive: Vec<u8>) -> Vec<u8> {
    archive.extend_from_slice(&cpio::newc::trailer(Vec::new()).unwrap());
    archive
}

pub(super) fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 0);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
