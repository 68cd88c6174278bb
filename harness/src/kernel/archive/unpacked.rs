//! What comes out of an archive, and what does not.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use crate::kernel::image::names;

/// Bytes that an archive may unpack to. A full distribution kernel has less than
/// 1 GiB, one with debug information some.
pub(super) const MAX_BYTES: u64 = 16 << 30;

/// Files that are taken of an archive. Distributions build some 6,000 modules.
const MAX_FILES: u32 = 100_000;

/// Why an entry is not unpacked, nor anything else of its archive.
#[derive(Debug, thiserror::Error)]
#[error("{entry}: {reason}")]
pub(super) struct Refusal {
    /// Its name in the archive.
    pub(super) entry: String,
    /// What is wrong with it, as in "it …".
    pub(super) reason: String,
}

impl Refusal {
    pub(super) fn error(entry: &Path, reason: impl Into<String>) -> io::Error {
        io::Error::other(Refusal {
            entry: entry.display().to_string(),
            reason: reason.into(),
        })
    }

    /// The refusal that `error` carries.
    pub(super) fn of(error: &io::Error) -> Option<&Self> {
        let mut cause: Option<&(dyn std::error::Error + 'static)> =
            error.get_ref().map(|inner| inner as _);
        while let Some(error) = cause {
            if let Some(refusal) = error.downcast_ref() {
                return Some(refusal);
            }
            // An I/O error is not the source of another, but its content.
            cause = match error.downcast_ref::<io::Error>() {
                Some(error) => error.get_ref().map(|inner| inner as _),
                None => error.source(),
            };
        }
        None
    }
}

/// What stands in an archive under a name.
#[derive(Debug)]
pub(super) enum Entry {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// Another name of a file of the archive.
    HardLink(PathBuf),
    /// A symbolic link to this target.
    Symlink(PathBuf),
    /// Something else, as in "it is …".
    Special(&'static str),
}

/// The directory that the kernel's parts of an archive come to.
#[derive(Debug)]
pub(super) struct Unpacked<'d> {
    dest: &'d Path,
    layered: bool,
    bytes: u64,
    files: u32,
    came: Came,
}

/// What an archive had of a kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Came {
    /// What is named like an image, relative to the archive's root.
    pub images: Vec<PathBuf>,
    /// Releases of the modules.
    pub modules: BTreeSet<OsString>,
}

impl<'d> Unpacked<'d> {
    /// Takes an archive apart below the directory `dest`.
    pub(super) fn below(dest: &'d Path) -> Self {
        Unpacked {
            dest,
            layered: false,
            bytes: 0,
            files: 0,
            came: Came::default(),
        }
    }

    /// The same for a layer that lies over what is in `dest`.
    pub(super) fn layers(dest: &'d Path) -> Self {
        Unpacked {
            layered: true,
            ..Self::below(dest)
        }
    }

    /// What has come.
    pub(super) fn came(self) -> Came {
        self.came
    }

    pub(super) fn is_layered(&self) -> bool {
        self.layered
    }

    /// Takes in an entry of `size` bytes, which `content` gives: makes a file of
    /// it if it is a part of a kernel.
    pub(super) fn add(
        &mut self,
        path: &Path,
        size: u64,
        entry: Entry,
        content: &mut dyn Read,
    ) -> io::Result<()> {
        self.bytes = self.bytes.saturating_add(size);
        if self.bytes > MAX_BYTES {
            return Err(too_much(path));
        }
        let relative = self.relative(path)?;
        let dest = self.dest.join(&relative);
        if self.layered && !matches!(entry, Entry::Directory) && relative != Path::new("") {
            // It stands in place of what lower layers have there.
            discard(&dest)?;
        }
        if !is_kernel_part(&relative) {
            return Ok(());
        }
        match entry {
            // Directories come with their files.
            Entry::Directory => Ok(()),
            Entry::File => {
                self.make_room(path, &dest)?;
                self.count(&relative);
                let mut file = OpenOptions::new()
                    .write(true)
                    .create_new(true)
                    .open(&dest)?;
                let written = io::copy(&mut content.take(size), &mut file)?;
                if written == size {
                    Ok(())
                } else {
                    Err(io::Error::other(format!(
                        "it ends within {}, after {written} of {size} bytes",
                        path.display()
                    )))
                }
            }
            Entry::HardLink(target) => {
                let source = self.dest.join(self.relative(&target).map_err(|_| {
                    Refusal::error(
                        path,
                        format!("it is a link out of the archive, to {}", target.display()),
                    )
                })?);
                if !source.is_file() {
                    return Err(Refusal::error(
                        path,
                        format!(
                            "it is a hard link to {}, which has not come",
                            target.display()
                        ),
                    ));
                }
                if source == dest {
                    return Ok(());
                }
                self.make_room(path, &dest)?;
                self.count(&relative);
                fs::hard_link(source, dest)
            }
            // Links are not needed; `build` and `source` point out of the tree.
            Entry::Symlink(target) => {
                if is_needed(&relative) && leads_out(&relative, &target) {
                    return Err(Refusal::error(
                        path,
                        format!("it is a link out of the archive, to {}", target.display()),
                    ));
                }
                Ok(())
            }
            Entry::Special(what) => Err(Refusal::error(path, format!("it is {what}"))),
        }
    }

