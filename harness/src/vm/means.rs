//! By which devices and file systems a guest is reached: what was asked for, else
//! what the kernel has, the fastest first.

use std::fmt;

use guest_init::plan::Control;

use crate::config::{AskedDevices, Machine, ShareKind, Transport};
use crate::hint::Hint;
use crate::kernel::KernelImage;
use crate::kernel::modules::{self, Availability, Index, ModuleFile};
use crate::kernel::options::{Options, Value};
use crate::vm::qemu::machine_name;

/// Modules of each transport.
const MMIO: &str = "virtio_mmio";
const PCI: &str = "virtio_pci";
/// The control port.
const CONSOLE: &str = "virtio_console";
/// The serial ports of a PC.
const SERIAL: &str = "8250";
/// Modules of each file system of shares.
const VIRTIOFS: [&str; 2] = ["fuse", "virtiofs"];
const NINE_P: [&str; 2] = ["9p", "9pnet_virtio"];
/// Copy-on-write.
const OVERLAY: &str = "overlay";

/// Why no VM can be had for a kernel.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What was asked for cannot be had together.
    #[error("{0}")]
    Contradiction(String),
    /// Something that was asked for is not in the kernel.
    #[error("{by} asks for {what}: {source}")]
    Asked {
        /// The option, or the file and the line.
        by: String,
        /// What it asks for.
        what: String,
        /// What is missing.
        source: modules::Error,
    },
    /// The kernel has none of the ways in.
    #[error(transparent)]
    Modules(#[from] modules::Error),
}

impl Hint for Error {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Contradiction(_) => Vec::new(),
            Self::Asked { by, source, .. } => {
                let mut hints = source.hints();
                hints.push(format!("without {by}, kiln chooses by what the kernel has"));
                hints
            }
            Self::Modules(source) => source.hints(),
        }
    }
}

/// The device of the guest's console.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Console {
    /// The first serial port.
    Serial,
    /// A console of virtio, `hvc0`, which is there later than a serial port.
    Virtio,
}

/// How a guest is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Means {
    /// The machine.
    pub machine: Machine,
    /// How virtio devices reach the kernel.
    pub transport: Transport,
    /// How directories of the host reach it.
    pub share: ShareKind,
    /// What carries the console.
    pub console: Console,
    /// What carries the control protocol.
    pub control: Control,
    /// Whether the kernel has overlayfs: without it, only part of the guest's
    /// root can be written to.
    pub overlay: bool,
    /// Why these, where they are not the usual ones.
    pub reasons: Vec<String>,
}

impl Default for Means {
    /// The usual ones.
    fn default() -> Self {
        Self {
            machine: Machine::Microvm,
            transport: Transport::Mmio,
            share: ShareKind::Virtiofs,
            console: Console::Serial,
            control: Control::Virtio,
            overlay: true,
            reasons: Vec::new(),
        }
    }
}

impl fmt::Display for Means {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let copies = if self.overlay { "overlayfs" } else { "tmpfs" };
        write!(
            f,
            "{}, virtio by {}, {}, {copies}",
            self.machine, self.transport, self.share
        )?;
        for (index, reason) in self.reasons.iter().enumerate() {
            let before = if index == 0 { ": " } else { "; " };
            write!(f, "{before}{reason}")?;
        }
        Ok(())
    }
}

impl Means {
    /// Chooses for a kernel of which nobody asked anything; the usual ones if it cannot be reached.
    pub fn of(kernel: &KernelImage) -> Self {
        let asked = AskedDevices::default();
        let index = kernel.index().ok();
        index
            .and_then(|index| Self::choose(&asked, &index).ok())
            .unwrap_or_default()
    }

    /// Chooses for a kernel with these modules.
    pub fn choose(asked: &AskedDevices, index: &Index) -> Result<Self, Error> {
        if let Some(why) = asked.contradiction() {
            return Err(Error::Contradiction(why));
        }
        let mut means = Self::default();
        means.choose_transport(asked, index)?;
        means.choose_machine(asked, index)?;
        means.choose_share(asked, index)?;
        if let Some(missing) = lacking(index, &[OVERLAY]) {
            // Nobody wants to do without what only has to be unpacked.
            if index.lie_elsewhere(&missing) {
                return Err(index.cannot_boot(&missing).into());
            }
            means.overlay = false;
            means
                .reasons
                .push("no overlayfs, which the kernel lacks".to_owned());
        }
        means.choose_console(index)?;
        Ok(means)
    }

