//! Files of a root that this user cannot read, although the guest's root needs them.
//!
//! An overlay copies a file up on the first write, for which the share process must read it with
//! this user's permissions. So unreadable files in root's own places (home, lock files, logs,
//! state) are empty in the guest: it can write them, and sees no secrets.

use std::collections::VecDeque;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use guest_init::plan::{Attributes, Entry, EntryKind};
use nix::unistd::{AccessFlags, faccessat, getegid, geteuid, getgroups};

use super::share;

/// Directories to search; of other top-level directories, only whether they can be read themselves.
const SEARCHED: [&str; 3] = ["etc", "root", "var"];
/// Directories to skip: the guest mounts its own over them, but for the last, which holds anybody's
/// private files, of which the guest needs none.
const SKIPPED: [&str; 6] = ["dev", "proc", "run", "sys", "tmp", "var/tmp"];
/// How many names to look at. A distribution has some 10,000; in a larger tree the deepest ones are
/// skipped.
const MAX_NAMES: usize = 30_000;
/// How many of them can be covered.
const MAX_ENTRIES: u64 = 2_000;
/// Each costs a file that the share keeps open; one in so many may be used for this.
const PART_OF_FILES: u64 = 4;
/// Filesystems on which a lookup may wait for a network or a program.
const REMOTE: [&str; 8] = ["9p", "afs", "autofs", "ceph", "cifs", "nfs", "nfs4", "smb3"];

/// Entries that replace what cannot be read below `root`.
pub(super) fn entries(root: &Path) -> Vec<Entry> {
    let Some(user) = User::current() else {
        return Vec::new();
    };
    let files = share::hard_limit().and_then(share::guest_files);
    let most = files.map_or(MAX_ENTRIES, |files| MAX_ENTRIES.min(files / PART_OF_FILES));
    search(root, &user, usize::try_from(most).unwrap_or(usize::MAX))
}

/// The same for `user`, at most this many.
fn search(root: &Path, user: &User, most: usize) -> Vec<Entry> {
    let mut skipped = remote_mounts();
    skipped.extend(SKIPPED.map(|name| root.join(name)));
    let mut found = Vec::new();
    let mut left = MAX_NAMES;
    let mut queue = VecDeque::from([root.to_owned()]);
    // The shallow ones first.
    while let Some(dir) = queue.pop_front() {
        let Ok(names) = fs::read_dir(&dir) else {
            continue;
        };
        for name in names.flatten() {
            if left == 0 || found.len() == most {
                tracing::debug!(
                    "{} is too large to search for unreadable files",
                    root.display()
                );
                return found;
            }
            left -= 1;
            let path = name.path();
            let at_top = dir == root;
            if skipped.contains(&path) {
                continue;
            }
            let Ok(meta) = path.symlink_metadata() else {
                continue;
            };
            if !(meta.is_dir() || (meta.is_file() && !at_top)) {
                continue;
            }
            if !user.can_read(&path, &meta) {
                found.extend(entry(root, &path, &meta));
            } else if meta.is_dir() && (!at_top || is_one_of(&path, &SEARCHED)) {
                queue.push_back(path);
            }
        }
    }
    found
}

fn is_one_of(path: &Path, names: &[&str]) -> bool {
    path.file_name()
        .is_some_and(|name| names.iter().any(|other| name == *other))
}

fn entry(root: &Path, path: &Path, meta: &Metadata) -> Option<Entry> {
    let below = path.strip_prefix(root).ok()?.to_str()?;
    let kind = if meta.is_dir() {
        EntryKind::EmptyDirectory
    } else {
        EntryKind::File(content(root, below).into_bytes())
    };
    Some(Entry {
        path: format!("/{below}"),
        kind,
        attributes: Some(Attributes {
            mode: meta.mode() & 0o7777,
            uid: meta.uid(),
            gid: meta.gid(),
        }),
    })
}

/// The content of a file in the guest: the minimum that programs need.
fn content(root: &Path, path: &str) -> String {
    let lines_of = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
    match path {
        "etc/shadow" => shadow(&lines_of("etc/passwd")),
        "etc/gshadow" => gshadow(&lines_of("etc/group")),
        "etc/sudoers" => "root ALL=(ALL:ALL) ALL\n@includedir /etc/sudoers.d\n".to_owned(),
        _ => String::new(),
    }
}

/// shadow(5) for the users of passwd(5): nobody has a usable password, and none expires.
fn shadow(passwd: &str) -> String {
    let mut text = String::new();
    for name in passwd.lines().filter_map(|line| line.split(':').next()) {
        if !name.is_empty() {
            text.extend([name, ":*:::::::\n"]);
        }
    }
    text
}

/// gshadow(5) for the groups of group(5).
fn gshadow(group: &str) -> String {
    let mut text = String::new();
    for line in group.lines() {
        let mut fields = line.split(':');
        if let Some(name) = fields.next().filter(|name| !name.is_empty()) {
            let members = fields.nth(2).unwrap_or_default();
            text.extend([name, ":*::", members, "\n"]);
        }
    }
    text
}

/// Who reads.
struct User {
    uid: u32,
    groups: Vec<u32>,
}

