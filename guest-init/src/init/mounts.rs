//! Filesystems of a guest, as data.

use guest_init::plan::{FileSystem, ShareAccess};
use nix::mount::MsFlags;

/// One filesystem to mount.
pub(crate) struct Mount {
    /// First field in `/proc/mounts`; tools look for these names.
    pub(crate) source: &'static str,
    /// Where; made if missing.
    pub(crate) target: &'static str,
    /// Filesystem type.
    pub(crate) fstype: &'static str,
    /// Flags of mount(2).
    pub(crate) flags: MsFlags,
    /// Options.
    pub(crate) options: &'static str,
    /// Whether the guest needs it.
    pub(crate) need: Need,
}

/// Whether the guest needs a filesystem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// It is required.
    Required,
    /// A kernel may lack it, which causes a warning.
    Wanted,
    /// Mounted only if the kernel already has it: starting modprobe for each would cost a tenth of
    /// a second under emulation.
    WhereReady,
}

const SECURE: MsFlags = MsFlags::MS_NOSUID
    .union(MsFlags::MS_NODEV)
    .union(MsFlags::MS_NOEXEC);
const OPEN: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV);

const fn mount(
    source: &'static str,
    target: &'static str,
    fstype: &'static str,
    flags: MsFlags,
    options: &'static str,
    need: Need,
) -> Mount {
    Mount {
        source,
        target,
        fstype,
        flags,
        options,
        need,
    }
}

/// The kernel's own filesystem for `/dev`; one that lacks it gets a tmpfs, into which PID 1 puts the
/// nodes.
pub(crate) const DEVTMPFS: &str = "devtmpfs";

const PROC: Mount = mount("proc", "/proc", "proc", SECURE, "", Need::Required);
const SYS: Mount = mount("sysfs", "/sys", "sysfs", SECURE, "", Need::Required);
const DEV: Mount = mount(
    DEVTMPFS,
    "/dev",
    DEVTMPFS,
    MsFlags::MS_NOSUID,
    "mode=0755",
    Need::Required,
);

/// What the initramfs needs to load modules and find the control port.
pub(crate) const EARLY: &[Mount] = &[PROC, SYS, DEV];

/// What is mounted over the root when commands run, in this order.
pub(crate) const SYSTEM: &[Mount] = &[
    PROC,
    SYS,
    DEV,
    mount(
        "devpts",
        "/dev/pts",
        "devpts",
        MsFlags::MS_NOSUID,
        "mode=0620,ptmxmode=0666,gid=5",
        Need::Required,
    ),
    mount(
        "tmpfs",
        "/dev/shm",
        "tmpfs",
        OPEN,
        "mode=1777",
        Need::Required,
    ),
    mount("tmpfs", "/run", "tmpfs", OPEN, "mode=0755", Need::Required),
    mount("tmpfs", "/tmp", "tmpfs", OPEN, "mode=1777", Need::Required),
    mount(
        "cgroup2",
        "/sys/fs/cgroup",
        "cgroup2",
        SECURE,
        "",
        Need::Required,
    ),
    mount(
        "tracefs",
        "/sys/kernel/tracing",
        "tracefs",
        SECURE,
        "",
        Need::Wanted,
    ),
    mount(
        "debugfs",
        "/sys/kernel/debug",
        "debugfs",
        SECURE,
        "",
        Need::Wanted,
    ),
    mount(
        "bpf",
        "/sys/fs/bpf",
        "bpf",
        SECURE,
        "mode=0700",
        Need::Wanted,
    ),
    // What systemd mounts in addition (src/shared/mount-setup.c and units/*.mount of systemd 252).
    ready("mqueue", "/dev/mqueue", SECURE),
    ready("hugetlbfs", "/dev/hugepages", OPEN),
    ready("securityfs", "/sys/kernel/security", SECURE),
    ready("configfs", "/sys/kernel/config", SECURE),
    ready("fusectl", "/sys/fs/fuse/connections", SECURE),
    ready("pstore", "/sys/fs/pstore", SECURE),
    ready("efivarfs", "/sys/firmware/efi/efivars", SECURE),
    ready("binfmt_misc", "/proc/sys/fs/binfmt_misc", SECURE),
];

/// An optional filesystem that has the name of its type.
const fn ready(fstype: &'static str, target: &'static str, flags: MsFlags) -> Mount {
    mount(fstype, target, fstype, flags, "", Need::WhereReady)
}

/// The most that one message of 9p holds, in bytes: virtio's transport takes no
/// more (`p9_virtio_trans` of net/9p/trans_virtio.c: 128 pages less three).
const NINE_P_MESSAGE: u32 = 4096 * (128 - 3);

/// Type and options of a share.
pub(crate) fn of_share(files: FileSystem, access: ShareAccess) -> (&'static str, String) {
    match files {
        FileSystem::Virtiofs => ("virtiofs", String::new()),
        FileSystem::NineP { edited } => {
            // What only the host could change, and does not, is kept for good.
            let kept = match access {
                ShareAccess::ReadOnly => true,
                ShareAccess::CopyOnWrite => !edited,
                ShareAccess::ReadWrite => false,
            };
            let cache = if kept { "loose" } else { "mmap" };
            let options =
                format!("trans=virtio,version=9p2000.L,msize={NINE_P_MESSAGE},cache={cache}");
            ("9p", options)
        }
    }
}

/// Makes changes of a cgroup2 cheap, since Linux 6.0 (kernel doc, admin-guide/cgroup-v2). Without
/// it every process that joins a cgroup waits for an RCU grace period, which costs each test 20 ms
/// under emulation.
pub(crate) const FAVOR_DYNMODS: &str = "favordynmods";

/// Links that programs expect in `/dev` and that devtmpfs does not create.
pub(crate) const DEV_LINKS: &[(&str, &str)] = &[
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
    ("/proc/kcore", "/dev/core"),
    ("pts/ptmx", "/dev/ptmx"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_never_hides_an_earlier_one() {
        for (index, later) in SYSTEM.iter().enumerate() {
            for earlier in &SYSTEM[..index] {
                assert!(
                    !earlier.target.starts_with(later.target),
                    "{} would hide {}",
                    later.target,
                    earlier.target
                );
            }
        }
    }

    #[test]
    fn a_share_over_9p_that_somebody_changes_is_read_again_and_no_other() {
        let options = |edited, access| of_share(FileSystem::NineP { edited }, access).1;
        for (edited, access, cache) in [
            (false, ShareAccess::CopyOnWrite, "cache=loose"),
            (true, ShareAccess::CopyOnWrite, "cache=mmap"),
            (true, ShareAccess::ReadOnly, "cache=loose"),
            (false, ShareAccess::ReadWrite, "cache=mmap"),
        ] {
            assert!(options(edited, access).ends_with(cache), "{access:?}");
        }
        let virtiofs = of_share(FileSystem::Virtiofs, ShareAccess::ReadWrite);
        assert_eq!(virtiofs, ("virtiofs", String::new()));
    }

    #[test]
    fn cgroup2_is_named_as_tests_look_for_it() {
        assert!(
            SYSTEM
                .iter()
                .any(|mount| mount.fstype == "cgroup2" && mount.source == "cgroup2")
        );
    }
}
