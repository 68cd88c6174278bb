#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use proptest::prelude::*;

use super::option::option_value;
use super::*;
use crate::arch::Arch;
use crate::config::{Machine, ShareKind, Transport};
use crate::kernel::KernelImage;
use crate::vm::accelerator::Accelerator;
use crate::vm::means::{Console, Means};
use crate::vm::spec::{NinePSpec, VirtiofsSpec};

/// A VM.
pub(in crate::vm) fn spec(accelerator: Accelerator) -> VmSpec {
    VmSpec {
        qemu: "/usr/bin/qemu-system-x86_64".into(),
        accelerator,
        memory: 512 << 20,
        cpus: 1,
        cpu: None,
        kernel: KernelImage {
            name: "6.1".to_owned(),
            arch: Arch::X86_64,
            release: "6.1.0-test".to_owned(),
            image: "/cache/vmlinux".into(),
            modules: None,
            module_index: None,
            config: None,
        },
        initramfs: "/cache/initramfs".into(),
        virtiofs: vec![VirtiofsSpec {
            tag: "root".to_owned(),
            socket: "/run/root.sock".into(),
        }],
        nine_p: Vec::new(),
        means: Means::default(),
        asked: Vec::new(),
        qmp_socket: "/run/qmp".into(),
        control_socket: Some("/run/control".into()),
        console_log: "/run/console".into(),
        qemu_log: "/run/qemu.log".into(),
        counter_khz: Some(2_596_120),
        hang_timeout: std::time::Duration::from_secs(60),
        dump_on_panic: false,
        gdb: None,
        kernel_log: crate::vm::kernel_log::Patterns::default(),
        extras: Extras::default(),
        qemu_sandbox: true,
        kernel_args: vec!["loglevel=7".to_owned()],
        qemu_args: vec!["-s".to_owned()],
        memory_file: None,
        incoming: false,
    }
}

fn words(spec: &VmSpec) -> Vec<String> {
    command(spec)
        .into_iter()
        .map(|word| word.into_string().unwrap())
        .collect()
}

/// The value of the only option `name`.
fn value<'a>(words: &'a [String], name: &str) -> &'a str {
    let places: Vec<usize> = (0..words.len()).filter(|i| words[*i] == name).collect();
    assert_eq!(places.len(), 1, "{name} in {words:?}");
    &words[places[0] + 1]
}

#[test]
fn tcg_gets_a_named_processor_and_the_frequency_of_the_tsc() {
    let words = words(&spec(Accelerator::Tcg));
    assert_eq!(value(&words, "-accel"), "tcg");
    assert_eq!(value(&words, "-cpu"), "Nehalem-v1,+rdrand");
    let append = value(&words, "-append");
    assert!(append.contains("tsc_early_khz=2596120"), "{append}");
    assert!(append.contains("tsc=reliable"), "{append}");
    assert!(append.contains("pti=off"), "{append}");
}

#[test]
fn the_processor_that_is_asked_for_takes_the_place_of_the_default() {
    for accelerator in [Accelerator::Tcg, Accelerator::Kvm] {
        let spec = VmSpec {
            cpu: Some("max,-x2apic".to_owned()),
            ..spec(accelerator)
        };
        assert_eq!(value(&words(&spec), "-cpu"), "max,-x2apic");
    }
}

#[test]
fn kvm_gets_the_host_processor_and_its_own_clock() {
    let words = words(&spec(Accelerator::Kvm));
    assert_eq!(value(&words, "-accel"), "kvm");
    assert_eq!(value(&words, "-cpu"), "host");
    let append = value(&words, "-append");
    assert!(
        !append.contains("tsc") && !append.contains("pti"),
        "{append}"
    );
}

