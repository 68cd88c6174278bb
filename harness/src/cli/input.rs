//! Input from the user while a command runs: stdin, signals, the size of the terminal.

use std::collections::VecDeque;
use std::io::{IsTerminal as _, Read, Seek};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use guest_init::frame::MAX_DATA;
use guest_init::message::WindowSize;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::termios::{self, SetArg, Termios};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{broadcast, mpsc, watch};

use super::Failure;
use super::stop::Stop;
use crate::blocking::blocking;
use crate::exit_code;
use crate::run::command::Notice;

/// How long a command may continue after SIGTERM or SIGHUP.
const TERM_GRACE: Duration = Duration::from_secs(10);
/// Ctrl-], telnet's escape key. Pressed this many times in a row, it ends the VM whatever the guest
/// does.
const ESCAPE: u8 = 0x1d;
const ESCAPES: usize = 3;
/// Bytes of terminal input that may wait for a command: some chunks. From a pipe, each chunk is
/// read only after the one before it has been sent.
const MAX_TYPED: usize = 16 * MAX_DATA;

/// Something to read stdin from.
pub(super) type StdinFd = std::fs::File;

/// Signals that ask kiln to end.
#[derive(Debug)]
pub(super) struct Interrupts {
    /// How many have come, and the last one.
    count: watch::Receiver<(u32, Signal)>,
    signals: broadcast::Sender<Signal>,
    escape: mpsc::Receiver<()>,
    escape_sender: mpsc::Sender<()>,
}

impl Interrupts {
    /// Starts to listen; from now on these signals do not end the process by themselves.
    pub(super) fn listen() -> Result<Self, Failure> {
        let (count_sender, count) = watch::channel((0, Signal::SIGINT));
        let (signals, _) = broadcast::channel(8);
        let (escape_sender, escape) = mpsc::channel(1);
        let kinds = [
            (SignalKind::interrupt(), Signal::SIGINT),
            (SignalKind::terminate(), Signal::SIGTERM),
            (SignalKind::hangup(), Signal::SIGHUP),
            (SignalKind::quit(), Signal::SIGQUIT),
        ];
        for (kind, name) in kinds {
            let mut stream = signal(kind).map_err(|error| {
                Failure::new(
                    exit_code::SETUP_FAILED,
                    format!("cannot listen for {name}: {error}"),
                )
            })?;
            let count_sender = count_sender.clone();
            let signals = signals.clone();
            tokio::spawn(async move {
                while stream.recv().await.is_some() {
                    count_sender.send_modify(|(count, last)| {
                        *count += 1;
                        *last = name;
                    });
                    // If nobody listens, the count is enough.
                    let _ = signals.send(name);
                }
            });
        }
        Ok(Self {
            count,
            signals,
            escape,
            escape_sender,
        })
    }

    /// The same signals for one of several commands at once. The escape key stays here.
    pub(super) fn another(&self) -> Self {
        let (escape_sender, escape) = mpsc::channel(1);
        Self {
            count: self.count.clone(),
            signals: self.signals.clone(),
            escape,
            escape_sender,
        }
    }

    /// As after so many SIGINTs, and no more to come.
    #[cfg(test)]
    pub(super) fn after(count: u32) -> Self {
        let (escape_sender, escape) = mpsc::channel(1);
        Self {
            count: watch::channel((count, Signal::SIGINT)).1,
            signals: broadcast::channel(1).0,
            escape,
            escape_sender,
        }
    }

    /// Whether any has come.
    pub(super) fn seen(&self) -> bool {
        self.count.borrow().0 > 0
    }

    /// Waits for the first.
    pub(super) async fn next(&mut self) -> Signal {
        self.at_least(1).await
    }

