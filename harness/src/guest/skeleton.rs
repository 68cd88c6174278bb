//! The root of a guest that has nothing but a Nix store.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::store::STORE_DIR;

const DIRECTORIES: [&str; 15] = [
    "bin",
    "dev",
    "etc",
    "home",
    "lib",
    "nix/store",
    "opt",
    "proc",
    "root",
    "run",
    "sys",
    "tmp",
    "usr/bin",
    "var/tmp",
    "mnt",
];

/// Files that libc's look-ups need.
const FILES: [(&str, &str); 4] = [
    (
        "etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
    ),
    ("etc/group", "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n"),
    ("etc/hosts", "127.0.0.1 localhost\n::1 localhost\n"),
    (
        "etc/nsswitch.conf",
        "passwd: files\ngroup: files\nhosts: files\n",
    ),
];

/// Writes the skeleton into the directory `root`. Links `/bin/sh` and
/// `/usr/bin/env` to what the store has, as NixOS does; with `only`, to what
/// these store paths have.
pub(super) fn write(root: &Path, store: &Path, only: Option<&[String]>) -> std::io::Result<()> {
    for directory in DIRECTORIES {
        fs::create_dir_all(root.join(directory))?;
    }
    for (path, text) in FILES {
        fs::write(root.join(path), text)?;
    }
    for (link, program) in [("bin/sh", "sh"), ("usr/bin/env", "env")] {
        if let Some(target) = find_program(store, only, program)? {
            symlink(target, root.join(link))?;
        }
    }
    Ok(())
}

/// A program of the store by its path in the guest; the last by name where
/// there are several, so that the choice does not depend on the directory's
/// order.
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
    // A shell proper before a busybox that happens to be there.
    found.sort_by_key(|path| (path.to_string_lossy().contains("-bash-"), path.clone()));
    Ok(found.pop())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_skeleton_links_the_stores_shell() {
        let scratch = tempfile::tempdir().unwrap();
        let store = scratch.path().join("st");
        for package in ["aaa-bash-5.2", "zzz-busybox-1.36"] {
            fs::create_dir_all(store.join(package).join("bin")).unwrap();
            fs::write(store.join(package).join("bin/sh"), "").unwrap();
        }
        let root = scratch.path().join("root");
        write(&root, &store, None).unwrap();
        assert_eq!(
            fs::read_link(root.join("bin/sh")).unwrap(),
            Path::new("/nix/store/aaa-bash-5.2/bin/sh")
        );
        assert!(!root.join("usr/bin/env").exists());
        assert!(root.join("nix/store").is_dir());
    }
}
