#![allow(clippy::unwrap_used)]

use super::*;
use crate::config::Asked;
use crate::kernel::modules::Index;
use crate::kernel::modules::fixture::{put, tree};

/// A kernel with these modules beside the control port's.
fn index(names: &[&str]) -> (tempfile::TempDir, Facts) {
    let files: Vec<String> = names
        .iter()
        .chain(&[CONSOLE])
        .map(|name| format!("kernel/{name}.ko"))
        .collect();
    let files: Vec<(&str, &[&str])> = files
        .iter()
        .map(|file| (file.as_str(), &[] as &[&str]))
        .collect();
    let dir = tree(&files);
    let index = Index::open(dir.path()).unwrap();
    (dir, Facts::made(index, None))
}

fn chosen(names: &[&str]) -> Means {
    Means::choose(&AskedDevices::default(), &index(names).1).unwrap()
}

fn refused(asked: &AskedDevices, names: &[&str]) -> String {
    let error = Means::choose(asked, &index(names).1).unwrap_err();
    format!("{error}\n{}", error.hints().join("\n"))
}

#[test]
fn a_kernel_with_everything_gets_what_is_fastest() {
    let all = [MMIO, PCI, "fuse", "virtiofs", "9p", "9pnet_virtio", OVERLAY];
    assert_eq!(chosen(&all), Means::default());
}

#[test]
fn what_a_kernel_lacks_is_replaced_by_what_it_has_and_the_reason_is_given() {
    let means = chosen(&[PCI, "virtiofs", "9p", "9pnet_virtio"]);
    assert_eq!(
        means.to_string(),
        "microvm, virtio by pci, 9p, tmpfs: pci, as the kernel has no virtio_mmio; 9p, as the \
         kernel has no fuse; no overlayfs, which the kernel lacks"
    );
    assert_eq!(means.notes().len(), 2);
}

#[test]
fn qemu_must_have_the_devices_of_what_was_chosen() {
    assert!(Means::default().needs_of_qemu().is_empty());
    let means = chosen(&[PCI, "9p", "9pnet_virtio"]);
    assert_eq!(
        means.needs_of_qemu(),
        ["virtio-9p-pci", "virtio-serial-pci"]
    );
    let means = Means {
        machine: Machine::Q35,
        control: Control::Serial,
        ..Means::default()
    };
    assert_eq!(means.needs_of_qemu(), ["the q35 machine", "isa-serial"]);
}

#[test]
fn the_modules_that_are_loaded_are_those_of_what_was_chosen() {
    let (_dir, index) = index(&[MMIO, PCI, "9p", "9pnet_virtio"]);
    let means = Means::choose(&AskedDevices::default(), &index).unwrap();
    let loaded = means.modules(&index, &[]).unwrap();
    let names: Vec<&str> = loaded.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, [MMIO, CONSOLE, "9p", "9pnet_virtio"]);
}

#[test]
fn a_kernel_without_any_way_in_is_refused_by_the_options_that_it_lacks() {
    let asked = AskedDevices::default();
    let error = refused(&asked, &["fuse", "virtiofs"]);
    assert!(error.contains("virtio_mmio or virtio_pci"), "{error}");
    assert!(
        error.contains("CONFIG_VIRTIO_MMIO or CONFIG_VIRTIO_PCI"),
        "{error}"
    );
    let error = refused(&asked, &[PCI, "9p"]);
    assert!(
        error.contains("CONFIG_FUSE_FS with CONFIG_VIRTIO_FS or CONFIG_NET_9P_VIRTIO"),
        "{error}"
    );
}

#[test]
fn what_was_asked_for_is_refused_with_where_it_was_asked() {
    let asked = AskedDevices {
        transport: Some(Asked::option(Transport::Mmio, "k.toml:3")),
        ..AskedDevices::default()
    };
    let error = refused(&asked, &[PCI, "fuse", "virtiofs"]);
    assert!(
        error.starts_with("k.toml:3 asks for virtio by mmio: the kernel has no virtio_mmio"),
        "{error}"
    );
    let asked = AskedDevices {
        machine: Some(Asked::option(Machine::Q35, "--machine")),
        ..asked
    };
    let error = refused(&asked, &[PCI]);
    assert!(
        error.contains("q35 (--machine) has no virtio-mmio (k.toml:3)"),
        "{error}"
    );
}

