//! The guest's console, in a file of limited size that can be read while it grows.
//!
//! QEMU writes the serial port to its stdout and we copy it, instead of letting QEMU write a file,
//! because a guest that prints without end must not fill the host's disk. The console is untrusted
//! text: no verdict is read from it.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::fcntl::{FcntlArg, fcntl};
use rustix::io::ioctl_fionread;
use tokio::fs::File;
use tokio::io::AsyncWriteExt as _;
use tokio::net::unix::pipe::Receiver;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::kernel_log::{KernelProblem, Scanner};

/// Bytes of the console that the file keeps. A boot prints about 30 kB, an
/// oops 5 kB.
pub const MAX_FILE: u64 = 16 << 20;

/// Bytes of the end of the console that memory keeps.
pub const MAX_TAIL: usize = 256 << 10;

/// Size of the pipe in bytes: room for an oops and a flood from a program while the machine is
/// busy. QEMU drops what does not fit after a few tries (hw/char/serial.c, serial_xmit).
const PIPE: i32 = 1 << 20;

/// How long to wait for a busy console to become quiet.
const SETTLE: Duration = Duration::from_millis(100);
/// How long to wait for the rest of a report: the guest takes some milliseconds to print a stack.
const REST_OF_REPORT: Duration = Duration::from_secs(2);
/// How often to check what is left in the pipe.
const LOOK: Duration = Duration::from_millis(1);
/// How often to look for what a boot may print.
const GLANCE: Duration = Duration::from_millis(100);

/// How long to wait for the last output of an ended QEMU.
const DRAIN: Duration = Duration::from_secs(1);

/// What has come so far.
#[derive(Debug, Default)]
struct State {
    /// The last bytes, at most [`MAX_TAIL`] after each read.
    tail: Vec<u8>,
    /// Bytes seen in total.
    total: u64,
    /// Finds kernel reports in the complete console.
    scanner: Option<Scanner>,
}

impl State {
    fn push(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        if let Some(scanner) = &mut self.scanner {
            scanner.push(bytes);
        }
        self.tail.extend_from_slice(bytes);
        let excess = self.tail.len().saturating_sub(MAX_TAIL);
        self.tail.drain(..excess);
    }

    fn since(&self, position: u64) -> &[u8] {
        let wanted = usize::try_from(self.total.saturating_sub(position)).unwrap_or(usize::MAX);
        &self.tail[self.tail.len().saturating_sub(wanted)..]
    }
}

/// The console of one VM.
#[derive(Debug)]
pub struct Console {
    state: Arc<Mutex<State>>,
    source: Arc<Receiver>,
    path: PathBuf,
    copier: JoinHandle<io::Result<()>>,
}

impl Console {
    /// Starts to copy the pipe `source` into the new file `path`, after what came `before`;
    /// `scanner` sees all of it.
    pub async fn capture(
        source: OwnedFd,
        path: &Path,
        scanner: Option<Scanner>,
        before: &[u8],
    ) -> io::Result<Self> {
        // The kernel refuses larger pipes to a user who has many.
        let _ = fcntl(&source, FcntlArg::F_SETPIPE_SZ(PIPE));
        let source = Arc::new(Receiver::from_owned_fd(source)?);
        let mut file = File::create(path).await?;
        file.write_all(before).await?;
        file.flush().await?;
        let mut state = State {
            scanner,
            ..State::default()
        };
        state.push(before);
        let state = Arc::new(Mutex::new(state));
        let copier = tokio::spawn(copy(Arc::clone(&source), file, Arc::clone(&state)));
        Ok(Self {
            state,
            source,
            path: path.to_owned(),
            copier,
        })
    }

    /// The console's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many bytes have come so far: a position for [`text_since`](Self::text_since).
    pub fn position(&self) -> u64 {
        self.with(|state| state.total)
    }

    /// What came since `position`, at most the last [`MAX_TAIL`] bytes, with
    /// bytes that are not UTF-8 replaced. Not escaped.
    pub fn text_since(&self, position: u64) -> String {
        self.with(|state| String::from_utf8_lossy(state.since(position)).into_owned())
    }

