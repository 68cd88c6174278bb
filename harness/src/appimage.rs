//! AppImages: single files that contain a program and everything it needs.
//!
//! A type-2 AppImage (the AppImage specification, draft of 2023, "Type 2 image format") is an ELF
//! program, the runtime, with a file system appended to it. The runtime mounts that with FUSE and
//! runs `AppRun` in it. A guest gets it unpacked instead, once, on the host, in the cache. FUSE in
//! the guest would decompress the same files at every start.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use backhand::{FilesystemReader, InnerNode};
use sha2::{Digest, Sha256};

use crate::hint::{Hint, quoted};

/// The cache's directory for unpacked images.
const DIRECTORY: &str = "appimages";

/// The directory of an unpacked image, named as by its runtime's `--appimage-extract`.
const TREE: &str = "squashfs-root";

/// The program to run for the image.
const PROGRAM: &str = "bpftrace";

/// An outdated unpacked image is removed after this time: no run that uses it lasts that long.
const STALE: Duration = Duration::from_secs(24 * 60 * 60);

/// An AppImage could not be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is called one but is not one.
    #[error("{} is not an AppImage: {reason}", path.display())]
    NotOne {
        /// The file.
        path: PathBuf,
        /// What it lacks.
        reason: String,
    },
    /// Its kind cannot be unpacked.
    #[error("cannot unpack {}: {reason}", path.display())]
    Unpack {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// It mounts a `/nix` of its own over the one that the tests are in.
    #[error("the tests in {} cannot run with {}, which has its own /nix and hides yours", tests.display(), path.display())]
    Hides {
        /// The file.
        path: PathBuf,
        /// The tests.
        tests: PathBuf,
    },
    /// A file operation failed.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What kiln did with it.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

impl Error {
    fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }
}

impl Hint for Error {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::NotOne { .. } => vec![
                "an AppImage is an ELF program with the bytes `AI` and 2 at offset 8; `file` shows \
                 what this is"
                    .to_owned(),
            ],
            Self::Unpack { path, .. } => vec![format!(
                "if it runs here, unpack it with `{} --appimage-extract` and test squashfs-root/AppRun",
                path.display()
            )],
            Self::Hides { tests, .. } => vec![format!(
                "copy them elsewhere, and name the copy with --tests: cp -rL {} tests",
                quoted(tests)
            )],
            Self::Io { .. } => Vec::new(),
        }
    }
}

/// Refuses `tests` that the image at `path`, unpacked to `tree`, hides from bpftrace: what
/// nix-appimage makes mounts its own `/nix` (its AppRun, `userns-chroot`).
pub fn check_tests(path: &Path, tree: &Path, tests: &Path) -> Result<(), Error> {
    if tests.starts_with("/nix") && tree.join("nix").is_dir() {
        return Err(Error::Hides {
            path: path.to_owned(),
            tests: tests.to_owned(),
        });
    }
    Ok(())
}

/// Whether the content of `path` is an AppImage. Another file with such a name is an error. A
/// missing file is not an AppImage.
pub fn is_appimage(path: &Path) -> Result<bool, Error> {
    let Ok(mut file) = File::open(path) else {
        return Ok(false);
    };
    let mut magic = Vec::new();
    file.by_ref()
        .take(11)
        .read_to_end(&mut magic)
        .map_err(Error::io("read", path))?;
    let elf = magic.starts_with(b"\x7fELF");
    let kind = magic.get(8..).filter(|kind| elf && kind.starts_with(b"AI"));
    let not_one = |reason: &str| Error::NotOne {
        path: path.to_owned(),
        reason: reason.to_owned(),
    };
    let named = path
        .extension()
        .is_some_and(|ending| ending.eq_ignore_ascii_case("AppImage"));
    match kind {
        Some([_, _, 2]) => Ok(true),
        Some([_, _, 1]) => Err(Error::Unpack {
            path: path.to_owned(),
            reason: "it is of type 1, an ISO image".to_owned(),
        }),
        _ if !named => Ok(false),
        _ if elf => Err(not_one("it is an ordinary ELF program")),
        _ => Err(not_one("it is not an ELF program")),
    }
}

