#![allow(clippy::unwrap_used)]

use super::super::image::test_image::image;
use super::*;
use crate::hint::Hint as _;
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
fn a_build_tree_is_recognised_by_its_release_file() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path();
    write(tree, "include/config/kernel.release", b"6.14.0-dirty\n");
    assert!(matches!(find(tree), Err(Error::NoImage { .. })));
    write(tree, "vmlinux", b"");
    assert_eq!(find(tree).unwrap().modules, Modules::None);
    let path = write(tree, "arch/x86/boot/bzImage", b"");
    write(tree, "modules.order", b"fs/xfs/xfs.o\nkernel/x.o\n");
    let error = find(tree).unwrap_err();
    let told = error.to_string();
    assert!(told.starts_with("2 of the 2 modules"), "{told}");
    assert!(told.ends_with("the first is fs/xfs/xfs.ko"), "{told}");
    assert!(error.hints()[0].contains("modules`"), "{error:?}");
    write(tree, "fs/xfs/xfs.ko", b"");
    write(tree, "kernel/x.ko", b"");
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
fn modules_of_an_earlier_build_do_not_count_if_the_kernel_has_none() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path();
    write(tree, "include/config/kernel.release", b"6.14.0\n");
    write(tree, "arch/x86/boot/bzImage", b"");
    write(tree, "modules.order", b"fs/a.o\n");
    write(tree, "fs/a.ko", b"");
    write(tree, ".config", b"CONFIG_64BIT=y\nCONFIG_MODULES=y\n");
    assert!(matches!(find(tree).unwrap().modules, Modules::Built { .. }));
    write(
        tree,
        ".config",
        b"CONFIG_64BIT=y\n# CONFIG_MODULES is not set\n",
    );
    assert_eq!(find(tree).unwrap().modules, Modules::None);
}

#[test]
fn a_unified_kernel_image_lies_among_its_modules() {
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), "lib/modules/6.14/vmlinuz-virt.efi", b"");
    write(dir.path(), "lib/modules/6.14/kernel/a.ko", b"");
    let layout = find(dir.path()).unwrap();
    assert_eq!((layout.release.as_str(), layout.image), ("6.14", path));
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

#[test]
fn an_image_inside_a_build_tree_finds_its_tree() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path();
    write(tree, "include/config/kernel.release", b"6.14.0\n");
    write(tree, "modules.order", b"fs/a.o\n");
    write(tree, "fs/a.ko", b"");
    let vmlinux = write(tree, "vmlinux", b"");
    let bzimage = write(tree, "arch/x86/boot/bzImage", &image("6.14.0"));
    let built = Modules::Built {
        tree: tree.to_path_buf(),
        files: vec!["fs/a.ko".into()],
    };
    for (given, other) in [(&bzimage, &vmlinux), (&vmlinux, &bzimage)] {
        let layout = find(given).unwrap();
        assert_eq!(&layout.image, given);
        assert_eq!(&layout.others, std::slice::from_ref(other));
        assert_eq!(layout.release, "6.14.0");
        assert_eq!(layout.modules, built);
    }
    // Copied to another directory it is an image alone.
    let copied = tempfile::tempdir().unwrap();
    let alone = write(copied.path(), "bzImage", &image("6.14.0"));
    assert_eq!(find(&alone).unwrap().modules, Modules::None);
}

#[test]
fn of_two_images_of_a_build_tree_the_newer_build_counts() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path();
    write(tree, "include/config/kernel.release", b"6.14.0\n");
    let vmlinux = write(tree, "vmlinux", b"");
    let bzimage = write(tree, "arch/x86/boot/bzImage", &image("6.14.0"));
    assert_eq!(find(tree).unwrap().image, bzimage);
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(5);
    let file = fs::File::options().append(true).open(&vmlinux).unwrap();
    file.set_modified(later).unwrap();
    let layout = find(tree).unwrap();
    assert_eq!((layout.image, layout.others), (vmlinux, vec![bzimage]));
}