    /// The last `lines` lines. Not escaped.
    pub fn tail(&self, lines: usize) -> String {
        let text = self.text_since(0);
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// Waits until `found` returns true for its text; may never return.
    pub async fn has(&self, found: fn(&str) -> bool) {
        while !found(&self.text_since(0)) {
            sleep(GLANCE).await;
        }
    }

    /// Waits until everything that the guest has written by now has arrived: QEMU writes each byte
    /// of the serial port into the pipe before the guest continues.
    pub async fn settled(&self) {
        let until = Instant::now() + SETTLE;
        // The copier reads from the pipe under the same lock.
        let left = || self.with(|_| ioctl_fionread(&*self.source).is_ok_and(|bytes| bytes > 0));
        while left() && Instant::now() < until {
            sleep(LOOK).await;
        }
    }

    /// Waits, for at most two seconds, until a report is complete: its end has come, or no more
    /// output comes.
    pub async fn whole_report(&self) {
        let until = Instant::now() + REST_OF_REPORT;
        let goes_on = || {
            self.with(|state| {
                let scanner = state.scanner.as_ref();
                scanner.is_some_and(Scanner::in_report)
            })
        };
        let mut last = (self.position(), Instant::now());
        while goes_on() && Instant::now() < until && last.1.elapsed() < SETTLE {
            sleep(LOOK).await;
            let position = self.position();
            if position != last.0 {
                last = (position, Instant::now());
            }
        }
    }

    /// What the kernel has reported since the last call.
    pub fn take_reports(&self) -> Vec<KernelProblem> {
        self.reports().take()
    }

    /// The kernel's panic message.
    pub fn panic(&self) -> Option<String> {
        self.with(|state| state.scanner.as_ref()?.panic().map(str::to_owned))
    }

    /// Whether another kernel has begun to print: kexec.
    pub fn restarted(&self) -> bool {
        self.with(|state| state.scanner.as_ref().is_some_and(Scanner::restarted))
    }

    /// A handle for reports that outlives the console.
    pub fn reports(&self) -> Reports {
        Reports(Arc::clone(&self.state))
    }

    /// Waits, for at most a second, until the console has ended: after QEMU's end its last output
    /// may still be in the pipe.
    pub async fn drained(&self) {
        let until = Instant::now() + DRAIN;
        while !self.copier.is_finished() && Instant::now() < until {
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// Waits until the console has ended, which it does with QEMU, and is written. Errors come from
    /// writing the file.
    pub async fn finish(self) -> io::Result<()> {
        self.copier.await.map_err(io::Error::other)?
    }

    fn with<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The reports of a console, which outlive it.
#[derive(Debug)]
pub struct Reports(Arc<Mutex<State>>);

impl Reports {
    /// What the kernel has reported since the last call.
    pub fn take(&self) -> Vec<KernelProblem> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state
            .scanner
            .as_mut()
            .map(Scanner::take)
            .unwrap_or_default()
    }
}

/// Copies to the end. Keeps reading when the file is full or cannot be written, because a console
/// that nobody reads would stop the guest.
async fn copy(source: Arc<Receiver>, mut file: File, state: Arc<Mutex<State>>) -> io::Result<()> {
    let before = state.lock().unwrap_or_else(PoisonError::into_inner).total;
    let mut left = MAX_FILE.saturating_sub(before);
    let mut outcome = Ok(());
    let mut buffer = vec![0; 16 << 10];
    loop {
        source.readable().await?;
        let taken = {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            let taken = source.try_read(&mut buffer);
            state.push(&buffer[..*taken.as_ref().unwrap_or(&0)]);
            taken
        };
        let count = match taken {
            Ok(0) => {
                let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(scanner) = &mut state.scanner {
                    scanner.finish();
                }
                break;
            }
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        };
        let bytes = &buffer[..count];
        if outcome.is_ok() && left > 0 {
            let keep = usize::try_from(left).map_or(count, |left| left.min(count));
            left -= keep as u64;
            outcome = append(&mut file, &bytes[..keep], left == 0).await;
        }
    }
    if outcome.is_ok() && left == 0 {
        let (total, end) = {
            let state = state.lock().unwrap_or_else(PoisonError::into_inner);
            let beyond = usize::try_from(state.total - MAX_FILE).unwrap_or(usize::MAX);
            let from = state.tail.len().saturating_sub(beyond);
            (state.total, state.tail[from..].to_vec())
        };
        let note = format!("[kiln: the end follows, of {total} bytes]\n");
        file.write_all(note.as_bytes()).await?;
        outcome = append(&mut file, &end, false).await;
    }
    outcome
}

/// Writes and flushes, so that readers of the file see it.
async fn append(file: &mut File, bytes: &[u8], full: bool) -> io::Result<()> {
    file.write_all(bytes).await?;
    if full {
        file.write_all(b"\n[kiln: console too long, the rest is dropped]\n")
            .await?;
    }
    file.flush().await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::Write as _;

    use super::*;

    async fn captured(input: Vec<u8>) -> (Vec<u8>, String) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("console");
        let (read, mut write) = io::pipe().unwrap();
        let console = Console::capture(read.into(), &path, None, b"")
            .await
            .unwrap();
        let written = tokio::task::spawn_blocking(move || write.write_all(&input));
        written.await.unwrap().unwrap();
        console.drained().await;
        let tail = console.tail(2);
        console.finish().await.unwrap();
        (std::fs::read(&path).unwrap(), tail)
    }

    #[tokio::test]
    async fn a_settled_console_holds_all_that_was_written_before() {
        let dir = tempfile::tempdir().unwrap();
        let (read, mut write) = io::pipe().unwrap();
        let path = dir.path().join("console");
        let console = Console::capture(read.into(), &path, None, b"")
            .await
            .unwrap();
        for round in 0..100 {
            let position = console.position();
            let line = format!("line {round}\n");
            write.write_all(line.as_bytes()).unwrap();
            console.settled().await;
            assert_eq!(console.text_since(position), line);
        }
    }

    #[tokio::test]
    async fn what_came_before_is_the_beginning_of_the_console() {
        let dir = tempfile::tempdir().unwrap();
        let (read, mut write) = io::pipe().unwrap();
        let path = dir.path().join("console");
        let captured = Console::capture(read.into(), &path, None, b"[ 1.0] booted\n").await;
        let console = captured.unwrap();
        write.write_all(b"[ 2.0] goes on\n").unwrap();
        drop(write);
        console.drained().await;
        let all = "[ 1.0] booted\n[ 2.0] goes on\n";
        assert_eq!(console.text_since(0), all);
        console.finish().await.unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), all);
    }

