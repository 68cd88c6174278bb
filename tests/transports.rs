//! Every way in which a guest gets its devices and files: virtio-mmio or PCI,
//! virtiofs or 9p, with overlayfs or without.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::support::Kiln;
use crate::support::material::Material;
use crate::support::suite::{count, events, out, verdicts};

/// How long the first download of the kernel may take.
const FETCH: Duration = Duration::from_secs(15 * 60);
/// How long eight boots may take on a busy machine.
const RUN: Duration = Duration::from_secs(8 * 60);

/// Debian's kernel that is not for clouds: it has everything, 9p too, as modules.
const GENERIC: &str = r#"
[kernels.generic]
apt = { suite = "bookworm-security", package = "linux-image-6.1.0-*[0-9]-amd64" }
"#;

/// Transport, share, and what takes the writes: from the first of each to the
/// last, and the names of the kernels without what the others have.
fn combinations() -> Vec<[&'static str; 3]> {
    let mut all = Vec::new();
    for transport in ["mmio", "pci"] {
        for share in ["virtiofs", "9p"] {
            for copies in ["overlay", "tmpfs"] {
                all.push([transport, share, copies]);
            }
        }
    }
    all
}

/// The tests: each learns from the guest's name which kernel it is on.
const TESTS: [(&str, &str); 10] = [
    (
        "a-transport",
        "case $(uname -n) in
         *-pci-*) readlink -f /sys/bus/virtio/devices/virtio0 | grep /pci0000:00/ ;;
         *) ls /sys/bus/platform/drivers/virtio-mmio/ | grep LNRO0005 ;;
         esac",
    ),
    (
        "b-share",
        "case $(uname -n) in
         *-9p-*) grep -q ' 9p .*trans=virtio' /proc/mounts && ! grep -q ' virtiofs ' /proc/mounts ;;
         *) grep -q ' virtiofs ' /proc/mounts && ! grep -q ' 9p ' /proc/mounts ;;
         esac",
    ),
    (
        "c-copies",
        "case $(uname -n) in
         *-tmpfs) test $(stat -f -c %T /) = tmpfs ;;
         *) test $(stat -f -c %T /) = overlayfs ;;
         esac",
    ),
    (
        "d-writes",
        "set -e; echo kiln-was-here >>/etc/hosts; rm /etc/passwd; mkdir /etc/new; echo x >/etc/new/y
         touch /root/x /var/tmp/x /home/x /tmp/x /run/x; mkdir -p /mnt/x
         echo changed >small; rm removed; touch new; mkdir dir; echo x >dir/x",
    ),
    (
        "e-undone",
        "set -e; ! grep kiln-was-here /etc/hosts; grep -q ^root: /etc/passwd; test ! -e /etc/new
         for file in /root/x /var/tmp/x /home/x /tmp/x /run/x /mnt/x new dir; do test ! -e $file; done
         test \"$(cat small removed)\" = \"$(printf 'as it was\\nas it was')\"",
    ),
    (
        "f-elsewhere",
        "case $(uname -n) in
         *-tmpfs) touch /usr/kiln-new 2>&1 | grep 'Read-only file system' && test ! -e /usr/kiln-new ;;
         *) touch /usr/kiln-new && rm /usr/kiln-new ;;
         esac",
    ),
    (
        "g-reads",
        "set -e; sha256sum -c large.sha256; test $(wc -c <large) = 3000000
         test \"$(readlink link)\" = small; test $(ls many | wc -l) = 300; cat many/* | wc -l | grep -qx 300",
    ),
    (
        "h-writes-through",
        "uname -n >through/$(uname -n) && sync",
    ),
    (
        "i-cannot-change-the-host",
        "mkdir -p /tmp/again
         for type in virtiofs 9p; do for tag in root dir0 dir1; do
           mount -t $type -o rw $tag /tmp/again 2>/dev/null || mount -t $type -o trans=virtio,version=9p2000.L $tag /tmp/again 2>/dev/null || continue
           for dir in /tmp/again \"/tmp/again$PWD\"; do
             case $dir in */through) ;; *) touch $dir/evil 2>/dev/null; echo evil >>$dir/small ;; esac
           done
           umount /tmp/again
         done; done 2>/dev/null
         for point in $(grep -E ' (virtiofs|9p) ro' /proc/mounts | cut -d' ' -f2 | head -4); do
           mount -o remount,rw $point 2>/dev/null && touch $point/evil 2>/dev/null
           mount -o remount,ro $point 2>/dev/null
         done; true",
    ),
    (
        "j-modules",
        "test -d /lib/modules/$(uname -r)/kernel && modprobe -n virtio_console && ls -l /dev/null /dev/ptmx /dev/fd",
    ),
];

