//! Files of the guest's root, and of copy-on-write shares: the upper layer of an overlay contains
//! what is new, changed or removed.
//!
//! Everything is restored through the overlay, as a test would do it: the behaviour of an overlay
//! is undefined if its upper layer changes beneath it (kernel doc, filesystems/overlayfs).

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use guest_init::message::RemnantKind::File as Kind;
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, chownat, fgetxattr,
    flistxattr_query, mkdirat, mknodat, openat, readlinkat, statat, symlinkat, utimensat,
};

use super::found::Found;
use super::scratch::{Known, Stamp, Usage, find, is_directory, os, remember, usage};
use crate::init::layers::Layers;
use crate::init::tree::{self, Budget};

/// How many entries of an upper layer to look at.
const MOST: usize = 5000;
/// How many bytes to copy back.
const MOST_BYTES: u64 = 64 << 20;
/// How many files may be restored before the next test needs another VM. Every check looks at all
/// files of the upper layer, because their content can change without changing the totals.
const MOST_PUT_BACK: usize = 16;
/// How long recording may take.
const REMEMBERING: Duration = Duration::from_millis(500);

/// How much of the upper layer before the first test to remember: bytes of one file, and in total.
const MOST_LAID: (u64, u64) = (64 << 10, 1 << 20);

/// Files that programs change as a side effect. Restored like all others, but not reported.
const HARMLESS: [&str; 5] = ["var/log/", "var/cache/", "var/lib/", "root/", "etc/mtab"];

#[derive(Debug)]
pub(super) struct Overlay {
    layers: Layers,
    usage: Option<Usage>,
    itself: Option<Stamp>,
    /// The contents of the upper layer.
    known: Vec<Known>,
    watched: Vec<(PathBuf, Stamp)>,
    /// Files of the upper layer that equal those below them.
    put_back: Vec<PathBuf>,
    /// Files that were put into the upper layer at boot.
    laid: Vec<(PathBuf, Laid)>,
}

/// A file as it was put there at boot.
#[derive(Debug)]
struct Laid {
    content: Vec<u8>,
    stat: Stat,
}

/// Work on one overlay.
struct Work<'a> {
    known: &'a mut [Known],
    put_back: &'a mut Vec<PathBuf>,
    laid: &'a [(PathBuf, Laid)],
    budget: Budget,
    bytes: u64,
    /// Names, and whether they have been restored.
    changed: Vec<(PathBuf, bool)>,
}

impl Overlay {
    pub(super) fn take(layers: Layers) -> Option<Self> {
        let put_back = layers.copies.clone();
        let mut overlay = Self {
            layers,
            usage: None,
            itself: None,
            known: Vec::new(),
            watched: Vec::new(),
            put_back,
            laid: Vec::new(),
        };
        overlay.rebase();
        overlay.laid = overlay.read_laid();
        overlay.usage.is_some().then_some(overlay)
    }

    pub(super) fn rebase(&mut self) {
        let mut known = Vec::new();
        let mut budget = Budget::new(MOST, Instant::now() + REMEMBERING);
        remember(
            &self.layers.upper,
            Path::new(""),
            &[],
            &mut known,
            &mut budget,
        );
        self.watched = known
            .iter()
            .filter(|known| !known.stamp.is_directory())
            .map(|known| (known.path.clone(), known.stamp))
            .collect();
        self.known = known;
        self.itself = self.stamp();
        self.usage = usage(&self.layers.upper);
    }

    /// The small files that are in the upper layer now.
    fn read_laid(&self) -> Vec<(PathBuf, Laid)> {
        let mut left = MOST_LAID.1;
        let mut laid = Vec::new();
        for (path, _) in &self.watched {
            let stat = statat(&self.layers.upper, path, AtFlags::SYMLINK_NOFOLLOW);
            let Ok(stat) = stat else { continue };
            let size = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
            let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
            if !regular || size > MOST_LAID.0.min(left) {
                continue;
            }
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let mut content = Vec::new();
            if let Ok(file) = openat(&self.layers.upper, path, flags, Mode::empty())
                && File::from(file)
                    .take(size)
                    .read_to_end(&mut content)
                    .is_ok()
            {
                left -= size;
                laid.push((path.clone(), Laid { content, stat }));
            }
        }
        laid
    }

