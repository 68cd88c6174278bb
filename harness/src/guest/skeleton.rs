//! The root of a guest that only has a Nix store.
//!
//! Its entries go into the upper layer over an empty directory, so that root owns all of them in
//! the guest, whoever runs kiln.

use std::fs;
use std::path::{Path, PathBuf};

use guest_init::plan::Entry;

use super::provide::{directory, file, link, machine_id, with_names};
use super::root::NixRoot;
use crate::store::STORE_DIR;

/// Directories and their modes, each before its contents.
const DIRECTORIES: [(&str, u32); 20] = [
    ("", 0o755),
    ("bin", 0o755),
    ("dev", 0o755),
    ("etc", 0o755),
    ("home", 0o755),
    ("lib", 0o755),
    ("mnt", 0o755),
    ("nix", 0o755),
    ("nix/store", 0o755),
    ("opt", 0o755),
    ("proc", 0o755),
    ("root", 0o700),
    ("run", 0o755),
    ("sys", 0o755),
    ("tmp", 0o1777),
    ("usr", 0o755),
    ("usr/bin", 0o755),
    ("var", 0o755),
    ("var/lib", 0o755),
    ("var/tmp", 0o1777),
];

/// Files that libc's lookups need.
const FILES: [(&str, &str); 4] = [
    (
        "etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
    ),
    ("etc/group", "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n"),
    (
        "etc/nsswitch.conf",
        "passwd: files\ngroup: files\nhosts: files\n",
    ),
    ("etc/resolv.conf", ""),
];

/// As many links as Linux follows (`MAXSYMLINKS`).
const MAX_LINKS: usize = 40;

const LINKS: [(&str, &str); 2] = [("etc/mtab", "../proc/self/mounts"), ("var/run", "/run")];

/// The root of a guest of this name. `/bin/sh` and `/usr/bin/env` are links into the store, as on
/// NixOS.
pub(super) fn entries(root: &NixRoot, hostname: &str) -> std::io::Result<Vec<Entry>> {
    let mut entries: Vec<Entry> = DIRECTORIES
        .iter()
        .map(|(path, mode)| directory(path, *mode))
        .collect();
    entries.extend(FILES.iter().map(|(path, text)| file(path, *text, 0o644)));
    entries.push(file(
        "etc/hosts",
        with_names("::1 localhost\n", hostname),
        0o644,
    ));
    entries.push(file("etc/machine-id", machine_id(hostname), 0o444));
    entries.extend(LINKS.iter().map(|(path, target)| link(path, target)));
    for (path, program) in [("bin/sh", "sh"), ("usr/bin/env", "env")] {
        let found = find_program(root, program)?;
        if let Some(target) = found.as_deref().and_then(Path::to_str) {
            entries.push(link(path, target));
        }
    }
    Ok(entries)
}

/// A program in the store, by its path in the guest. If there are several: one of the paths that
/// come first, then a real shell before a busybox that happens to exist, then the last by name, so
/// that the choice does not depend on the directory's order.
fn find_program(root: &NixRoot, program: &str) -> std::io::Result<Option<PathBuf>> {
    let mut found: Vec<(bool, bool, PathBuf)> = Vec::new();
    for entry in fs::read_dir(&root.store)? {
        let name = entry?.file_name();
        let is_in = |names: &[String]| names.iter().any(|known| name == **known);
        if root.only.as_deref().is_some_and(|only| !is_in(only)) {
            continue;
        }
        let path = Path::new(STORE_DIR).join(&name).join("bin").join(program);
        if exists(&root.store, &path) {
            let bash = name.to_string_lossy().contains("-bash-");
            found.push((is_in(&root.first), bash, path));
        }
    }
    Ok(found.into_iter().max().map(|(_, _, path)| path))
}

/// Whether a guest with this store finds a file at `path`, which is in the store. The host may not:
/// links point to `/nix/store`, and the store may be elsewhere here.
fn exists(store: &Path, path: &Path) -> bool {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        let Ok(inside) = path.strip_prefix(STORE_DIR) else {
            return false;
        };
        let on_host = store.join(inside);
        let Ok(target) = fs::read_link(&on_host) else {
            return on_host.exists();
        };
        // An absolute target replaces all of it.
        path = path.with_file_name(target);
    }
    false
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::symlink;

    use guest_init::plan::EntryKind;

    use super::*;

    #[test]
    fn the_skeleton_links_the_stores_shell() {
        let scratch = tempfile::tempdir().unwrap();
        let store = scratch.path().join("st");
        for package in ["aaa-bash-5.2", "zzz-busybox-1.36"] {
            fs::create_dir_all(store.join(package).join("bin")).unwrap();
            fs::write(store.join(package).join("bin/sh"), "").unwrap();
        }
        let entries = entries(&NixRoot::all(&store), "kiln").unwrap();
        let kind = |path: &str| {
            let found = entries.iter().find(|entry| entry.path == path);
            found.map(|entry| &entry.kind)
        };
        let shell = "/nix/store/aaa-bash-5.2/bin/sh".to_owned();
        assert_eq!(kind("/bin/sh"), Some(&EntryKind::Link(shell)));
        assert_eq!(kind("/usr/bin/env"), None);
        assert_eq!(kind("/nix/store"), Some(&EntryKind::Directory));
    }

    #[test]
    fn the_shell_is_of_the_named_packages_and_exists() {
        let scratch = tempfile::tempdir().unwrap();
        let store = scratch.path().join("st");
        let link = |package: &str, target: &str| {
            let bin = store.join(package).join("bin");
            fs::create_dir_all(&bin).unwrap();
            symlink(target, bin.join("sh")).unwrap();
        };
        link("ccc-bash-5.3", "/usr/bin/bash");
        link("bbb-bash-5.2", "bash");
        fs::write(store.join("bbb-bash-5.2/bin/bash"), "").unwrap();
        link("aaa-busybox", "/nix/store/aaa-busybox/bin/busybox");
        fs::write(store.join("aaa-busybox/bin/busybox"), "").unwrap();
        let mut root = NixRoot::all(&store);
        let shell = |root: &NixRoot| find_program(root, "sh").unwrap();
        let path = |name: &str| Some(Path::new(STORE_DIR).join(name).join("bin/sh"));
        assert_eq!(shell(&root), path("bbb-bash-5.2"));
        root.first = vec!["aaa-busybox".to_owned(), "ccc-bash-5.3".to_owned()];
        assert_eq!(shell(&root), path("aaa-busybox"));
        root.only = Some(vec!["ccc-bash-5.3".to_owned()]);
        assert_eq!(shell(&root), None);
    }

    #[test]
    fn a_directory_comes_before_what_lies_in_it() {
        let store = tempfile::tempdir().unwrap();
        let entries = entries(&NixRoot::all(store.path()), "kiln").unwrap();
        let at = |path: &Path| {
            entries
                .iter()
                .position(|entry| Path::new(&entry.path) == path)
        };
        for (index, entry) in entries.iter().enumerate() {
            let parent = Path::new(&entry.path).parent();
            assert!(
                parent.is_none_or(|parent| at(parent) < Some(index)),
                "{entry:?}"
            );
        }
    }
}
