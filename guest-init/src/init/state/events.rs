//! Watches writes to procfs and sysfs with fanotify(7).
//!
//! Only the guest's own mounts: since Linux 5.8 a proc that a test mounts for a PID namespace is a
//! separate filesystem.

use std::fs;
use std::os::fd::{AsFd, AsRawFd};

use nix::fcntl::AT_FDCWD;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::fanotify::{EventFFlags, Fanotify, InitFlags, MarkFlags, MaskFlags};

/// What is watched.
const WATCHED: [&str; 2] = ["/proc", "/sys"];
/// How many reads to do at most; each gives up to 170 events.
const READS: usize = 16;

#[derive(Debug)]
pub(super) struct Events(Option<Fanotify>);

/// What was written.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) paths: Vec<String>,
    /// More was written, or it is unknown what.
    pub(super) more: bool,
}

impl Events {
    /// `None` inside if the kernel has no fanotify.
    pub(super) fn watch() -> Self {
        Self(group().ok())
    }

    /// What processes other than PID 1 have written since the last call; `None` if that is unknown.
    pub(super) fn take(&mut self) -> Option<Written> {
        let group = self.0.as_ref()?;
        let mut written = Written::default();
        for _ in 0..READS {
            if !ready(group) {
                return Some(written);
            }
            // A file that cannot be opened for reading gives an error, and its event is lost.
            let Ok(events) = group.read_events() else {
                written.more = true;
                continue;
            };
            for event in events {
                if event.mask().contains(MaskFlags::FAN_Q_OVERFLOW) {
                    written.more = true;
                }
                let path = event
                    .fd()
                    .and_then(|fd| fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).ok());
                if event.pid() != 1
                    && let Some(path) = path
                {
                    let path = path.to_string_lossy().into_owned();
                    if !written.paths.contains(&path) {
                        written.paths.push(path);
                    }
                }
            }
        }
        // Closing the group discards the rest.
        written.more = true;
        self.0 = self::group().ok();
        Some(written)
    }
}

fn ready(group: &Fanotify) -> bool {
    let mut fds = [PollFd::new(group.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::ZERO).is_ok_and(|count| count > 0)
}

fn group() -> nix::Result<Fanotify> {
    let flags = InitFlags::FAN_CLASS_NOTIF | InitFlags::FAN_CLOEXEC | InitFlags::FAN_NONBLOCK;
    let open = EventFFlags::O_RDONLY | EventFFlags::O_CLOEXEC | EventFFlags::O_NONBLOCK;
    let group = Fanotify::init(flags, open)?;
    for path in WATCHED {
        let flags = MarkFlags::FAN_MARK_ADD | MarkFlags::FAN_MARK_FILESYSTEM;
        group.mark(flags, MaskFlags::FAN_MODIFY, AT_FDCWD, Some(path))?;
    }
    Ok(group)
}
