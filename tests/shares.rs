//! A guest cannot change the host, except below `--rw`.
//!
//! The guest is root and hostile: it tries through its overlays, and then on
//! the shares themselves, which it mounts again by their tags.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use crate::support::{KERNELS, Kiln};

/// Tries every change of the tree in `$1`. Prints a line for each one that succeeded.
const ATTACK: &str = r#"#!/bin/sh
cd "$1" || exit 9
try() { ( "$@" ) >/dev/null 2>&1 && echo "did: $*"; }
try sh -c 'echo changed >file'
try sh -c 'echo more >>file'
try sh -c ': >empty-it'
try truncate -s 1 file
try dd if=/dev/zero of=file bs=1 count=1 conv=notrunc
try chmod 777 file
try chmod 4755 file
try chown 1:1 file
try touch -d 2001-01-01 file
try touch -a -d 2001-01-01 file
try setfattr -n user.kiln -v x file
try mv empty-it moved
try ln file hard
try ln -s file soft
try rm file
try rm link
try touch created
try mkdir made
try mknod null c 1 3
try mknod fifo p
try rmdir sub/empty
try mv sub renamed
try rm -r sub
try chmod 000 .
try sh -c 'echo through >link'
exit 0
"#;

#[test]
fn whatever_a_guest_does_through_its_overlay_stays_there() {
    let kiln = Kiln::new();
    let tree = victim(&kiln.work());
    let attack = kiln.program("attack", ATTACK);
    let before = listing(&kiln.work());
    for kernel in KERNELS {
        let output = kiln
            .vm(["exec", "-k", kernel, "--"])
            .args([&attack, &tree])
            .run();
        output.assert_code(0);
        // The overlay must accept the changes.
        for change in ["echo changed", "chmod 777", "rm file", "mkdir made"] {
            assert!(
                output.out().contains(change),
                "{kernel}: {change} failed in the guest: {}",
                output.out()
            );
        }
        assert_eq!(listing(&kiln.work()), before, "{kernel}: the host changed");
    }
}

