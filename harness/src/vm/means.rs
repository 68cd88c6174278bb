//! By which devices and file systems a guest is reached: what was asked for, else
//! what the kernel has, the fastest first.

use std::fmt;

use guest_init::plan::Control;

use crate::config::{AskedDevices, Machine, ShareKind, Transport};
use crate::hint::Hint;
use crate::kernel::KernelImage;
use crate::kernel::facts::{Facts, Presence, option_of};
use crate::kernel::modules::{self, Availability, ModuleFile};
use crate::vm::qemu::machine_name;

/// Modules of each transport.
const MMIO: &str = "virtio_mmio";
const PCI: &str = "virtio_pci";
/// The control port.
const CONSOLE: &str = "virtio_console";
/// Modules of each file system of shares.
const VIRTIOFS: [&str; 2] = ["fuse", "virtiofs"];
const NINE_P: [&str; 2] = ["9p", "9pnet_virtio"];
/// Copy-on-write.
const OVERLAY: &str = "overlay";
/// The option of a console on a serial port.
const SERIAL_CONSOLE: &str = "SERIAL_8250_CONSOLE";
/// Options by which devices are found on a microvm.
const ACPI: &str = "ACPI";
const MMCONFIG: &str = "PCI_MMCONFIG";
/// Options that every guest needs: guest-init is an ELF file of the initramfs, mounts these
/// filesystems, and waits for signals by a file descriptor.
const ALWAYS: [&str; 8] = [
    "BLK_DEV_INITRD",
    "BINFMT_ELF",
    "PROC_FS",
    "SYSFS",
    "TMPFS",
    "UNIX98_PTYS",
    "CGROUPS",
    "SIGNALFD",
];

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
    /// The kernel lacks what every guest needs, or has none of the ways in.
    #[error("{source}")]
    Lacks {
        /// Everything that is missing.
        source: modules::Error,
        /// What of it was built, as modules that are not there.
        not_there: Vec<String>,
    },
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
            Self::Lacks { source, not_there } => {
                let mut hints = Vec::new();
                if !not_there.is_empty() {
                    hints.push(format!(
                        "these were built as modules and are not there: {}; install the kernel's \
                         modules beside it, or build them in",
                        not_there.join(", ")
                    ));
                }
                hints.extend(source.hints());
                hints
            }
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
    /// Why the kernel's configuration was of no use, if it is there.
    pub bad_config: Option<String>,
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
            bad_config: None,
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
        let facts = Facts::of(kernel).ok();
        facts
            .and_then(|facts| Self::choose(&AskedDevices::default(), &facts).ok())
            .unwrap_or_default()
    }

    /// Chooses by what is known of a kernel: its configuration, else its modules.
    pub fn choose(asked: &AskedDevices, facts: &Facts) -> Result<Self, Error> {
        if let Some(why) = asked.contradiction() {
            return Err(Error::Contradiction(why));
        }
        let mut means = Self {
            bad_config: facts.bad_config().map(ToString::to_string),
            ..Self::default()
        };
        let mut missing = Vec::new();
        means.choose_transport(asked, facts, &mut missing)?;
        means.choose_share(asked, facts, &mut missing)?;
        if let Some(lacking) = lacking(facts, &[OVERLAY]) {
            // Nobody wants to do without what only has to be unpacked.
            if facts.index().lie_elsewhere(&lacking) {
                missing.extend(lacking);
            } else {
                means.overlay = false;
                let why = because(facts, OVERLAY);
                means
                    .reasons
                    .push(format!("no overlayfs, which the kernel lacks{why}"));
            }
        }
        means.choose_console(facts, &mut missing);
        if facts.has_config() {
            let lacks = |option: &&str| !facts.option(option).is_there();
            let options = ALWAYS.iter().filter(|option| lacks(option));
            missing.extend(options.map(|option| format!("CONFIG_{option}")));
        }
        if missing.is_empty() {
            return Ok(means);
        }
        let modules = missing.iter().flat_map(|names| names.split(' '));
        let not_there = modules.filter(|module| {
            option_of(module).is_some_and(|option| facts.option(option) == Presence::ModuleNotThere)
        });
        Err(Error::Lacks {
            not_there: not_there.map(str::to_owned).collect(),
            source: facts.index().cannot_boot(&missing),
        })
    }

    fn choose_transport(
        &mut self,
        asked: &AskedDevices,
        facts: &Facts,
        missing: &mut Vec<String>,
    ) -> Result<(), Error> {
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
            if let Some(missing) = lacking(facts, &[module(transport.value)]) {
                return Err(Error::Asked {
                    by: transport.by.clone(),
                    what: format!("virtio by {}", transport.value),
                    source: facts.index().cannot_boot(&missing),
                });
            }
            self.reasons
                .push(format!("{} by {}", transport.value, transport.by));
        } else {
            let (mmio, pci) = (lacking(facts, &[MMIO]), lacking(facts, &[PCI]));
            match (self.machine, mmio, pci) {
                (Machine::Microvm, None, None) if is_off(facts, ACPI) => {
                    self.transport = Transport::Pci;
                }
                (Machine::Microvm, None, _) => {}
                (Machine::Microvm, Some(_), None) => {
                    self.transport = Transport::Pci;
                    let why = because(facts, MMIO);
                    self.reasons
                        .push(format!("pci, as the kernel has no {MMIO}{why}"));
                }
                (Machine::Q35, _, None) => self.transport = Transport::Pci,
                (Machine::Microvm, Some(_), Some(_)) => missing.push(format!("{MMIO} or {PCI}")),
                (Machine::Q35, _, Some(missing)) => {
                    return Err(Error::Asked {
                        by: asked
                            .machine
                            .as_ref()
                            .map_or_else(String::new, |machine| machine.by.clone()),
                        what: "q35, where virtio comes by PCI".to_owned(),
                        source: facts.index().cannot_boot(&missing),
                    });
                }
            }
        }
        if self.transport == Transport::Mmio && has(facts, MMIO) && is_off(facts, ACPI) {
            missing.push(format!("CONFIG_{ACPI}"));
        }
        self.choose_machine(asked, facts);
        Ok(())
    }

    /// The PCI bus of a microvm is found by ACPI, and has no other access than MMCONFIG: a kernel
    /// without either needs a PC.
    fn choose_machine(&mut self, asked: &AskedDevices, facts: &Facts) {
        if asked.machine.is_some() || self.transport != Transport::Pci {
            return;
        }
        if let Some(option) = [ACPI, MMCONFIG].iter().find(|option| is_off(facts, option)) {
            self.machine = Machine::Q35;
            self.reasons
                .push(format!("q35, as the kernel has no CONFIG_{option}"));
        }
    }

    fn choose_share(
        &mut self,
        asked: &AskedDevices,
        facts: &Facts,
        missing: &mut Vec<String>,
    ) -> Result<(), Error> {
        if let Some(share) = &asked.share {
            self.share = share.value;
            if let Some(missing) = lacking(facts, self.share_modules()) {
                return Err(Error::Asked {
                    by: share.by.clone(),
                    what: share.value.to_string(),
                    source: facts.index().cannot_boot(&missing),
                });
            }
            self.reasons
                .push(format!("{} by {}", share.value, share.by));
            return Ok(());
        }
        let Some(virtiofs) = lacking(facts, &VIRTIOFS) else {
            return Ok(());
        };
        self.share = ShareKind::NineP;
        if let Some(nine_p) = lacking(facts, &NINE_P) {
            let either = format!("{} or {}", virtiofs.join(" with "), nine_p.join(" with "));
            missing.push(either);
            return Ok(());
        }
        let why = virtiofs.last().map(|module| because(facts, module));
        self.reasons.push(format!(
            "9p, as the kernel has no {}{}",
            virtiofs.join(" and "),
            why.unwrap_or_default()
        ));
        Ok(())
    }

    /// Chooses the devices of the console and of the control protocol. Another than the usual one is
    /// taken only if the kernel's configuration says so: a module that is missing may lie elsewhere.
    fn choose_console(&mut self, facts: &Facts, missing: &mut Vec<String>) {
        let serial = !is_off(facts, SERIAL_CONSOLE);
        match (serial, lacking(facts, &[CONSOLE])) {
            (true, None) => {}
            (false, None) => {
                self.console = Console::Virtio;
                self.reasons.push(
                    "the console on hvc0, as the kernel has none on a serial port".to_owned(),
                );
            }
            (true, Some(_)) if has_two_serial_ports(facts) => {
                self.control = Control::Serial;
                let why = because(facts, CONSOLE);
                self.reasons.push(format!(
                    "the control port on ttyS1, as the kernel has no {CONSOLE}{why}"
                ));
            }
            (_, Some(lacking)) => missing.extend(lacking),
        }
    }

    fn share_modules(&self) -> &'static [&'static str] {
        match self.share {
            ShareKind::Virtiofs => &VIRTIOFS,
            ShareKind::NineP => &NINE_P,
        }
    }

    /// The modules that a guest loads before its root is there, in their order: its own, and those
    /// for what else was asked for.
    pub fn modules(
        &self,
        facts: &Facts,
        also: &[&'static str],
    ) -> Result<Vec<ModuleFile>, modules::Error> {
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
        wanted.extend(also);
        // What is built in may not be in any list.
        let options = |module: &&str| option_of(module).map(|option| facts.option(option));
        wanted.retain(|module| options(module) != Some(Presence::BuiltIn));
        facts.index().closure(&wanted)
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
        if let Some(bad) = &self.bad_config {
            notes.push(format!(
                "{bad}; kiln goes by the kernel's modules instead of its configuration"
            ));
        }
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

/// Whether a kernel is known to look for more than one serial port, and to have no module in place
/// of the second.
fn has_two_serial_ports(facts: &Facts) -> bool {
    let ports = ["SERIAL_8250_NR_UARTS", "SERIAL_8250_RUNTIME_UARTS"];
    is_off(facts, "VIRTIO_CONSOLE")
        && ports
            .iter()
            .all(|option| facts.number(option).is_some_and(|ports| ports >= 2))
}

/// Which of these modules the kernel lacks; `None` if it has them all.
fn lacking(facts: &Facts, names: &[&str]) -> Option<Vec<String>> {
    let missing: Vec<String> = names
        .iter()
        .filter(|name| !has(facts, name))
        .map(|&name| name.to_owned())
        .collect();
    (!missing.is_empty()).then_some(missing)
}

/// Whether a kernel has a module or what it would bring; a kernel of which nothing is known has
/// everything.
fn has(facts: &Facts, module: &str) -> bool {
    match option_of(module).map(|option| facts.option(option)) {
        Some(Presence::Unknown) => !facts.index().is_of_directory(),
        Some(presence) => presence.is_there(),
        None => facts.index().provides(module) != Availability::Absent,
    }
}

/// Whether a kernel is known to lack an option.
fn is_off(facts: &Facts, option: &str) -> bool {
    facts.option(option) == Presence::Missing
}

/// What the configuration says of a module that is not there, in brackets.
fn because(facts: &Facts, module: &str) -> String {
    let Some(option) = option_of(module).filter(|_| facts.has_config()) else {
        return String::new();
    };
    match facts.option(option) {
        Presence::ModuleNotThere => format!(" (CONFIG_{option}=m, and its module is not there)"),
        Presence::Missing => format!(" (CONFIG_{option} is off)"),
        Presence::BuiltIn | Presence::Module | Presence::Unknown => String::new(),
    }
}

#[cfg(test)]
mod tests;
