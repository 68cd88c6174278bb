//! The boot plan: what the guest does before it says hello.
//!
//! The host plans, the guest obeys: the plan is a file of the initramfs
//! ([`PLAN_PATH`]), encoded with postcard, and holds every name and order that
//! guest-init needs. Guest-init searches for nothing.

use serde::{Deserialize, Serialize};

/// Where the plan lies in the initramfs.
pub const PLAN_PATH: &str = "/plan";

/// Name of the virtio-serial port that carries the control protocol, as in
/// `/sys/class/virtio-ports/*/name`.
pub const CONTROL_PORT: &str = "kiln.control";

/// Everything the guest does between the kernel's hand-over and `Hello`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootPlan {
    /// What `uname -n` says.
    pub hostname: String,
    /// Modules in the initramfs, absolute paths, uncompressed, in load order.
    pub modules: Vec<String>,
    /// virtiofs tag of the share that is the guest's root; `None` stays in the
    /// initramfs (the accelerator probe).
    pub root_tag: Option<String>,
    /// Further shares, mounted in this order after the switch of root.
    pub shares: Vec<SharePlan>,
    /// Power off at once instead of saying hello: the accelerator probe, which
    /// asks only whether a kernel can run at all.
    pub probe: bool,
}

/// One share other than the root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharePlan {
    /// virtiofs tag, at most 36 bytes (virtio 1.2, 5.11.4).
    pub tag: String,
    /// Where it is mounted in the guest; made if missing.
    pub target: String,
    /// How the guest may use it.
    pub access: ShareAccess,
}

/// How the guest may use a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ShareAccess {
    /// Mounted read-only as it is.
    ReadOnly,
    /// Under an overlay with a tmpfs upper layer: the guest writes, the host
    /// does not change.
    CopyOnWrite,
    /// Writable, the host's files change.
    ReadWrite,
}
