//! Unpacks the kernel's parts of Debian packages and tar archives: the image, its configuration and
//! the module tree.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::path::{Component, Path};

use nix::errno::Errno;

use super::Error;
use super::image::names;

/// Bytes that identify a file's type.
const MAGIC_XZ: &[u8] = b"\xfd7zXZ\0";
const MAGIC_ZSTD: &[u8] = b"\x28\xb5\x2f\xfd";
const MAGIC_GZIP: &[u8] = b"\x1f\x8b";
/// POSIX.1-1988 (ustar): the magic is at this offset of the first header.
const USTAR_OFFSET: usize = 257;

/// Unpacks the kernel's parts of the Debian package `deb` (deb(5): an `ar`
/// archive with the member `data.tar.*`) below `dest`.
pub(super) fn unpack_deb(deb: &Path, dest: &Path) -> Result<(), Error> {
    let what = file_name(deb);
    let damaged = |error: io::Error| unpacking(&what, &error);
    let file = File::open(deb).map_err(Error::io("open", deb))?;
    let mut archive = ar::Archive::new(BufReader::new(file));
    while let Some(member) = archive.next_entry() {
        let mut member = member.map_err(damaged)?;
        if member.header().identifier().starts_with(b"data.tar") {
            let mut magic = [0; 8];
            let length = read_some(&mut member, &mut magic).map_err(damaged)?;
            let stream = io::Cursor::new(magic[..length].to_vec()).chain(member);
            return unpack_tar(
                &mut decoder(&magic[..length], stream).map_err(damaged)?,
                dest,
            )
            .map_err(damaged);
        }
    }
    Err(Error::Archive {
        what,
        reason: "it has no data.tar".to_owned(),
    })
}

/// Whether `file` is a tar archive, plain or compressed. An image never begins like one.
pub(super) fn is_tar(file: &Path) -> Result<bool, Error> {
    let mut reader = File::open(file).map_err(Error::io("open", file))?;
    let mut head = [0; USTAR_OFFSET + 5];
    let length = read_some(&mut reader, &mut head).map_err(Error::io("read", file))?;
    let head = &head[..length];
    Ok([MAGIC_XZ, MAGIC_ZSTD, MAGIC_GZIP]
        .iter()
        .any(|magic| head.starts_with(magic))
        || head.get(USTAR_OFFSET..) == Some(b"ustar".as_slice()))
}

/// Unpacks the kernel's parts of a tar archive below `dest`.
pub(super) fn unpack_tar_file(file: &Path, what: &str, dest: &Path) -> Result<(), Error> {
    let damaged = |error: io::Error| unpacking(what, &error);
    let mut reader = File::open(file).map_err(Error::io("open", file))?;
    let mut magic = [0; 8];
    let length = read_some(&mut reader, &mut magic).map_err(damaged)?;
    reader.rewind().map_err(damaged)?;
    let stream = BufReader::new(reader);
    unpack_tar(
        &mut decoder(&magic[..length], stream).map_err(damaged)?,
        dest,
    )
    .map_err(damaged)
}

/// A full disk is not a damaged archive.
fn unpacking(what: &str, error: &io::Error) -> Error {
    if super::error::is_disk_full(error) {
        return Error::io("unpack", what.as_ref())(Errno::ENOSPC.into());
    }
    Error::Archive {
        what: what.to_owned(),
        reason: crate::hint::with_causes(error),
    }
}

fn decoder<'a>(magic: &[u8], stream: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    Ok(if magic.starts_with(MAGIC_XZ) {
        Box::new(liblzma::read::XzDecoder::new_multi_decoder(stream))
    } else if magic.starts_with(MAGIC_ZSTD) {
        Box::new(zstd::Decoder::new(stream)?)
    } else if magic.starts_with(MAGIC_GZIP) {
        Box::new(flate2::read::MultiGzDecoder::new(stream))
    } else {
        Box::new(stream)
    })
}

fn unpack_tar(stream: &mut dyn Read, dest: &Path) -> io::Result<()> {
    let mut archive = tar::Archive::new(&mut *stream);
    archive.set_preserve_permissions(false);
    archive.set_preserve_mtime(false);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let wanted = {
            let kind = entry.header().entry_type();
            // Directories come with their files. Links are not needed, and `build` and `source`
            // point out of the tree.
            (kind.is_file() || kind.is_hard_link()) && is_kernel_part(&entry.path()?)
        };
        if wanted {
            // This refuses paths that lead out of `dest`.
            entry.unpack_in(dest)?;
        }
    }
    // Read to the end, so that the compression's checksum is checked.
    io::copy(stream, &mut io::sink())?;
    Ok(())
}

