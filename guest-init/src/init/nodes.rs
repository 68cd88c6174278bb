//! Device nodes of a kernel without devtmpfs: PID 1 makes them, from what sysfs says of each
//! device, and from the kernel's messages about those that come and go later.

use std::fs;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Component, Path};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::sys::socket::SockProtocol;
use nix::sys::stat::{Mode, SFlag, makedev, mknod};

use super::netlink::Netlink;

/// Where sysfs lists all devices, by their numbers.
const LISTS: [(&str, SFlag); 2] = [
    ("/sys/dev/char", SFlag::S_IFCHR),
    ("/sys/dev/block", SFlag::S_IFBLK),
];
/// Mode of nodes about which the kernel says nothing (`handle_create`, drivers/base/devtmpfs.c).
const MODE: u32 = 0o600;
/// The kernel sends its messages about devices to this group (lib/kobject_uevent.c).
const KERNEL: u32 = 1;
/// Longest message (`UEVENT_BUFFER_SIZE` of include/linux/kobject.h) with some room for its first
/// line.
const LONGEST: usize = 4 << 10;

/// Whether the kernel has no devtmpfs.
static NEEDED: AtomicBool = AtomicBool::new(false);

/// What the kernel says of one device.
#[derive(Debug, Default, PartialEq, Eq)]
struct Device {
    /// Below `/dev`.
    name: String,
    major: u64,
    minor: u64,
    mode: u32,
    uid: u32,
    gid: u32,
}

/// Makes nodes from now on: there is no devtmpfs at `/dev`, but an empty tmpfs.
pub(super) fn start() {
    NEEDED.store(true, Ordering::Relaxed);
    fill();
}

/// Makes what is missing in `/dev`, if this is PID 1's job.
pub(super) fn fill() {
    if !NEEDED.load(Ordering::Relaxed) {
        return;
    }
    for (list, kind) in LISTS {
        let Ok(entries) = fs::read_dir(list) else {
            continue;
        };
        for entry in entries.flatten() {
            if let Ok(text) = fs::read_to_string(entry.path().join("uevent"))
                && let Some(device) = Device::parse(text.lines())
            {
                // One that fails is missing, like one that the kernel does not have.
                let _ = device.make(Path::new("/dev"), kind);
            }
        }
    }
}

/// The kernel's messages about devices.
#[derive(Debug)]
pub(super) struct Messages(Netlink);

impl Messages {
    /// Listens, if this is PID 1's job.
    pub(super) fn listen() -> Option<Self> {
        if !NEEDED.load(Ordering::Relaxed) {
            return None;
        }
        // A kernel without it has no devices that come later, as far as anybody can tell.
        let messages = Netlink::listen(SockProtocol::NetlinkKObjectUEvent, KERNEL).ok()?;
        // Whatever came in between.
        fill();
        Some(Self(messages))
    }

    /// For poll(2).
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.0.fd()
    }

    /// Does what the messages say that have come.
    pub(super) fn follow(&self) {
        let mut buffer = [0; LONGEST];
        loop {
            match self.0.receive(&mut buffer) {
                Ok(message) => follow(message),
                // Too many at once: messages were lost.
                Err(Errno::ENOBUFS) => fill(),
                Err(_) => return,
            }
        }
    }
}

/// Does what one message says: `add@/devices/…`, then variables, each with a NUL at its end.
fn follow(message: &[u8]) {
    let text = String::from_utf8_lossy(message);
    let Some(device) = Device::parse(text.split('\0')) else {
        return;
    };
    let has = |variable: &str| text.split('\0').any(|line| line == variable);
    let kind = if has("SUBSYSTEM=block") {
        SFlag::S_IFBLK
    } else {
        SFlag::S_IFCHR
    };
    let dev = Path::new("/dev");
    if has("ACTION=add") {
        let _ = device.make(dev, kind);
    } else if has("ACTION=remove") {
        let _ = fs::remove_file(dev.join(&device.name));
    }
}

impl Device {
    /// Reads variables such as `DEVNAME=null`; `None` for something that has no node.
    fn parse<'text>(lines: impl Iterator<Item = &'text str>) -> Option<Self> {
        let mut device = Self {
            mode: MODE,
            ..Self::default()
        };
        let mut numbers = (None, None);
        for line in lines {
            let Some((name, value)) = line.split_once('=') else {
                continue;
            };
            match name {
                "DEVNAME" => value.clone_into(&mut device.name),
                "MAJOR" => numbers.0 = value.parse().ok(),
                "MINOR" => numbers.1 = value.parse().ok(),
                // `%#o`.
                "DEVMODE" => device.mode = u32::from_str_radix(value, 8).unwrap_or(MODE) & 0o7777,
                "DEVUID" => device.uid = value.parse().unwrap_or(0),
                "DEVGID" => device.gid = value.parse().unwrap_or(0),
                _ => {}
            }
        }
        (device.major, device.minor) = numbers.0.zip(numbers.1)?;
        let mut parts = Path::new(&device.name).components().peekable();
        let stays_below =
            parts.peek().is_some() && parts.all(|part| matches!(part, Component::Normal(_)));
        stays_below.then_some(device)
    }

    /// Makes the node below `dev`, unless it is there.
    fn make(&self, dev: &Path, kind: SFlag) -> io::Result<()> {
        let path = dev.join(&self.name);
        if path.symlink_metadata().is_ok() {
            return Ok(());
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let number = makedev(self.major, self.minor);
        mknod(&path, kind, Mode::S_IRUSR | Mode::S_IWUSR, number)?;
        if (self.uid, self.gid) != (0, 0) {
            chown(&path, Some(self.uid), Some(self.gid))?;
        }
        // Without the umask.
        fs::set_permissions(&path, fs::Permissions::from_mode(self.mode))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Option<Device> {
        Device::parse(text.lines())
    }

    #[test]
    fn a_device_says_its_node_numbers_and_mode() {
        let device = parse("MAJOR=1\nMINOR=3\nDEVNAME=null\nDEVMODE=0666\n").unwrap();
        assert_eq!((device.name.as_str(), device.mode), ("null", 0o666));
        assert_eq!((device.major, device.minor), (1, 3));
        let device = parse("MAJOR=10\nMINOR=200\nDEVNAME=net/tun").unwrap();
        assert_eq!((device.name.as_str(), device.mode), ("net/tun", MODE));
    }

    #[test]
    fn what_has_no_node_is_left_out() {
        assert_eq!(parse("DEVTYPE=disk\nDEVNAME=x\nMAJOR=1"), None);
        assert_eq!(parse("MAJOR=1\nMINOR=3"), None);
        for name in ["", "/etc/passwd", "../etc/passwd", "a/../../b", "."] {
            assert_eq!(
                parse(&format!("MAJOR=1\nMINOR=3\nDEVNAME={name}")),
                None,
                "{name}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_a_node_outside_of_dev(
            text in "((MAJOR|MINOR|DEVNAME|DEVMODE|DEVUID)=[0-9a-z./]{0,9}\n|.{0,9}\n){0,9}",
        ) {
            if let Some(device) = parse(&text) {
                prop_assert!(Path::new("/dev").join(&device.name).starts_with("/dev"));
                prop_assert!(!device.name.split('/').any(|part| part == ".."));
                prop_assert!(device.mode <= 0o7777);
            }
        }
    }
}
