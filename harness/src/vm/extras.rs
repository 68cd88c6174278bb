//! What a VM has only if somebody asks for it: a network, scratch disks, a trace.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr;

use super::trace::Trace;
use crate::config::MemorySize;

/// Where the guest reaches the named ports of the host.
pub const HOST: &str = "10.0.2.100";
/// Most disks: a microvm has eight places for all of its devices in older QEMUs.
pub const MOST_DISKS: usize = 3;
/// File systems that `mkfs.FORMAT` makes in a file, with its options: quietly, without a question,
/// and the guest's root as the owner.
const FORMATS: [(&str, &[&str]); 7] = [
    ("ext2", &["-q", "-F", "-E", "root_owner=0:0"]),
    ("ext3", &["-q", "-F", "-E", "root_owner=0:0"]),
    ("ext4", &["-q", "-F", "-E", "root_owner=0:0"]),
    ("xfs", &["-q", "-f"]),
    ("btrfs", &["-q", "-f"]),
    ("f2fs", &["-q", "-f"]),
    ("vfat", &[]),
];
/// Where Debian has `mkfs`, which is not in the `PATH` of an ordinary user.
const SBIN: &str = "/usr/sbin:/sbin";

/// What a VM has only if somebody asks for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extras {
    /// A network.
    pub network: Option<Network>,
    /// Scratch disks, `/dev/vda` first.
    pub disks: Vec<Disk>,
    /// Most bytes of a program's core, if cores are kept.
    pub cores: Option<MemorySize>,
    /// The trace, if one is recorded.
    pub trace: Option<Trace>,
}

/// The directory of cores, beside the logs of a VM.
pub const CORES: &str = "cores";

/// QEMU's user network. The guest reaches nothing but the named ports of the host's loopback
/// interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Network {
    /// These.
    pub host_ports: Vec<u16>,
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let ports = text.split(',').filter(|port| !port.is_empty());
        let host_ports = ports.map(|port| {
            let number = port.parse().ok().filter(|port| *port > 0);
            number.ok_or_else(|| format!("{port}: a port of the host is a number from 1 to 65535"))
        });
        Ok(Self {
            host_ports: host_ports.collect::<Result<_, _>>()?,
        })
    }
}

/// An empty disk, gone with its VM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    size: MemorySize,
    /// The file system on it.
    format: Option<&'static str>,
}

impl FromStr for Disk {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (size, format) = match text.split_once(',') {
            Some((size, format)) => (size, Some(format)),
            None => (text, None),
        };
        let size = size.parse().map_err(|_| {
            format!("{size}: a disk has a size such as 512M or 2G, and at least 64M")
        })?;
        let known = || FORMATS.map(|(name, _)| name).join(", ");
        let format = format.map(|format| {
            let found = FORMATS.iter().find(|(name, _)| *name == format);
            found
                .map(|(name, _)| *name)
                .ok_or_else(|| format!("{format}: kiln makes these file systems: {}", known()))
        });
        Ok(Self {
            size,
            format: format.transpose()?,
        })
    }
}

impl fmt::Display for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.size)?;
        match self.format {
            Some(format) => write!(f, ",{format}"),
            None => Ok(()),
        }
    }
}

/// Why a disk cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its file cannot be.
    #[error("cannot make a disk of {size} in {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Its size.
        size: MemorySize,
        /// Why.
        source: io::Error,
    },
    /// `mkfs` cannot be started.
    #[error("cannot run mkfs.{format}: {source}")]
    NoMkfs {
        /// The file system.
        format: &'static str,
        /// Why.
        source: io::Error,
    },
    /// It failed.
    #[error("mkfs.{format} failed: {said}")]
    Mkfs {
        /// The file system.
        format: &'static str,
        /// What it said.
        said: String,
    },
}

impl crate::hint::Hint for Error {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::File { .. } => vec!["set TMPDIR to a directory with room".to_owned()],
            Self::NoMkfs { format, .. } => vec![format!(
                "install the package with mkfs.{format}, or leave out `,{format}` and format the disk in the guest"
            )],
            Self::Mkfs { .. } => Vec::new(),
        }
    }
}

impl Extras {
    /// The file of a disk in the VM's own directory.
    pub fn disk_file(dir: &Path, index: usize) -> PathBuf {
        dir.join(format!("disk{index}"))
    }

