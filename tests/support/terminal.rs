//! `kiln` on a terminal of the test's own.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{Termios, tcgetattr};
use nix::unistd::{Pid, setsid};

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
    slave: OwnedFd,
    before: Termios,
    output: Arc<Mutex<Vec<u8>>>,
    /// How much of the output has been waited for.
    seen: usize,
    _slot: Option<Slot>,
}

impl Terminal {
    pub(crate) fn start(invocation: Invocation<'_>) -> Self {
        let (mut command, slot) = invocation.into_command();
        let pty = openpty(&SIZE, None).unwrap();
        let before = tcgetattr(&pty.slave).unwrap();
        command
            .stdin(Stdio::from(pty.slave.try_clone().unwrap()))
            .stdout(Stdio::from(pty.slave.try_clone().unwrap()))
            .stderr(Stdio::from(pty.slave.try_clone().unwrap()));
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
        let master = File::from(pty.master);
        let output = Arc::new(Mutex::new(Vec::new()));
        let mut source = master.try_clone().unwrap();
        let into = Arc::clone(&output);
        // Ends, with EIO, when the last slave is closed.
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = source.read(&mut buffer) {
                into.lock().unwrap().extend_from_slice(&buffer[..count]);
            }
        });
        Self {
            child,
            master,
            slave: pty.slave,
            before,
            output,
            seen: 0,
            _slot: slot,
        }
    }

    /// Types something.
    pub(crate) fn say(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).unwrap();
    }

    /// Waits until `text` appears after what was last waited for.
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

    /// Changes its size, which sends SIGWINCH to its foreground.
    pub(crate) fn resize(&self, rows: u16, cols: u16) {
        let size = rustix::termios::Winsize {
            ws_row: rows,
            ws_col: cols,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        rustix::termios::tcsetwinsize(&self.master, size).unwrap();
    }

    /// How it is set now.
    pub(crate) fn settings(&self) -> Termios {
        tcgetattr(self.slave.as_fd()).unwrap()
    }

    /// How it was set before kiln started.
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
        // What was written last is on its way through the line discipline.
        std::thread::sleep(Duration::from_millis(50));
        let all = self.text();
        let code = status.code();
        (code.unwrap_or_else(|| panic!("{status}\n{all}")), all)
    }

    /// The same, for the exit code alone.
    pub(crate) fn wait_only(&mut self, deadline: Duration) -> i32 {
        self.wait(deadline).0
    }

    /// Takes the terminal away and waits for the end.
    pub(crate) fn hang_up(mut self, deadline: Duration) {
        // The reading thread holds the master too: a hang-up by hand.
        rustix::termios::tcsetwinsize(
            &self.master,
            rustix::termios::tcgetwinsize(&self.slave).unwrap(),
        )
        .unwrap();
        self.signal(Signal::SIGHUP);
        wait_for_child(&mut self.child, deadline);
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.output.lock().unwrap()).into_owned()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