#[test]
fn the_shares_themselves_refuse_every_change() {
    // No other test may change the cache meanwhile.
    let kiln = Kiln::with_copied_cache();
    let tree = victim(&kiln.work());
    let attack = kiln.program("attack", ATTACK);
    // Tags are `root`, `modules`, `dir0` and so on; the guest can tell.
    let script = format!(
        "mkdir -p /m/root /m/dir0 /m/modules
        for tag in root dir0 modules; do
            mount -t virtiofs $tag /m/$tag || {{ echo \"no mount of $tag\"; exit 7; }}
            mount -o remount,rw /m/$tag
        done
        echo 'through the root:'; {attack} /m/root{tree}
        echo 'through the share:'; {attack} /m/dir0/victim
        echo 'on modules:'; {attack} /m/modules
        echo 'end'",
        attack = attack.display(),
        tree = tree.display(),
    );
    let before = listing(&kiln.work());
    let kernels = kiln.cache().join("kernels");
    let cached = || {
        let mut found = listing(&kernels);
        // kiln itself sets the time of a kernel's directory when it uses the kernel.
        found.retain(|path, _| path.parent() != Some(kernels.as_path()));
        found
    };
    let before_in_cache = cached();
    assert!(!before_in_cache.is_empty());
    for kernel in KERNELS {
        let output = kiln.sh(kernel, &script).run();
        output.assert_code(0);
        output.assert_out("through the root:\nthrough the share:\non modules:\nend\n");
        assert_eq!(listing(&kiln.work()), before, "{kernel}: the host changed");
    }
    assert!(cached().eq(&before_in_cache), "the kernel cache changed");
}

#[test]
fn files_of_the_hosts_own_root_do_not_change() {
    let kiln = Kiln::new();
    // Not below /tmp, because the guest has its own.
    let dir = tempfile::Builder::new()
        .prefix("kiln-victim-")
        .tempdir_in("/var/tmp")
        .unwrap();
    let tree = victim(dir.path());
    let attack = kiln.program("attack", ATTACK);
    let before = listing(dir.path());
    let script = format!(
        "{attack} {tree}; {attack} /etc; rm -rf {tree}; echo end",
        attack = attack.display(),
        tree = tree.display()
    );
    let passwd = fs::read("/etc/passwd").unwrap();
    let output = kiln.sh("6.1", &script).run();
    output.assert_code(0);
    assert!(output.out().ends_with("end\n"), "{}", output.out());
    assert_eq!(listing(dir.path()), before);
    assert_eq!(fs::read("/etc/passwd").unwrap(), passwd);
}

#[test]
fn a_directory_shared_writable_is_written_through_on_each_kernel() {
    let kiln = Kiln::new();
    let results = kiln.path("the results");
    fs::create_dir(&results).unwrap();
    fs::write(results.join("old"), "old").unwrap();
    let script = "set -e; cd \"$0\"
        mkdir -p deep/er; echo new >deep/er/$(uname -r); rm -f old
        dd if=/dev/zero of=big bs=1M count=3 2>/dev/null; mv big bigger; chmod 600 bigger";
    for kernel in KERNELS {
        let output = kiln
            .vm(["exec", "-k", kernel, "--rw"])
            .arg(&results)
            .args(["--", "sh", "-c", script])
            .arg(&results)
            .run();
        output.assert_code(0);
        assert!(!results.join("old").exists());
        let bigger = fs::metadata(results.join("bigger")).unwrap();
        assert_eq!(bigger.len(), 3 << 20);
        assert_eq!(bigger.permissions().mode() & 0o777, 0o600);
    }
    let written = fs::read_dir(results.join("deep/er")).unwrap().count();
    assert_eq!(written, KERNELS.len());
}

#[test]
fn beside_a_writable_directory_all_stays_read_only() {
    let kiln = Kiln::new();
    let tree = victim(&kiln.work());
    let results = kiln.work().join("results");
    fs::create_dir(&results).unwrap();
    // A way out, if links were followed on the host.
    symlink(&tree, results.join("escape")).unwrap();
    let attack = kiln.program("attack", ATTACK);
    let before = listing(&tree);
    let script = format!(
        "mkdir /m; mount -t virtiofs dir1 /m
        {attack} {tree}; {attack} {results}/escape; {attack} /m/../victim
        echo x >{results}/../victim/file; echo fine >{results}/out; echo end",
        attack = attack.display(),
        tree = tree.display(),
        results = results.display(),
    );
    let output = kiln
        .vm(["exec", "-k", "6.1", "--rw"])
        .arg(&results)
        .args(["--", "sh", "-c", &script])
        .run();
    output.assert_code(0);
    assert_eq!(fs::read_to_string(results.join("out")).unwrap(), "fine\n");
    assert_eq!(listing(&tree), before);
}

/// A tree of the user's with files of every kind.
fn victim(parent: &Path) -> PathBuf {
    let tree = parent.join("victim");
    fs::create_dir_all(tree.join("sub/empty")).unwrap();
    for name in ["file", "empty-it", "sub/inner"] {
        fs::write(tree.join(name), "the host's own content\n").unwrap();
    }
    symlink("file", tree.join("link")).unwrap();
    fs::set_permissions(tree.join("file"), fs::Permissions::from_mode(0o644)).unwrap();
    tree
}

/// The contents of a tree: kind and mode, owner, links, size, times, content.
fn listing(dir: &Path) -> BTreeMap<PathBuf, String> {
    walkdir::WalkDir::new(dir)
        .into_iter()
        .map(|entry| {
            let entry = entry.unwrap();
            let meta = entry.path().symlink_metadata().unwrap();
            let content = if meta.is_file() && meta.len() < 4096 {
                fs::read(entry.path()).unwrap()
            } else {
                Vec::new()
            };
            let line = format!(
                "{:o} {}:{} links {} size {} mtime {}.{} ctime {}.{} {content:?}",
                meta.mode(),
                meta.uid(),
                meta.gid(),
                meta.nlink(),
                meta.size(),
                meta.mtime(),
                meta.mtime_nsec(),
                meta.ctime(),
                meta.ctime_nsec(),
            );
            (entry.into_path(), line)
        })
        .collect()
}