#[test]
fn what_lies_beside_an_image_and_carries_its_name_does_no_harm() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    let path = write(root, "boot/vmlinuz-6.4.0-x", &image("6.4.0-x"));
    write(root, "usr/lib/modules/6.4.0-x/kernel/a.ko", b"");
    // openSUSE, Fedora, Ubuntu, and signatures.
    for name in [
        "boot/vmlinux-6.4.0-x.xz",
        "boot/vmlinux-6.4.0-x.gz",
        "boot/vmlinuz-6.4.0-x.sig",
        "boot/vmlinuz-6.4.0-x.hmac",
        "boot/.vmlinuz-6.4.0-x.hmac",
        "boot/vmlinuz-6.4.0-x.p7s",
        "boot/vmlinuz.sig",
        "vmlinux-6.4.0-x.xz",
    ] {
        write(root, name, b"\xfd7zXZ\0 and no kernel");
    }
    let layout = find(root).unwrap();
    assert_eq!((&layout.image, layout.others.len()), (&path, 0));
    assert_eq!(find(&path).unwrap().modules, layout.modules);
    assert_ne!(layout.modules, Modules::None);
}

#[test]
fn a_file_that_only_has_the_name_of_an_image_is_named_if_there_is_no_other() {
    let dir = tempfile::tempdir().unwrap();
    write(
        dir.path(),
        "boot/vmlinuz-6.4",
        b"neither an archive nor a kernel",
    );
    let error = find(dir.path()).unwrap_err().to_string();
    assert!(
        error.contains("boot/vmlinuz-6.4 is not an x86-64 kernel"),
        "{error}"
    );
}

#[test]
fn the_bzimage_comes_before_the_vmlinux_of_the_same_release() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    write(root, "lib/modules/6.4/kernel/a.ko", b"");
    let vmlinux = write(root, "boot/vmlinux-6.4", b"\x7fELF Linux version 6.4 x");
    let among = write(root, "lib/modules/6.4/vmlinux", b"");
    let vmlinuz = write(root, "boot/vmlinuz-6.4", &image("6.4"));
    let layout = find(root).unwrap();
    assert_eq!(layout.image, vmlinuz);
    assert_eq!(layout.others, [vmlinux.clone(), among]);
    // Given directly, it comes first, and the bzImage beside it second.
    let layout = find(&vmlinux).unwrap();
    assert_eq!((layout.image, layout.others), (vmlinux, vec![vmlinuz]));
}

#[test]
fn layouts_of_distributions_are_known() {
    let kernel = image("6.9.1-arch");
    for (name, image, modules) in [
        ("Arch", "boot/vmlinuz-linux", "usr/lib/modules/6.9.1-arch"),
        (
            "Fedora",
            "lib/modules/6.9.1-arch/vmlinuz",
            "lib/modules/6.9.1-arch",
        ),
        ("Gentoo", "boot/kernel-6.9.1-arch", "lib/modules/6.9.1-arch"),
        ("NixOS", "kernel", "kernel-modules/lib/modules/6.9.1-arch"),
        ("Nix", "bzImage", "lib/modules/6.9.1-arch"),
        (
            "systemd-boot",
            "boot/4f2a/6.9.1-arch/linux",
            "lib/modules/6.9.1-arch",
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let path = write(dir.path(), image, &kernel);
        let modules = dir.path().join(modules);
        write(&modules, "kernel/a.ko", b"");
        let expected = Modules::Installed(modules);
        if name != "systemd-boot" {
            let layout = find(dir.path()).unwrap();
            assert_eq!(layout.image, path, "{name}");
            assert_eq!(layout.release, "6.9.1-arch", "{name}");
            assert_eq!(layout.modules, expected, "{name}");
        }
        if name != "NixOS" {
            assert_eq!(
                find(&path).unwrap().modules,
                expected,
                "{name}, by its image"
            );
        }
    }
}