#[test]
fn everything_that_any_vm_needs_is_there() {
    let words = words(&spec(Accelerator::Tcg));
    for flag in ["-nodefaults", "-no-user-config", "-no-reboot"] {
        assert!(words.iter().any(|word| word == flag), "{flag}");
    }
    assert_eq!(
        value(&words, "-M"),
        "microvm,acpi=on,pit=off,pic=off,memory-backend=mem"
    );
    assert_eq!(value(&words, "-m"), "536870912B");
    assert_eq!(
        value(&words, "-object"),
        "memory-backend-memfd,id=mem,share=on,size=536870912B"
    );
    assert_eq!(value(&words, "-global"), "virtio-mmio.force-legacy=false");
    assert!(value(&words, "-sandbox").starts_with("on,obsolete=deny"));
    assert_eq!(value(&words, "-kernel"), "/cache/vmlinux");
    assert!(words.contains(&"virtserialport,chardev=control,name=kiln.control".to_owned()));
    let append = value(&words, "-append");
    for argument in ["console=ttyS0", "panic=-1", "rdinit=/init"] {
        assert!(append.split(' ').any(|word| word == argument), "{append}");
    }
}

#[test]
fn a_guest_can_be_saved_whose_memory_is_a_file_with_a_name() {
    let mut spec = spec(Accelerator::Tcg);
    spec.memory_file = Some("/proc/7/fd/8".into());
    assert_eq!(
        value(&words(&spec), "-object"),
        "memory-backend-file,mem-path=/proc/7/fd/8,id=mem,share=on,size=536870912B"
    );
    assert!(!words(&spec).contains(&"-incoming".to_owned()));
    spec.incoming = true;
    assert_eq!(value(&words(&spec), "-incoming"), "defer");
}

#[test]
fn a_console_of_virtio_shares_the_bus_of_the_control_port() {
    let mut spec = spec(Accelerator::Tcg);
    spec.means.console = Console::Virtio;
    spec.means.transport = Transport::Pci;
    let words = words(&spec);
    let buses = words
        .iter()
        .filter(|word| word.starts_with("virtio-serial-"));
    assert_eq!(buses.collect::<Vec<_>>(), ["virtio-serial-pci,max_ports=2"]);
    let place = |text: &str| words.iter().position(|word| word == text).unwrap();
    // Port 0 is that of a console (QEMU, hw/char/virtio-serial-bus.c).
    assert!(
        place("virtconsole,chardev=console")
            < place("virtserialport,chardev=control,name=kiln.control")
    );
    assert!(!words.contains(&"-serial".to_owned()));
    let append = value(&words, "-append");
    assert!(
        append.contains("console=hvc0") && !append.contains("ttyS0"),
        "{append}"
    );
}

#[test]
fn the_control_port_is_the_second_serial_port_if_the_kernel_has_no_other() {
    let mut spec = spec(Accelerator::Tcg);
    spec.means.control = Control::Serial;
    let words = words(&spec);
    assert!(words.contains(&"isa-serial,chardev=control,index=1".to_owned()));
    assert_eq!(value(&words, "-serial"), "chardev:console");
    assert!(!words.iter().any(|word| word.starts_with("virtio-serial-")));
    assert!(value(&words, "-append").contains("console=ttyS0"));
}

#[test]
fn memory_is_left_to_the_users_numa_nodes() {
    let mut spec = spec(Accelerator::Tcg);
    spec.qemu_args = ["-numa", "node,memdev=mem"].map(str::to_owned).to_vec();
    let words = words(&spec);
    assert_eq!(value(&words, "-M"), "microvm,acpi=on,pit=off,pic=off");
    assert!(value(&words, "-object").starts_with("memory-backend-memfd,id=mem,share=on"));
}

#[test]
fn the_user_has_the_last_word() {
    let words = words(&spec(Accelerator::Tcg));
    assert_eq!(words.last().unwrap(), "-s");
    assert!(value(&words, "-append").ends_with("rdinit=/init loglevel=7"));
}

#[test]
fn without_seccomp_no_sandbox_is_asked_for() {
    let mut spec = spec(Accelerator::Tcg);
    spec.qemu_sandbox = false;
    assert!(!words(&spec).contains(&"-sandbox".to_owned()));
}

