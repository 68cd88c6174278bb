//! One process of a job: how it is started, and its streams.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use guest_init::frame::MAX_DATA;
use guest_init::message::{OutputMode, ProcessSpec, Stdin, Stream, TERM_GRACE_MS, WindowSize};
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use super::account::Account;
use super::program::{self, Surroundings};

/// Why a process could not be started.
#[derive(Debug)]
pub(crate) struct SpawnError {
    pub(crate) errno: i32,
    pub(crate) message: String,
}

impl SpawnError {
    fn new(what: impl Into<String>, error: &std::io::Error) -> Self {
        Self {
            errno: error.raw_os_error().unwrap_or(0),
            message: format!("{}: {error}", what.into()),
        }
    }
}

/// The result of reading a stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Chunk {
    Data(Vec<u8>),
    /// Nothing now.
    Empty,
    /// The stream is closed: nobody can write to it.
    Closed,
}

/// A started process.
#[derive(Debug)]
pub(crate) struct Process {
    /// Pid, also the id of its session and first process group.
    pub(crate) pid: i32,
    pub(crate) exited: bool,
    /// The guest ended it because its deadline passed.
    pub(crate) deadline_passed: bool,
    /// Its output is not read for now.
    pub(crate) held: bool,
    deadline: Option<Instant>,
    stdin: Option<File>,
    stdin_queue: VecDeque<u8>,
    stdin_closing: bool,
    stdout: Option<File>,
    stderr: Option<File>,
    terminal: bool,
}

impl Process {
    /// Starts a process in the cgroup to which `procs` belongs.
    pub(crate) fn spawn(spec: &ProcessSpec, procs: File) -> Result<Self, SpawnError> {
        let name = spec.argv.first().ok_or_else(|| SpawnError {
            errno: nix::libc::EINVAL,
            message: "no command given".to_owned(),
        })?;
        let cwd = Path::new(OsStr::from_bytes(&spec.cwd));
        // Checked here because a missing directory and a missing program give
        // the same errno.
        std::fs::metadata(cwd).map_err(|error| {
            SpawnError::new(format!("working directory {}", cwd.display()), &error)
        })?;
        let (streams, stdio) =
            Streams::connect(spec).map_err(|error| SpawnError::new("prepare stdio", &error))?;
        let terminal = matches!(spec.output, OutputMode::Terminal(_));
        let account = spec.user.as_deref().map(Account::find).transpose();
        let user = || format!("user {}", spec.user.as_deref().unwrap_or_default());
        let account = account.map_err(|error| SpawnError::new(user(), &error))?;
        if let Some(account) = account.as_ref().filter(|_| terminal) {
            // As login(1) does. If it fails, programs cannot open their terminal by name.
            let _ = rustix::fs::fchown(
                &stdio[0],
                Some(rustix::fs::Uid::from_raw(account.uid)),
                None,
            );
        }
        let surroundings = Surroundings {
            stdio,
            terminal,
            procs,
            account,
        };
        let pid = program::spawn(spec, &surroundings)
            .map_err(|error| SpawnError::new(String::from_utf8_lossy(name), &error))?
            .as_raw();
        Ok(Self {
            pid,
            exited: false,
            deadline_passed: false,
            held: false,
            deadline: spec
                .deadline_ms
                .map(|millis| Instant::now() + Duration::from_millis(millis)),
            stdin: streams.stdin,
            stdin_queue: VecDeque::new(),
            stdin_closing: false,
            stdout: streams.stdout,
            stderr: streams.stderr,
            terminal,
        })
    }

    /// Queues bytes for stdin; empty closes it once all are written.
    pub(crate) fn queue_stdin(&mut self, data: &[u8]) {
        if !data.is_empty() {
            self.stdin_queue.extend(data);
        } else if self.terminal {
            // A terminal cannot be half closed: send ^D at the start of a line.
            self.stdin_queue.push_back(4);
        } else {
            self.stdin_closing = true;
        }
    }

    /// The descriptor to poll for writing, if bytes are waiting.
    pub(crate) fn stdin_to_poll(&self) -> Option<&File> {
        let wanted = !self.stdin_queue.is_empty() || self.stdin_closing;
        self.stdin.as_ref().filter(|_| wanted)
    }

    /// Writes what stdin accepts now; returns how many bytes left the queue.
    pub(crate) fn write_stdin(&mut self) -> usize {
        let mut taken = 0;
        while let Some(file) = &mut self.stdin {
            let (front, _) = self.stdin_queue.as_slices();
            if front.is_empty() {
                if self.stdin_closing {
                    self.stdin = None;
                }
                break;
            }
            match file.write(front) {
                Ok(written) => {
                    self.stdin_queue.drain(..written);
                    taken += written;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // The reader closed it: drop what is left.
                Err(_) => self.stdin = None,
            }
        }
        if self.stdin.is_none() {
            taken += self.stdin_queue.len();
            self.stdin_queue.clear();
        }
        taken
    }

    /// A stream's descriptor while it is open.
    pub(crate) fn stream(&self, stream: Stream) -> Option<&File> {
        match stream {
            Stream::Stdout => self.stdout.as_ref(),
            Stream::Stderr => self.stderr.as_ref(),
        }
    }

    /// Reads once from a stream.
    pub(crate) fn read(&mut self, stream: Stream) -> Chunk {
        let slot = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        let Some(file) = slot else {
            return Chunk::Empty;
        };
        let mut buffer = vec![0; MAX_DATA];
        match file.read(&mut buffer) {
            Ok(length) if length > 0 => {
                buffer.truncate(length);
                Chunk::Data(buffer)
            }
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                Chunk::Empty
            }
            // End of file; a terminal says EIO instead.
            _ => {
                *slot = None;
                Chunk::Closed
            }
        }
    }