impl User {
    /// `None` for one who can read everything.
    fn current() -> Option<Self> {
        let uid = geteuid();
        // The capability that root's share process keeps. In a container root may lack it, and is
        // then an ordinary user except for its own files.
        if uid.is_root() && reads_everything() {
            return None;
        }
        let mut groups: Vec<u32> = getgroups()
            .unwrap_or_default()
            .iter()
            .map(|group| group.as_raw())
            .collect();
        groups.push(getegid().as_raw());
        Some(Self {
            uid: uid.as_raw(),
            groups,
        })
    }

    fn can_read(&self, path: &Path, meta: &Metadata) -> bool {
        self.may(meta) || (self.uid != 0 && is_granted(path, meta))
    }

    /// Whether its mode allows reading, and entering if it is a directory.
    fn may(&self, meta: &Metadata) -> bool {
        let needed = if meta.is_dir() { 0o5 } else { 0o4 };
        let shift = if meta.uid() == self.uid {
            6
        } else if self.groups.contains(&meta.gid()) {
            3
        } else {
            0
        };
        (meta.mode() >> shift) & needed == needed
    }
}

/// Whether the kernel allows it, for example through an access control list.
fn is_granted(path: &Path, meta: &Metadata) -> bool {
    let mut wanted = AccessFlags::R_OK;
    if meta.is_dir() {
        wanted |= AccessFlags::X_OK;
    }
    let effective = nix::fcntl::AtFlags::AT_EACCESS;
    faccessat(nix::fcntl::AT_FDCWD, path, wanted, effective).is_ok()
}

fn reads_everything() -> bool {
    capng::get_caps_process().is_ok()
        && capng::name_to_capability("DAC_READ_SEARCH")
            .is_ok_and(|capability| capng::have_capability(capng::Type::EFFECTIVE, capability))
}

/// Mount points, from proc_pid_mountinfo(5), that should not be looked at.
fn remote_mounts() -> Vec<PathBuf> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mounts = text.lines().filter_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let kind = after.split(' ').next()?;
        let is_remote = REMOTE.contains(&kind) || kind.starts_with("fuse");
        is_remote.then(|| before.split(' ').nth(4).map(PathBuf::from))?
    });
    mounts.collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn metadata_of(mode: u32, dir: bool) -> (tempfile::TempDir, Metadata) {
        let holder = tempfile::tempdir().unwrap();
        let path = holder.path().join("it");
        if dir {
            fs::create_dir(&path).unwrap();
        } else {
            fs::write(&path, "").unwrap();
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let meta = path.metadata().unwrap();
        (holder, meta)
    }

    #[test]
    fn the_bits_that_count_are_those_of_the_owner_the_group_or_the_others() {
        let (_holder, meta) = metadata_of(0o604, false);
        let user = |uid, groups: &[u32]| User {
            uid,
            groups: groups.to_vec(),
        };
        assert!(user(meta.uid(), &[]).may(&meta));
        assert!(!user(meta.uid() + 1, &[meta.gid()]).may(&meta));
        assert!(user(meta.uid() + 1, &[]).may(&meta));
        // A directory must also be entered.
        let (_holder, meta) = metadata_of(0o744, true);
        assert!(user(meta.uid(), &[]).may(&meta));
        assert!(!user(meta.uid() + 1, &[]).may(&meta));
    }

    #[test]
    fn users_and_groups_without_passwords_are_made_from_the_public_files() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\n\ndaemon:x:1:1::/:/bin/false\n";
        assert_eq!(shadow(passwd), "root:*:::::::\ndaemon:*:::::::\n");
        let group = "root:x:0:\nsudo:x:27:alice,bob\nodd\n";
        assert_eq!(gshadow(group), "root:*::\nsudo:*::alice,bob\nodd:*::\n");
    }

    #[test]
    fn an_entry_has_owner_and_mode_of_what_it_replaces() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("etc")).unwrap();
        fs::write(root.path().join("etc/passwd"), "root:x:0:0::/:/bin/sh\n").unwrap();
        let path = root.path().join("etc/shadow");
        fs::write(&path, "root:$6$secret:1:::::\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let meta = path.metadata().unwrap();
        let entry = entry(root.path(), &path, &meta).unwrap();
        assert_eq!(entry.path, "/etc/shadow");
        assert_eq!(entry.kind, EntryKind::File(b"root:*:::::::\n".to_vec()));
        assert_eq!(entry.attributes.unwrap().mode, 0o640);
    }

    #[test]
    fn private_files_are_covered_but_for_those_in_the_directory_of_everybody() {
        let root = tempfile::tempdir().unwrap();
        for name in ["var/lib/a", "var/lib/b", "var/lib/c", "var/tmp/d"] {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
        }
        // Root without capabilities, of whom the kernel is not asked.
        let user = User {
            uid: 0,
            groups: Vec::new(),
        };
        let paths = |most| {
            let entries = search(root.path(), &user, most).into_iter();
            let mut paths: Vec<_> = entries.map(|entry| entry.path).collect();
            paths.sort();
            paths
        };
        assert_eq!(paths(9), ["/var/lib/a", "/var/lib/b", "/var/lib/c"]);
        assert_eq!(paths(2).len(), 2);
    }
}
