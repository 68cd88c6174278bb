//! Kernels boot with both firmwares of QEMU's microvm, whatever the initramfs'
//! size.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kiln::internals::bare_boot::{DirectBoot, write_initramfs};

use crate::support::{Kiln, take_slot};

/// All kernels of `kernels.toml`, each with the size of its initramfs modulo 4096 before padding:
/// sizes that did not boot with SeaBIOS, and a whole page. Archives end at a multiple of 4.
const KERNELS: [(&str, usize); 4] = [("5.10", 0xc40), ("6.1", 0xffc), ("6.12", 0), ("7.3", 0xe00)];

/// From Debian's packages qemu-system-data and seabios.
const FIRMWARES: [&str; 2] = [
    "/usr/share/qemu/qboot.rom",
    "/usr/share/seabios/bios-microvm.bin",
];

/// How long QEMU may take; such a boot takes 3 s on an idle machine.
const DEADLINE: Duration = Duration::from_secs(300);

/// How long it may take to download one kernel.
const FETCH: Duration = Duration::from_secs(600);

#[test]
fn kernels_boot_with_both_firmwares_whatever_the_size_of_the_initramfs() {
    let kiln = Kiln::new();
    for (kernel, size) in KERNELS {
        let initramfs = kiln.path("initramfs");
        build(&initramfs, size);
        for firmware in FIRMWARES {
            assert!(
                Path::new(firmware).is_file(),
                "{firmware} is missing: scripts/install-packages"
            );
            let (ended, console) = boot(&kiln, kernel, &initramfs, firmware);
            assert!(
                ended,
                "{kernel} did not power off with {firmware} and 0x{size:x}:\n{console}"
            );
            assert!(!console.contains("Kernel panic"), "{kernel}: {console}");
        }
    }
}

/// An initramfs that powers off at once, and that is `residue` bytes modulo 4096
/// before it is padded.
fn build(dest: &Path, residue: usize) {
    let padded = |extra: usize| {
        write_initramfs(dest, extra).unwrap();
        let archive = fs::read(dest).unwrap();
        let end = archive.iter().rposition(|&byte| byte != 0).unwrap() + 1;
        // The trailer's name ends in a NUL, and the archive at a multiple of 4.
        (end + 1).next_multiple_of(4)
    };
    let extra = (residue + 2 * 4096 - padded(0) % 4096) % 4096;
    assert_eq!(padded(extra) % 4096, residue);
}

/// Whether the guest powered off, and its console.
fn boot(kiln: &Kiln, kernel: &str, initramfs: &Path, firmware: &str) -> (bool, String) {
    let fetched = kiln
        .plain(["kernels", "fetch", "-k", kernel])
        .deadline(FETCH)
        .run();
    fetched.assert_code(0);
    let _slot = take_slot();
    let image = fetched.out().trim_end().rsplit('\t').next().unwrap().into();
    let qemu = std::env::var_os("KILN_QEMU").unwrap_or("qemu-system-x86_64".into());
    let boot = DirectBoot {
        qemu: qemu.into(),
        image,
        initramfs: initramfs.to_owned(),
        dir: kiln.path(""),
        // Each device makes the ACPI tables longer.
        qemu_args: ["-bios", firmware]
            .into_iter()
            .chain(["-device", "virtio-rng-device"].repeat(8))
            .map(str::to_owned)
            .collect(),
    };
    let line = boot.command();
    let console = kiln.path("console");
    let mut child = Command::new(&line[0])
        .args(&line[1..])
        .stdin(Stdio::null())
        .stdout(fs::File::create(&console).unwrap())
        .stderr(fs::File::create(kiln.path("qemu.log")).unwrap())
        .spawn()
        .unwrap();
    let start = Instant::now();
    let ended = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status.success();
        }
        if start.elapsed() > DEADLINE {
            child.kill().unwrap();
            child.wait().unwrap();
            break false;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let said = [console, kiln.path("qemu.log")].map(|path| fs::read(path).unwrap());
    (ended, String::from_utf8_lossy(&said.concat()).into_owned())
}