    fn stamp(&self) -> Option<Stamp> {
        let stat = statat(&self.layers.upper, "", AtFlags::EMPTY_PATH).ok()?;
        Some(Stamp::of(&stat))
    }

    /// Whether anything in it has changed.
    pub(super) fn changed(&self) -> bool {
        usage(&self.layers.upper) != self.usage
            || self.stamp() != self.itself
            || self.watched.iter().any(|(path, was)| {
                let now = statat(&self.layers.upper, path, AtFlags::SYMLINK_NOFOLLOW);
                now.ok().map(|stat| Stamp::of(&stat)) != Some(*was)
            })
    }

    /// Removes what is new without reporting it, and restores the rest.
    pub(super) fn restore(&mut self, found: &mut Found) {
        let stamp = self.stamp();
        let layers = &self.layers;
        let mut work = Work {
            known: &mut self.known,
            put_back: &mut self.put_back,
            laid: &self.laid,
            budget: Budget::new(MOST, found.deadline),
            bytes: MOST_BYTES,
            changed: Vec::new(),
        };
        if let (Some(now), Some(was)) = (stamp, self.itself)
            && now != was
        {
            let gone = was.give(&layers.merged, c"");
            work.changed.push((PathBuf::new(), gone));
        }
        let whole = work.directory(
            &layers.upper,
            Some(&layers.lower),
            &layers.merged,
            Path::new(""),
        );
        if !whole {
            found.add(Kind, "more new files than can be removed", false);
        }
        let missing = if whole {
            work.make_again(layers)
        } else {
            Vec::new()
        };
        for (path, gone) in work.changed {
            let path = path.to_string_lossy();
            let harmless = HARMLESS.iter().any(|start| path.starts_with(start));
            if !gone || !harmless {
                found.add(Kind, &format!("/{path}"), gone);
            }
        }
        for (path, gone) in missing {
            found.add(Kind, &format!("/{}", path.display()), gone);
        }
        self.rebase();
        let put_back = self.put_back.len() - self.layers.copies.len();
        if put_back > MOST_PUT_BACK {
            let name = format!("{put_back} files put back");
            found.add(Kind, &name, false);
        }
    }
}

impl Laid {
    /// Restores it; `path` is relative to `directory`.
    fn lay(&self, directory: &OwnedFd, path: &Path) -> bool {
        let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::WRONLY;
        let flags = flags | OFlags::CREATE | OFlags::TRUNC;
        openat(directory, path, flags, Mode::RUSR | Mode::WUSR).is_ok_and(|file| {
            File::from(file).write_all(&self.content).is_ok()
                && CString::new(path.as_os_str().as_bytes())
                    .is_ok_and(|name| give_all(directory, &name, &self.stat))
        })
    }
}

fn find_laid<'l>(laid: &'l [(PathBuf, Laid)], path: &Path) -> Option<&'l Laid> {
    let mut laid = laid.iter();
    laid.find_map(|(known, laid)| (known == path).then_some(laid))
}