    /// Waits until the user insists: a second signal, a signal to end that the command did not
    /// follow in time, or the escape key on a terminal.
    pub(super) async fn insisted(&mut self) -> Signal {
        let mut count = self.count.clone();
        let asked = async {
            let first = at_least(&mut count, 1).await;
            let grace = async {
                match first {
                    Signal::SIGTERM | Signal::SIGHUP => tokio::time::sleep(TERM_GRACE).await,
                    _ => std::future::pending().await,
                }
                first
            };
            let mut count = count.clone();
            tokio::select! {
                signal = at_least(&mut count, 2) => signal,
                signal = grace => signal,
            }
        };
        tokio::select! {
            signal = asked => signal,
            _ = self.escape.recv() => Signal::SIGINT,
        }
    }

    /// A subscription that passes these signals on to a running command.
    pub(super) fn subscribe(&self) -> Forwarded {
        Forwarded {
            signals: self.signals.subscribe(),
            escape: self.escape_sender.clone(),
        }
    }

    /// Waits until so many have come; returns the last one.
    pub(super) async fn at_least(&mut self, wanted: u32) -> Signal {
        at_least(&mut self.count, wanted).await
    }
}

async fn at_least(count: &mut watch::Receiver<(u32, Signal)>, wanted: u32) -> Signal {
    match count.wait_for(|(count, _)| *count >= wanted).await {
        Ok(state) => state.1,
        // The sender lives as long as the runtime.
        Err(_) => std::future::pending().await,
    }
}

/// Whether our stdin and stdout are a terminal.
pub(super) fn on_terminal() -> bool {
    std::io::stdin().is_terminal() && std::io::stdout().is_terminal()
}

/// The exit code of a command that this signal ended.
pub(super) fn code_of(signal: Signal) -> u8 {
    exit_code::SIGNAL_BASE + u8::try_from(signal as i32).unwrap_or(0)
}

/// A subscription to signals, for [`feed`].
#[derive(Debug)]
pub(super) struct Forwarded {
    signals: broadcast::Receiver<Signal>,
    escape: mpsc::Sender<()>,
}

/// Our stdin, for one command or, spooled, for several in a row.
#[derive(Debug)]
pub(super) struct StdinSource {
    spool: Option<std::fs::File>,
}

impl StdinSource {
    /// `replay` keeps everything in a temporary file, so that each of several kernels gets all of
    /// it. A terminal is not spooled: each command continues reading.
    pub(super) fn new(replay: bool) -> Result<Self, Failure> {
        let mut stdin = std::io::stdin();
        if !replay || stdin.is_terminal() {
            return Ok(Self { spool: None });
        }
        let mut spool = || -> std::io::Result<std::fs::File> {
            let mut file = tempfile::tempfile()?;
            std::io::copy(&mut stdin, &mut file)?;
            Ok(file)
        };
        spool()
            .map(|file| Self { spool: Some(file) })
            .map_err(not_kept)
    }

    /// The same, together with other things that may happen.
    pub(super) async fn read(replay: bool) -> Result<Self, Failure> {
        blocking(move || Self::new(replay)).await
    }

    /// For the next command. Not `std::io::stdin`: its buffer would keep what one command did not
    /// read from the next.
    pub(super) fn open(&mut self) -> Result<StdinFd, Failure> {
        let Some(spool) = &mut self.spool else {
            // A closed stdin counts as an empty one.
            let stdin = std::io::stdin()
                .as_fd()
                .try_clone_to_owned()
                .map(StdinFd::from);
            return Ok(match stdin {
                Ok(stdin) => stdin,
                Err(_) => open_null()?,
            });
        };
        spool
            .rewind()
            .and_then(|()| spool.try_clone())
            .map_err(|error| {
                Failure::new(
                    exit_code::SETUP_FAILED,
                    format!("cannot read the saved stdin: {error}"),
                )
            })
    }
}