/// A kiln of an ordinary user with a kernel for each combination, each without
/// the modules of what it is not to use.
fn kiln() -> Kiln {
    // Beside the kernels that other tests copy.
    let cache = Kiln::new().cache().join("generic");
    fs::create_dir_all(&cache).unwrap();
    let kiln = Kiln::as_ordinary_user();
    let fetcher = Kiln::new();
    let file = fetcher.file("kernels.toml", GENERIC);
    let fetched = fetcher
        .plain(["kernels", "fetch", "-k", "generic"])
        .env("KILN_CACHE_DIR", &cache)
        .env("KILN_CONFIG", file)
        .deadline(FETCH)
        .run();
    fetched.assert_code(0);
    let material = Material::listed(&fetched.out());
    let mut catalogue = Vec::new();
    for [transport, share, copies] in combinations() {
        let name = format!("{transport}-{share}-{copies}");
        let mut without = Vec::new();
        if transport == "pci" {
            without.push("virtio_mmio");
        }
        if share == "9p" {
            without.push("virtiofs");
        }
        if copies == "tmpfs" {
            without.push("overlay");
        }
        material.unpack(&kiln.path(format!("k/{name}")), &without);
        catalogue.push(format!("[kernels.{name}]\npath = \"../k/{name}\"\n"));
    }
    let suite = "[suites.t]\nrunner = \"command\"\ncommand = [\"/bin/sh\", \"{file}\"]\n\
                 each = \"t/*.sh\"\n";
    catalogue.push(suite.to_owned());
    for (name, script) in TESTS {
        kiln.file(&format!("t/{name}.sh"), script);
    }
    kiln.file("small", "as it was\n");
    kiln.file("removed", "as it was\n");
    kiln.file("through/.keep", "");
    for index in 0..300 {
        kiln.file(&format!("many/{index}"), "line\n");
    }
    let large: Vec<u8> = (0..3_000_000_u32)
        .map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()[3])
        .collect();
    let sum = crate::support::material::sha256(&large);
    kiln.file("large", large);
    kiln.file("large.sha256", format!("{sum}  large\n"));
    std::os::unix::fs::symlink("small", kiln.work().join("link")).unwrap();
    let file = kiln.file("kernels.toml", catalogue.concat());
    kiln.give(&kiln.path("k"));
    kiln.config(file)
}

/// Paths and sizes of all that lies in the working directory, but the run's own
/// directory and what is written through.
fn listing(kiln: &Kiln) -> Vec<(PathBuf, u64)> {
    let mut all: Vec<(PathBuf, u64)> = walkdir::WalkDir::new(kiln.work())
        .into_iter()
        .map(|entry| entry.unwrap())
        .filter(|entry| !entry.file_type().is_dir())
        .map(|entry| (entry.path().to_owned(), entry.metadata().unwrap().len()))
        .filter(|(path, _)| !path.starts_with(out(kiln)) && !path.starts_with(through(kiln)))
        .collect();
    all.sort();
    all
}

fn through(kiln: &Kiln) -> PathBuf {
    kiln.work().join("through")
}

