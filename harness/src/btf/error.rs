//! What goes wrong with the BTF of kernels.

use std::io;
use std::path::{Path, PathBuf};

use super::raw::Damage;
use crate::hint::{Hint, readable};
use crate::kernel;

/// The BTF of a kernel cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read or written.
    #[error("cannot {verb} {}", path.display())]
    Io {
        /// What was to be done.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The kernel cannot be had.
    #[error(transparent)]
    Kernel(#[from] kernel::Error),
    /// An image cannot be unpacked.
    #[error(transparent)]
    Image(#[from] kernel::image::Error),
    /// A module cannot be read.
    #[error(transparent)]
    Module(#[from] kernel::modules::Error),
    /// An ELF file cannot be read.
    #[error("{} is a damaged ELF file: {reason}", path.display())]
    Elf {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The BTF in a file is damaged.
    #[error("the BTF in {} is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where and how.
        source: Damage,
    },
    /// The BTF of a module was made against another kernel.
    #[error(
        "the BTF of the module {} does not belong to that of {}: they are of different builds",
        module.display(), base.display()
    )]
    OtherBase {
        /// The module.
        module: PathBuf,
        /// Where the base is from.
        base: PathBuf,
        /// What does not fit.
        source: Damage,
    },
    /// Modules without the kernel that they belong to.
    #[error("{} has the BTF of modules, but not that of their kernel", path.display())]
    NoBase {
        /// The directory or file.
        path: PathBuf,
    },
}

impl Error {
    /// An error of `verb` on `path`.
    pub(super) fn io(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { verb, path, source }
    }

    /// The error of damaged BTF in the file `path`.
    pub(super) fn damaged(path: &Path) -> impl FnOnce(Damage) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Damaged { path, source }
    }
}

impl Hint for Error {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Io { path, source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                vec![readable(path)]
            }
            Self::Io { .. } | Self::Module(_) => Vec::new(),
            Self::Kernel(error) => error.hints(),
            Self::Image(error) => error.hints(),
            Self::Elf { .. } | Self::Damaged { .. } => {
                vec!["fetch or build it again".to_owned()]
            }
            Self::OtherBase { .. } => vec![
                "build image and modules together; `kiln kernels fetch` gets both of one build"
                    .to_owned(),
            ],
            Self::NoBase { .. } => vec![
                "put the raw BTF of the kernel beside them, as `vmlinux`, or name the kernel's \
                 image"
                    .to_owned(),
            ],
        }
    }
}
