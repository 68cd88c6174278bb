//! The root of a guest that only has a Nix store.
//!
//! Its entries go into the upper layer over an empty directory, so that root owns all of them in
//! the guest, whoever runs kiln.

use std::fs;
use std::path::{Path, PathBuf};

use guest_init::plan::Entry;

use super::provide::{directory, file, link, machine_id, with_names};
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

const LINKS: [(&str, &str); 2] = [("etc/mtab", "../proc/self/mounts"), ("var/run", "/run")];

/// The root of a guest of this name. `/bin/sh` and `/usr/bin/env` are links into the store, as on
/// NixOS; with `only`, into these store paths.
pub(super) fn entries(
    store: &Path,
    only: Option<&[String]>,
    hostname: &str,
) -> std::io::Result<Vec<Entry>> {
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
        let found = find_program(store, only, program)?;
        if let Some(target) = found.as_deref().and_then(Path::to_str) {
            entries.push(link(path, target));
        }
    }
    Ok(entries)
}

/// A program in the store, by its path in the guest. If there are several, the last by name, so
/// that the choice does not depend on the directory's order.
fn find_program(
    store: &Path,
    only: Option<&[String]>,
    program: &str,
) -> std::io::Result<Option<PathBuf>> {
    let mut found: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(store)? {
        let entry = entry?;
        if only.is_some_and(|only| !only.iter().any(|name| entry.file_name() == **name)) {
            continue;
        }
        // Not `exists`: a link in there points to /nix/store, which may be
        // elsewhere on this host.
        if entry
            .path()
            .join("bin")
            .join(program)
            .symlink_metadata()
            .is_ok()
        {
            found.push(
                Path::new(STORE_DIR)
                    .join(entry.file_name())
                    .join("bin")
                    .join(program),
            );
        }
    }
    // A real shell before a busybox that happens to exist.
    found.sort_by_key(|path| (path.to_string_lossy().contains("-bash-"), path.clone()));
    Ok(found.pop())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
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
        let entries = entries(&store, None, "kiln").unwrap();
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
    fn a_directory_comes_before_what_lies_in_it() {
        let store = tempfile::tempdir().unwrap();
        let entries = entries(store.path(), None, "kiln").unwrap();
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
