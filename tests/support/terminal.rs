//! `kiln` on the test's own terminal.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, poll};
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{Termios, tcgetattr};
use nix::unistd::{Pid, setsid};
use rustix::termios::{Winsize, tcsetwinsize};

use super::{Invocation, Slot, wait_for_child};

/// The size of the terminal at the start.
const SIZE: Winsize = Winsize {
    ws_row: 31,
    ws_col: 97,
    ws_xpixel: 0,
    ws_ypixel: 0,
};

/// A running `kiln` whose controlling terminal is ours; killed when dropped.
#[derive(Debug)]
pub(crate) struct Terminal {
    child: Child,
    master: File,
    /// Held open, so that the settings can be read after kiln's end.
    slave: File,
    before: Termios,
    output: Arc<Mutex<Vec<u8>>>,
    /// How much of the output has been waited for.
    seen: usize,
    /// Makes the reader release the terminal.
    hung_up: Arc<AtomicBool>,
    reader: JoinHandle<()>,
    _slot: Option<Slot>,
}

impl Terminal {
    pub(crate) fn start(invocation: Invocation<'_>) -> Self {
        let (mut command, slot) = invocation.into_command();
        let (master, slave) = open_pair();
        let before = tcgetattr(&slave).unwrap();
        command
            .stdin(Stdio::from(slave.try_clone().unwrap()))
            .stdout(Stdio::from(slave.try_clone().unwrap()))
            .stderr(Stdio::from(slave.try_clone().unwrap()));
        // SAFETY: between fork and exec the closure makes two system calls,
        // takes no lock and allocates nothing.
        unsafe {
            command.pre_exec(|| {
                setsid()?;
                rustix::process::ioctl_tiocsctty(std::io::stdin())?;
                Ok(())
            });
        }
        let child = command.spawn().unwrap();
        drop(command);
        let output = Arc::new(Mutex::new(Vec::new()));
        let hung_up = Arc::new(AtomicBool::new(false));
        let reader = std::thread::spawn({
            let (mut source, into) = (master.try_clone().unwrap(), Arc::clone(&output));
            let hung_up = Arc::clone(&hung_up);
            move || {
                let mut buffer = [0; 4096];
                while !hung_up.load(Ordering::Relaxed) {
                    let mut ready = [PollFd::new(source.as_fd(), PollFlags::POLLIN)];
                    if poll(&mut ready, 20u16) != Ok(1) {
                        continue;
                    }
                    match source.read(&mut buffer) {
                        Ok(count @ 1..) => {
                            into.lock().unwrap().extend_from_slice(&buffer[..count]);
                        }
                        _ => return,
                    }
                }
            }
        });
        Self {
            child,
            master,
            slave,
            before,
            output,
            seen: 0,
            hung_up,
            reader,
            _slot: slot,
        }
    }

    /// Types something.
    pub(crate) fn say(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).unwrap();
    }

    /// Waits until `text` appears after the previous match.
    pub(crate) fn wait_for(&mut self, text: &str, deadline: Duration) {
        let start = Instant::now();
        loop {
            let all = self.text();
            if let Some(at) = all[self.seen..].find(text) {
                self.seen += at + text.len();
                return;
            }
            assert!(
                start.elapsed() < deadline,
                "waited {deadline:?} for {text:?} on the terminal:\n{all}"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// All that it has shown so far.
    pub(crate) fn shown(&self) -> String {
        self.text()
    }

    /// Changes its size, which sends SIGWINCH to its foreground.
    pub(crate) fn resize(&self, rows: u16, cols: u16) {
        let size = Winsize {
            ws_row: rows,
            ws_col: cols,
            ..SIZE
        };
        tcsetwinsize(&self.master, size).unwrap();
    }

    /// Its current settings.
    pub(crate) fn settings(&self) -> Termios {
        tcgetattr(self.slave.as_fd()).unwrap()
    }

    /// Its settings before kiln started.
    pub(crate) fn settings_before(&self) -> Termios {
        self.before.clone()
    }

    /// Sends kiln a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap());
        kill(pid, signal).unwrap();
    }

    /// Waits for the end; the exit code and all that was shown.
    pub(crate) fn wait(&mut self, deadline: Duration) -> (i32, String) {
        let status = wait_for_child(&mut self.child, deadline);
        // The last output may still be in the line discipline, and the reader may have to wait for
        // its turn.
        let mut all = self.text();
        loop {
            std::thread::sleep(Duration::from_millis(200));
            let now = self.text();
            if now == all {
                break;
            }
            all = now;
        }
        let code = status.code();
        (code.unwrap_or_else(|| panic!("{status}\n{all}")), all)
    }

    /// The same, for the exit code alone.
    pub(crate) fn wait_only(&mut self, deadline: Duration) -> i32 {
        self.wait(deadline).0
    }

    /// Takes the terminal away, as a closed window does, and waits for the end.
    pub(crate) fn hang_up(mut self, deadline: Duration) {
        self.hung_up.store(true, Ordering::Relaxed);
        let start = Instant::now();
        while !self.reader.is_finished() {
            assert!(
                start.elapsed() < deadline,
                "the terminal's reader does not end"
            );
            std::thread::sleep(Duration::from_millis(1));
        }
        // Closed for good with the last copy of the master.
        self.master = File::open("/dev/null").unwrap();
        wait_for_child(&mut self.child, deadline);
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.output.lock().unwrap()).into_owned()
    }
}

/// Both ends of a new terminal. Neither is inherited: a kiln that held its own
/// terminal's master would never see it hang up.
fn open_pair() -> (File, File) {
    let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let slave = File::options()
        .read(true)
        .write(true)
        .custom_flags(OFlag::O_NOCTTY.bits())
        .open(ptsname_r(&master).unwrap())
        .unwrap();
    tcsetwinsize(&slave, SIZE).unwrap();
    (File::from(OwnedFd::from(master)), slave)
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