impl StdinSource {
    /// For one of several commands at once: each reads from the start, and a terminal has nothing
    /// for them.
    pub(super) fn open_apart(&mut self) -> Result<StdinFd, Failure> {
        let Some(spool) = &self.spool else {
            return if std::io::stdin().is_terminal() {
                open_null()
            } else {
                self.open()
            };
        };
        // A duplicate would share the position; a new opening of the unlinked file does not.
        let path = format!("/proc/self/fd/{}", spool.as_raw_fd());
        std::fs::File::open(path).map_err(|error| {
            Failure::new(
                exit_code::SETUP_FAILED,
                format!("cannot read the saved stdin: {error}"),
            )
        })
    }
}

fn not_kept(error: impl std::fmt::Display) -> Failure {
    Failure::new(
        exit_code::SETUP_FAILED,
        format!("cannot save stdin for several kernels: {error}"),
    )
}

fn open_null() -> Result<StdinFd, Failure> {
    std::fs::File::open("/dev/null").map_err(|error| {
        Failure::new(
            exit_code::SETUP_FAILED,
            format!("cannot open /dev/null: {error}"),
        )
    })
}

/// Passes on stdin, signals and sizes until the command has ended. Neither signals nor the escape
/// key wait behind bytes that it does not read.
pub(super) async fn feed(
    stdin: StdinFd,
    mut forwarded: Forwarded,
    sender: mpsc::Sender<Vec<u8>>,
    notices: mpsc::UnboundedSender<Notice>,
    terminal: bool,
) {
    let (chunks, mut chunk) = mpsc::channel(1);
    let _reader = StdinReader::start(stdin, chunks);
    let mut resized = signal(SignalKind::window_change()).ok();
    let mut escapes = 0;
    let mut open = true;
    let mut typed = Typed::default();
    loop {
        let notice = tokio::select! {
            room = sender.reserve(), if typed.waits() => match room {
                Ok(room) => {
                    room.send(typed.next());
                    continue;
                }
                Err(_) => return,
            },
            data = chunk.recv(), if open && (terminal || !typed.waits()) => {
                open = data.is_some();
                let data = data.unwrap_or_default();
                if terminal && escaped(&data, &mut escapes) {
                    let _ = forwarded.escape.send(()).await;
                }
                typed.push(data);
                continue;
            }
            signal = forwarded.signals.recv() => match signal {
                Ok(signal) => Notice::Signal(signal),
                Err(broadcast::error::RecvError::Lagged(_)) => continue,
                Err(broadcast::error::RecvError::Closed) => return,
            },
            Some(()) = next_resize(&mut resized), if terminal => Notice::Resize(window_size()),
        };
        if notices.send(notice).is_err() {
            return;
        }
    }
}

/// Bytes of stdin that wait for the command; an empty chunk is the end.
#[derive(Debug, Default)]
struct Typed {
    chunks: VecDeque<Vec<u8>>,
    bytes: usize,
}

impl Typed {
    fn waits(&self) -> bool {
        !self.chunks.is_empty()
    }

    /// Bytes that do not fit are lost, as keys are when a terminal's buffer is full.
    fn push(&mut self, data: Vec<u8>) {
        if data.is_empty() || self.bytes + data.len() <= MAX_TYPED {
            self.bytes += data.len();
            self.chunks.push_back(data);
        }
    }

    fn next(&mut self) -> Vec<u8> {
        let data = self.chunks.pop_front().unwrap_or_default();
        self.bytes -= data.len();
        data
    }
}

async fn next_resize(resized: &mut Option<tokio::signal::unix::Signal>) -> Option<()> {
    match resized {
        Some(stream) => stream.recv().await,
        None => std::future::pending().await,
    }
}

/// Counts escape keys in a row, across chunks; true once there are enough.
fn escaped(data: &[u8], count: &mut usize) -> bool {
    for &byte in data {
        *count = if byte == ESCAPE { *count + 1 } else { 0 };
        if *count >= ESCAPES {
            return true;
        }
    }
    false
}

