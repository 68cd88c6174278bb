//! A tree that can be written to without overlayfs: a tmpfs with copies of what
//! is small, and with the rest bound read-only.
//!
//! ```text
//! share        tmpfs
//! /etc/hosts → copy         a directory that is to be written to
//! /etc/ssl   → bind         one in it that is too large
//! /usr       → bind         any other
//! /tmp       → empty        one that gets a file system of its own
//! ```
//!
//! The host goes on meanwhile: what has gone since its directory was read is left out.

use std::collections::VecDeque;
use std::fs::{self, DirEntry, File, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, lchown, symlink};
use std::path::{Path, PathBuf};

use guest_init::plan::Attributes;
use nix::mount::{MsFlags, mount};

use super::upper::{self, has_gone};

/// What programs of a guest write to.
pub(super) const WRITTEN: [&str; 5] = ["etc", "home", "mnt", "root", "var"];
/// What gets a file system of its own later.
const COVERED: [&str; 5] = ["dev", "proc", "run", "sys", "tmp"];

/// How many entries of one directory that is to be written to, and below it, are
/// copied: each takes some milliseconds under emulation, and is looked at after
/// every test.
const MOST_ENTRIES: usize = 200;
/// How many bytes, which stay in the guest's memory.
const MOST_BYTES: u64 = 8 << 20;
/// How long a file may be that is copied, in bytes.
const LONGEST: u64 = 512 << 10;
/// How many mounts a directory that is to be written to may take.
const MOST_MOUNTS: usize = 100;

/// What was laid.
#[derive(Debug, Default)]
pub(super) struct Laid {
    /// What was copied, relative to the tree.
    pub(super) copies: Vec<PathBuf>,
}

/// Where a tree comes from and goes to.
struct Laying<'a> {
    lower: &'a Path,
    upper: &'a Path,
    /// Directories to be written to, relative.
    written: &'a [PathBuf],
    /// Directories that hide what is below them.
    hiding: &'a [PathBuf],
    laid: Laid,
    /// Directories that were made, with what they are to look like in the end:
    /// making what is in them changes their times.
    made: Vec<(PathBuf, Metadata)>,
}

/// What a directory that is to be written to may still take.
struct Room {
    entries: usize,
    bytes: u64,
    mounts: usize,
}

/// One entry of a directory.
struct Child {
    path: PathBuf,
    meta: Metadata,
}

/// Lays the tree `lower` into the tmpfs at `upper`, where something may lie
/// already, which stays, as do the attributes of `upper` itself. `written` and `hiding` are relative to it; with `root`,
/// it is a system's.
pub(super) fn lay(
    lower: &Path,
    upper: &Path,
    written: &[PathBuf],
    hiding: &[PathBuf],
    root: bool,
) -> io::Result<Laid> {
    let mut laying = Laying {
        lower,
        upper,
        written,
        hiding,
        laid: Laid::default(),
        made: Vec::new(),
    };
    let top = Path::new("");
    if written.iter().any(|path| path == top) {
        laying.copy(top)?;
    } else {
        laying.bind_children(top, root)?;
    }
    for (path, meta) in laying.made.iter().rev() {
        let directory = upper.join(path);
        give(&directory, meta)?;
        upper::take_over_times(meta, &directory)?;
    }
    upper::take_over_times(&fs::symlink_metadata(lower)?, upper)?;
    Ok(laying.laid)
}

/// Makes a directory of a read-only file system one in which directories can be
/// made; `staging` is an empty directory for the time being.
pub(super) fn open_up(directory: &Path, staging: &Path) -> io::Result<()> {
    mount(
        Some("tmpfs"),
        staging,
        Some("tmpfs"),
        MsFlags::empty(),
        Some("mode=0755"),
    )?;
    lay(directory, staging, &[], &[], false)?;
    mount(
        Some(staging),
        directory,
        None::<&str>,
        MsFlags::MS_MOVE,
        None::<&str>,
    )?;
    Ok(())
}