#[test]
fn a_vm_without_control_port_has_no_virtio_serial() {
    let mut spec = spec(Accelerator::Tcg);
    spec.control_socket = None;
    assert!(
        !words(&spec)
            .iter()
            .any(|word| word.contains("virtio-serial"))
    );
}

#[test]
fn over_pci_every_device_is_one_of_its_bus_and_the_machine_has_one() {
    let mut spec = spec(Accelerator::Tcg);
    spec.means.transport = Transport::Pci;
    let line = words(&spec);
    assert_eq!(
        value(&line, "-M"),
        "microvm,acpi=on,pit=off,pic=off,pcie=on,memory-backend=mem"
    );
    assert!(line.contains(&"virtio-serial-pci,max_ports=2".to_owned()));
    assert!(line.contains(&"vhost-user-fs-pci,queue-size=1024,chardev=share0,tag=root".to_owned()));
    spec.means.machine = Machine::Q35;
    let line = words(&spec);
    assert_eq!(value(&line, "-M"), "q35,memory-backend=mem");
    assert!(!line.iter().any(|word| word.contains("-device,")));
}

#[test]
fn over_9p_qemu_serves_the_directories_read_only_unless_they_are_to_be_written() {
    let mut spec = spec(Accelerator::Tcg);
    spec.virtiofs.clear();
    spec.means.share = ShareKind::NineP;
    for (tag, dir, writable) in [("root", "/", false), ("dir0", "/home/a,b", true)] {
        spec.nine_p.push(NinePSpec {
            tag: tag.to_owned(),
            dir: dir.into(),
            writable,
        });
    }
    let line = words(&spec);
    for word in [
        "local,id=share0,path=/,security_model=none,multidevs=remap,readonly=on",
        "virtio-9p-device,fsdev=share0,mount_tag=root",
        "local,id=share1,path=/home/a,,b,security_model=none,multidevs=remap",
        "virtio-9p-device,fsdev=share1,mount_tag=dir0",
    ] {
        assert!(line.contains(&word.to_owned()), "{word} in {line:?}");
    }
    assert!(!line.iter().any(|word| word.contains("vhost-user")));
    spec.means.transport = Transport::Pci;
    let line = words(&spec);
    assert!(line.contains(&"virtio-9p-pci,fsdev=share1,mount_tag=dir0".to_owned()));
}

#[test]
fn commas_in_paths_are_doubled_in_options_and_only_there() {
    let mut spec = spec(Accelerator::Tcg);
    spec.qmp_socket = "/a,b/q mp".into();
    spec.kernel.image = "/a,b/vm linux".into();
    spec.virtiofs.push(VirtiofsSpec {
        tag: "x,y".to_owned(),
        socket: "/s,1".into(),
    });
    let words = words(&spec);
    assert!(words.contains(&"socket,id=qmp,path=/a,,b/q mp,server=on,wait=off".to_owned()));
    assert!(words.contains(&"socket,id=share1,path=/s,,1".to_owned()));
    assert!(
        words.contains(&"vhost-user-fs-device,queue-size=1024,chardev=share1,tag=x,,y".to_owned())
    );
    assert_eq!(value(&words, "-kernel"), "/a,b/vm linux");
}

proptest! {
    #[test]
    fn a_shell_reads_back_every_word(paths in prop::collection::vec("[^\0]{1,20}", 1..6)) {
        let words: Vec<OsString> = paths.iter().map(OsString::from).collect();
        let line = shell_line(&words).into_string().unwrap();
        prop_assert_eq!(shlex::split(&line).unwrap(), paths);
    }

    #[test]
    fn an_escaped_value_has_commas_in_pairs(path in "[a,]{0,20}") {
        let value = option_value(&PathBuf::from(&path)).into_string().unwrap();
        prop_assert_eq!(value.replace(",,", "\0").contains(','), false);
        prop_assert_eq!(value.replace(",,", ","), path);
    }
}
