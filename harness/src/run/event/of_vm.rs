//! Events about a VM.

use serde::{Deserialize, Serialize};

/// A VM is being started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmStarting {
    /// Name of its kernel.
    pub kernel: String,
    /// Counts the VMs of the run, from 0.
    pub vm: u32,
}

/// A VM is up: its guest said hello.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmStarted {
    /// Name of its kernel.
    pub kernel: String,
    /// The release that the guest reports, as in `uname -r`.
    pub release: String,
    /// `kvm` or `tcg`.
    pub accelerator: String,
    /// Version of QEMU.
    pub qemu: String,
    /// The commands of runtime tests run with `ADDR_NO_RANDOMIZE`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub addr_no_randomize: bool,
    /// From starting QEMU to hello, in milliseconds.
    pub boot_ms: u64,
    /// The guest was saved after an earlier boot, and restored.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub restored: bool,
    /// Counts the VMs of the run, from 0.
    pub vm: u32,
    /// QEMU's machine: `microvm` or `q35`; empty if an older kiln did not say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub machine: String,
    /// How virtio devices reached the kernel: `mmio` or `pci`; empty likewise.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub transport: String,
    /// How directories reached it: `virtiofs` or `9p`; empty likewise.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub share: String,
    /// The kernel has no overlayfs: only part of the root could be written to.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_overlay: bool,
    /// Why these four, where they are not the usual ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chosen_because: Vec<String>,
    /// The guest's memory in bytes; 0 if an older kiln did not say.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub memory: u64,
    /// Its number of vCPUs; 0 likewise.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cpus: u32,
    /// The CPU model that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<String>,
    /// What was appended to the kernel's command line.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub append: Vec<String>,
    /// What was appended to QEMU's command line.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub qemu_args: Vec<String>,
    /// Modules that are loaded before the first test that looks for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub modules: Vec<String>,
    /// Who asked for these: `memory 4G by --memory`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asked: Vec<String>,
}

/// By reference, as serde wants it.
fn is_zero<T: Default + PartialEq>(number: &T) -> bool {
    *number == T::default()
}

/// How much slower than the reference a VM is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SpeedMeasured {
    /// Name of its kernel.
    pub kernel: String,
    /// The VM.
    pub vm: u32,
    /// Time limits are multiplied by this.
    pub factor: f64,
}

/// A VM has finished its work and has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmStopped {
    /// Name of its kernel.
    pub kernel: String,
    /// The VM.
    pub vm: u32,
}

/// A VM died or missed a deadline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmLost {
    /// Name of its kernel.
    pub kernel: String,
    /// The VM.
    pub vm: u32,
    /// What happened, in one line.
    pub reason: String,
    /// The test that was running, `suite.name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<String>,
    /// The last lines of the console, limited by [`bounded_text`](super::bounded_text); untrusted.
    pub console: String,
    /// QMP's run state, or why it could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qmp_status: Option<String>,
}
