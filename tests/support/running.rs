//! A running `kiln` with a deadline, and its output.

use std::io::{Read, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use super::slots::Slot;

/// How long the streams of an ended kiln may stay open.
const STREAMS: Duration = Duration::from_secs(5);

/// A running `kiln`, the leader of a process group; killed when dropped.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    name: String,
    started: Instant,
    deadline: Duration,
    stdin: Option<ChildStdin>,
    stdout: Stream,
    stderr: Stream,
    _slot: Option<Slot>,
}

impl Running {
    pub(super) fn start(mut command: Command, deadline: Duration, slot: Option<Slot>) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self {
            name: format!("{:?}", command.get_args().collect::<Vec<_>>()),
            started: Instant::now(),
            deadline,
            stdin: child.stdin.take(),
            stdout: Stream::read(child.stdout.take().unwrap()),
            stderr: Stream::read(child.stderr.take().unwrap()),
            child,
            _slot: slot,
        }
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().try_into().unwrap())
    }

    /// Sends a signal to kiln alone.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// Writes all of stdin, from a separate thread, and closes it.
    pub(crate) fn write_stdin(&mut self, bytes: Vec<u8>) {
        if let Some(mut stdin) = self.stdin.take() {
            // A command need not read its stdin.
            std::thread::spawn(move || stdin.write_all(&bytes));
        }
    }

    /// Writes to its stdin, which stays open.
    pub(crate) fn type_in(&mut self, text: &str) {
        let stdin = self.stdin.as_mut().expect("its stdin is open");
        stdin.write_all(text.as_bytes()).unwrap();
        stdin.flush().unwrap();
    }

    /// Waits until stdout contains `text`.
    pub(crate) fn wait_for(&mut self, text: &str) {
        while !self.stdout.text().contains(text) {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("{}\nended before it printed {text:?}", self.told(status));
            }
            self.check_deadline(&format!("{text:?} on stdout"));
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until stderr contains `text`.
    pub(crate) fn wait_for_err(&mut self, text: &str) {
        while !self.stderr.text().contains(text) {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("{}\nended before it said {text:?}", self.told(status));
            }
            self.check_deadline(&format!("{text:?} on stderr"));
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until something else is so.
    pub(crate) fn wait_until(&mut self, what: &str, is_so: impl Fn() -> bool) {
        while !is_so() {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("{}\nended before {what}", self.told(status));
            }
            self.check_deadline(what);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What has come on stdout so far.
    pub(crate) fn out(&self) -> String {
        self.stdout.text()
    }

    /// Closes its stdin and waits for its end.
    pub(crate) fn wait(mut self) -> Output {
        self.stdin = None;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            self.check_deadline("its end");
            std::thread::sleep(Duration::from_millis(5));
        };
        let took = self.started.elapsed();
        let ended = Instant::now();
        while !(self.stdout.closed() && self.stderr.closed()) {
            assert!(
                ended.elapsed() < STREAMS,
                "{}\nended, and somebody still holds its stdout or stderr",
                self.told(status)
            );
            std::thread::sleep(Duration::from_millis(1));
        }
        Output {
            name: self.name.clone(),
            status,
            stdout: self.stdout.bytes(),
            stderr: self.stderr.bytes(),
            took,
        }
    }

    /// Whether it has ended.
    pub(crate) fn ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// The same, and fails if it takes longer from now on.
    pub(crate) fn wait_at_most(mut self, time: Duration) -> Output {
        self.deadline = self.started.elapsed() + time;
        self.wait()
    }

    fn check_deadline(&self, what: &str) {
        if self.started.elapsed() < self.deadline {
            return;
        }
        self.kill();
        panic!(
            "waited {:?} for {what}\n{}",
            self.deadline,
            told(&self.name, &self.stdout.bytes(), &self.stderr.bytes())
        );
    }

    fn told(&self, status: ExitStatus) -> String {
        let all = told(&self.name, &self.stdout.bytes(), &self.stderr.bytes());
        format!("{all}\n{status}")
    }

    fn kill(&self) {
        // It may have ended meanwhile.
        let _ = killpg(self.pid(), Signal::SIGKILL);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.kill();
            let _ = self.child.wait();
        }
    }
}

/// What has come out of a stream so far, collected by a thread.
#[derive(Debug)]
struct Stream {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Stream {
    fn read(mut source: impl Read + Send + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&bytes);
        let reader = std::thread::spawn(move || {
            let mut buffer = vec![0; 64 << 10];
            while let Ok(count) = source.read(&mut buffer) {
                if count == 0 {
                    return;
                }
                into.lock().unwrap().extend_from_slice(&buffer[..count]);
            }
        });
        Self { bytes, reader }
    }

    fn bytes(&self) -> Vec<u8> {
        self.bytes.lock().unwrap().clone()
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().unwrap()).into_owned()
    }

    fn closed(&self) -> bool {
        self.reader.is_finished()
    }
}

/// The output of an ended `kiln`.
#[derive(Debug)]
pub(crate) struct Output {
    name: String,
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    /// From its start to its end, without the wait for a VM slot.
    pub(crate) took: Duration,
}

impl Output {
    /// stdout as text.
    pub(crate) fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// stderr as text.
    pub(crate) fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Its exit code, as in a shell.
    pub(crate) fn code(&self) -> i32 {
        self.status
            .code()
            .unwrap_or_else(|| 128 + self.status.signal().unwrap_or(0))
    }

    /// Fails, with all output, if the exit code is another one.
    #[track_caller]
    pub(crate) fn assert_code(&self, code: i32) -> &Self {
        assert!(
            self.code() == code,
            "exit code {} instead of {code}\n{}",
            self.code(),
            told(&self.name, &self.stdout, &self.stderr)
        );
        self
    }

    /// Fails if stdout is another one.
    #[track_caller]
    pub(crate) fn assert_out(&self, expected: &str) -> &Self {
        assert!(
            self.out() == expected,
            "stdout is not {expected:?}\n{}",
            told(&self.name, &self.stdout, &self.stderr)
        );
        self
    }

    /// Fails if stderr does not contain this.
    #[track_caller]
    pub(crate) fn assert_err_contains(&self, expected: &str) -> &Self {
        assert!(
            self.err().contains(expected),
            "stderr lacks {expected:?}\n{}",
            told(&self.name, &self.stdout, &self.stderr)
        );
        self
    }
}

/// Waits for a child that the test started itself; kills it and fails at the
/// deadline.
pub(crate) fn wait_for_child(child: &mut Child, deadline: Duration) -> ExitStatus {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if start.elapsed() > deadline {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("waited {deadline:?} for kiln to end");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn told(name: &str, stdout: &[u8], stderr: &[u8]) -> String {
    let text = |bytes: &[u8]| {
        let from = bytes.len().saturating_sub(8 << 10);
        String::from_utf8_lossy(&bytes[from..]).into_owned()
    };
    format!(
        "kiln {name}\n--- stdout\n{}\n--- stderr\n{}",
        text(stdout),
        text(stderr)
    )
}