    /// Removes what lower layers have at `path`.
    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        let relative = self.relative(path)?;
        if relative == Path::new("") {
            return Ok(());
        }
        discard(&self.dest.join(relative))
    }

    /// Removes what lower layers have in the directory `path`.
    pub(super) fn clear(&mut self, path: &Path) -> io::Result<()> {
        let dir = self.dest.join(self.relative(path)?);
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if is_missing(&error) => return Ok(()),
            Err(error) => return Err(error),
        };
        for entry in entries {
            discard(&entry?.path())?;
        }
        Ok(())
    }

    /// The parts of a path below the archive's root. Layers are relative to the
    /// image's root, however they write it.
    fn relative(&self, path: &Path) -> io::Result<PathBuf> {
        let mut relative = PathBuf::new();
        for part in path.components() {
            match part {
                Component::Normal(name) => relative.push(name),
                Component::CurDir => {}
                Component::RootDir if self.layered || path == Path::new("/") => {}
                Component::RootDir | Component::Prefix(_) => {
                    return Err(Refusal::error(path, "its path is absolute"));
                }
                Component::ParentDir => {
                    return Err(Refusal::error(path, "its path leads out of the archive"));
                }
            }
        }
        Ok(relative)
    }

    /// Notes what a file is of a kernel.
    fn count(&mut self, path: &Path) {
        let release = path.iter().skip_while(|part| *part != "modules").nth(1);
        if is_image(path) {
            self.came.images.push(path.to_owned());
        } else if is_module(path)
            && let Some(release) = release
        {
            self.came.modules.insert(release.to_owned());
        }
    }

    /// Makes the directories above a file, and takes away what has its name.
    fn make_room(&mut self, path: &Path, dest: &Path) -> io::Result<()> {
        self.files += 1;
        if self.files > MAX_FILES {
            return Err(Refusal::error(
                path,
                format!("it comes after {MAX_FILES} other files, more than any kernel has"),
            ));
        }
        if let Some(parent) = dest.parent() {
            fs::create_dir_all(parent)?;
        }
        match fs::remove_file(dest) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

fn is_missing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// Removes a file, or a directory with all that is in it.
fn discard(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if !is_missing(&error) => Err(error),
        _ => Ok(()),
    }
}

fn too_much(entry: &Path) -> io::Error {
    Refusal::error(
        entry,
        format!(
            "with it, the archive unpacks to more than {} GiB",
            MAX_BYTES >> 30
        ),
    )
}

/// Whether a kernel, its modules or its configuration lie there.
fn is_kernel_part(path: &Path) -> bool {
    let parts: Vec<&OsStr> = path.iter().collect();
    parts.windows(2).any(|pair| pair == ["lib", "modules"]) || is_image(path)
}

fn is_image(path: &Path) -> bool {
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or("");
    names::is_packaged(name) || name.starts_with("config-")
}

/// Plain or compressed.
fn is_module(path: &Path) -> bool {
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or("");
    path.extension().is_some_and(|end| end == "ko") || name.contains(".ko.")
}

/// Whether a kernel cannot do without it: the image, a module, or a directory
/// above modules.
fn is_needed(path: &Path) -> bool {
    let below = path.iter().skip_while(|part| *part != "modules").count();
    let leads_to_modules = below == 2 || (below == 3 && path.ends_with("kernel"));
    leads_to_modules || is_image(path) || is_module(path)
}

/// Whether a link at `path` leads out of the directory that `path` is relative
/// to.
fn leads_out(path: &Path, target: &Path) -> bool {
    let mut depth = path.components().count().saturating_sub(1);
    for part in target.components() {
        match part {
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::ParentDir if depth > 0 => depth -= 1,
            _ => return true,
        }
    }
    false
}
