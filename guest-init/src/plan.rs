//! The boot plan: what the guest does before it says hello.
//!
//! The host plans, the guest obeys: the plan is a file in the initramfs ([`PLAN_PATH`]), encoded
//! with postcard, with all names and their order that guest-init needs. Guest-init searches for
//! nothing.

use serde::{Deserialize, Serialize};

/// Path of the plan in the initramfs.
pub const PLAN_PATH: &str = "/plan";

/// Name of the virtio-serial port that carries the control protocol, as in
/// `/sys/class/virtio-ports/*/name`.
pub const CONTROL_PORT: &str = "kiln.control";

/// The second serial port, which carries it in a guest without virtio-serial.
pub const CONTROL_SERIAL: &str = "/dev/ttyS1";

/// Everything the guest does between the kernel's hand-over and `Hello`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootPlan {
    /// Host name, as in `uname -n`.
    pub hostname: String,
    /// What carries the control protocol.
    pub control: Control,
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
    /// virtiofs tag of the share that is the guest's root; with `None` the guest stays in the
    /// initramfs (the accelerator probe).
    pub root_tag: Option<String>,
    /// Entries to put into the upper layer of the root before the overlay is mounted, in this
    /// order. They replace what the share has.
    pub root_entries: Vec<Entry>,
    /// Entries to create once everything is mounted, unless something of that name exists.
    pub missing_entries: Vec<Entry>,
    /// Device nodes in addition to those of devtmpfs.
    pub nodes: Vec<Node>,
    /// Further shares, mounted in this order after the switch of root.
    pub shares: Vec<SharePlan>,
    /// Whether to configure the first network card, for QEMU's user network.
    pub network: bool,
    /// Where the cores of programs go, if anywhere.
    pub cores: Option<Cores>,
    /// Where the trace of the boot goes, if the kernel records one: a path without `.dat` and
    /// `.txt`.
    pub boot_trace: Option<String>,
    /// Whether the guest waits for the rest of the plan before it enters its root: it then sends
    /// [`GuestEvent::Waiting`](crate::message::GuestEvent::Waiting), and
    /// [`Request::GoOn`](crate::message::Request::GoOn) brings the plan to go by. Of this one, only
    /// `control` and `modules` count.
    pub waits: bool,
    /// Power off at once instead of saying hello, for the accelerator probe, which only tests
    /// whether a kernel can run at all.
    pub probe: bool,
}

/// Where cores go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cores {
    /// A directory.
    pub dir: String,
    /// Most bytes of each; longer ones are cut off.
    pub limit: u64,
}

/// The device that carries the control protocol.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Control {
    /// A port of virtio-serial, [`CONTROL_PORT`].
    #[default]
    Virtio,
    /// A serial port, [`CONTROL_SERIAL`].
    Serial,
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
    /// Mount point in the guest; created if missing.
    pub target: String,
    /// Attributes of the directories above it, the outermost first, for those that the guest has to
    /// create.
    pub parents: Vec<Attributes>,
    /// How the guest may use it.
    pub access: ShareAccess,
}

/// How the guest may use a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ShareAccess {
    /// Mounted read-only as it is.
    ReadOnly,
    /// Under an overlay with a tmpfs upper layer: the guest can write, and the host does not
    /// change.
    CopyOnWrite,
    /// Writable: the host's files change.
    ReadWrite,
}

/// Something in the guest's root that its share does not have, or that the host's user must not
/// read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Absolute path in the guest, without symbolic links above it.
    pub path: String,
    /// What it is.
    pub kind: EntryKind,
    /// Owner and mode; `None` copies them from the share, or if the share lacks the entry, uses
    /// root and `rwxr-xr-x` or `rw-r--r--`.
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
    /// What it is; `None` only changes the mode of an existing one.
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
