#![allow(clippy::unwrap_used)]

use super::super::test_image::image;
use super::*;
use std::fs;

fn write(root: &Path, path: &str, content: &[u8]) -> PathBuf {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content).unwrap();
    path
}

#[test]
fn an_unpacked_package_has_its_image_in_boot() {
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), "boot/vmlinuz-6.1-x", b"not read");
    write(dir.path(), "lib/modules/6.1-x/kernel/a.ko", b"");
    let layout = find(dir.path()).unwrap();
    assert_eq!(layout.release, "6.1-x");
    let modules = dir.path().join("lib/modules/6.1-x");
    assert_eq!(layout.modules, Modules::Installed(modules.clone()));

    fs::write(&path, image("6.1-x")).unwrap();
    let alone = find(&path).unwrap();
    assert_eq!(
        alone.modules,
        Modules::Installed(modules),
        "the image names its root"
    );
}

#[test]
fn since_6_19_the_image_lies_beside_its_modules() {
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), "usr/lib/modules/7.3-x/vmlinuz", b"");
    write(dir.path(), "usr/lib/modules/7.3-x/kernel/a.ko", b"");
    let layout = find(dir.path()).unwrap();
    assert_eq!((layout.release.as_str(), layout.image), ("7.3-x", path));
}

#[test]
fn a_rescue_image_and_bare_headers_do_not_count() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "boot/vmlinuz-6.1", b"");
    write(dir.path(), "boot/vmlinuz-0-rescue", &image("6.0"));
    write(dir.path(), "lib/modules/6.1/kernel/a.ko", b"");
    write(dir.path(), "lib/modules/5.0/build", b"");
    assert_eq!(find(dir.path()).unwrap().release, "6.1");
}

#[test]
fn two_kernels_are_listed() {
    let dir = tempfile::tempdir().unwrap();
    for release in ["6.1", "6.2"] {
        write(dir.path(), &format!("boot/vmlinuz-{release}"), b"");
        write(
            dir.path(),
            &format!("lib/modules/{release}/kernel/a.ko"),
            b"",
        );
    }
    let error = find(dir.path()).unwrap_err().to_string();
    assert!(
        error.contains("vmlinuz-6.1") && error.contains("vmlinuz-6.2"),
        "{error}"
    );
}

#[test]
fn a_build_tree_is_told_by_its_release_file() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path();
    write(tree, "include/config/kernel.release", b"6.14.0-dirty\n");
    assert!(matches!(find(tree), Err(Error::NoImage { .. })));
    write(tree, "vmlinux", b"");
    assert_eq!(find(tree).unwrap().modules, Modules::None);
    let path = write(tree, "arch/x86/boot/bzImage", b"");
    write(tree, "modules.order", b"fs/xfs/xfs.o\nkernel/x.o\n");
    let layout = find(tree).unwrap();
    assert_eq!(
        (layout.image, layout.release.as_str()),
        (path, "6.14.0-dirty")
    );
    assert_eq!(
        layout.modules,
        Modules::Built {
            tree: tree.to_path_buf(),
            files: vec!["fs/xfs/xfs.ko".into(), "kernel/x.ko".into()],
        }
    );
}

#[test]
fn modules_order_is_read_in_all_its_forms() {
    let old = built_modules("kernel/fs/xfs/xfs.ko\nkernel/kernel/x.ko\n");
    assert_eq!(old, [PathBuf::from("fs/xfs/xfs.ko"), "kernel/x.ko".into()]);
    assert_eq!(built_modules("fs/a.ko\n"), [PathBuf::from("fs/a.ko")]);
    assert!(built_modules("../../etc/passwd\n").is_empty());
}

#[test]
fn an_archive_s_single_directory_is_entered() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "linux-6.14/bzImage", &image("6.14.4"));
    assert_eq!(find(dir.path()).unwrap().release, "6.14.4");
}

#[test]
fn an_empty_directory_has_no_kernel() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(find(dir.path()), Err(Error::NoImage { .. })));
}
