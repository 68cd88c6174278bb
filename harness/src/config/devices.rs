//! How a VM shows its devices and files to a kernel: what `kernels.toml` and the
//! command line can ask for.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How virtio devices reach the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// In memory, found by ACPI (`CONFIG_VIRTIO_MMIO`).
    Mmio,
    /// On a PCI bus (`CONFIG_VIRTIO_PCI`).
    Pci,
}

/// QEMU's machine type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Machine {
    /// The smallest, which boots fastest.
    Microvm,
    /// A whole PC, with PCI only.
    Q35,
}

/// How the directories of the host reach the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
pub enum ShareKind {
    /// By a process for each share, with `CONFIG_VIRTIO_FS`.
    #[serde(rename = "virtiofs")]
    Virtiofs,
    /// By QEMU itself, with `CONFIG_9P_FS`; slower.
    #[serde(rename = "9p")]
    #[value(name = "9p")]
    NineP,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mmio => "mmio",
            Self::Pci => "pci",
        })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Microvm => "microvm",
            Self::Q35 => "q35",
        })
    }
}

impl fmt::Display for ShareKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Virtiofs => "virtiofs",
            Self::NineP => "9p",
        })
    }
}

/// Something that was asked for, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked<T> {
    /// What.
    pub value: T,
    /// The option, or the file and the line.
    pub by: String,
}

impl<T> Asked<T> {
    /// By an option of the command line.
    pub fn option(value: T, option: &str) -> Self {
        Self {
            value,
            by: option.to_owned(),
        }
    }
}

/// What was asked for of the devices of a VM; the rest is chosen by what the
/// kernel has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AskedDevices {
    /// The machine.
    pub machine: Option<Asked<Machine>>,
    /// The transport.
    pub transport: Option<Asked<Transport>>,
    /// The file system of the shares.
    pub share: Option<Asked<ShareKind>>,
}

impl AskedDevices {
    /// These, and what `others` ask where these ask nothing.
    #[must_use]
    pub fn or(self, others: &Self) -> Self {
        Self {
            machine: self.machine.or_else(|| others.machine.clone()),
            transport: self.transport.or_else(|| others.transport.clone()),
            share: self.share.or_else(|| others.share.clone()),
        }
    }

    /// Why no VM can have what was asked for.
    pub fn contradiction(&self) -> Option<String> {
        let (machine, transport) = (self.machine.as_ref()?, self.transport.as_ref()?);
        (machine.value == Machine::Q35 && transport.value == Transport::Mmio).then(|| {
            format!(
                "the machine q35 ({}) has no virtio-mmio ({}); allowed: transport pci, or the \
                 machine microvm",
                machine.by, transport.by
            )
        })
    }
}
