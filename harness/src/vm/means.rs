//! By which devices and file systems a guest is reached: what was asked for, else
//! what the kernel has, the fastest first.

use std::fmt;

use crate::config::{AskedDevices, Machine, ShareKind, Transport};
use crate::hint::Hint;
use crate::kernel::modules::{self, Availability, Index, ModuleFile};

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

/// How a guest is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Means {
    /// The machine.
    pub machine: Machine,
    /// How virtio devices reach the kernel.
    pub transport: Transport,
    /// How directories of the host reach it.
    pub share: ShareKind,
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
    /// Chooses for a kernel with these modules.
    pub fn choose(asked: &AskedDevices, index: &Index) -> Result<Self, Error> {
        if let Some(why) = asked.contradiction() {
            return Err(Error::Contradiction(why));
        }
        let mut means = Self::default();
        means.choose_transport(asked, index)?;
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
        if let Some(missing) = lacking(index, &[CONSOLE]) {
            return Err(index.cannot_boot(&missing).into());
        }
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
        let mut wanted = vec![transport, CONSOLE];
        wanted.extend(self.share_modules());
        if self.overlay {
            wanted.push(OVERLAY);
        }
        index.closure(&wanted)
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
