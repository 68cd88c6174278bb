//! How the user asks for a status report: SIGUSR1, or the key `t` on a terminal.

use std::io::IsTerminal as _;
use std::os::fd::AsFd as _;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, raise};
use nix::sys::termios::{self, LocalFlags, SetArg, SpecialCharacterIndices, Termios};
use tokio::signal::unix::{self, SignalKind, signal};
use tokio::sync::mpsc;

use super::stop::Stop;

/// The key.
const KEY: u8 = b't';

/// From now on SIGUSR1 does not end the process, even if nobody listens yet: tokio's handler stays
/// for the life of the process.
pub(super) fn survive() {
    if let Err(error) = signal(SignalKind::user_defined1()) {
        tracing::warn!("cannot listen for SIGUSR1: {error}");
    }
}

/// Listens until dropped, and then restores the terminal.
pub(super) struct StatusRequests {
    signal: Option<unix::Signal>,
    keys: Option<Keys>,
}

impl StatusRequests {
    /// From now on SIGUSR1 does not end the process. If standard input is our terminal, keys arrive
    /// without Enter.
    pub(super) fn listen() -> Self {
        let signal = signal(SignalKind::user_defined1());
        if let Err(error) = &signal {
            tracing::warn!("cannot listen for SIGUSR1: {error}");
        }
        Self {
            signal: signal.ok(),
            keys: Keys::listen(),
        }
    }

    /// Leaves the keys to somebody else, and restores the terminal.
    pub(super) fn leave_keys(&mut self) {
        self.keys = None;
    }

    /// Takes the keys again.
    pub(super) fn take_keys(&mut self) {
        self.keys = Keys::listen();
    }

    /// Waits until the user asks for a status report.
    pub(super) async fn next(&mut self) {
        let Self { signal, keys } = self;
        let signalled = async {
            match signal {
                Some(signal) => drop(signal.recv().await),
                None => std::future::pending().await,
            }
        };
        let pressed = async {
            match keys {
                Some(keys) => keys.pressed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = signalled => {}
            () = pressed => {}
        }
    }
}

/// Keys of the terminal.
struct Keys {
    /// `None` while we are stopped or in the background.
    mode: Option<KeyMode>,
    pressed: mpsc::Receiver<()>,
    /// Ctrl-Z, which must give the terminal back first.
    stop: unix::Signal,
    /// `fg`.
    go_on: unix::Signal,
    ended: Stop,
}

impl Keys {
    fn listen() -> Option<Self> {
        if !std::io::stdin().is_terminal() {
            return None;
        }
        let stop = signal(SignalKind::from_raw(Signal::SIGTSTP as i32)).ok()?;
        let go_on = signal(SignalKind::from_raw(Signal::SIGCONT as i32)).ok()?;
        let (ended, heard) = Stop::pair().ok()?;
        let (sender, pressed) = mpsc::channel(1);
        std::thread::spawn(move || read_keys(&heard, &sender));
        Some(Self {
            mode: KeyMode::enter(),
            pressed,
            stop,
            go_on,
            ended,
        })
    }

    async fn pressed(&mut self) {
        let mut gone = false;
        loop {
            tokio::select! {
                key = self.pressed.recv(), if !gone => match key {
                    Some(()) => return,
                    None => gone = true,
                },
                _ = self.stop.recv() => {
                    self.mode = None;
                    // Returns after SIGCONT. It can only fail for a signal that does not exist.
                    let _ = raise(Signal::SIGSTOP);
                }
                _ = self.go_on.recv() => {
                    if self.mode.is_none() {
                        self.mode = KeyMode::enter();
                    }
                }
            }
        }
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.ended.stop();
    }
}

/// Whether we are in the terminal's foreground. From the background, setting it would stop us
/// (SIGTTOU), and its keys are for another process.
fn in_foreground() -> bool {
    nix::unistd::tcgetpgrp(std::io::stdin().as_fd())
        .is_ok_and(|group| group == nix::unistd::getpgrp())
}

/// Makes the terminal deliver each key at once, without echo; keys still send signals. Restores the
/// terminal when dropped.
struct KeyMode {
    before: Termios,
}

impl KeyMode {
    fn enter() -> Option<Self> {
        if !in_foreground() {
            return None;
        }
        let stdin = std::io::stdin();
        let before = termios::tcgetattr(stdin.as_fd()).ok()?;
        let mut keys = before.clone();
        keys.local_flags
            .remove(LocalFlags::ICANON | LocalFlags::ECHO);
        keys.control_chars[SpecialCharacterIndices::VMIN as usize] = 1;
        keys.control_chars[SpecialCharacterIndices::VTIME as usize] = 0;
        termios::tcsetattr(stdin.as_fd(), SetArg::TCSANOW, &keys).ok()?;
        Some(Self { before })
    }
}

impl Drop for KeyMode {
    fn drop(&mut self) {
        if in_foreground() {
            // If the terminal is gone, there is nothing to restore.
            let _ = termios::tcsetattr(std::io::stdin().as_fd(), SetArg::TCSANOW, &self.before);
        }
    }
}

/// Reads keys until `ended`, or until the terminal is gone.
fn read_keys(ended: &Stop, pressed: &mpsc::Sender<()>) {
    // A read from the background then fails instead of stopping the process.
    let mut background = SigSet::empty();
    background.add(Signal::SIGTTIN);
    if background.thread_block().is_err() {
        return;
    }
    let stdin = std::io::stdin();
    loop {
        let over = ended.as_fd();
        let mut fds = [
            PollFd::new(over, PollFlags::POLLIN),
            PollFd::new(stdin.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) => {}
            Err(Errno::EINTR) => continue,
            Err(_) => return,
        }
        if fds[0].any() == Some(true) {
            return;
        }
        if !in_foreground() {
            // Input now goes to the shell: check again later, or end.
            let mut fds = [PollFd::new(over, PollFlags::POLLIN)];
            let _ = poll(&mut fds, 500u16);
            continue;
        }
        let mut keys = [0; 64];
        match nix::unistd::read(&stdin, &mut keys) {
            Ok(0) => return,
            Ok(count) => {
                if keys[..count].contains(&KEY) {
                    // Two requests before the first answer count as one.
                    let _ = pressed.try_send(());
                }
            }
            // We have gone to the background in the meantime.
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Err(Errno::EIO) if !in_foreground() => {}
            Err(_) => return,
        }
    }
}