impl Work<'_> {
    /// Makes what was there and is not: says which, and whether that went well.
    fn make_again(&mut self, layers: &Layers) -> Vec<(PathBuf, bool)> {
        let known = self.known.iter().filter(|known| !known.seen);
        let missing: Vec<PathBuf> = known.map(|known| known.path.clone()).collect();
        let made = missing.into_iter().map(|path| {
            let laid = find_laid(self.laid, &path);
            let gone = laid.is_some_and(|laid| laid.lay(&layers.merged, &path))
                || (!layers.copies.is_empty() && self.copy_again(layers, &path));
            (path, gone)
        });
        made.collect()
    }

    /// Copies one entry that is missing where no overlay shows it, a directory
    /// without what is in it.
    fn copy_again(&mut self, layers: &Layers, path: &Path) -> bool {
        let Ok(name) = CString::new(path.as_os_str().as_bytes()) else {
            return false;
        };
        let Some(below) = stat(&layers.lower, &name) else {
            return false;
        };
        if is_directory(&below) {
            return mkdirat(&layers.merged, &*name, Mode::RWXU).is_ok()
                && give_all(&layers.merged, &name, &below);
        }
        self.copy(&layers.lower, &layers.merged, &name, &below)
    }

    /// Restores a directory; false if there is too much in it.
    fn directory(
        &mut self,
        upper: &OwnedFd,
        lower: Option<&OwnedFd>,
        merged: &OwnedFd,
        above: &Path,
    ) -> bool {
        let (Ok(upper), Ok(merged)) = (tree::directory(upper, c"."), tree::directory(merged, c"."))
        else {
            return false;
        };
        for name in tree::names(upper.as_fd(), self.budget.left() + 1) {
            if !self.budget.spend() {
                return false;
            }
            let path = above.join(os(&name));
            let Some(here) = stat(&upper, &name) else {
                continue;
            };
            let below = lower.and_then(|lower| stat(lower, &name));
            let known = find(self.known, &path).map(|known| {
                known.seen = true;
                known.stamp
            });
            let whole = match (is_directory(&here), known, lower, &below) {
                (true, ..) => {
                    self.one_directory(&upper, lower, &merged, &name, &path, known, below.as_ref())
                }
                (false, Some(was), ..) if Stamp::of(&here) == was => true,
                (false, Some(_), Some(lower), Some(below)) if self.put_back.contains(&path) => {
                    self.put_back(lower, &merged, &name, &here, below, path);
                    true
                }
                (false, Some(_), ..) => {
                    let regular = FileType::from_raw_mode(here.st_mode) == FileType::RegularFile;
                    let laid = find_laid(self.laid, &path);
                    let gone = laid.is_some_and(|laid| {
                        (regular
                            || is_whiteout(&here)
                            || tree::remove(&merged, &name, &mut self.budget))
                            && laid.lay(&merged, Path::new(os(&name)))
                    });
                    self.changed.push((path, gone));
                    true
                }
                // New: there is nothing below it, or it is a whiteout of nothing.
                (false, None, _, None) | (false, None, None, _) => {
                    is_whiteout(&here) || tree::remove(&merged, &name, &mut self.budget)
                }
                (false, None, Some(lower), Some(below)) => {
                    self.put_back(lower, &merged, &name, &here, below, path);
                    true
                }
            };
            if !whole {
                return false;
            }
        }
        true
    }

    /// Restores one entry from the lower layer.
    fn put_back(
        &mut self,
        lower: &OwnedFd,
        merged: &OwnedFd,
        name: &CStr,
        here: &Stat,
        below: &Stat,
        path: PathBuf,
    ) {
        let cleared = is_whiteout(here)
            || same_kind(here, below)
            || tree::remove(merged, name, &mut self.budget);
        let gone = cleared && self.copy(lower, merged, name, below);
        if gone && !self.put_back.contains(&path) {
            self.put_back.push(path.clone());
        }
        self.changed.push((path, gone));
    }

    #[expect(clippy::too_many_arguments, reason = "one entry in its three layers")]
    fn one_directory(
        &mut self,
        upper: &OwnedFd,
        lower: Option<&OwnedFd>,
        merged: &OwnedFd,
        name: &CStr,
        path: &Path,
        known: Option<Stamp>,
        below: Option<&Stat>,
    ) -> bool {
        let below_directory = below.filter(|stat| is_directory(stat));
        let Ok(child) = tree::directory(upper, name) else {
            return false;
        };
        let opaque = is_opaque(&child);
        let new = known.is_none() && (below_directory.is_none() || opaque);
        if new {
            if !tree::remove(merged, name, &mut self.budget) {
                return false;
            }
            // It replaced something of another kind, or something that had been removed.
            if let (Some(lower), Some(below)) = (lower, below) {
                let gone = self.copy(lower, merged, name, below);
                self.changed.push((path.to_owned(), gone));
            }
            return true;
        }
        let lower_child = lower
            .filter(|_| below_directory.is_some() && !opaque)
            .and_then(|lower| tree::directory(lower, name).ok());
        let Ok(merged_child) = tree::directory(merged, name) else {
            return false;
        };
        if !self.budget.down() {
            return false;
        }
        let whole = self.directory(&child, lower_child.as_ref(), &merged_child, path);
        self.budget.up();
        let now = stat(upper, name).map(|stat| Stamp::of(&stat));
        let was = known.or(below_directory.map(Stamp::of));
        if let Some(was) = was
            && now != Some(was)
        {
            let gone = was.give(merged, name);
            self.changed.push((path.to_owned(), gone));
        }
        if let Some(below) = below_directory.filter(|_| known.is_none()) {
            // make(1) and others rely on it.
            set_times(merged, name, below);
        }
        whole
    }

    /// Copies what the lower layer has into the overlay, over an existing file.
    fn copy(&mut self, lower: &OwnedFd, merged: &OwnedFd, name: &CStr, stat: &Stat) -> bool {
        if !self.budget.spend() {
            return false;
        }
        let made = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => self.copy_file(lower, merged, name, stat).is_some(),
            FileType::Symlink => {
                let made = |target: CString| {
                    // An existing one is a different one.
                    let _ = rustix::fs::unlinkat(merged, name, AtFlags::empty());
                    symlinkat(&*target, merged, name)
                };
                readlinkat(lower, name, Vec::new()).and_then(made).is_ok()
            }
            FileType::Directory => self.copy_directory(lower, merged, name),
            kind => mknodat(merged, name, kind, Mode::RUSR, stat.st_rdev)
                .or_else(|error| match error {
                    rustix::io::Errno::EXIST => Ok(()),
                    error => Err(error),
                })
                .is_ok(),
        };
        made && give_all(merged, name, stat)
    }

    fn copy_file(
        &mut self,
        lower: &OwnedFd,
        merged: &OwnedFd,
        name: &CStr,
        stat: &Stat,
    ) -> Option<()> {
        self.bytes = self.bytes.checked_sub(u64::try_from(stat.st_size).ok()?)?;
        let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let from = openat(lower, name, flags | OFlags::RDONLY, Mode::empty()).ok()?;
        // For example capabilities. These are not copied.
        if flistxattr_query(&from).is_ok_and(|bytes| bytes > 0) {
            return None;
        }
        let flags = flags | OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC;
        let to = openat(merged, name, flags, Mode::RUSR | Mode::WUSR).ok()?;
        let copied = std::io::copy(&mut File::from(from), &mut File::from(to)).ok()?;
        (i64::try_from(copied).ok()? == stat.st_size).then_some(())
    }

    fn copy_directory(&mut self, lower: &OwnedFd, merged: &OwnedFd, name: &CStr) -> bool {
        if mkdirat(merged, name, Mode::RWXU).is_err() {
            return false;
        }
        let (Ok(from), Ok(to)) = (tree::directory(lower, name), tree::directory(merged, name))
        else {
            return false;
        };
        if !self.budget.down() {
            return false;
        }
        let whole = tree::names(from.as_fd(), self.budget.left() + 1)
            .iter()
            .all(|name| stat(&from, name).is_some_and(|stat| self.copy(&from, &to, name, &stat)));
        self.budget.up();
        whole
    }
}

