//! The kernel with the least: devices by PCI and files over 9p only, one console (`hvc0`), without
//! overlayfs, devtmpfs, modules, serial ports, PVH, and PCI on microvm. `scripts/build-tiny-kernel` builds it once.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::roots::busybox_root;
use crate::support::nix_support::Store;
use crate::support::{Kiln, checkout};

/// How long the first build may take on a busy machine.
const BUILD: Duration = Duration::from_secs(40 * 60);

/// A copy of the kernel in `kiln`'s directory.
pub(crate) fn kernel(kiln: &Kiln) -> PathBuf {
    let output = Command::new("timeout")
        .arg(BUILD.as_secs().to_string())
        .arg(checkout().join("scripts/build-tiny-kernel"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let built = PathBuf::from(String::from_utf8(output.stdout).unwrap().trim());
    let copy = kiln.path("tiny");
    fs::create_dir_all(&copy).unwrap();
    for name in ["bzImage", "config"] {
        fs::copy(built.join(name), copy.join(name)).unwrap();
    }
    kiln.give(&copy);
    copy
}

/// What the kernel has, and what programs expect of any guest.
const SCRIPT: &str = r#"
fail() { echo "not so: $*"; bad=1; }
is() { "$@" || fail "$*"; }
is test ! -e /proc/modules
is grep -q ' / tmpfs ' /proc/mounts
is grep -q ' 9p .*trans=virtio' /proc/mounts
is grep -q ' /dev tmpfs ' /proc/mounts
is grep -qw console=hvc0 /proc/cmdline
! grep -q -e virtiofs -e overlay -e devtmpfs /proc/filesystems || fail "it has more than it should"
for node in null:1:3:666 zero:1:5:666 full:1:7:666 random:1:8:666 urandom:1:9:666 tty:5:0:666 \
    console:5:1:600 kmsg:1:11:644 hvc0:e5:0:600; do
    IFS=: read -r name major minor mode <<END
$node
END
    is test "$(stat -c %F:%t:%T:%a /dev/$name)" = "character special file:$(printf %x 0x$major):$(printf %x $minor):$mode"
done
is test "$(readlink /dev/fd)" = /proc/self/fd
is test -c /dev/ptmx
# The kernel's messages about devices that come and go later.
soon() { i=0; until test "$@"; do i=$((i + 1)); test $i -lt 100 || return 1; sleep 0.1; done; }
rm /dev/full
echo add >/sys/class/mem/full/uevent
is soon -c /dev/full
is test "$(stat -c %t:%T:%a /dev/full)" = 1:7:666
echo remove >/sys/class/mem/full/uevent
is soon ! -e /dev/full
echo add >/sys/class/mem/full/uevent
is soon -c /dev/full
is test -d /dev/shm
echo text >/dev/null && is test "$(head -c 3 /dev/zero | wc -c)" = 3
! echo x 2>/dev/null >/dev/full || fail /dev/full
is test "$(head -c 9 /dev/urandom | wc -c)" = 9
! touch /usr/new 2>/dev/null || fail "/usr can be written to"
! echo evil 2>/dev/null >>/usr/bin/env || fail "a program can be written to"
for dir in /tmp /run /var/tmp /root /etc /dev/shm .; do is touch $dir/new; done
is test "$(cat small)" = "as it was"
is sh -c 'echo changed >small'
echo written >through/file
cat
echo to stderr >&2
exit ${bad:-7}
"#;

#[test]
fn a_kernel_with_the_least_runs_a_command_of_an_ordinary_user() {
    let kiln = Kiln::as_ordinary_user();
    let tiny = kernel(&kiln);
    kiln.file("small", "as it was\n");
    kiln.file("through/.keep", "");
    kiln.give(&kiln.work());
    let output = kiln
        .vm(["-v", "exec", "-k"])
        .arg(&tiny)
        .arg("--rw")
        .arg(kiln.work().join("through"))
        .args(["--", "/bin/sh", "-c", SCRIPT])
        .stdin("in\n")
        .deadline(Duration::from_secs(180))
        .run();
    output.assert_out("in\n").assert_code(7);
    output
        .assert_err_contains("to stderr\n")
        .assert_err_contains(
            "q35, virtio by pci, 9p, tmpfs: pci, as the kernel has no virtio_mmio (CONFIG_VIRTIO_MMIO \
             is off); q35, as the kernel has no CONFIG_PCI_MMCONFIG; 9p, as the kernel has no fuse \
             and virtiofs (CONFIG_VIRTIO_FS is off); no overlayfs, which the kernel lacks \
             (CONFIG_OVERLAY_FS is off); the console on hvc0, as the kernel has none on a serial port",
        );
    let read = |name: &str| fs::read_to_string(kiln.work().join(name)).unwrap();
    assert_eq!(read("small"), "as it was\n");
    assert_eq!(read("through/file"), "written\n");
    assert!(!Path::new("/usr/new").exists() && !kiln.work().join("new").exists());
    kiln.assert_nothing_left();
    kiln.assert_no_temporary_files();
}

#[test]
fn a_guest_boots_whatever_the_host_removes_from_its_root_meanwhile() {
    let kiln = Kiln::new();
    let tiny = kernel(&kiln);
    let root = busybox_root(&kiln);
    let (changing, stop) = (root.join("var/changing"), AtomicBool::new(false));
    fs::create_dir_all(&changing).unwrap();
    // Ends by itself, too, so that a boot that panics does not wait for it forever.
    let end = Instant::now() + Duration::from_secs(120);
    let change = || {
        while !stop.load(Ordering::Relaxed) && Instant::now() < end {
            for number in 0..30 {
                let path = |kind: &str| changing.join(format!("{kind}{number}"));
                fs::write(path("file"), "text").unwrap();
                symlink("file", path("link")).unwrap();
                fs::create_dir(path("dir")).unwrap();
            }
            fs::remove_dir_all(&changing).unwrap();
            fs::create_dir(&changing).unwrap();
        }
    };
    let boot = || {
        kiln.vm(["exec", "-k"])
            .arg(&tiny)
            .arg("--root")
            .arg(format!("dir:{}", root.display()))
            .args(["--", "id"])
            .run()
    };
    std::thread::scope(|scope| {
        scope.spawn(change);
        let outputs = [boot(), boot()];
        stop.store(true, Ordering::Relaxed);
        for output in outputs {
            output.assert_code(0);
        }
    });
    kiln.assert_nothing_left();
}

#[test]
fn what_9p_cannot_do_is_said_before_the_kernel_boots() {
    let kiln = Kiln::as_ordinary_user();
    let tiny = kernel(&kiln);
    let refused = |args: &[&str]| {
        let output = kiln
            .plain(["exec", "-k"])
            .arg(&tiny)
            .args(args)
            .args(["--", "true"])
            .run();
        output.assert_code(125);
        output.err()
    };
    let told = refused(&["--rw", "/usr"]);
    assert!(told.contains("cannot share /usr writable"), "{told}");
    assert!(told.contains("Permission denied"), "{told}");

    // A QEMU that was built without 9p, which answers nothing else.
    let qemu = kiln.program(
        "qemu",
        "#!/bin/sh\nqemu-system-x86_64 \"$@\" | sed '/virtio-9p-/d'\n",
    );
    kiln.give(&qemu);
    let told = refused(&["--qemu", qemu.to_str().unwrap()]);
    assert!(told.contains("was built without virtio-9p-pci"), "{told}");
    kiln.assert_nothing_left();
    kiln.assert_no_temporary_files();
}

#[test]
fn part_of_a_nix_store_is_refused_over_9p() {
    let kiln = Kiln::new();
    let tiny = kernel(&kiln);
    let store = Store::new(&kiln);
    let busybox = store.busybox();
    let output = store
        .with(kiln.plain(["exec", "--closure-only", "-k"]))
        .arg(&tiny)
        .arg("--store")
        .arg(store.root())
        .args(["--package", &busybox, "--", "true"])
        .run();
    output
        .assert_code(125)
        .assert_err_contains("9p shows all of ")
        .assert_err_contains("CONFIG_VIRTIO_FS");
}