    #[tokio::test]
    async fn a_short_console_is_kept_byte_for_byte() {
        let input = b"one\r\n\xff\x00two\nthree\nfour".to_vec();
        let (file, tail) = captured(input.clone()).await;
        assert_eq!(file, input);
        assert_eq!(tail, "three\nfour");
    }

    #[tokio::test]
    async fn an_endless_console_is_bounded_and_keeps_its_end() {
        let mut input = vec![b'x'; usize::try_from(MAX_FILE).unwrap() * 2];
        input.extend_from_slice(b"\nKernel panic\nthe end");
        let (file, tail) = captured(input).await;
        assert!(file.len() < usize::try_from(MAX_FILE).unwrap() + 2 * MAX_TAIL);
        assert!(file.ends_with(b"Kernel panic\nthe end"));
        assert_eq!(tail, "Kernel panic\nthe end");
    }

    #[test]
    fn text_since_a_position_is_what_came_after_it() {
        let mut state = State::default();
        state.push(b"before ");
        let position = state.total;
        state.push(b"after");
        assert_eq!(state.since(position), b"after");
        assert_eq!(state.since(state.total), b"");
        state.push(&vec![b'.'; MAX_TAIL]);
        assert_eq!(state.since(0).len(), MAX_TAIL);
    }
}