fn stat(at: &OwnedFd, name: &CStr) -> Option<Stat> {
    statat(at, name, AtFlags::SYMLINK_NOFOLLOW).ok()
}

/// A character device 0/0 (kernel doc, filesystems/overlayfs).
fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// A directory that hides the one below it.
fn is_opaque(directory: &OwnedFd) -> bool {
    let mut value = [0_u8; 1];
    fgetxattr(directory, c"trusted.overlay.opaque", &mut value).is_ok() && value == *b"y"
}

fn same_kind(one: &Stat, other: &Stat) -> bool {
    FileType::from_raw_mode(one.st_mode) == FileType::from_raw_mode(other.st_mode)
}

/// Copies owner, mode and times.
fn give_all(at: &OwnedFd, name: &CStr, stat: &Stat) -> bool {
    let given = if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
        let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
        chownat(at, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW).is_ok()
    } else {
        Stamp::of(stat).give(at, name)
    };
    given && set_times(at, name, stat)
}

fn set_times(at: &OwnedFd, name: &CStr, stat: &Stat) -> bool {
    let time = |seconds, nanoseconds| Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds,
    };
    let times = Timestamps {
        last_access: time(
            stat.st_atime,
            i64::try_from(stat.st_atime_nsec).unwrap_or(0),
        ),
        last_modification: time(
            stat.st_mtime,
            i64::try_from(stat.st_mtime_nsec).unwrap_or(0),
        ),
    };
    utimensat(at, name, &times, AtFlags::SYMLINK_NOFOLLOW).is_ok()
}