    /// Changes the size of the terminal.
    pub(crate) fn resize(&self, size: WindowSize) -> std::io::Result<()> {
        match &self.stdout {
            Some(master) if self.terminal => {
                rustix::termios::tcsetwinsize(
                    master,
                    rustix::termios::Winsize {
                        ws_row: size.rows,
                        ws_col: size.cols,
                        ws_xpixel: 0,
                        ws_ypixel: 0,
                    },
                )?;
                Ok(())
            }
            _ => Err(std::io::Error::other("process has no terminal")),
        }
    }

    /// Sends a signal, to its whole group if asked.
    pub(crate) fn signal(&self, signal: i32, group: bool) -> nix::Result<()> {
        let (pid, signal) = (Pid::from_raw(self.pid), Signal::try_from(signal)?);
        if group {
            killpg(pid, signal)
        } else if self.exited {
            // Its pid may belong to another process by now.
            Ok(())
        } else {
            kill(pid, signal)
        }
    }

    /// When the guest must act on this process next.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.deadline.filter(|_| !self.exited)
    }

    /// Ends the process if its deadline has passed: SIGTERM first, SIGKILL the
    /// next time.
    pub(crate) fn enforce_deadline(&mut self, now: Instant) {
        if self.next_deadline().is_none_or(|deadline| deadline > now) {
            return;
        }
        let signal = if self.deadline_passed {
            self.deadline = None;
            Signal::SIGKILL
        } else {
            self.deadline = Some(now + Duration::from_millis(TERM_GRACE_MS));
            Signal::SIGTERM
        };
        self.deadline_passed = true;
        // It may have ended just now.
        let _ = killpg(Pid::from_raw(self.pid), signal);
    }
}

/// The guest's ends of a process's stdio.
#[derive(Default)]
struct Streams {
    stdin: Option<File>,
    stdout: Option<File>,
    stderr: Option<File>,
}

impl Streams {
    /// Creates pipes or a terminal; also returns the other ends, as the process's standard input,
    /// output and error.
    fn connect(spec: &ProcessSpec) -> std::io::Result<(Self, [OwnedFd; 3])> {
        if let OutputMode::Terminal(size) = spec.output {
            let size = Winsize {
                ws_row: size.rows,
                ws_col: size.cols,
                ws_xpixel: 0,
                ws_ypixel: 0,
            };
            let pty = openpty(&size, None)?;
            let streams = Self {
                stdin: Some(own_end(pty.master.try_clone()?)?),
                stdout: Some(own_end(pty.master)?),
                stderr: None,
            };
            let stdio = [pty.slave.try_clone()?, pty.slave.try_clone()?, pty.slave];
            // An open end would keep the terminal open.
            for fd in &stdio {
                fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
            }
            return Ok((streams, stdio));
        }
        let mut streams = Self::default();
        let stdin = match spec.stdin {
            Stdin::Null => File::open("/dev/null")?.into(),
            Stdin::Pipe => {
                let (read, write) = std::io::pipe()?;
                streams.stdin = Some(own_end(write.into())?);
                read.into()
            }
        };
        let (read, write) = std::io::pipe()?;
        streams.stdout = Some(own_end(read.into())?);
        let stderr = if spec.output == OutputMode::Separate {
            let (read, write) = std::io::pipe()?;
            streams.stderr = Some(own_end(read.into())?);
            write.into()
        } else {
            write.try_clone()?.into()
        };
        Ok((streams, [stdin, write.into(), stderr]))
    }
}