#[test]
fn overlayfs_in_a_package_that_was_not_given_is_asked_for() {
    let (dir, index) = index(&[MMIO, "fuse", "virtiofs"]);
    put(
        dir.path(),
        "modules.order",
        b"kernel/fs/overlayfs/overlay.ko\n",
    );
    let error = Means::choose(&AskedDevices::default(), &index).unwrap_err();
    assert!(error.hints()[0].contains("another package"), "{error:?}");
}

#[test]
fn q35_means_pci() {
    let asked = AskedDevices {
        machine: Some(Asked::option(Machine::Q35, "--machine")),
        ..AskedDevices::default()
    };
    let (_dir, index) = index(&[MMIO, PCI, "fuse", "virtiofs"]);
    let means = Means::choose(&asked, &index).unwrap();
    assert_eq!(means.transport, Transport::Pci);
    assert!(means.reasons[0].contains("q35 by --machine"));
}

/// The options that every kernel has here.
const BASE: &str = "CONFIG_BLK_DEV_INITRD=y\nCONFIG_BINFMT_ELF=y\nCONFIG_PROC_FS=y\n\
    CONFIG_SYSFS=y\nCONFIG_TMPFS=y\nCONFIG_UNIX98_PTYS=y\nCONFIG_CGROUPS=y\n\
    CONFIG_SIGNALFD=y\nCONFIG_ACPI=y\nCONFIG_PCI_MMCONFIG=y\nCONFIG_VIRTIO_CONSOLE=y\n\
    CONFIG_SERIAL_8250_CONSOLE=y\n";

/// What is chosen for a kernel without any module that has these options too.
fn configured(base: &str, options: &[&str]) -> Result<Means, Error> {
    let mut text = base.to_owned();
    for option in options {
        text = format!("{text}CONFIG_{option}\n");
    }
    let facts = Facts::made(Index::all_builtin(), Some(&text));
    Means::choose(&AskedDevices::default(), &facts)
}

#[test]
fn a_kernel_without_modules_is_used_as_its_configuration_says() {
    let all = ["VIRTIO_MMIO=y", "FUSE_FS=y", "VIRTIO_FS=y", "OVERLAY_FS=y"];
    assert_eq!(configured(BASE, &all).unwrap(), Means::default());
    // As bpftrace's own CI builds it.
    let means = configured(BASE, &["VIRTIO_PCI=y", "FUSE_FS=y", "VIRTIO_FS=y"]).unwrap();
    assert_eq!(
        means.to_string(),
        "microvm, virtio by pci, virtiofs, tmpfs: pci, as the kernel has no virtio_mmio \
         (CONFIG_VIRTIO_MMIO is off); no overlayfs, which the kernel lacks (CONFIG_OVERLAY_FS \
         is off)"
    );
    let means = configured(
        BASE,
        &[
            "VIRTIO_MMIO=m",
            "VIRTIO_PCI=y",
            "FUSE_FS=y",
            "VIRTIO_FS=m",
            "NET_9P_VIRTIO=y",
            "9P_FS=y",
            "OVERLAY_FS=y",
        ],
    );
    assert_eq!(
        means.unwrap().reasons,
        [
            "pci, as the kernel has no virtio_mmio (CONFIG_VIRTIO_MMIO=m, and its module is \
             not there)",
            "9p, as the kernel has no virtiofs (CONFIG_VIRTIO_FS=m, and its module is not \
             there)",
        ]
    );
}

