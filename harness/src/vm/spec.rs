//! The configuration of a VM, before and after resolution.
//!
//! There are three types: [`VmConfig`] (requested) → [`VmSpec`] (every path, port and size
//! resolved) → `Vm` (running), so that a half-resolved VM cannot be started.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::accelerator::Accelerator;
use super::extras::Extras;
use super::hold::Held;
use super::kernel_log::Patterns;
use super::means::Means;
use crate::config::VmSettings;
use crate::kernel::KernelImage;

/// Which accelerator the user requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum AccelChoice {
    /// KVM if the probe shows that it runs a kernel, TCG otherwise.
    #[default]
    Auto,
    /// KVM, or fail.
    Kvm,
    /// QEMU's own translator, which works everywhere.
    Tcg,
}

/// What the caller requests of a VM.
#[derive(Debug, Clone)]
pub struct VmConfig {
    /// The kernel to boot.
    pub kernel: KernelImage,
    /// Accelerator, before the probe.
    pub accel: AccelChoice,
    /// What was asked for in `kernels.toml` and by options, apart from the arguments below.
    pub settings: VmSettings,
    /// QEMU binary; `None` looks on `PATH` for that of the kernel's architecture.
    pub qemu: Option<PathBuf>,
    /// Appended to the kernel's command line.
    pub kernel_args: Vec<String>,
    /// Appended to QEMU's command line.
    pub qemu_args: Vec<String>,
    /// How long the guest may send nothing before it counts as hung.
    pub hang_timeout: Duration,
    /// Dump the memory of a guest that panics.
    pub dump_on_panic: bool,
    /// Where gdb's stub listens, if at all.
    pub gdb: Option<GdbStub>,
    /// Patterns for lines of this kernel's log.
    pub kernel_log: Patterns,
    /// Network and disks.
    pub extras: Extras,
    /// Whether to restore a guest that was saved after its boot, if there is one, and to save this
    /// one otherwise.
    pub snapshot: bool,
}

/// Where gdb's stub listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GdbStub {
    /// On a UNIX socket of this path; `None` is one in the VM's own directory.
    Socket(Option<PathBuf>),
    /// On a TCP port of the loopback interface.
    Port(u16),
}

impl std::fmt::Display for GdbStub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Socket(path) => {
                write!(f, "{}", path.as_deref().unwrap_or(Path::new("")).display())
            }
            Self::Port(port) => write!(f, "127.0.0.1:{port}"),
        }
    }
}

/// A virtiofs device of a VM: the vhost-user socket of a running share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VirtiofsSpec {
    /// virtiofs tag.
    pub tag: String,
    /// Path of the vhost-user socket.
    pub socket: PathBuf,
}

/// A directory that QEMU itself serves over 9p.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NinePSpec {
    /// 9p's mount tag.
    pub tag: String,
    /// The directory on the host.
    pub dir: PathBuf,
    /// Whether the guest may change it.
    pub writable: bool,
}

/// A VM with every path, port and size resolved, ready to start.
#[derive(Debug, Clone)]
pub struct VmSpec {
    /// QEMU binary.
    pub qemu: PathBuf,
    /// Accelerator to use.
    pub accelerator: Accelerator,
    /// Guest memory in bytes.
    pub memory: u64,
    /// Number of vCPUs.
    pub cpus: u32,
    /// CPU model, as for QEMU's `-cpu`; `None` means the accelerator's default.
    pub cpu: Option<String>,
    /// The kernel image.
    pub kernel: KernelImage,
    /// The initramfs, a cpio archive.
    pub initramfs: PathBuf,
    /// Shares, in the order of their devices.
    pub virtiofs: Vec<VirtiofsSpec>,
    /// Shares that QEMU serves, in the order of their devices.
    pub nine_p: Vec<NinePSpec>,
    /// Machine, transport and file system.
    pub means: Means,
    /// Who asked for memory and other settings: `memory 4G by --memory`.
    pub asked: Vec<String>,
    /// Where QEMU listens for QMP.
    pub qmp_socket: PathBuf,
    /// Where QEMU listens for the control port's peer; `None` for a VM without control (the
    /// accelerator probe).
    pub control_socket: Option<PathBuf>,
    /// The file for the guest's console; QEMU writes it to its stdout and the harness copies it, up
    /// to a limit.
    pub console_log: PathBuf,
    /// The file for QEMU's own messages (its stderr), up to a limit.
    pub qemu_log: PathBuf,
    /// Frequency in kHz of the host's counter that the guest reads, if known; TCG guests get it.
    pub counter_khz: Option<u64>,
    /// How long the guest may send nothing before it counts as hung.
    pub hang_timeout: Duration,
    /// Whether to keep a panicked guest paused, so that its memory can be dumped.
    pub dump_on_panic: bool,
    /// Where gdb's stub listens, if at all; a socket has its path.
    pub gdb: Option<GdbStub>,
    /// Patterns for lines of this kernel's log.
    pub kernel_log: Patterns,
    /// Network and disks; the disks' files are in the VM's own directory.
    pub extras: Extras,
    /// Whether this QEMU has `-sandbox`.
    pub qemu_sandbox: bool,
    /// Appended to the kernel's command line.
    pub kernel_args: Vec<String>,
    /// Appended to QEMU's command line.
    pub qemu_args: Vec<String>,
    /// The file that is the guest's memory; `None` lets QEMU make one.
    pub memory_file: Option<PathBuf>,
    /// Whether QEMU waits for the state of a saved VM instead of booting.
    pub incoming: bool,
}

impl VmSpec {
    /// The VM's own directory.
    pub fn dir(&self) -> &Path {
        self.qmp_socket.parent().unwrap_or(Path::new("."))
    }

    /// What is worth a word to the user: what is slower, less or more than usual.
    pub fn notes(&self) -> Vec<String> {
        [self.means.notes(), self.extras.notes()].concat()
    }

    /// Asks whether somebody stops the VM on purpose.
    pub fn held(&self) -> Held {
        match &self.gdb {
            None => Held::In(self.dir().to_owned()),
            Some(_) => Held::Always,
        }
    }
}