/// A thread that reads stdin, because a read from a terminal cannot be awaited. Ends when dropped:
/// an abandoned reader would take input that the user types for the next kernel.
struct StdinReader {
    stop: Option<Stop>,
}

impl StdinReader {
    fn start(stdin: StdinFd, chunks: mpsc::Sender<Vec<u8>>) -> Self {
        let (stop, stopped) = match Stop::pair() {
            Ok((stop, stopped)) => (Some(stop), stopped),
            // Out of descriptors: the command runs with an empty stdin.
            Err(error) => {
                tracing::warn!(%error, "cannot read stdin");
                return Self { stop: None };
            }
        };
        std::thread::spawn(move || read_chunks(stdin, &stopped, &chunks));
        Self { stop }
    }
}

impl Drop for StdinReader {
    fn drop(&mut self) {
        if let Some(stop) = &self.stop {
            stop.stop();
        }
    }
}

fn read_chunks(mut stdin: StdinFd, stopped: &Stop, chunks: &mpsc::Sender<Vec<u8>>) {
    loop {
        let mut fds = [
            PollFd::new(stdin.as_fd(), PollFlags::POLLIN),
            PollFd::new(stopped.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) => {}
            Err(Errno::EINTR) => continue,
            Err(_) => return,
        }
        if fds[1].any() == Some(true) {
            return;
        }
        let mut data = vec![0; MAX_DATA];
        match stdin.read(&mut data) {
            // A closed stdin (EBADF) counts as an empty one.
            Ok(0) => return,
            Ok(length) => {
                data.truncate(length);
                if chunks.blocking_send(data).is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

/// The size of our terminal; 24 by 80 if it is unknown.
pub(super) fn window_size() -> WindowSize {
    match rustix::termios::tcgetwinsize(std::io::stdin()) {
        Ok(size) if size.ws_row > 0 && size.ws_col > 0 => WindowSize {
            rows: size.ws_row,
            cols: size.ws_col,
        },
        _ => WindowSize { rows: 24, cols: 80 },
    }
}

/// Our terminal in raw mode; restored when dropped.
#[derive(Debug)]
pub(super) struct RawTerminal {
    before: Termios,
}

impl RawTerminal {
    /// Switches stdin's terminal. `vmm-sys-util`'s raw mode leaves flow control and newline
    /// translation on, and does not restore the earlier settings, hence cfmakeraw(3).
    pub(super) fn enter() -> Result<Self, Failure> {
        let switch = || -> nix::Result<Termios> {
            let stdin = std::io::stdin();
            let before = termios::tcgetattr(stdin.as_fd())?;
            let mut raw = before.clone();
            termios::cfmakeraw(&mut raw);
            termios::tcsetattr(stdin.as_fd(), SetArg::TCSADRAIN, &raw)?;
            Ok(before)
        };
        switch().map(|before| Self { before }).map_err(|error| {
            Failure::new(
                exit_code::SETUP_FAILED,
                format!("cannot switch the terminal to raw mode: {error}"),
            )
        })
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        // If the terminal is gone, there is nothing to restore.
        let _ = termios::tcsetattr(std::io::stdin().as_fd(), SetArg::TCSADRAIN, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_escapes_in_a_row_count_even_over_chunks() {
        let mut count = 0;
        assert!(!escaped(b"\x1d\x1dx\x1d", &mut count));
        assert!(!escaped(b"\x1d", &mut count));
        assert!(escaped(b"\x1d", &mut count));
    }

    #[test]
    fn what_is_typed_waits_in_order_and_not_without_end() {
        let mut typed = Typed::default();
        for _ in 0..100 {
            typed.push(vec![b'x'; MAX_DATA]);
        }
        typed.push(Vec::new());
        let mut taken = 0;
        while typed.waits() {
            taken += typed.next().len();
        }
        assert_eq!(taken, MAX_TYPED);
        typed.push(vec![b'y']);
        assert_eq!(typed.next(), b"y");
    }
}