/// Our end of a pipe: not blocking, not inherited.
fn own_end(fd: OwnedFd) -> std::io::Result<File> {
    fcntl(&fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    fcntl(&fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    Ok(File::from(fd))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn spec(argv: &[&str]) -> ProcessSpec {
        // In Nix builds, programs are not in system directories.
        let path = std::env::var("PATH").unwrap_or("/usr/bin:/bin".to_owned());
        ProcessSpec {
            argv: argv.iter().map(|arg| arg.as_bytes().to_vec()).collect(),
            env: vec![(b"PATH".to_vec(), path.into_bytes())],
            cwd: b"/".to_vec(),
            ..ProcessSpec::default()
        }
    }

    fn null() -> File {
        File::options().write(true).open("/dev/null").unwrap()
    }

    fn read_all(process: &mut Process, stream: Stream) -> Vec<u8> {
        let mut all = Vec::new();
        let start = Instant::now();
        loop {
            match process.read(stream) {
                Chunk::Data(data) => all.extend(data),
                Chunk::Closed => return all,
                Chunk::Empty => std::thread::sleep(Duration::from_millis(1)),
            }
            assert!(
                start.elapsed() < Duration::from_secs(20),
                "stream stays open"
            );
        }
    }

    #[test]
    fn a_program_runs_without_aslr_where_that_is_asked_for() {
        // personality(2); proc_pid_personality(5) prints it as %08x. Nix builds without ASLR, so
        // ours may have it already.
        let own = std::fs::read_to_string("/proc/self/personality").unwrap();
        for (addr_no_randomize, personality) in [(false, own.as_str()), (true, "00040000\n")] {
            let spec = ProcessSpec {
                addr_no_randomize,
                ..spec(&["cat", "/proc/self/personality"])
            };
            let mut process = Process::spawn(&spec, null()).unwrap();
            let printed = read_all(&mut process, Stream::Stdout);
            assert_eq!(String::from_utf8(printed).unwrap(), personality);
        }
    }

    #[test]
    fn stdout_and_stderr_stay_separate() {
        let mut process =
            Process::spawn(&spec(&["sh", "-c", "printf 'a\\0b'; echo no >&2"]), null()).unwrap();
        assert_eq!(read_all(&mut process, Stream::Stdout), b"a\0b");
        assert_eq!(read_all(&mut process, Stream::Stderr), b"no\n");
    }

    #[test]
    fn stdin_reaches_the_process_and_its_end_is_seen() {
        let mut process = Process::spawn(
            &ProcessSpec {
                stdin: Stdin::Pipe,
                ..spec(&["cat"])
            },
            null(),
        )
        .unwrap();
        process.queue_stdin(b"through");
        process.queue_stdin(b"");
        assert_eq!(process.write_stdin(), 7);
        assert_eq!(read_all(&mut process, Stream::Stdout), b"through");
    }

    #[test]
    fn a_missing_program_and_a_missing_directory_are_distinguished() {
        let error = Process::spawn(&spec(&["no-such-program"]), null()).unwrap_err();
        assert_eq!(error.errno, nix::libc::ENOENT);
        assert!(
            error.message.starts_with("no-such-program"),
            "{}",
            error.message
        );
        let missing = ProcessSpec {
            cwd: b"/no/such/dir".to_vec(),
            ..spec(&["true"])
        };
        let error = Process::spawn(&missing, null()).unwrap_err();
        assert!(error.message.starts_with("working directory /no/such/dir"));
    }

    #[test]
    fn a_program_starts_in_a_session_of_its_own_with_plain_signals() {
        let argv = ["cat", "/proc/self/status", "/proc/self/stat"];
        let mut process = Process::spawn(&spec(&argv), null()).unwrap();
        let told = String::from_utf8(read_all(&mut process, Stream::Stdout)).unwrap();
        let mask = |name: &str| {
            let line = told.lines().find_map(|line| line.strip_prefix(name));
            u64::from_str_radix(line.unwrap().trim(), 16).unwrap()
        };
        assert_eq!(mask("SigBlk:"), 0, "{told}");
        // This process may have been started with other signals ignored.
        let pipe = 1 << (nix::libc::SIGPIPE - 1);
        assert_eq!(mask("SigIgn:") & pipe, 0, "{told}");
        // Of pid, name, state, parent, group, session the last two are new.
        let stat = told.lines().last().unwrap();
        let fields: Vec<&str> = stat.split(' ').collect();
        let pid = process.pid.to_string();
        assert_eq!([fields[0], fields[4], fields[5]], [&pid; 3], "{stat}");
    }

    #[test]
    fn a_program_is_looked_for_in_its_own_path_and_run_by_its_own_name() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let [data, bin] = ["data", "bin"].map(|name| dir.path().join(name));
        for (dir, mode) in [(&data, 0o644), (&bin, 0o755)] {
            std::fs::create_dir(dir).unwrap();
            std::fs::copy("/bin/sh", dir.join("prog")).unwrap();
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(dir.join("prog"), mode).unwrap();
        }
        let with_path = |path: String| ProcessSpec {
            env: vec![(b"PATH".to_vec(), path.into_bytes())],
            ..spec(&["prog", "-c", "echo $0"])
        };
        // A file that cannot be executed does not hide a later one.
        let both = format!("/nowhere:{}:{}", data.display(), bin.display());
        let mut process = Process::spawn(&with_path(both), null()).unwrap();
        assert_eq!(read_all(&mut process, Stream::Stdout), b"prog\n");
        let one = with_path(data.display().to_string());
        let error = Process::spawn(&one, null()).unwrap_err();
        assert_eq!(error.errno, nix::libc::EACCES);
    }

    #[test]
    fn a_terminal_has_the_size_asked_for_and_is_the_controlling_one() {
        let size = WindowSize { rows: 33, cols: 77 };
        let mut process = Process::spawn(
            &ProcessSpec {
                output: OutputMode::Terminal(size),
                ..spec(&["sh", "-c", "stty size </dev/tty"])
            },
            null(),
        )
        .unwrap();
        assert_eq!(read_all(&mut process, Stream::Stdout), b"33 77\r\n");
    }
}
