//! Why there is no VM.

use std::path::PathBuf;

use crate::arch::Arch;
use crate::guest::initramfs;
use crate::guest::root;
use crate::guest::share;
use crate::hint::Hint;
use crate::kernel::modules;
use crate::vm::accel;
use crate::vm::arch::platform;
use crate::vm::extras;
use crate::vm::machine::Evidence;
use crate::vm::means;
use crate::vm::process;
use crate::vm::qemu;
use crate::vm::snapshot;

/// Why there is no VM.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No QEMU, or an unusable one.
    #[error(transparent)]
    Qemu(#[from] qemu::Error),
    /// KVM was requested but does not work.
    #[error(transparent)]
    Accel(#[from] accel::Error),
    /// The guest's view of the host is impossible.
    #[error(transparent)]
    Root(#[from] root::Error),
    /// A share could not be served.
    #[error(transparent)]
    Share(#[from] share::Error),
    /// The kernel lacks a module that it needs to boot.
    #[error("kernel {kernel}: {source}")]
    Modules {
        /// Its name.
        kernel: String,
        /// What is missing.
        source: modules::Error,
    },
    /// The kernel would cut its command line off.
    #[error(
        "the command line of kernel {kernel} has {length} bytes, and a kernel takes {limit} at \
         most"
    )]
    CommandLine {
        /// Its name.
        kernel: String,
        /// Bytes of the command line.
        length: usize,
        /// Bytes that it may have: kernels silently cut off longer ones.
        limit: usize,
    },
    /// There is no way to reach a guest of this kernel.
    #[error("kernel {kernel}: {source}")]
    Means {
        /// Its name.
        kernel: String,
        /// Why not.
        source: Box<means::Error>,
    },
    /// A trace was asked for.
    #[error("kernel {kernel} cannot trace events: its configuration has no CONFIG_EVENT_TRACING")]
    NoTrace {
        /// Its name.
        kernel: String,
    },
    /// Only virtiofs can show part of a directory.
    #[error("kernel {kernel}: 9p shows all of {}, and only part of it was asked for", dir.display())]
    Part {
        /// Its name.
        kernel: String,
        /// The directory.
        dir: PathBuf,
    },
    /// A directory is to be written to by a user who may not.
    #[error("cannot share {} writable: {source}", dir.display())]
    NotWritable {
        /// The directory.
        dir: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The initramfs could not be written.
    #[error(transparent)]
    Initramfs(#[from] initramfs::Error),
    /// QEMU could not be started.
    #[error(transparent)]
    Process(#[from] process::Error),
    /// Snapshots were asked for, and cannot be had.
    #[error(transparent)]
    NoSnapshots(#[from] snapshot::Refused),
    /// What tells saved states apart could not be read.
    #[error(transparent)]
    Snapshot(#[from] snapshot::Error),
    /// There is no file for the guest's memory.
    #[error("cannot make a file for the guest's memory: {0}")]
    Memory(std::io::Error),
    /// A disk could not be made.
    #[error(transparent)]
    Disk(#[from] extras::Error),
    /// A directory of the VM could not be created.
    #[error("cannot write {}: {source}", path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The guest did not boot.
    #[error("kernel {kernel} did not come up: {why}\n{evidence}")]
    Boot {
        /// Its name.
        kernel: String,
        /// What it runs on.
        arch: Arch,
        /// Its number of vCPUs.
        cpus: u32,
        /// What happened.
        why: String,
        /// What is known about it.
        evidence: Box<Evidence>,
    },
}

impl Hint for Error {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Qemu(error) => error.hints(),
            Self::Accel(error) => error.hints(),
            Self::Root(error) => error.hints(),
            Self::Share(error) => error.hints(),
            Self::Modules { source, .. } => source.hints(),
            Self::Means { source, .. } => source.hints(),
            Self::Part { .. } => vec![
                "build the kernel with CONFIG_FUSE_FS and CONFIG_VIRTIO_FS, or show the whole store"
                    .to_owned(),
            ],
            Self::NoTrace { .. } => vec![
                "leave out --trace, or build the kernel with CONFIG_FTRACE and \
                 CONFIG_ENABLE_DEFAULT_TRACERS"
                    .to_owned(),
            ],
            Self::Initramfs(error) => error.hints(),
            Self::Process(error) => error.hints(),
            Self::Disk(error) => error.hints(),
            Self::NoSnapshots(error) => error.hints(),
            Self::NotWritable { .. }
            | Self::Directory { .. }
            | Self::Snapshot(_)
            | Self::Memory(_) => Vec::new(),
            Self::CommandLine { .. } => {
                vec!["shorten --append, or append in kernels.toml".to_owned()]
            }
            Self::Boot { arch, cpus, .. } => {
                let mut hints = vec![
                    "a slow machine may need a longer --boot-timeout; --dry-run shows the command line"
                        .to_owned(),
                ];
                let (machine, most) = (platform(*arch).machine, platform(*arch).most_vcpus);
                if *cpus > most {
                    hints.insert(0, format!(
                        "QEMU's SeaBIOS firmware boots no kernel with many vCPUs on {machine}: try \
                         --cpus {most}"
                    ));
                }
                hints
            }
        }
    }
}
