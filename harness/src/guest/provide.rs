//! What a guest's root has in addition to its directory: files that every system has, and empty
//! ones instead of those that the host's user must not read.

use std::fs;
use std::path::{Component, Path, PathBuf};

use guest_init::plan::{Attributes, Entry, EntryKind};
use sha2::{Digest, Sha256};

use super::unreadable;

/// Additions to a root.
#[derive(Debug, Default)]
pub(super) struct Provided {
    /// Replaces what the root has.
    pub(super) root_entries: Vec<Entry>,
    /// Created if missing once everything is mounted.
    pub(super) missing_entries: Vec<Entry>,
}

/// What the root in `dir` needs, for a guest of this name.
pub(super) fn provide(dir: &Path, hostname: &str) -> Provided {
    let mut provided = Provided {
        root_entries: unreadable::entries(dir),
        missing_entries: run(),
    };
    let entries = &mut provided.root_entries;
    for (path, mode) in [("root", 0o700), ("var/tmp", 0o1777)] {
        if is_missing(&dir.join(path)) {
            entries.push(directory(path, mode));
        }
    }
    for (path, target) in [("etc/mtab", "../proc/self/mounts"), ("var/run", "/run")] {
        if is_missing(&dir.join(path)) {
            entries.push(link(path, target));
        }
    }
    // If it is a link, an entry below it would hide the link's target.
    if !is_directory(&dir.join("etc")) {
        return provided;
    }
    entries.extend(hosts(dir, hostname));
    if lacks_machine_id(&dir.join("etc/machine-id")) {
        let id = machine_id(hostname);
        entries.push(file("etc/machine-id", id, 0o444));
    }
    let resolv_conf = dir.join("etc/resolv.conf");
    match fs::read_link(&resolv_conf) {
        // A link of systemd-resolved into /run, which in the guest is another one.
        Ok(target) => provided.missing_entries.extend(linked_file(&target)),
        Err(_) if is_missing(&resolv_conf) => {
            provided
                .root_entries
                .push(file("etc/resolv.conf", "", 0o644));
        }
        Err(_) => {}
    }
    provided
}

/// What an init system creates in `/run` (tmpfiles.d/legacy.conf and systemd.conf of systemd 252);
/// on Debian everybody may write to `/run/lock`.
pub(super) fn run() -> Vec<Entry> {
    vec![directory("run/lock", 0o1777), file("run/utmp", "", 0o664)]
}

/// `/etc/hosts` with the guest's own name, which programs look up
/// (`127.0.1.1`, as Debian's installer writes it).
fn hosts(dir: &Path, hostname: &str) -> Option<Entry> {
    let path = dir.join("etc/hosts");
    let meta = path.symlink_metadata();
    // With a directory as root, a link may lead to a file of the host.
    if meta.is_ok_and(|meta| meta.is_symlink()) && dir != Path::new("/") {
        return None;
    }
    let text = fs::read_to_string(&path).unwrap_or_default();
    let named = with_names(&text, hostname);
    Some(Entry {
        path: "/etc/hosts".to_owned(),
        kind: EntryKind::File(named.into_bytes()),
        attributes: None,
    })
}

/// The text of a hosts(5) file, with missing names added.
pub(super) fn with_names(text: &str, hostname: &str) -> String {
    let mut text = text.to_owned();
    for (address, name) in [("127.0.0.1", "localhost"), ("127.0.1.1", hostname)] {
        let is_there = text.lines().any(|line| {
            let line = line.split('#').next().unwrap_or_default();
            line.split_whitespace().skip(1).any(|other| other == name)
        });
        if is_there {
            continue;
        }
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(address);
        text.push('\t');
        text.push_str(name);
        text.push('\n');
    }
    text
}

/// Whether machine-id(5) contains no id: images come with an empty file, or with the word
/// `uninitialized`.
fn lacks_machine_id(path: &Path) -> bool {
    match path.symlink_metadata() {
        Err(_) => true,
        Ok(meta) if meta.is_file() => fs::read_to_string(path)
            .is_ok_and(|text| text.trim().is_empty() || text.trim() == "uninitialized"),
        Ok(_) => false,
    }
}