#[test]
fn console_and_control_port_are_where_the_kernel_can_have_them() {
    let rest = ["VIRTIO_MMIO=y", "FUSE_FS=y", "VIRTIO_FS=y", "OVERLAY_FS=y"];
    let with = |without: &str, more: &[&str]| {
        let base = BASE.replace(&format!("CONFIG_{without}=y\n"), "");
        configured(&base, &[&rest, more].concat())
    };
    let means = with("SERIAL_8250_CONSOLE", &["SERIAL_8250=y"]).unwrap();
    assert_eq!(
        (means.console, means.control),
        (Console::Virtio, Control::Virtio)
    );
    assert!(means.to_string().contains("the console on hvc0"), "{means}");

    let ports = |number: &str| {
        let nr = format!("SERIAL_8250_NR_UARTS={number}");
        with("VIRTIO_CONSOLE", &[&nr, "SERIAL_8250_RUNTIME_UARTS=4"])
    };
    let means = ports("4").unwrap();
    assert_eq!(
        (means.console, means.control),
        (Console::Serial, Control::Serial)
    );
    let facts = Facts::made(Index::all_builtin(), None);
    assert!(means.modules(&facts, &[]).unwrap().is_empty());
    let error = ports("1").unwrap_err();
    assert!(
        error.to_string().contains("has no virtio_console"),
        "{error}"
    );
    // A module that lies elsewhere is better.
    let more = [
        "VIRTIO_CONSOLE=m",
        "SERIAL_8250_NR_UARTS=4",
        "SERIAL_8250_RUNTIME_UARTS=4",
    ];
    let error = with("VIRTIO_CONSOLE", &more).unwrap_err();
    assert!(
        error.to_string().contains("has no virtio_console"),
        "{error}"
    );
}

#[test]
fn a_kernel_that_finds_no_devices_on_a_microvm_gets_a_pc() {
    let rest = ["VIRTIO_PCI=y", "FUSE_FS=y", "VIRTIO_FS=y", "OVERLAY_FS=y"];
    for (option, mmio) in [("PCI_MMCONFIG", false), ("ACPI", false), ("ACPI", true)] {
        let base = BASE.replace(&format!("CONFIG_{option}=y\n"), "");
        let mut options = rest.to_vec();
        options.extend(mmio.then_some("VIRTIO_MMIO=y"));
        let means = configured(&base, &options).unwrap();
        assert_eq!(
            (means.machine, means.transport),
            (Machine::Q35, Transport::Pci)
        );
        let reason = format!("q35, as the kernel has no CONFIG_{option}");
        assert!(means.reasons.contains(&reason), "{means}");
    }
}

#[test]
fn all_that_a_configuration_lacks_is_named_at_once() {
    let error = configured("CONFIG_VIRTIO_MMIO=m\nCONFIG_PROC_FS=y\n", &[]).unwrap_err();
    let told = format!("{error}\n{}", error.hints().join("\n"));
    for part in [
        "the kernel has no virtio_mmio or virtio_pci, fuse with virtiofs or 9p with \
         9pnet_virtio, virtio_console, CONFIG_BLK_DEV_INITRD, CONFIG_BINFMT_ELF, CONFIG_SYSFS,",
        "CONFIG_VIRTIO_MMIO or CONFIG_VIRTIO_PCI",
        "CONFIG_VIRTIO_CONSOLE, CONFIG_BLK_DEV_INITRD",
        "these were built as modules and are not there: virtio_mmio; install",
    ] {
        assert!(told.contains(part), "{part}\n{told}");
    }
    assert!(!told.contains("CONFIG_PROC_FS"), "{told}");
}

#[test]
fn a_module_that_is_there_is_loaded_and_what_is_built_in_is_not() {
    let (_dir, facts) = index(&["virtio_mmio", "fuse", "virtiofs"]);
    let text = format!(
        "{BASE}CONFIG_VIRTIO_MMIO=m\nCONFIG_FUSE_FS=m\nCONFIG_VIRTIO_FS=m\nCONFIG_OVERLAY_FS=y\n"
    );
    let facts = Facts::made(facts.index().clone(), Some(&text));
    let means = Means::choose(&AskedDevices::default(), &facts).unwrap();
    assert_eq!(means, Means::default());
    let loaded = means.modules(&facts, &[]).unwrap();
    let names: Vec<&str> = loaded.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, [MMIO, "fuse", "virtiofs"]);
}
