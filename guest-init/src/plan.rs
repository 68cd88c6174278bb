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
    /// How shares are mounted.
    pub files: FileSystem,
    /// Whether there is no overlayfs: what can be written to is a tmpfs with
    /// copies of what is small.
    pub no_overlay: bool,
    /// Directories of the root that are to be written to beside the usual ones,
    /// where there is no overlayfs.
    pub writable: Vec<String>,
    /// Modules in the initramfs, absolute paths, uncompressed, in load order.
    pub modules: Vec<String>,
    /// virtiofs tag of the share that is the guest's root; `None` stays in the
    /// initramfs (the accelerator probe).
    pub root_tag: Option<String>,
    /// What is laid into the upper layer of the root before the overlay is
    /// mounted, in this order: it stands in place of what the share has.
    pub root_entries: Vec<Entry>,
    /// What is made where nothing of that name is once everything is mounted.
    pub missing_entries: Vec<Entry>,
    /// Device nodes beside those that devtmpfs has.
    pub nodes: Vec<Node>,
    /// Further shares, mounted in this order after the switch of root.
    pub shares: Vec<SharePlan>,
    /// Power off at once instead of saying hello: the accelerator probe, which
    /// asks only whether a kernel can run at all.
    pub probe: bool,
}

/// The file system of the shares.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileSystem {
    /// virtiofs.
    #[default]
    Virtiofs,
    /// 9p over virtio.
    NineP {
        /// Whether the guest is to see soon what the host changes in shares
        /// beside the root.
        edited: bool,
    },
}

/// One share other than the root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharePlan {
    /// virtiofs tag, at most 36 bytes (virtio 1.2, 5.11.4).
    pub tag: String,
    /// Where it is mounted in the guest; made if missing.
    pub target: String,
    /// Attributes of the directories above it, the outermost first, for those
    /// that the guest has to make.
    pub parents: Vec<Attributes>,
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

/// Something of the guest's root that its share does not have, or that the
/// host's user must not read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Absolute path in the guest, without symbolic links above it.
    pub path: String,
    /// What it is.
    pub kind: EntryKind,
    /// Owner and mode; `None` takes those of what the share has there. What
    /// the share lacks becomes root's, with `rwxr-xr-x` or `rw-r--r--`.
    pub attributes: Option<Attributes>,
}

/// What an [`Entry`] is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EntryKind {
    /// A directory; what the share has in it stays visible.
    Directory,
    /// A directory that hides what the share has in it.
    EmptyDirectory,
    /// A file with this content.
    File(Vec<u8>),
    /// A symbolic link to this target.
    Link(String),
}

/// Owner and mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attributes {
    /// Permissions, with set-id and sticky bits: the lower twelve bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

impl Attributes {
    /// Root's, with this mode.
    #[must_use]
    pub const fn of_root(mode: u32) -> Self {
        Self {
            mode,
            uid: 0,
            gid: 0,
        }
    }
}

/// A device node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Path below `/dev`.
    pub path: String,
    /// What it is; `None` only changes the mode of one that is there.
    pub device: Option<Device>,
    /// Permissions.
    pub mode: u32,
}

/// A device, by its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Whether it is a block device.
    pub block: bool,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
}