/// An id that is always the same for a guest of this name.
pub(super) fn machine_id(hostname: &str) -> String {
    use std::fmt::Write as _;
    let digest = Sha256::digest(format!("kiln machine-id of {hostname}"));
    let mut text = String::with_capacity(33);
    for byte in &digest[..16] {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text.push('\n');
    text
}

/// An empty file at the target of a link in `/etc`.
fn linked_file(target: &Path) -> Option<Entry> {
    let mut path = PathBuf::from("/");
    for part in Path::new("/etc").join(target).components() {
        match part {
            Component::Normal(name) => path.push(name),
            Component::ParentDir => {
                path.pop();
            }
            _ => {}
        }
    }
    Some(file(path.to_str()?, "", 0o644))
}

pub(super) fn directory(path: &str, mode: u32) -> Entry {
    entry(path, EntryKind::Directory, mode)
}

pub(super) fn file(path: &str, content: impl Into<Vec<u8>>, mode: u32) -> Entry {
    entry(path, EntryKind::File(content.into()), mode)
}

pub(super) fn link(path: &str, target: &str) -> Entry {
    entry(path, EntryKind::Link(target.to_owned()), 0o777)
}

fn entry(path: &str, kind: EntryKind, mode: u32) -> Entry {
    Entry {
        path: format!("/{}", path.trim_start_matches('/')),
        kind,
        attributes: Some(Attributes::of_root(mode)),
    }
}

/// Neither present nor hidden from this user.
fn is_missing(path: &Path) -> bool {
    path.symlink_metadata()
        .is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
        && path.parent().is_some_and(is_directory)
}

fn is_directory(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|meta| meta.is_dir())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::symlink;

    use super::*;

    fn content<'a>(entries: &'a [Entry], path: &str) -> Option<&'a EntryKind> {
        let found = entries.iter().find(|entry| entry.path == path);
        found.map(|entry| &entry.kind)
    }

    #[test]
    fn an_empty_tree_gets_what_programs_expect() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["etc", "var"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        let entries = provide(dir.path(), "kiln-6-1").root_entries;
        for path in [
            "/root",
            "/var/tmp",
            "/etc/mtab",
            "/var/run",
            "/etc/hosts",
            "/etc/resolv.conf",
            "/etc/machine-id",
        ] {
            assert!(content(&entries, path).is_some(), "{path}");
        }
        let Some(EntryKind::File(id)) = content(&entries, "/etc/machine-id") else {
            panic!("no machine id");
        };
        assert_eq!(id.len(), 33);
        assert_eq!(*id, machine_id("kiln-6-1").into_bytes());
        assert_ne!(machine_id("kiln-6-1"), machine_id("kiln-6-12"));
    }

    #[test]
    fn what_a_tree_has_stays() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["etc", "var/tmp", "var/run", "root"] {
            fs::create_dir_all(dir.path().join(name)).unwrap();
        }
        for (name, text) in [
            ("mtab", ""),
            ("machine-id", "0123456789abcdef0123456789abcdef\n"),
            ("resolv.conf", "nameserver 192.0.2.1\n"),
        ] {
            fs::write(dir.path().join("etc").join(name), text).unwrap();
        }
        let entries = provide(dir.path(), "kiln").root_entries;
        let paths: Vec<&str> = entries.iter().map(|entry| entry.path.as_str()).collect();
        assert_eq!(paths, ["/etc/hosts"]);
    }

    #[test]
    fn a_link_into_run_gets_a_file_to_lead_to() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("etc")).unwrap();
        let target = "../run/systemd/resolve/stub-resolv.conf";
        symlink(target, dir.path().join("etc/resolv.conf")).unwrap();
        let provided = provide(dir.path(), "kiln");
        assert!(content(&provided.root_entries, "/etc/resolv.conf").is_none());
        let made = content(
            &provided.missing_entries,
            "/run/systemd/resolve/stub-resolv.conf",
        );
        assert_eq!(made, Some(&EntryKind::File(Vec::new())));
    }

    #[test]
    fn a_link_of_a_tree_is_not_followed_to_a_file_of_the_host() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("etc")).unwrap();
        symlink("/etc/hosts", dir.path().join("etc/hosts")).unwrap();
        let entries = provide(dir.path(), "kiln").root_entries;
        assert!(content(&entries, "/etc/hosts").is_none());
    }

    #[test]
    fn the_guests_name_is_added_to_those_that_are_known() {
        let known = "127.0.0.1 localhost\n::1 localhost ip6-localhost # kiln";
        assert_eq!(
            with_names(known, "kiln"),
            format!("{known}\n127.0.1.1\tkiln\n")
        );
        let all = "127.0.0.1\tlocalhost kiln\n";
        assert_eq!(with_names(all, "kiln"), all);
        let none = with_names("", "kiln");
        assert_eq!(none, "127.0.0.1\tlocalhost\n127.0.1.1\tkiln\n");
    }
}
