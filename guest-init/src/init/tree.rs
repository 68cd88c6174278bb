//! Walks directory trees that a test may have made arbitrarily large, deep and odd.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, openat, statat, unlinkat};
use rustix::io::Errno;

/// How deep a tree may be: each level holds a file descriptor and some of PID 1's stack.
const DEEPEST: usize = 60;

/// How much work may be done.
#[derive(Debug)]
pub(super) struct Budget {
    entries: usize,
    depth: usize,
    deadline: Instant,
}

impl Budget {
    pub(super) fn new(entries: usize, deadline: Instant) -> Self {
        Self {
            entries,
            depth: DEEPEST,
            deadline,
        }
    }

    /// Uses up one entry; false if none is left.
    pub(super) fn spend(&mut self) -> bool {
        self.entries = self.entries.saturating_sub(1);
        // Reading the clock costs time.
        self.entries > 0 && (!self.entries.is_multiple_of(16) || Instant::now() < self.deadline)
    }

    /// Goes a level down for as long as this takes; false if it is too deep.
    pub(super) fn deeper(&mut self, work: impl FnOnce(&mut Self) -> bool) -> bool {
        if !self.down() {
            return false;
        }
        let done = work(self);
        self.up();
        done
    }

    /// Goes a level down, for [`up`](Self::up) to come back; false if it is too
    /// deep.
    pub(super) fn down(&mut self) -> bool {
        match self.depth.checked_sub(1) {
            Some(depth) => {
                self.depth = depth;
                true
            }
            None => false,
        }
    }

    pub(super) fn up(&mut self) {
        self.depth += 1;
    }

    pub(super) fn left(&self) -> usize {
        self.entries
    }
}

/// Opens a directory in another one, to read it.
pub(super) fn directory(at: impl AsFd, name: &CStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(at, name, flags, Mode::empty())
}

pub(super) fn is_directory(at: impl AsFd, name: &CStr) -> bool {
    statat(at, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

/// How many links a file has.
#[allow(clippy::useless_conversion)] // On arm64 they are a u32.
pub(super) fn links(stat: &Stat) -> u64 {
    stat.st_nlink.into()
}

/// The names in a directory, without `.` and `..`, up to a number of them.
pub(super) fn names(directory: BorrowedFd<'_>, most: usize) -> Vec<CString> {
    let Ok(entries) = Dir::read_from(directory) else {
        return Vec::new();
    };
    entries
        .flatten()
        .map(|entry| entry.file_name().to_owned())
        .filter(|name| !matches!(name.to_bytes(), b"." | b".."))
        .take(most)
        .collect()
}

/// Removes an entry, whatever it is.
pub(super) fn remove(at: impl AsFd, name: &CStr, budget: &mut Budget) -> bool {
    if !budget.spend() {
        return false;
    }
    match unlinkat(&at, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return true,
        Err(Errno::ISDIR) => {}
        Err(_) => return false,
    }
    let Ok(child) = directory(&at, name) else {
        return false;
    };
    let emptied = budget.deeper(|budget| {
        // One more than may be removed shows that there are too many.
        names(child.as_fd(), budget.left() + 1)
            .iter()
            .all(|name| remove(&child, name, budget))
    });
    emptied && unlinkat(&at, name, AtFlags::REMOVEDIR).is_ok()
}

/// Removes a tree of directories whose files vanish with them, such as cgroups.
pub(super) fn remove_directories(at: impl AsFd, name: &CStr, budget: &mut Budget) -> bool {
    if !budget.spend() {
        return false;
    }
    if let Ok(child) = directory(&at, name) {
        budget.deeper(|budget| {
            names(child.as_fd(), usize::MAX)
                .iter()
                .filter(|name| is_directory(&child, name))
                .all(|name| remove_directories(&child, name, budget))
        });
    }
    unlinkat(&at, name, AtFlags::REMOVEDIR).is_ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;
    use std::time::Duration;

    use super::*;

    fn budget(entries: usize) -> Budget {
        Budget::new(entries, Instant::now() + Duration::from_secs(60))
    }

    fn open(path: &std::path::Path) -> OwnedFd {
        fs::File::open(path).unwrap().into()
    }

    #[test]
    fn a_tree_is_removed_and_what_its_links_lead_to_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        fs::create_dir_all(tree.join("a/b")).unwrap();
        fs::write(tree.join("a/b/file"), "x").unwrap();
        fs::write(dir.path().join("kept"), "x").unwrap();
        std::os::unix::fs::symlink(dir.path(), tree.join("a/link")).unwrap();
        assert!(remove(open(dir.path()), c"tree", &mut budget(100)));
        assert!(!tree.exists());
        assert!(dir.path().join("kept").exists());
    }

    #[test]
    fn a_tree_that_is_too_large_or_too_deep_ends_the_work() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("wide")).unwrap();
        for number in 0..50 {
            fs::write(dir.path().join(format!("wide/{number}")), "").unwrap();
        }
        assert!(!remove(open(dir.path()), c"wide", &mut budget(20)));
        assert!(remove(open(dir.path()), c"wide", &mut budget(60)));
        let deep = vec!["d"; DEEPEST + 5].join("/");
        fs::create_dir_all(dir.path().join(deep)).unwrap();
        assert!(!remove(open(dir.path()), c"d", &mut budget(1000)));
        let late = Instant::now();
        assert!(!remove(open(dir.path()), c"d", &mut Budget::new(17, late)));
    }
}
