//! The control port: found by name, owned by one thread.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use guest_init::frame::{self, Decoder, MAX_DATA};
use guest_init::message::{GuestEvent, Request};
use guest_init::plan::{CONTROL_PORT, CONTROL_SERIAL, Control};
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{self, ControlFlags, SetArg};

use super::failure::{Context, Failure};
use super::nodes;

const PORTS: &str = "/sys/class/virtio-ports";
/// The port appears once `virtio_console` has talked to QEMU. The host connects to it before it
/// starts the guest.
const DEADLINE: Duration = Duration::from_secs(30);
/// How often to look for it.
const LOOK: Duration = Duration::from_millis(2);
const STAGE: &str = "open the control port";

/// The guest's end of the control port.
pub(crate) struct Port {
    file: File,
    decoder: Decoder,
    /// Frames not written yet.
    queue: Vec<u8>,
}

impl Port {
    /// Waits until the host is connected again: a port of a restored guest says first that its host
    /// has gone, and then that another one has come.
    pub(crate) fn wait_for_host(&self) -> Result<(), Failure> {
        let deadline = Instant::now() + DEADLINE;
        while !self.connected()? {
            if Instant::now() > deadline {
                return Err(Failure {
                    stage: STAGE,
                    message: format!("no host after {} s", DEADLINE.as_secs()),
                });
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Finds the port, opens it and waits until the host is connected.
    pub(crate) fn open(control: Control) -> Result<Self, Failure> {
        match control {
            Control::Virtio => Self::open_virtio(),
            Control::Serial => Self::open_serial(),
        }
    }

    fn over(file: File) -> Self {
        Self {
            file,
            decoder: Decoder::new(),
            queue: Vec::new(),
        }
    }

    /// Opens the second serial port, to which the host has been connected before it started the
    /// guest.
    fn open_serial() -> Result<Self, Failure> {
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(OFlag::O_NOCTTY.bits())
            .open(CONTROL_SERIAL);
        let file = opened.during(STAGE, &CONTROL_SERIAL)?;
        // The kernel has a node for each port that it could have; one without hardware fails here.
        let mut settings = termios::tcgetattr(&file).during(STAGE, &CONTROL_SERIAL)?;
        termios::cfmakeraw(&mut settings);
        // No modem, and none that hangs up.
        settings.control_flags.insert(ControlFlags::CLOCAL);
        settings.control_flags.remove(ControlFlags::HUPCL);
        termios::tcsetattr(&file, SetArg::TCSANOW, &settings).during(STAGE, &CONTROL_SERIAL)?;
        Ok(Self::over(file))
    }

    fn open_virtio() -> Result<Self, Failure> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(device) = find(Path::new(PORTS)) {
                let opened = OpenOptions::new().read(true).write(true).open(&device);
                match opened {
                    Ok(file) => {
                        let port = Self::over(file);
                        if port.connected()? {
                            return Ok(port);
                        }
                    }
                    // The node follows the sysfs entry a little later, where the kernel makes it.
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => nodes::fill(),
                    Err(error) => return Err(error).during(STAGE, &device.display()),
                }
            }
            if Instant::now() > deadline {
                return Err(Failure {
                    stage: STAGE,
                    message: format!(
                        "no port named {CONTROL_PORT} with a peer below {PORTS} after {} s",
                        DEADLINE.as_secs()
                    ),
                });
            }
            std::thread::sleep(LOOK);
        }
    }

    /// The port reports a hang-up until the host's side is connected.
    fn connected(&self) -> Result<bool, Failure> {
        let mut fds = [PollFd::new(self.fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).during(STAGE, &"poll")?;
        let events = fds[0].revents().unwrap_or(PollFlags::empty());
        Ok(!events.contains(PollFlags::POLLHUP))
    }

    /// For poll(2).
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Queues an event, to be sent together with the next ones: each write costs an exit to QEMU.
    /// If many are queued, blocks until the host has taken them.
    pub(crate) fn queue(&mut self, event: &GuestEvent) -> std::io::Result<()> {
        let frame = frame::encode(event).map_err(std::io::Error::other)?;
        self.queue.extend(frame);
        if self.queue.len() < MAX_DATA {
            return Ok(());
        }
        self.flush()
    }

    /// Sends what is queued; blocks until the host has taken it.
    pub(crate) fn flush(&mut self) -> std::io::Result<()> {
        if self.queue.is_empty() {
            return Ok(());
        }
        let written = self.file.write_all(&self.queue);
        self.queue.clear();
        written
    }

    /// Reads what has arrived. Call this when poll reports data; `None` means that the host has
    /// disconnected.
    pub(crate) fn receive(
        &mut self,
    ) -> std::io::Result<Option<Vec<Result<Request, frame::FrameError>>>> {
        let mut buffer = [0; 8 * 1024];
        match self.file.read(&mut buffer) {
            Ok(0) => Ok(None),
            Ok(length) => Ok(Some(
                self.decoder.push(buffer.get(..length).unwrap_or_default()),
            )),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => Ok(Some(Vec::new())),
            Err(error) => Err(error),
        }
    }
}

/// Device node of the port of our name.
fn find(ports: &Path) -> Option<PathBuf> {
    let entry = fs::read_dir(ports).ok()?.flatten().find(|entry| {
        fs::read_to_string(entry.path().join("name")).is_ok_and(|name| name.trim() == CONTROL_PORT)
    })?;
    Some(Path::new("/dev").join(entry.file_name()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_port_is_found_by_its_name() {
        let ports = tempfile::tempdir().unwrap();
        for (port, name) in [("vport0p1", "other\n"), ("vport1p1", "kiln.control\n")] {
            fs::create_dir(ports.path().join(port)).unwrap();
            fs::write(ports.path().join(port).join("name"), name).unwrap();
        }
        assert_eq!(find(ports.path()), Some(PathBuf::from("/dev/vport1p1")));
        assert_eq!(find(&ports.path().join("missing")), None);
    }
}