fn is_kernel_part(path: &Path) -> bool {
    let parts: Vec<&OsStr> = path
        .components()
        .filter_map(|part| match part {
            Component::Normal(part) => Some(part),
            _ => None,
        })
        .collect();
    if parts.windows(2).any(|pair| pair == ["lib", "modules"]) {
        return true;
    }
    let name = parts.last().and_then(|name| name.to_str()).unwrap_or("");
    names::is_packaged(name) || name.starts_with("config-")
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy()
        .into_owned()
}

/// Fills `buffer` as far as there is data.
fn read_some(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match reader.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fs;
    use std::io::Write;

    fn tarball(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, content) in files {
            let mut header = tar::Header::new_ustar();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            // `set_path` refuses the evil ones that some tests want.
            header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_cksum();
            builder.append(&header, *content).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn xz(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 0);
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn files(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> = walkdir::WalkDir::new(dir)
            .into_iter()
            .map(Result::unwrap)
            .filter(|entry| entry.file_type().is_file())
            .map(|entry| {
                entry
                    .path()
                    .strip_prefix(dir)
                    .unwrap()
                    .display()
                    .to_string()
            })
            .collect();
        names.sort();
        names
    }

    #[test]
    fn only_the_kernel_s_parts_of_a_package_are_unpacked() {
        let dir = tempfile::tempdir().unwrap();
        let data = xz(&tarball(&[
            ("./boot/vmlinuz-1", b"image"),
            ("./boot/config-1", b"config"),
            ("./boot/System.map-1", b"map"),
            ("./usr/share/doc/x", b"doc"),
            ("./usr/lib/modules/1/kernel/a.ko", b"module"),
        ]));
        let deb = dir.path().join("x.deb");
        let mut builder = ar::Builder::new(File::create(&deb).unwrap());
        for (name, content) in [
            ("debian-binary", b"2.0\n".as_slice()),
            ("data.tar.xz", &data),
        ] {
            let header = ar::Header::new(name.as_bytes().to_vec(), content.len() as u64);
            builder.append(&header, content).unwrap();
        }
        drop(builder);
        let dest = dir.path().join("out");
        fs::create_dir(&dest).unwrap();
        unpack_deb(&deb, &dest).unwrap();
        assert_eq!(
            files(&dest),
            [
                "boot/config-1",
                "boot/vmlinuz-1",
                "usr/lib/modules/1/kernel/a.ko"
            ]
        );
    }

    #[test]
    fn an_archive_cannot_write_outside() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x.tar");
        fs::write(
            &file,
            tarball(&[("../vmlinuz-evil", b"x"), ("vmlinuz-good", b"x")]),
        )
        .unwrap();
        let dest = dir.path().join("out");
        fs::create_dir(&dest).unwrap();
        unpack_tar_file(&file, "x.tar", &dest).unwrap();
        assert_eq!(files(&dest), ["vmlinuz-good"]);
        assert!(!dir.path().join("vmlinuz-evil").exists());
    }

    #[test]
    fn each_compression_is_recognised_by_content() {
        let dir = tempfile::tempdir().unwrap();
        let plain = tarball(&[("k/bzImage", b"image")]);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&plain).unwrap();
        let all = [
            plain.clone(),
            xz(&plain),
            zstd::encode_all(plain.as_slice(), 1).unwrap(),
            gzip.finish().unwrap(),
        ];
        for (index, bytes) in all.iter().enumerate() {
            let file = dir.path().join(format!("{index}.tar"));
            fs::write(&file, bytes).unwrap();
            assert!(is_tar(&file).unwrap());
            let dest = dir.path().join(format!("out{index}"));
            fs::create_dir(&dest).unwrap();
            unpack_tar_file(&file, "it", &dest).unwrap();
            assert_eq!(files(&dest), ["k/bzImage"]);
        }
        let image = dir.path().join("image");
        fs::write(&image, b"MZ").unwrap();
        assert!(!is_tar(&image).unwrap());
    }

    #[test]
    fn a_damaged_archive_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x.tar.xz");
        let mut bytes = xz(&tarball(&[("bzImage", &[7; 9000])]));
        bytes.truncate(bytes.len() - 20);
        fs::write(&file, bytes).unwrap();
        let error = unpack_tar_file(&file, "x.tar.xz", dir.path()).unwrap_err();
        assert!(matches!(error, Error::Archive { .. }), "{error}");
    }
}