    fn choose_transport(&mut self, asked: &AskedDevices, index: &Index) -> Result<(), Error> {
        if let Some(machine) = &asked.machine {
            self.machine = machine.value;
            self.reasons
                .push(format!("{} by {}", machine.value, machine.by));
        }
        let module = |transport| match transport {
            Transport::Mmio => MMIO,
            Transport::Pci => PCI,
        };
        if let Some(transport) = &asked.transport {
            self.transport = transport.value;
            if let Some(missing) = lacking(index, &[module(transport.value)]) {
                return Err(Error::Asked {
                    by: transport.by.clone(),
                    what: format!("virtio by {}", transport.value),
                    source: index.cannot_boot(&missing),
                });
            }
            self.reasons
                .push(format!("{} by {}", transport.value, transport.by));
            return Ok(());
        }
        let (mmio, pci) = (lacking(index, &[MMIO]), lacking(index, &[PCI]));
        match (self.machine, mmio, pci) {
            (Machine::Microvm, None, _) => {}
            (Machine::Microvm, Some(_), None) => {
                self.transport = Transport::Pci;
                self.reasons
                    .push(format!("pci, as the kernel has no {MMIO}"));
            }
            (Machine::Q35, _, None) => self.transport = Transport::Pci,
            (Machine::Microvm, Some(_), Some(_)) => {
                let either = format!("{MMIO} or {PCI}");
                return Err(index.cannot_boot(&[either]).into());
            }
            (Machine::Q35, _, Some(missing)) => {
                return Err(Error::Asked {
                    by: asked
                        .machine
                        .as_ref()
                        .map_or_else(String::new, |machine| machine.by.clone()),
                    what: "q35, where virtio comes by PCI".to_owned(),
                    source: index.cannot_boot(&missing),
                });
            }
        }
        Ok(())
    }

    /// On microvm a kernel finds PCI devices by the table of ACPI alone (MCFG), which takes
    /// `CONFIG_PCI_MMCONFIG`; q35 has the ports of a PC too.
    fn choose_machine(&mut self, asked: &AskedDevices, index: &Index) -> Result<(), Error> {
        let finds_none = index
            .options()
            .is_some_and(|options| !options.is_yes("PCI_MMCONFIG"));
        if self.machine != Machine::Microvm || self.transport != Transport::Pci || !finds_none {
            return Ok(());
        }
        if let Some(machine) = &asked.machine {
            return Err(Error::Asked {
                by: machine.by.clone(),
                what: "virtio by pci on microvm".to_owned(),
                source: index.cannot_boot(&["pci_mmconfig".to_owned()]),
            });
        }
        self.machine = Machine::Q35;
        self.reasons.push(
            "q35, as the kernel finds no PCI devices on microvm without CONFIG_PCI_MMCONFIG"
                .to_owned(),
        );
        Ok(())
    }

    fn choose_share(&mut self, asked: &AskedDevices, index: &Index) -> Result<(), Error> {
        if let Some(share) = &asked.share {
            self.share = share.value;
            if let Some(missing) = lacking(index, self.share_modules()) {
                return Err(Error::Asked {
                    by: share.by.clone(),
                    what: share.value.to_string(),
                    source: index.cannot_boot(&missing),
                });
            }
            self.reasons
                .push(format!("{} by {}", share.value, share.by));
            return Ok(());
        }
        let Some(missing) = lacking(index, &VIRTIOFS) else {
            return Ok(());
        };
        self.share = ShareKind::NineP;
        if let Some(nine_p) = lacking(index, &NINE_P) {
            let either = format!("{} or {}", missing.join(" with "), nine_p.join(" with "));
            return Err(index.cannot_boot(&[either]).into());
        }
        self.reasons.push(format!(
            "9p, as the kernel has no {}",
            missing.join(" and ")
        ));
        Ok(())
    }