    /// Makes the disks in the VM's own directory. Takes time: call it where blocking is allowed.
    pub fn make_disks(&self, dir: &Path) -> Result<(), Error> {
        for (index, disk) in self.disks.iter().enumerate() {
            let path = Self::disk_file(dir, index);
            let made = File::create(&path).and_then(|file| file.set_len(disk.size.bytes()));
            made.map_err(|source| Error::File {
                path: path.clone(),
                size: disk.size,
                source,
            })?;
            if let Some(format) = disk.format {
                make_file_system(&path, format)?;
            }
        }
        Ok(())
    }

    /// The modules that they need in the guest.
    pub fn modules(&self) -> Vec<&'static str> {
        let network = self.network.as_ref().map(|_| "virtio_net");
        let disks = (!self.disks.is_empty()).then_some("virtio_blk");
        network.into_iter().chain(disks).collect()
    }

    /// What was asked for, as reports show it.
    pub fn reasons(&self) -> Vec<String> {
        let network = self.network.iter().map(|network| {
            let ports = network.host_ports.iter().map(u16::to_string);
            let ports = ports.collect::<Vec<_>>().join(", ");
            if ports.is_empty() {
                "a network without the host by --network".to_owned()
            } else {
                format!("a network with ports {ports} of the host by --network")
            }
        });
        let disks = self
            .disks
            .iter()
            .map(|disk| format!("disk {disk} by --disk"));
        let trace = self.trace.iter().map(|trace| {
            let events: Vec<String> = trace.events.iter().map(ToString::to_string).collect();
            format!("a trace of {} by --trace", events.join(", "))
        });
        network.chain(disks).chain(trace).collect()
    }

    /// What is worth a word to the user.
    pub fn notes(&self) -> Vec<String> {
        let network = self.network.iter().map(|network| {
            if network.host_ports.is_empty() {
                "the guest has a network, on which nothing of the host can be reached".to_owned()
            } else {
                let places = network
                    .host_ports
                    .iter()
                    .map(|port| format!("{HOST}:{port}"));
                format!(
                    "the guest has a network, and reaches these ports of the host: {}",
                    places.collect::<Vec<_>>().join(", ")
                )
            }
        });
        network.collect()
    }
}

fn make_file_system(path: &Path, format: &'static str) -> Result<(), Error> {
    let options = FORMATS.iter().find(|(name, _)| *name == format);
    let options = options.map(|(_, options)| *options).unwrap_or_default();
    let own = std::env::var_os("PATH").unwrap_or_default();
    let mut search = own.clone();
    search.push(":");
    search.push(SBIN);
    let made = Command::new(format!("mkfs.{format}"))
        .args(options)
        .arg(path)
        .env("PATH", search)
        .stdin(Stdio::null())
        .output()
        .map_err(|source| Error::NoMkfs { format, source })?;
    if made.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&made.stderr).trim().to_owned();
    Err(Error::Mkfs { format, said })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_network_names_ports_of_the_host() {
        assert_eq!("".parse(), Ok(Network::default()));
        let ports = "80,8080".parse::<Network>().unwrap().host_ports;
        assert_eq!(ports, [80, 8080]);
        for bad in ["0", "70000", "http", "80,x"] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_disk_has_a_size_and_perhaps_a_file_system() {
        assert_eq!("1G".parse::<Disk>().unwrap().to_string(), "1G");
        assert_eq!("64M,xfs".parse::<Disk>().unwrap().to_string(), "64M,xfs");
        for bad in ["", "1", "1M", "1G,", "1G,ntfs", "1G,ext4,x", "ext4"] {
            assert!(bad.parse::<Disk>().is_err(), "{bad}");
        }
    }

    #[test]
    fn disks_are_sparse_and_formatted() {
        let dir = tempfile::tempdir().unwrap();
        let extras = Extras {
            disks: vec!["1T".parse().unwrap(), "64M,ext4".parse().unwrap()],
            ..Extras::default()
        };
        extras.make_disks(dir.path()).unwrap();
        let first = Extras::disk_file(dir.path(), 0).metadata().unwrap();
        assert_eq!(first.len(), 1 << 40);
        let second = std::fs::read(Extras::disk_file(dir.path(), 1)).unwrap();
        // The magic number of ext4's superblock.
        assert_eq!(second[1024 + 56..][..2], [0x53, 0xef]);
    }
}
