//! Arguments for QEMU that kiln sets by itself: a second value would contradict the first, or QEMU
//! would refuse both.

use std::fmt;

/// An argument that kiln sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// The option, without its dash and its value.
    option: &'static str,
    /// What is wrong with it, and what to use instead.
    why: &'static str,
}

impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "-{} {}", self.option, self.why)
    }
}

/// An option, whether its value is what kiln sets, and what is wrong with it then.
type Rule = (&'static str, fn(&str) -> bool, &'static str);

const KERNEL: &str = "is set by kiln: give the kernel a source in kernels.toml, or use -k PATH";
const APPEND: &str = "is set by kiln: use append in kernels.toml, or --append";
const MEMORY: &str = "is set by kiln: use memory in kernels.toml, or --memory";
const CPUS: &str = "is set by kiln: use cpus in kernels.toml, or --cpus";
const CPU: &str = "is set by kiln: use cpu in kernels.toml, or --cpu";
const MACHINE: &str =
    "is set by kiln: use machine and transport in kernels.toml, or --machine and --transport";
const ACCEL: &str = "is set by kiln: use --accel";
const OWN: &str = "is set by kiln, with this id: use another one";
const STAYS: &str = "would keep QEMU running when the guest has ended";

/// QEMU's options without the dash (manual page qemu(1)).
const RULES: [Rule; 16] = [
    ("kernel", always, KERNEL),
    ("initrd", always, "is set by kiln"),
    ("append", always, APPEND),
    ("m", sets_size, MEMORY),
    ("smp", sets_count, CPUS),
    ("cpu", always, CPU),
    ("M", sets_machine, MACHINE),
    ("machine", sets_machine, MACHINE),
    ("accel", always, ACCEL),
    ("enable-kvm", always, ACCEL),
    ("no-shutdown", always, STAYS),
    ("daemonize", always, STAYS),
    ("object", has_own_id, OWN),
    ("chardev", has_own_id, OWN),
    ("fsdev", has_own_id, OWN),
    ("device", is_control, OWN),
];

/// What is wrong with an argument for QEMU, the next one of which is `value`.
pub fn taken(arg: &str, value: Option<&str>) -> Option<Taken> {
    let name = arg.strip_prefix("--").or_else(|| arg.strip_prefix('-'))?;
    let &(option, applies, why) = RULES.iter().find(|(option, ..)| *option == name)?;
    applies(value.unwrap_or_default()).then_some(Taken { option, why })
}

fn always(_: &str) -> bool {
    true
}

/// `key=value` pairs of an option's value; the first may have no key.
fn pairs(value: &str) -> impl Iterator<Item = (&str, &str)> {
    value.split(',').enumerate().map(|(index, part)| {
        part.split_once('=')
            .unwrap_or(if index == 0 { ("", part) } else { (part, "") })
    })
}

/// `-m 2G` and `-m size=2G`, and not `-m slots=2,maxmem=8G`.
fn sets_size(value: &str) -> bool {
    pairs(value).any(|(key, _)| matches!(key, "" | "size"))
}

/// `-smp 4` and `-smp cpus=4`, and not `-smp sockets=2`.
fn sets_count(value: &str) -> bool {
    pairs(value).any(|(key, _)| matches!(key, "" | "cpus"))
}

/// `-M q35` and `-machine type=q35`, and not `-machine hmat=on`.
fn sets_machine(value: &str) -> bool {
    pairs(value).any(|(key, _)| matches!(key, "" | "type" | "memory-backend" | "accel"))
}

/// One of the ids of `vm::args`.
fn has_own_id(value: &str) -> bool {
    pairs(value).any(|(key, id)| {
        let numbered = id.strip_prefix("share");
        let is_share = numbered.is_some_and(|number| number.parse::<u32>().is_ok());
        key == "id" && (is_share || matches!(id, "mem" | "console" | "qmp" | "control"))
    })
}

fn is_control(value: &str) -> bool {
    value.starts_with("virtserialport,") && pairs(value).any(|pair| pair == ("chardev", "control"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn is_taken(arg: &str, value: &str) -> bool {
        taken(arg, Some(value)).is_some()
    }

    #[test]
    fn what_kiln_sets_is_taken_and_the_way_to_set_it_is_named() {
        for (arg, value) in [
            ("-m", "4G"),
            ("--m", "size=4G"),
            ("-smp", "4,sockets=2"),
            ("-cpu", "max"),
            ("-machine", "type=pc"),
            ("-M", "q35"),
            ("-machine", "memory-backend=other"),
            ("-enable-kvm", ""),
            ("-kernel", "x"),
            ("-append", "x"),
            ("-daemonize", ""),
            ("-object", "memory-backend-ram,id=mem,size=1G"),
            ("-chardev", "null,id=share0"),
            ("-device", "virtserialport,chardev=control,name=x"),
        ] {
            assert!(is_taken(arg, value), "{arg} {value}");
        }
        assert_eq!(
            taken("-m", Some("4G")).unwrap().to_string(),
            "-m is set by kiln: use memory in kernels.toml, or --memory"
        );
        assert!(taken("-m", None).is_some(), "QEMU would refuse it");
    }

    #[test]
    fn what_adds_to_it_is_not() {
        for (arg, value) in [
            ("-m", "slots=2,maxmem=8G"),
            ("-smp", "sockets=2,cores=2"),
            ("-machine", "hmat=on"),
            ("-object", "memory-backend-ram,id=m0,size=1G"),
            ("-numa", "node,nodeid=0,memdev=m0"),
            ("-chardev", "file,id=log,path=/x"),
            ("-chardev", "null,id=shares"),
            ("-device", "virtio-rng-device"),
            ("-device", "virtserialport,chardev=log,name=log"),
            ("-s", ""),
            ("-S", ""),
            ("-serial", "file:x"),
            ("kernel", "x"),
        ] {
            assert!(!is_taken(arg, value), "{arg} {value}");
        }
    }

    proptest! {
        #[test]
        fn no_argument_panics(arg in "-{0,2}(m|smp|object|.*)", value in ".*") {
            let _ = taken(&arg, Some(&value));
        }
    }
}