/// Turns a link to a directory of a read-only file system, such as `/lib`, into a directory of links
/// to all that is in it, so that more can be put beside them. A link takes a hundredth of the time
/// of a mount under emulation, and `/usr/lib` has hundreds of entries.
pub(super) fn spread(link: &Path) -> io::Result<()> {
    let real = fs::canonicalize(link)?;
    let meta = fs::metadata(&real)?;
    fs::remove_file(link)?;
    fs::create_dir(link)?;
    mount(
        Some("tmpfs"),
        link,
        Some("tmpfs"),
        MsFlags::empty(),
        Some("mode=0755"),
    )?;
    for entry in fs::read_dir(&real)? {
        let name = entry?.file_name();
        symlink(real.join(&name), link.join(&name))?;
    }
    give(link, &meta)?;
    upper::take_over_times(&meta, link)
}

/// Makes a directory that was [`spread`] read-only, like what its links lead to.
pub(super) fn seal(directory: &Path) -> io::Result<()> {
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
    mount(None::<&str>, directory, None::<&str>, flags, None::<&str>)?;
    Ok(())
}

impl Laying<'_> {
    /// Fills a directory: what is to be written to is copied, and all else is
    /// bound.
    fn bind_children(&mut self, directory: &Path, root: bool) -> io::Result<()> {
        let all = self.entries(directory)?;
        for child in Self::children(directory, &all) {
            let path = &child.path;
            let is_dir = child.meta.is_dir();
            if is_dir && root && COVERED.iter().any(|name| path == Path::new(name)) {
                self.make(&child)?;
            } else if is_dir && self.written.contains(path) {
                self.make(&child)?;
                self.copy(path)?;
            } else if is_dir && (self.leads_to_written(path) || self.stands(path)) {
                self.make(&child)?;
                if !self.hiding.contains(path) {
                    self.bind_children(path, false)?;
                }
            } else if !self.stands(path) {
                if is_dir || (child.meta.is_file() && child.meta.len() > LONGEST) {
                    self.bind(path, is_dir)?;
                } else {
                    self.copy_one(&child)?;
                }
            }
        }
        Ok(())
    }

    /// Copies a directory, which is made, and what is below it, the shallow
    /// first; directories that are too large for that are bound.
    fn copy(&mut self, directory: &Path) -> io::Result<()> {
        let mut room = Room {
            entries: MOST_ENTRIES,
            bytes: MOST_BYTES,
            mounts: MOST_MOUNTS,
        };
        let mut queue = VecDeque::from([directory.to_owned()]);
        while let Some(next) = queue.pop_front() {
            let all = self.entries(&next)?;
            // Looking at each of many costs more than copying some.
            let children = if all.len() > room.entries {
                Vec::new()
            } else {
                Self::children(&next, &all)
            };
            if all.len() > room.entries || !room.take(&children) {
                // What is to be written to must not lie under a bound one.
                if next == directory || self.leads_to_written(&next) {
                    self.bind_children(&next, false)?;
                } else {
                    self.bind(&next, true)?;
                }
                continue;
            }
            for child in children {
                let path = &child.path;
                if child.meta.is_dir() {
                    self.make(&child)?;
                    if self.written.contains(path) {
                        self.copy(path)?;
                    } else if !self.hiding.contains(path) {
                        queue.push_back(child.path);
                    }
                } else if !self.stands(path) {
                    if child.meta.len() > LONGEST {
                        self.bind(path, false)?;
                    } else {
                        self.copy_one(&child)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// What is in a directory of the share; nothing if it cannot be read, or has gone.
    fn entries(&self, directory: &Path) -> io::Result<Vec<DirEntry>> {
        match fs::read_dir(self.lower.join(directory)) {
            Ok(entries) => Ok(entries.flatten().collect()),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(Vec::new()),
            Err(error) if has_gone(&error) => Ok(Vec::new()),
            Err(error) => Err(named(&directory.display(), &error)),
        }
    }

    /// The same with what each is.
    fn children(directory: &Path, entries: &[DirEntry]) -> Vec<Child> {
        let children = entries.iter().filter_map(|entry| {
            let meta = entry.metadata().ok()?;
            let path = directory.join(entry.file_name());
            Some(Child { path, meta })
        });
        children.collect()
    }

    /// Whether a directory is above one that is to be written to.
    fn leads_to_written(&self, path: &Path) -> bool {
        let mut written = self.written.iter();
        written.any(|written| written != path && written.starts_with(path))
    }

    /// Whether something lies there already.
    fn stands(&self, path: &Path) -> bool {
        self.upper.join(path).symlink_metadata().is_ok()
    }

    /// Makes a directory, unless it stands.
    fn make(&mut self, child: &Child) -> io::Result<()> {
        if !self.stands(&child.path) {
            fs::create_dir(self.upper.join(&child.path))
                .map_err(|error| named(&child.path.display(), &error))?;
            self.made.push((child.path.clone(), child.meta.clone()));
        }
        Ok(())
    }

    /// Shows a directory or a file as it is in the share, which is read-only. An empty stand-in
    /// stays for what has gone.
    fn bind(&mut self, path: &Path, is_dir: bool) -> io::Result<()> {
        let (from, to) = (self.lower.join(path), self.upper.join(path));
        // What it covers cannot be seen.
        self.made.retain(|(made, _)| made != path);
        let made = if is_dir {
            fs::create_dir_all(&to)
        } else {
            File::create(&to).map(drop)
        };
        made.map_err(|error| named(&path.display(), &error))?;
        let bind = MsFlags::MS_BIND;
        match mount(Some(&from), &to, None::<&str>, bind, None::<&str>).map_err(io::Error::from) {
            Err(error) if has_gone(&error) => Ok(()),
            bound => bound.map_err(|error| named(&path.display(), &error)),
        }
    }

    /// Copies a file, a link or a node. One that cannot be read is bound: it can
    /// be seen as in the share.
    fn copy_one(&mut self, child: &Child) -> io::Result<()> {
        let (from, to) = (self.lower.join(&child.path), self.upper.join(&child.path));
        let meta = &child.meta;
        if meta.is_symlink() {
            let target = match fs::read_link(&from) {
                Err(error) if has_gone(&error) => return Ok(()),
                target => target.map_err(|error| named(&from.display(), &error))?,
            };
            symlink(target, &to)?;
            lchown(&to, Some(meta.uid()), Some(meta.gid()))?;
        } else if meta.is_file() {
            match fs::read(&from) {
                Ok(content) => fs::write(&to, content)?,
                Err(error) if has_gone(&error) => return Ok(()),
                Err(_) => return self.bind(&child.path, false),
            }
            give(&to, meta)?;
        } else {
            // A socket leads nowhere, and a device is in /dev.
            if !meta.file_type().is_fifo() {
                return Ok(());
            }
            nix::unistd::mkfifo(&to, nix::sys::stat::Mode::S_IRUSR)?;
            give(&to, meta)?;
        }
        upper::take_over_times(meta, &to)?;
        self.laid.copies.push(child.path.clone());
        Ok(())
    }
}

impl Room {
    /// Takes what a directory with these needs; false, and nothing, if it is not
    /// there. Any directory among them may have to be bound.
    fn take(&mut self, children: &[Child]) -> bool {
        let long = |child: &&Child| child.meta.is_file() && child.meta.len() > LONGEST;
        let bytes: u64 = children
            .iter()
            .filter(|child| child.meta.is_file() && !long(child))
            .map(|child| child.meta.len())
            .sum();
        let mounts = children
            .iter()
            .filter(|child| child.meta.is_dir() || long(child))
            .count();
        let left = (
            self.entries.checked_sub(children.len()),
            self.bytes.checked_sub(bytes),
            self.mounts.checked_sub(mounts),
        );
        let (Some(entries), Some(bytes), Some(mounts)) = left else {
            return false;
        };
        // Its own is not needed any more.
        *self = Self {
            entries,
            bytes,
            mounts: mounts + 1,
        };
        true
    }
}

/// Owner and mode.
fn give(path: &Path, meta: &Metadata) -> io::Result<()> {
    upper::set(
        path,
        Attributes {
            mode: meta.mode(),
            uid: meta.uid(),
            gid: meta.gid(),
        },
    )
}

fn named(path: &dyn std::fmt::Display, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{path}: {error}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A share and a tmpfs, with nothing in them that has to be bound: only root
    /// can mount.
    fn trees() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let [lower, upper] = ["lower", "upper"].map(|name| dir.path().join(name));
        fs::create_dir(&lower).unwrap();
        fs::create_dir(&upper).unwrap();
        (dir, lower, upper)
    }

    fn file(path: PathBuf, content: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    #[test]
    fn what_is_to_be_written_to_is_copied_with_links_modes_and_times() {
        use std::os::unix::fs::PermissionsExt;
        let (_dir, lower, upper) = trees();
        file(lower.join("etc/deep/conf"), "text");
        symlink("deep/conf", lower.join("etc/link")).unwrap();
        let mode = fs::Permissions::from_mode(0o640);
        fs::set_permissions(lower.join("etc/deep/conf"), mode).unwrap();
        fs::create_dir(lower.join("proc")).unwrap();
        let laid = lay(&lower, &upper, &["etc".into()], &[], true).unwrap();
        let copied = upper.join("etc/deep/conf");
        assert_eq!(fs::read_to_string(&copied).unwrap(), "text");
        assert_eq!(copied.metadata().unwrap().mode() & 0o777, 0o640);
        let times = |root: &Path| root.join("etc/deep").metadata().unwrap().mtime_nsec();
        assert_eq!(times(&lower), times(&upper));
        assert!(upper.join("etc/link").is_symlink() && upper.join("proc").is_dir());
        let mut copies = laid.copies;
        copies.sort();
        assert_eq!(
            copies,
            [PathBuf::from("etc/deep/conf"), PathBuf::from("etc/link")]
        );
    }

    #[test]
    fn what_lies_there_already_stays_and_hides_what_is_below_it() {
        let (_dir, lower, upper) = trees();
        file(lower.join("etc/secret"), "theirs");
        file(lower.join("etc/hidden/file"), "theirs");
        file(upper.join("etc/secret"), "ours");
        fs::create_dir(upper.join("etc/hidden")).unwrap();
        let (written, hiding) = (["etc".into()], ["etc/hidden".into()]);
        let laid = lay(&lower, &upper, &written, &hiding, true).unwrap();
        assert_eq!(
            fs::read_to_string(upper.join("etc/secret")).unwrap(),
            "ours"
        );
        assert!(!upper.join("etc/hidden/file").exists());
        assert!(laid.copies.is_empty());
    }

    #[test]
    fn what_has_gone_from_the_share_meanwhile_is_left_out() {
        let (_dir, lower, upper) = trees();
        let top = Path::new("var");
        file(lower.join("var/file"), "text");
        fs::create_dir(lower.join("var/dir")).unwrap();
        symlink("file", lower.join("var/link")).unwrap();
        let mut laying = Laying {
            lower: &lower,
            upper: &upper,
            written: &[top.to_owned()],
            hiding: &[],
            laid: Laid::default(),
            made: Vec::new(),
        };
        let children = Laying::children(top, &laying.entries(top).unwrap());
        assert_eq!(children.len(), 3);
        fs::create_dir(upper.join(top)).unwrap();
        fs::remove_dir_all(lower.join(top)).unwrap();
        for child in &children {
            if !child.meta.is_dir() {
                laying.copy_one(child).unwrap();
            }
            laying.bind(&child.path, child.meta.is_dir()).unwrap();
        }
        laying.copy(top).unwrap();
        laying.bind_children(top, false).unwrap();
        assert!(laying.laid.copies.is_empty());
    }

    #[test]
    fn a_directory_that_is_too_large_takes_no_room() {
        let (_dir, lower, _) = trees();
        file(lower.join("a"), "12345");
        file(lower.join("d/b"), "");
        let entries: Vec<DirEntry> = fs::read_dir(&lower).unwrap().flatten().collect();
        let children = Laying::children(Path::new(""), &entries);
        for (entries, bytes, mounts) in [(1, 9, 9), (9, 4, 9), (9, 9, 0)] {
            let mut room = Room {
                entries,
                bytes,
                mounts,
            };
            assert!(!room.take(&children));
            assert_eq!(
                (room.entries, room.bytes, room.mounts),
                (entries, bytes, mounts)
            );
        }
        let mut room = Room {
            entries: 2,
            bytes: 5,
            mounts: 1,
        };
        assert!(room.take(&children));
        // One of the directory itself has come back.
        assert_eq!((room.entries, room.bytes, room.mounts), (0, 0, 1));
    }
}
