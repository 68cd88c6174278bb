#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use crate::config::{Catalogue, Machine, Origin, ShareKind, Transport};

/// Every setting, with values that differ from all defaults.
const ALL: &str = r#"
memory = "4G"
cpus = 3
cpu = "max"
append = "nokaslr quiet"
qemu-args = ["-device", "virtio-rng-device"]
modules = ["xfs"]
machine = "q35"
transport = "pci"
share = "9p"
"#;

fn parse(text: &str) -> Result<Catalogue, String> {
    let origin = Origin::File("/k/kernels.toml".into());
    Catalogue::parse(text, origin).map_err(|error| error.to_string())
}

#[test]
fn a_kernel_has_settings_of_its_own_and_the_defaults_of_the_file_behind_them() {
    let text = format!(
        "[defaults]{ALL}[kernels.a]\npath = \"x\"\n[kernels.b]\npath = \"y\"\nmemory = \"1G\"\n\
         append = \"\"\nmodules = []\nmachine = \"microvm\"\n"
    );
    let catalogue = parse(&text).unwrap();
    for name in ["a", "debian:6.18"] {
        let settings = catalogue.settings_of(name);
        assert_eq!(settings.memory(), 4 << 30);
        assert_eq!(settings.cpus(), 3);
        assert_eq!(settings.modules(), ["xfs"]);
        assert_eq!(settings.cpu.as_ref().unwrap().value, "max");
        assert_eq!(settings.append.as_ref().unwrap().value, "nokaslr quiet");
        let qemu_args = &settings.qemu_args.as_ref().unwrap().value;
        assert_eq!(*qemu_args, ["-device", "virtio-rng-device"]);
        assert_eq!(
            settings.devices.machine.as_ref().unwrap().value,
            Machine::Q35
        );
        let transport = settings.devices.transport.as_ref().unwrap();
        assert_eq!(transport.value, Transport::Pci);
        assert_eq!(transport.by, "/k/kernels.toml:9");
        let share = settings.devices.share.as_ref().unwrap();
        assert_eq!(share.value, ShareKind::NineP);
    }
    let settings = catalogue.settings_of("b");
    assert_eq!(settings.memory(), 1 << 30);
    assert_eq!(settings.memory.as_ref().unwrap().by, "/k/kernels.toml:15");
    assert_eq!(settings.cpus(), 3);
    assert_eq!(settings.modules(), [""; 0]);
    assert_eq!(
        settings.devices.machine.as_ref().unwrap().value,
        Machine::Microvm
    );
    assert_eq!(
        settings.reasons(),
        [
            "memory 1G by /k/kernels.toml:15",
            "cpus 3 by /k/kernels.toml:3",
            "cpu max by /k/kernels.toml:4",
            "append  by /k/kernels.toml:16",
            "qemu-args -device virtio-rng-device by /k/kernels.toml:6",
            "modules  by /k/kernels.toml:17",
        ]
    );
}

#[test]
fn without_settings_a_guest_has_two_gigabytes_and_one_processor() {
    let catalogue = parse("[kernels.a]\npath = \"x\"\n").unwrap();
    let settings = catalogue.settings_of("a");
    assert_eq!((settings.memory(), settings.cpus()), (2 << 30, 1));
    assert!(settings.modules().is_empty() && settings.reasons().is_empty());
}

#[test]
fn every_wrong_setting_is_reported_with_its_line() {
    let text = r#"[kernels.a]
path = "x"
memory = "lots"
cpus = 257
cpu = ""
append = "a\nb"
qemu-args = ["-s",
    "-m", "4G"]
modules = ["xfs", "nf_tables kvm"]
machine = "q35"
transport = "mmio"
"#;
    let told = parse(text).unwrap_err();
    for (line, part) in [
        (3, "kernel \"a\": memory: \"lots\" is not a memory size"),
        (4, "kernel \"a\": cpus is out of range; allowed: 1 to 256"),
        (5, "kernel \"a\": cpu is \"\"; allowed: a model"),
        (6, "kernel \"a\": append has control characters"),
        (8, "kernel \"a\": qemu-args: -m is set by kiln: use memory"),
        (
            9,
            "kernel \"a\": modules: \"nf_tables kvm\" is not the name",
        ),
        (11, "kernel \"a\": the machine q35 (/k/kernels.toml:10)"),
    ] {
        let expected = format!("/k/kernels.toml:{line}: {part}");
        assert!(told.contains(&expected), "{expected}\n{told}");
    }
    assert_eq!(told.lines().count(), 7, "{told}");
}

#[test]
fn a_value_of_the_wrong_type_and_an_unknown_key_are_reported_with_what_is_allowed() {
    for (line, part) in [
        (
            "memory = 2",
            "invalid type: integer `2`; allowed here: a string",
        ),
        (
            "cpus = \"2\"",
            "invalid type: string \"2\"; allowed here: u32",
        ),
        (
            "append = [\"a\"]",
            "invalid type: sequence; allowed here: a string",
        ),
        (
            "qemu-args = \"-s\"",
            "invalid type: string \"-s\"; allowed here: a sequence",
        ),
        (
            "modules = \"xfs\"",
            "invalid type: string \"xfs\"; allowed here: a sequence",
        ),
        ("transport = \"pcie\"", "(did you mean `pci`?)"),
        ("share = \"nfs\"", "`virtiofs` or `9p`"),
        ("qemu_args = []", "(did you mean `qemu-args`?)"),
        ("memroy = \"2G\"", "(did you mean `memory`?)"),
    ] {
        for table in ["[defaults]\n", "[kernels.a]\n"] {
            let told = parse(&format!("{table}{line}\n")).unwrap_err();
            assert!(
                told.starts_with("/k/kernels.toml:2: ") && told.contains(part),
                "{part}\n{told}"
            );
        }
    }
}

#[test]
fn a_kernel_that_contradicts_the_defaults_is_reported_at_its_own_line() {
    let told =
        parse("[defaults]\nmachine = \"q35\"\n[kernels.a]\npath = \"x\"\ntransport = \"mmio\"\n")
            .unwrap_err();
    assert!(
        told.starts_with(
            "/k/kernels.toml:5: kernel \"a\": the machine q35 (/k/kernels.toml:2) has no virtio-mmio"
        ),
        "{told}"
    );
}

proptest! {
    #[test]
    fn no_value_panics(append in ".*", module in ".*", arg in ".*", memory in ".*") {
        let quote = |text: &str| toml::Value::String(text.to_owned()).to_string();
        let text = format!(
            "[kernels.a]\npath = \"x\"\nappend = {}\nmodules = [{}]\nqemu-args = [{}]\nmemory = {}\n",
            quote(&append), quote(&module), quote(&arg), quote(&memory)
        );
        let _ = parse(&text);
    }
}