/// Unpacks the AppImage `path` into `cache`, unless that has been done, and returns the program to
/// run for it, which runs `AppRun` as the image's runtime would. Everything it needs from the image
/// is beside it.
///
/// Once `stop` is set, this leaves nothing behind and returns an error.
pub fn unpack(path: &Path, cache: &Path, stop: &AtomicBool) -> Result<PathBuf, Error> {
    let path = path.canonicalize().map_err(Error::io("find", path))?;
    let kept = cache.join(DIRECTORY);
    fs::create_dir_all(&kept).map_err(Error::io("create", &kept))?;
    let (file, version) = key(&path)?;
    let target = kept.join(format!("{file}-{version}"));
    let program = target.join(PROGRAM);
    // Written last. The directory appears complete, in one step.
    if program.is_file() {
        return Ok(program);
    }
    drop_stale(&kept, &file);
    let work = tempfile::Builder::new()
        .prefix(".unpacking-")
        .tempdir_in(&kept)
        .map_err(Error::io("create a directory in", &kept))?;
    let tree = work.path().join(TREE);
    unpack_tree(&path, &tree, stop)?;
    let run = tree.join("AppRun");
    if run.symlink_metadata().is_err() {
        return Err(Error::Unpack {
            path,
            reason: "it has no AppRun".to_owned(),
        });
    }
    let script = script(&target.join(TREE), &path)?;
    let written = work.path().join(PROGRAM);
    fs::write(&written, script)
        .and_then(|()| fs::set_permissions(&written, fs::Permissions::from_mode(0o755)))
        .and_then(|()| fs::set_permissions(work.path(), fs::Permissions::from_mode(0o755)))
        .map_err(Error::io("write", &written))?;
    let work = work.keep();
    match fs::rename(&work, &target) {
        Ok(()) => {}
        // Another kiln was faster, with the same content.
        Err(_) if program.is_file() => {
            let _ = fs::remove_dir_all(&work);
        }
        Err(error) => {
            let _ = fs::remove_dir_all(&work);
            return Err(Error::io("create", &target)(error));
        }
    }
    Ok(program)
}

/// Identifies a version of a file by metadata, since hashing 100 MB at every run would take longer.
fn key(path: &Path) -> Result<(String, String), Error> {
    let meta = path.metadata().map_err(Error::io("read", path))?;
    let hash = |bytes: &[u8]| {
        let digest = Sha256::digest(bytes);
        digest
            .iter()
            .take(8)
            .fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
    };
    let version = format!(
        "{} {} {}.{}",
        meta.ino(),
        meta.size(),
        meta.mtime(),
        meta.mtime_nsec()
    );
    Ok((
        hash(path.as_os_str().as_encoded_bytes()),
        hash(version.as_bytes()),
    ))
}

/// Removes earlier versions of the image `file`, to save space.
fn drop_stale(kept: &Path, file: &str) {
    for entry in fs::read_dir(kept).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let old = entry
            .metadata()
            .and_then(|meta| meta.modified())
            .is_ok_and(|time| {
                SystemTime::now()
                    .duration_since(time)
                    .is_ok_and(|age| age > STALE)
            });
        if old && (name.starts_with(file) || name.starts_with(".unpacking-")) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// The variables that the runtime sets for `AppRun` (specification, "Environment variables").
fn script(tree: &Path, image: &Path) -> Result<String, Error> {
    let quoted = |path: &Path| {
        let text = path.to_str().and_then(|text| shlex::try_quote(text).ok());
        text.map(std::borrow::Cow::into_owned)
            .ok_or_else(|| Error::Unpack {
                path: path.to_owned(),
                reason: "its path is not UTF-8".to_owned(),
            })
    };
    let (tree, image) = (quoted(tree)?, quoted(image)?);
    Ok(format!(
        "#!/bin/sh\nexport APPDIR={tree} APPIMAGE={image} ARGV0={image} OWD=\"$PWD\"\n\
         exec {tree}/AppRun \"$@\"\n"
    ))
}

/// Unpacks the file system after the runtime.
fn unpack_tree(image: &Path, tree: &Path, stop: &AtomicBool) -> Result<(), Error> {
    let failed = |reason: String| Error::Unpack {
        path: image.to_owned(),
        reason,
    };
    let mut file = File::open(image).map_err(Error::io("read", image))?;
    let offset = end_of_elf(&mut file).map_err(Error::io("read", image))?;
    let mut magic = [0; 4];
    file.seek(SeekFrom::Start(offset))
        .and_then(|_| file.read_exact(&mut magic))
        .map_err(|_| failed("it ends where its file system should begin".to_owned()))?;
    match &magic {
        b"hsqs" => {}
        b"DWAR" => return Err(failed("its file system is DwarFS, not squashfs".to_owned())),
        _ => return Err(failed("there is no squashfs after its program".to_owned())),
    }
    let squashfs = FilesystemReader::from_reader_with_offset(BufReader::new(file), offset)
        .map_err(|error| failed(format!("its squashfs is damaged: {error}")))?;
    // Links come last, so that nothing is written through one.
    let mut links = Vec::new();
    for node in squashfs.files() {
        let to = below(tree, &node.fullpath)
            .ok_or_else(|| failed(format!("{} is outside of it", node.fullpath.display())))?;
        match &node.inner {
            InnerNode::Dir(_) => {
                fs::create_dir_all(&to).map_err(Error::io("create", &to))?;
            }
            InnerNode::File(content) => {
                let mut from = UntilStopped {
                    reader: squashfs.file(content).reader(),
                    stop,
                };
                let mut file = File::create_new(&to).map_err(Error::io("create", &to))?;
                io::copy(&mut from, &mut file).map_err(Error::io("write", &to))?;
                let mode = u32::from(node.header.permissions) & 0o755 | 0o600;
                fs::set_permissions(&to, fs::Permissions::from_mode(mode))
                    .map_err(Error::io("write", &to))?;
            }
            InnerNode::Symlink(link) => links.push((to, link.link.clone())),
            // No program needs these in its image.
            InnerNode::CharacterDevice(_)
            | InnerNode::BlockDevice(_)
            | InnerNode::NamedPipe
            | InnerNode::Socket => {}
        }
    }
    for (to, target) in links {
        symlink(target, &to).map_err(Error::io("create", &to))?;
    }
    Ok(())
}

/// Fails once `stop` is set: one file may be 100 MB.
struct UntilStopped<'s, R> {
    reader: R,
    stop: &'s AtomicBool,
}

