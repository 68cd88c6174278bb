//! Removes what a test leaves in `/tmp`, `/dev/shm` and `/run`.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use guest_init::message::RemnantKind::File as Kind;
use nix::libc;
use rustix::fs::{AtFlags, Gid, Mode, Stat, Uid, chmodat, chownat, fstatfs, mkdirat, statat};

use super::found::Found;
use crate::init::kept::View;
use crate::init::tree::{self, Budget};

/// Excludes what other modules handle: the layers of shares, and the names of network namespaces.
const PLACES: [(&str, &[&str]); 3] = [
    ("/tmp", &[]),
    ("/dev/shm", &[]),
    ("/run", &["kiln", "netns"]),
];
/// How many entries a test may leave: removing each takes some 50 µs under
/// emulation.
const MOST: usize = 20_000;
/// How many of our own entries to remember.
const MOST_KNOWN: usize = 2000;
/// How long that may take.
const REMEMBERING: Duration = Duration::from_millis(500);

/// Blocks and inodes in use.
pub(super) type Usage = (u64, u64);

/// How much a filesystem contains.
pub(super) fn usage(of: &OwnedFd) -> Option<Usage> {
    let stat = fstatfs(of).ok()?;
    let used = |all: u64, free: u64| all.saturating_sub(free);
    Some((
        used(stat.f_blocks, stat.f_bfree),
        used(stat.f_files, stat.f_ffree),
    ))
}

/// What shows that a file or directory was replaced or changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) device: u64,
    size: i64,
    changed: (i64, u64),
}

impl Stamp {
    /// For a directory only owner and mode: its size and time change with its contents.
    pub(super) fn of(stat: &Stat) -> Self {
        let directory = is_directory(stat);
        Self {
            mode: stat.st_mode,
            uid: stat.st_uid,
            gid: stat.st_gid,
            device: stat.st_rdev,
            size: if directory { 0 } else { stat.st_size },
            changed: if directory {
                (0, 0)
            } else {
                (stat.st_ctime, stat.st_ctime_nsec)
            },
        }
    }

    pub(super) fn is_directory(&self) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFDIR
    }

    pub(super) fn node(mode: u32, uid: u32, gid: u32, device: u64) -> Self {
        Self {
            mode,
            uid,
            gid,
            device,
            size: 0,
            changed: (0, 0),
        }
    }

    /// Restores a file's owner and mode.
    pub(super) fn give(&self, at: impl AsFd, name: &CStr) -> bool {
        let flags = if name.is_empty() {
            AtFlags::EMPTY_PATH
        } else {
            AtFlags::SYMLINK_NOFOLLOW
        };
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        let owned = chownat(&at, name, Some(uid), Some(gid), flags).is_ok();
        // fchmodat(2) wants a path.
        let name = if name.is_empty() { c"." } else { name };
        let mode = Mode::from_raw_mode(self.mode & 0o7777);
        owned && chmodat(&at, name, mode, AtFlags::empty()).is_ok()
    }
}

pub(super) fn is_directory(stat: &Stat) -> bool {
    stat.st_mode & libc::S_IFMT == libc::S_IFDIR
}

#[derive(Debug)]
pub(super) struct Scratch {
    path: &'static str,
    except: &'static [&'static str],
    view: View,
    usage: Option<Usage>,
    itself: Option<Stamp>,
    known: Vec<Known>,
}

/// What was there, a directory before its contents.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) path: PathBuf,
    pub(super) stamp: Stamp,
    /// It still exists.
    pub(super) seen: bool,
}

/// Everything below a directory, without the paths in `except`; false if it is too much.
pub(super) fn remember(
    directory: &OwnedFd,
    above: &Path,
    except: &[&str],
    known: &mut Vec<Known>,
    budget: &mut Budget,
) -> bool {
    let Ok(readable) = tree::directory(directory, c".") else {
        return true;
    };
    for name in tree::names(readable.as_fd(), budget.left()) {
        let path = above.join(os(&name));
        let stat = statat(&readable, &*name, AtFlags::SYMLINK_NOFOLLOW);
        let Ok(stat) = stat else { continue };
        if is_among(&path, except) {
            continue;
        }
        if !budget.spend() {
            return false;
        }
        known.push(Known {
            path: path.clone(),
            stamp: Stamp::of(&stat),
            seen: false,
        });
        if is_directory(&stat)
            && let Ok(child) = tree::directory(&readable, &name)
        {
            budget.deeper(|budget| remember(&child, &path, except, known, budget));
        }
    }
    true
}