    /// Chooses the devices of the console and of the control protocol. Another than the usual one is
    /// taken only if the kernel's configuration says so: a module that is missing may lie elsewhere.
    fn choose_console(&mut self, index: &Index) -> Result<(), Error> {
        let no_virtio = lacking(index, &[CONSOLE]);
        let serial = index
            .options()
            .is_none_or(|options| options.is_yes("SERIAL_8250_CONSOLE"));
        match (serial, no_virtio) {
            (true, None) => {}
            (false, None) => {
                self.console = Console::Virtio;
                self.reasons.push(
                    "the console on hvc0, as the kernel has none on a serial port".to_owned(),
                );
            }
            (true, Some(missing)) => {
                let two_ports = index.options().is_some_and(has_two_serial_ports);
                if !two_ports || index.lie_elsewhere(&missing) {
                    return Err(index.cannot_boot(&missing).into());
                }
                self.control = Control::Serial;
                self.reasons.push(format!(
                    "the control port on ttyS1, as the kernel has no {CONSOLE}"
                ));
            }
            (false, Some(_)) => {
                let either = format!("{CONSOLE} or {SERIAL}");
                return Err(index.cannot_boot(&[either]).into());
            }
        }
        Ok(())
    }

    fn share_modules(&self) -> &'static [&'static str] {
        match self.share {
            ShareKind::Virtiofs => &VIRTIOFS,
            ShareKind::NineP => &NINE_P,
        }
    }

    /// The modules that a guest loads before its root is there, in their order.
    pub fn modules(&self, index: &Index) -> Result<Vec<ModuleFile>, modules::Error> {
        let transport = match self.transport {
            Transport::Mmio => MMIO,
            Transport::Pci => PCI,
        };
        let mut wanted = vec![transport];
        if self.control == Control::Virtio {
            wanted.push(CONSOLE);
        }
        wanted.extend(self.share_modules());
        if self.overlay {
            wanted.push(OVERLAY);
        }
        index.closure(&wanted)
    }

    /// What QEMU must have for it, beyond what every guest needs; by the names of `Qemu::lacks`.
    pub fn needs_of_qemu(&self) -> Vec<String> {
        let pci = self.transport == Transport::Pci;
        let mut needs = Vec::new();
        if self.machine == Machine::Q35 {
            needs.push(machine_name(&self.machine.to_string()));
        }
        let mut device = |name: &str| needs.push(name.to_owned());
        match (self.share, pci) {
            (ShareKind::Virtiofs, true) => device("vhost-user-fs-pci"),
            (ShareKind::Virtiofs, false) => {}
            (ShareKind::NineP, true) => device("virtio-9p-pci"),
            (ShareKind::NineP, false) => device("virtio-9p-device"),
        }
        if pci && self.control == Control::Virtio {
            device("virtio-serial-pci");
        }
        if self.console == Console::Virtio {
            device("virtconsole");
        }
        if self.control == Control::Serial {
            device("isa-serial");
        }
        needs
    }

    /// What is worth a word to the user: what is slower or less than usual.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.share == ShareKind::NineP {
            notes.push(
                "the guest reads the host's files over 9p, which is slower than virtiofs"
                    .to_owned(),
            );
        }
        if !self.overlay {
            notes.push(
                "the kernel has no overlayfs: of the guest's root only /tmp, /run, /dev/shm, /etc, \
                 /root, /home, /var and the working directory can be written to, as far as they \
                 are small"
                    .to_owned(),
            );
        }
        notes
    }
}

/// Whether a kernel looks for more than one serial port, unless its command line says otherwise.
fn has_two_serial_ports(options: &Options) -> bool {
    ["SERIAL_8250_NR_UARTS", "SERIAL_8250_RUNTIME_UARTS"]
        .iter()
        .all(|name| {
            let Some(Value::Text(number)) = options.get(name) else {
                return false;
            };
            number.parse::<u32>().is_ok_and(|number| number >= 2)
        })
}