#[test]
fn every_transport_with_every_share_boots_and_runs_tests_with_and_without_overlayfs() {
    let kiln = kiln();
    let before = listing(&kiln);
    let output = kiln
        .vm(["run", "-j1", "--timeout-scale", "5", "--memory", "768M"])
        .args(
            combinations()
                .iter()
                .flat_map(|combination| ["-k".to_owned(), combination.join("-")]),
        )
        .args(["--run-dir", out(&kiln).to_str().unwrap()])
        .args(["--rw", through(&kiln).to_str().unwrap()])
        .deadline(RUN)
        .run();
    let bad: Vec<_> = verdicts(&out(&kiln))
        .into_iter()
        .filter(|(_, _, verdict)| verdict != "pass")
        .collect();
    assert!(bad.is_empty(), "{bad:?}\n{}{}", output.out(), output.err());
    output.assert_code(0);
    let all = events(&out(&kiln));
    assert_eq!(count(&all, "test_finished"), 8 * TESTS.len());
    // What a test does is undone in the VM that it ran in.
    assert_eq!(count(&all, "vm_started"), 8);
    for [transport, share, copies] in combinations() {
        let name = format!("{transport}-{share}-{copies}");
        let up = all
            .iter()
            .find(|event| event["event"] == "vm_started" && event["kernel"] == name.as_str())
            .unwrap();
        assert_eq!(up["machine"], "microvm", "{up}");
        assert_eq!(up["transport"], transport, "{up}");
        assert_eq!(up["share"], share, "{up}");
        assert_eq!(up["no_overlay"] == true, copies == "tmpfs", "{up}");
        let usual = [transport, share, copies] == ["mmio", "virtiofs", "overlay"];
        assert_eq!(up["chosen_because"].is_null(), usual, "{up}");
        let written = fs::read_to_string(through(&kiln).join(format!("kiln-{name}"))).unwrap();
        assert_eq!(written, format!("kiln-{name}\n"));
        let logs = format!("logs/{}/vm-{}", name.replace('.', "_"), up["vm"]);
        let script = fs::read_to_string(out(&kiln).join(logs).join("qemu.sh")).unwrap();
        assert!(
            script.contains(&format!("virtio by {transport}, {share}")),
            "{script}"
        );
    }
    assert_eq!(listing(&kiln), before);
    kiln.assert_nothing_left();
    kiln.assert_no_temporary_files();
}

#[test]
fn what_a_kernel_lacks_of_what_was_asked_for_is_said_with_where_it_was_asked() {
    let kiln = Kiln::new();
    let material = Material::of(&kiln);
    let tree = kiln.path("k");
    material.unpack(&tree, &["virtio_mmio"]);
    let catalogue = format!(
        "[kernels.mine]\npath = \"{}\"\ntransport = \"mmio\"\n",
        tree.display()
    );
    let file = kiln.file("kernels.toml", catalogue);
    let kiln = kiln.config(&file);
    let refused = |args: &[&str]| {
        let output = kiln
            .plain(["exec", "-k", "mine"])
            .args(args)
            .args(["--", "true"])
            .run();
        output.assert_code(125);
        output.err()
    };
    let told = refused(&[]);
    let place = format!("{}:3 asks for virtio by mmio", file.display());
    assert!(told.contains(&place), "{told}");
    assert!(told.contains("CONFIG_VIRTIO_MMIO"), "{told}");
    // The command line wins, and Debian's cloud kernels have no 9p.
    let told = refused(&["--transport", "pci", "--share", "9p"]);
    assert!(
        told.contains("--share asks for 9p: the kernel has no 9p"),
        "{told}"
    );
    assert!(told.contains("CONFIG_9P_FS"), "{told}");
    let told = refused(&["--machine", "q35"]);
    assert!(
        told.contains("q35 (--machine) has no virtio-mmio"),
        "{told}"
    );
}

#[test]
fn q35_boots_with_its_devices_on_pci() {
    let kiln = Kiln::new();
    let output = kiln
        .vm([
            "-v",
            "exec",
            "-k",
            "6.12",
            "--machine",
            "q35",
            "--",
            "/bin/sh",
            "-c",
        ])
        .arg("cat /sys/devices/virtual/dmi/id/product_name; ls /sys/bus/pci/devices | wc -l")
        .run();
    output.assert_code(0);
    assert!(output.out().contains("Q35"), "{}", output.out());
    output.assert_err_contains("q35, virtio by pci, virtiofs, overlayfs: q35 by --machine");
    kiln.assert_nothing_left();
}
