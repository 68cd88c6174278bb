//! Why a file is not a bootable kernel image.

use std::io;
use std::path::{Path, PathBuf};

use crate::arch::Arch;
use crate::hint::{Hint, readable};

/// Why a kernel image cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The image cannot be read.
    #[error("cannot read the kernel image {}", path.display())]
    Read {
        /// The image.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The unpacked image cannot be written.
    #[error("cannot write the unpacked kernel {}", path.display())]
    Write {
        /// The file to be written.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The file is something else.
    #[error("{} is not an x86-64 kernel: {reason}", path.display())]
    NotAKernel {
        /// The file.
        path: PathBuf,
        /// What it lacks.
        reason: &'static str,
    },
    /// A kernel that kiln's VMs cannot run.
    #[error("{} is a kernel for {arch}, but kiln only boots kernels for {}", path.display(), titles())]
    OtherArchitecture {
        /// The image.
        path: PathBuf,
        /// Its architecture.
        arch: String,
    },
    /// The file is shorter than its header says.
    #[error("the kernel image {} is cut short: its contents end at byte {expected}, the file at byte {actual}", path.display())]
    Truncated {
        /// The image.
        path: PathBuf,
        /// Size according to the header, in bytes.
        expected: u64,
        /// Actual size in bytes.
        actual: u64,
    },
    /// The payload does not unpack.
    #[error("the {compression} payload of the kernel image {} is damaged", path.display())]
    Unpack {
        /// The image.
        path: PathBuf,
        /// Compression of the payload.
        compression: &'static str,
        /// The decoder's error.
        source: io::Error,
    },
    /// The payload does not unpack to the size that it says.
    #[error("the payload of the kernel image {} unpacks to {actual} bytes, not to the {expected} it says", path.display())]
    Size {
        /// The image.
        path: PathBuf,
        /// Size according to the payload's size field, in bytes.
        expected: u64,
        /// Unpacked bytes, counted up to one too many.
        actual: u64,
    },
    /// An ELF kernel that QEMU cannot enter.
    #[error("{} is an ELF kernel without a PVH entry point", path.display())]
    NoEntry {
        /// The image.
        path: PathBuf,
    },
    /// The kernel does not state its release.
    #[error("the kernel image {} does not state its release", path.display())]
    NoRelease {
        /// The image.
        path: PathBuf,
    },
}

impl Error {
    /// The same of an image that the user knows by another path.
    pub(in crate::kernel) fn of(mut self, path: impl Into<PathBuf>) -> Self {
        match &mut self {
            Self::Read { path: known, .. }
            | Self::Write { path: known, .. }
            | Self::NotAKernel { path: known, .. }
            | Self::OtherArchitecture { path: known, .. }
            | Self::Truncated { path: known, .. }
            | Self::Unpack { path: known, .. }
            | Self::Size { path: known, .. }
            | Self::NoEntry { path: known }
            | Self::NoRelease { path: known } => *known = path.into(),
        }
        self
    }

    /// The image.
    pub(in crate::kernel) fn path(&self) -> &Path {
        match self {
            Self::Read { path, .. }
            | Self::Write { path, .. }
            | Self::NotAKernel { path, .. }
            | Self::OtherArchitecture { path, .. }
            | Self::Truncated { path, .. }
            | Self::Unpack { path, .. }
            | Self::Size { path, .. }
            | Self::NoEntry { path }
            | Self::NoRelease { path } => path,
        }
    }
}

impl Hint for Error {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::NotAKernel { .. } => vec![
                "use a bzImage (`/boot/vmlinuz-*`, `arch/x86/boot/bzImage`) or an ELF vmlinux for \
                 x86-64"
                    .to_owned(),
            ],
            Self::OtherArchitecture { .. } => {
                let names = Arch::ALL.map(|arch| {
                    let (title, debian, nix) = (arch.title(), arch.debian(), arch.nix());
                    format!("{title} ({debian} in Debian, {nix} in Nix)")
                });
                vec![format!("use one that is built for {}", names.join(" or "))]
            }
            Self::Truncated { .. } | Self::Unpack { .. } | Self::Size { .. } => {
                vec!["fetch or build the kernel again".to_owned()]
            }
            Self::NoEntry { .. } => {
                vec!["use its bzImage instead, or build it with CONFIG_PVH=y".to_owned()]
            }
            Self::Read { path, source } if source.kind() == io::ErrorKind::PermissionDenied => {
                vec![readable(path)]
            }
            Self::Read { .. } | Self::Write { .. } | Self::NoRelease { .. } => Vec::new(),
        }
    }
}

/// Description of what kiln boots, for messages.
pub(in crate::kernel) fn titles() -> String {
    Arch::ALL.map(Arch::title).join(" or ")
}

/// Why a file is not a bootable image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It lacks something that every image has.
    NotAKernel(&'static str),
    /// It is for this architecture.
    Foreign(String),
}

impl Refusal {
    /// The error of the file at `path`.
    pub(super) fn of(self, path: &Path) -> Error {
        let path = path.into();
        match self {
            Self::NotAKernel(reason) => Error::NotAKernel { path, reason },
            Self::Foreign(arch) => Error::OtherArchitecture { path, arch },
        }
    }
}
