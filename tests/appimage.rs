//! An AppImage as the bpftrace under test.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::support::suite;
use crate::support::{KERNELS, Kiln, checkout};

/// From Debian's package busybox-static.
const BUSYBOX: &str = "/bin/busybox";

/// Runs the image's own bpftrace with the image's own libraries.
const APP_RUN: &str = "#!/bin/sh
exec \"$APPDIR/lib/ld-linux-x86-64.so.2\" --library-path \"$APPDIR/lib\" \
\"$APPDIR/usr/bin/bpftrace\" \"$@\"
";

#[test]
fn an_appimage_is_tested_on_each_kernel_in_a_root_that_has_no_libraries() {
    let kiln = Kiln::with_copied_cache();
    let image = bpftrace_image(&kiln);
    let root = busybox_root(&kiln);
    let ids = ["call.printf", "basic.it shows version"];
    let run = |kernels: &[&str], directory: &str| {
        let mut command = kiln
            .vm(["run", "--bpftrace"])
            .arg(&image)
            .arg("--tests")
            .arg(checkout().join("target/bpftrace/tests"))
            .arg("--root")
            .arg(format!("dir:{}", root.display()))
            .arg("--run-dir")
            .arg(kiln.work().join(directory))
            .deadline(Duration::from_secs(300));
        for kernel in kernels {
            command = command.args(["-k", kernel]);
        }
        for id in ids {
            command = command
                .arg("-t")
                .arg(format!("^{}$", id.replace('.', "\\.")));
        }
        command.run()
    };
    let output = run(&KERNELS, "out");
    output.assert_code(0);
    let mut expected = Vec::new();
    for kernel in KERNELS {
        for id in ids {
            expected.push((kernel.to_owned(), id.to_owned(), "pass".to_owned()));
        }
    }
    expected.sort();
    assert_eq!(suite::verdicts(&suite::out(&kiln)), expected);

    // Unpacked once, and again when the file changes.
    let unpacked = || {
        let entries = fs::read_dir(kiln.cache().join("appimages")).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = unpacked();
    let list = || {
        let output = kiln
            .plain(["list", "--tests"])
            .arg(checkout().join("target/bpftrace/tests"))
            .arg("--bpftrace")
            .arg(&image)
            .run();
        output.assert_code(0);
    };
    list();
    assert_eq!(unpacked(), before);
    let mut bytes = fs::read(&image).unwrap();
    bytes.extend_from_slice(&[0; 4096]);
    fs::write(&image, bytes).unwrap();
    list();
    assert_eq!(unpacked().len(), before.len() + 1);
}

#[test]
fn a_file_that_is_not_an_appimage_is_refused_before_anything_boots() {
    let kiln = Kiln::with_empty_cache();
    let runtime = fs::read(BUSYBOX).unwrap();
    let elf = kiln.program("elf.AppImage", &runtime);
    let text = kiln.program("text.AppImage", "#!/bin/sh\n");
    let marked = marked(runtime);
    let with = |name: &str, tail: &[u8]| kiln.program(name, [&marked, tail].concat());
    let cut = with("cut", b"");
    let dwarfs = with("dwarfs", b"DWARFS\x02\x05");
    let nothing = with("nothing", &[0; 4096]);
    let damaged = with("damaged", &[b"hsqs".as_slice(), &[0xff; 4096]].concat());
    let empty = kiln.path("empty");
    fs::create_dir(&empty).unwrap();
    fs::write(empty.join("readme"), "nothing to run").unwrap();
    let without_run = image_of(&kiln, &empty, "without-run");
    for (file, told) in [
        (&elf, "is not an AppImage: it is an ordinary ELF program"),
        (&text, "is not an AppImage: it is not an ELF program"),
        (&cut, "it ends where its file system should begin"),
        (&dwarfs, "its file system is DwarFS"),
        (&nothing, "there is no squashfs after its program"),
        (&damaged, "its squashfs is damaged"),
        (&without_run, "it has no AppRun"),
    ] {
        let output = kiln
            .plain(["run", "-k", "6.1", "--tests", ".", "--bpftrace"])
            .arg(file)
            .run();
        output
            .assert_code(96)
            .assert_err_contains(told)
            .assert_err_contains(&file.display().to_string())
            .assert_err_contains("  hint: ");
    }
    let kept = fs::read_dir(kiln.cache().join("appimages"))
        .unwrap()
        .count();
    assert_eq!(kept, 0, "something was left in the cache");
}

/// Debian's bpftrace with all its libraries as an AppImage.
fn bpftrace_image(kiln: &Kiln) -> PathBuf {
    let tree = kiln.path("AppDir");
    let (bin, lib) = (tree.join("usr/bin"), tree.join("lib"));
    fs::create_dir_all(&bin).unwrap();
    fs::create_dir_all(&lib).unwrap();
    fs::copy("/usr/bin/bpftrace", bin.join("bpftrace")).unwrap();
    fs::copy(
        "/lib64/ld-linux-x86-64.so.2",
        lib.join("ld-linux-x86-64.so.2"),
    )
    .unwrap();
    let told = Command::new("ldd")
        .arg("/usr/bin/bpftrace")
        .output()
        .unwrap();
    for line in String::from_utf8(told.stdout).unwrap().lines() {
        if let Some((name, path)) = line.trim().split_once(" => ") {
            let path = path.split_whitespace().next().unwrap();
            fs::copy(path, lib.join(name)).unwrap();
        }
    }
    // AppRun is a link in many images.
    let script = tree.join("usr/bin/run");
    fs::write(&script, APP_RUN).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    symlink("usr/bin/run", tree.join("AppRun")).unwrap();
    image_of(kiln, &tree, "bpftrace.AppImage")
}

/// A type-2 image: a program with the format's mark, followed by a squashfs.
fn image_of(kiln: &Kiln, tree: &Path, name: &str) -> PathBuf {
    let squashfs = kiln.path(format!("{name}.squashfs"));
    let status = Command::new("mksquashfs")
        .arg(tree)
        .arg(&squashfs)
        .args(["-quiet", "-no-progress", "-all-root", "-comp", "zstd"])
        .args(["-Xcompression-level", "1"])
        .status()
        .expect("the package squashfs-tools is installed: scripts/install-packages");
    assert!(status.success());
    let mut image = marked(fs::read(BUSYBOX).unwrap());
    image.extend(fs::read(squashfs).unwrap());
    kiln.program(name, image)
}

/// An ELF program with the mark of a type-2 AppImage.
fn marked(mut program: Vec<u8>) -> Vec<u8> {
    program[8..11].copy_from_slice(b"AI\x02");
    program
}

/// A tree with only busybox in it.
fn busybox_root(kiln: &Kiln) -> PathBuf {
    let root = kiln.path("root");
    let bin = root.join("bin");
    fs::create_dir_all(&bin).unwrap();
    for name in ["proc", "sys", "dev", "run", "tmp", "lib"] {
        fs::create_dir(root.join(name)).unwrap();
    }
    fs::copy(BUSYBOX, bin.join("busybox"))
        .expect("the package busybox-static is installed: scripts/install-packages");
    for applet in ["sh", "cat", "ls", "sleep", "uname"] {
        symlink("busybox", bin.join(applet)).unwrap();
    }
    root
}