/// Which of these modules the kernel lacks; `None` if it has them all.
fn lacking(index: &Index, names: &[&str]) -> Option<Vec<String>> {
    let missing: Vec<String> = names
        .iter()
        .filter(|name| index.provides(name) == Availability::Absent)
        .map(|&name| name.to_owned())
        .collect();
    (!missing.is_empty()).then_some(missing)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::config::Asked;
    use crate::kernel::modules::fixture::{put, tree};

    /// A kernel with these modules beside the control port's.
    fn index(names: &[&str]) -> (tempfile::TempDir, Index) {
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
        (dir, index)
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
        let loaded = means.modules(&index).unwrap();
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

    /// What a kernel with this configuration and no modules gets.
    fn configured(text: &str) -> Result<Means, Error> {
        configured_and(
            &AskedDevices::default(),
            &format!("CONFIG_PCI_MMCONFIG=y\n{text}"),
        )
    }

    fn configured_and(asked: &AskedDevices, text: &str) -> Result<Means, Error> {
        let ways_in = "CONFIG_VIRTIO_PCI=y\nCONFIG_9P_FS=y\nCONFIG_NET_9P_VIRTIO=y\n";
        let options = Options::parse_part(&format!("{ways_in}{text}")).unwrap();
        Means::choose(asked, &Index::all_builtin().configured(options))
    }

    #[test]
    fn a_kernel_that_finds_no_pci_devices_on_microvm_gets_q35() {
        let mut asked = AskedDevices::default();
        let text = "CONFIG_VIRTIO_CONSOLE=y\n";
        let means = configured_and(&asked, text).unwrap();
        assert_eq!(means.machine, Machine::Q35);
        assert!(
            means.to_string().contains("without CONFIG_PCI_MMCONFIG"),
            "{means}"
        );
        assert_eq!(configured(text).unwrap().machine, Machine::Microvm);
        asked.machine = Some(Asked::option(Machine::Microvm, "--machine"));
        let error = configured_and(&asked, text).unwrap_err();
        let told = error.to_string();
        assert!(
            told.starts_with("--machine asks for virtio by pci on microvm"),
            "{told}"
        );
        assert!(
            error.hints()[0].contains("CONFIG_PCI_MMCONFIG"),
            "{error:?}"
        );
    }

    #[test]
    fn the_console_is_on_virtio_where_the_kernel_has_none_on_a_serial_port() {
        let serial = "CONFIG_SERIAL_8250=y\nCONFIG_SERIAL_8250_CONSOLE=y\n";
        let both = configured(&format!("{serial}CONFIG_VIRTIO_CONSOLE=y\n")).unwrap();
        assert_eq!(
            (both.console, both.control),
            (Console::Serial, Control::Virtio)
        );
        let means = configured("CONFIG_VIRTIO_CONSOLE=y\nCONFIG_SERIAL_8250=y\n").unwrap();
        assert_eq!(
            (means.console, means.control),
            (Console::Virtio, Control::Virtio)
        );
        assert!(means.to_string().contains("the console on hvc0"), "{means}");
    }

    #[test]
    fn the_control_port_is_the_second_serial_port_where_the_kernel_has_no_virtio_console() {
        let serial = "CONFIG_SERIAL_8250=y\nCONFIG_SERIAL_8250_CONSOLE=y\n\
                      CONFIG_SERIAL_8250_NR_UARTS=4\nCONFIG_SERIAL_8250_RUNTIME_UARTS=";
        let means = configured(&format!("{serial}4\n")).unwrap();
        assert_eq!(
            (means.console, means.control),
            (Console::Serial, Control::Serial)
        );
        let modules = Index::all_builtin();
        assert!(means.modules(&modules).unwrap().is_empty());
        let error = configured(&format!("{serial}1\n")).unwrap_err();
        assert!(
            error.to_string().contains("has no virtio_console"),
            "{error}"
        );
        // One that lies elsewhere is better.
        let error = configured(&format!("{serial}4\nCONFIG_VIRTIO_CONSOLE=m\n")).unwrap_err();
        assert!(
            error.to_string().contains("has no virtio_console"),
            "{error}"
        );
        let error = configured("").unwrap_err();
        assert!(error.hints()[0].contains("CONFIG_VIRTIO_CONSOLE or CONFIG_SERIAL_8250"));
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
}