impl<R: Read> Read for UntilStopped<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(io::Error::other("interrupted"));
        }
        self.reader.read(buffer)
    }
}

/// A path of the image below `tree`; `None` if it is outside.
fn below(tree: &Path, path: &Path) -> Option<PathBuf> {
    let mut to = tree.to_owned();
    for part in path.components() {
        match part {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(name) => to.push(name),
            Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    Some(to)
}

/// Where an ELF file ends: after its section headers or its last section, whichever is later. The
/// runtime finds its file system in the same way (type2-runtime, `appimage_get_elf_size`).
fn end_of_elf(file: &mut File) -> io::Result<u64> {
    use object::read::elf::{FileHeader as _, SectionHeader as _};
    let cache = object::read::ReadCache::new(file);
    let damaged = |error: object::Error| io::Error::new(io::ErrorKind::InvalidData, error);
    let header = object::elf::FileHeader64::<object::Endianness>::parse(&cache).map_err(damaged)?;
    let endian = header.endian().map_err(damaged)?;
    let size = u64::from(header.e_shentsize(endian)) * u64::from(header.e_shnum(endian));
    let headers = header.e_shoff(endian).saturating_add(size);
    let sections = header.section_headers(endian, &cache).map_err(damaged)?;
    let last = sections
        .iter()
        .filter_map(|section| section.file_range(endian))
        .map(|(start, size)| start.saturating_add(size))
        .max();
    Ok(headers.max(last.unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_image_with_its_own_nix_hides_tests_in_the_store_and_no_others() {
        let tree = tempfile::tempdir().unwrap();
        let check = |tests: &str| check_tests(Path::new("b"), tree.path(), Path::new(tests));
        let store = "/nix/store/x-tests";
        assert!(check(store).is_ok());
        fs::create_dir(tree.path().join("nix")).unwrap();
        assert!(check("/home/me/tests").is_ok());
        let error = check(store).unwrap_err();
        assert!(error.to_string().contains("which has its own /nix"));
        assert_eq!(
            error.hints(),
            [
                "copy them elsewhere, and name the copy with --tests: cp -rL /nix/store/x-tests tests"
            ]
        );
    }

    #[test]
    fn an_appimage_is_known_by_its_magic_and_not_by_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &[u8]| {
            let path = dir.path().join(name);
            fs::write(&path, content).unwrap();
            path
        };
        let image = b"\x7fELF\x02\x01\x01\0AI\x02more";
        assert!(is_appimage(&file("bpftrace", image)).unwrap());
        let elf = b"\x7fELF\x02\x01\x01\0\0\0\0more";
        assert!(!is_appimage(&file("elf", elf)).unwrap());
        assert!(!is_appimage(&file("short", b"AI")).unwrap());
        assert!(!is_appimage(&dir.path().join("missing")).unwrap());
        for (name, content) in [("a.AppImage", &elf[..]), ("b.appimage", b"text")] {
            let error = is_appimage(&file(name, content)).unwrap_err();
            assert!(matches!(error, Error::NotOne { .. }), "{error}");
        }
    }

    #[test]
    fn unpacking_ends_once_it_is_stopped() {
        let stop = AtomicBool::new(false);
        let mut file = UntilStopped {
            reader: io::repeat(1),
            stop: &stop,
        };
        let mut bytes = [0; 8];
        file.read_exact(&mut bytes).unwrap();
        stop.store(true, Ordering::Relaxed);
        assert!(io::copy(&mut file, &mut io::sink()).is_err());
    }

    #[test]
    fn paths_of_an_image_stay_below_its_tree() {
        let tree = Path::new("/tree");
        assert_eq!(
            below(tree, Path::new("/usr/bin/x")),
            Some("/tree/usr/bin/x".into())
        );
        assert_eq!(below(tree, Path::new("/../etc/passwd")), None);
    }

    #[test]
    fn odd_paths_are_quoted_for_the_shell() {
        let text = script(Path::new("/a b/tree"), Path::new("/x'y")).unwrap();
        assert!(text.contains("APPDIR='/a b/tree'"), "{text}");
        assert!(text.contains(r#"APPIMAGE="/x'y""#), "{text}");
    }
}