fn is_among(path: &Path, names: &[&str]) -> bool {
    names.iter().any(|name| path == Path::new(name))
}

/// The one of a path.
pub(super) fn find<'k>(known: &'k mut [Known], path: &Path) -> Option<&'k mut Known> {
    known.iter_mut().find(|known| known.path == path)
}

/// Those that exist: separate filesystems, whose usage can be queried.
pub(super) fn all() -> Vec<Scratch> {
    let parent = |path: &str| Path::new(path).parent().map(Path::to_owned);
    PLACES
        .into_iter()
        .filter(|(path, _)| {
            let above = parent(path).and_then(|parent| rustix::fs::stat(parent).ok());
            let itself = rustix::fs::stat(*path).ok();
            matches!((above, itself), (Some(above), Some(itself)) if above.st_dev != itself.st_dev)
        })
        .filter_map(|(path, except)| {
            let mut scratch = Scratch {
                path,
                except,
                view: View::of(path)?,
                usage: None,
                itself: None,
                known: Vec::new(),
            };
            scratch.rebase();
            Some(scratch)
        })
        .collect()
}

impl Scratch {
    pub(super) fn rebase(&mut self) {
        self.usage = usage(self.view.fd());
        self.itself = self.stamp();
        let mut known = Vec::new();
        let mut budget = Budget::new(MOST_KNOWN, Instant::now() + REMEMBERING);
        remember(
            self.view.fd(),
            Path::new(""),
            self.except,
            &mut known,
            &mut budget,
        );
        self.known = known;
    }

    fn stamp(&self) -> Option<Stamp> {
        self.view.stat_self().as_ref().map(Stamp::of)
    }

    /// Removes what is new, and returns whether anything had changed.
    pub(super) fn restore(&mut self, found: &mut Found) -> bool {
        if let (Some(now), Some(was)) = (self.stamp(), self.itself)
            && now != was
        {
            let gone = was.give(self.view.fd(), c"");
            found.add(Kind, &format!("owner or mode of {}", self.path), gone);
        }
        if usage(self.view.fd()) == self.usage {
            return false;
        }
        let mut budget = Budget::new(MOST, found.deadline);
        let mut known = std::mem::take(&mut self.known);
        let removed = self.sweep(self.view.fd(), Path::new(""), &mut known, &mut budget);
        if !removed {
            let name = format!("{}: more than can be removed", self.path);
            found.add(Kind, &name, false);
        }
        for Known { path, stamp, .. } in known.into_iter().filter(|known| removed && !known.seen) {
            let gone = stamp.is_directory() && self.make_directory(&path, &stamp);
            let name = format!("{}/{}", self.path, path.display());
            found.add(Kind, &name, gone);
        }
        true
    }

    /// Removes unknown entries, and marks those that still exist.
    fn sweep(
        &self,
        directory: &OwnedFd,
        above: &Path,
        known: &mut [Known],
        budget: &mut Budget,
    ) -> bool {
        let Ok(readable) = tree::directory(directory, c".") else {
            return false;
        };
        let mut all = true;
        for name in tree::names(readable.as_fd(), budget.left() + 1) {
            let path = above.join(os(&name));
            if is_among(&path, self.except) {
                continue;
            }
            let Some(one) = find(known, &path) else {
                all &= tree::remove(&readable, &name, budget);
                if !all {
                    return false;
                }
                continue;
            };
            let stat = statat(&readable, &*name, AtFlags::SYMLINK_NOFOLLOW);
            let Ok(stat) = stat else { continue };
            one.seen = one.stamp == Stamp::of(&stat)
                || is_directory(&stat)
                    && one.stamp.is_directory()
                    && one.stamp.give(&readable, &name);
            if is_directory(&stat)
                && let Ok(child) = tree::directory(&readable, &name)
            {
                all &= budget.deeper(|budget| self.sweep(&child, &path, known, budget));
            }
        }
        all
    }

    fn make_directory(&self, path: &Path, stamp: &Stamp) -> bool {
        mkdirat(self.view.fd(), path, Mode::RWXU).is_ok()
            && CString::new(path.as_os_str().as_encoded_bytes())
                .is_ok_and(|name| stamp.give(self.view.fd(), &name))
    }
}

/// A name from the kernel as a path.
pub(super) fn os(name: &CStr) -> &Path {
    Path::new(OsStr::from_bytes(name.to_bytes()))
}
