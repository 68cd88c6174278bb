//! The QEMU process of one VM.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::unistd::Pid;
use tokio::process::Command;
use tokio::time::timeout;

use super::args::{self, MAX_SOCKET_PATH};
use super::console::Console;
use super::kernel_log::Scanner;
use super::qmp::{self, Qmp, VmEvents};
use super::spec::VmSpec;
use crate::child::Supervised;
use crate::hint::Hint;

/// Lines of QEMU's messages to show in an error.
const MESSAGE_LINES: usize = 10;

/// How long a QEMU that closed QMP may take to end; an abort writes a core dump.
const DYING: Duration = Duration::from_secs(3);

/// Why a QEMU process did not start or ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A socket's path is too long for a socket address.
    #[error("{} has {} bytes, but a UNIX socket's path may have at most {MAX_SOCKET_PATH}", path.display(), path.as_os_str().len())]
    SocketPath {
        /// The path.
        path: PathBuf,
    },
    /// The process could not be started.
    #[error("cannot start {}: {source}", qemu.display())]
    Start {
        /// The binary.
        qemu: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A log of the VM could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Log {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// QEMU ended when it should have been running.
    #[error("QEMU ended early with {status}{}", said(messages))]
    EndedEarly {
        /// The binary.
        qemu: PathBuf,
        /// How it ended.
        status: ExitStatus,
        /// Its last messages.
        messages: String,
    },
    /// QEMU could not be waited for.
    #[error("cannot wait for QEMU: {0}")]
    Wait(io::Error),
    /// QMP did not come up.
    #[error(transparent)]
    Qmp(#[from] qmp::Error),
}

impl Hint for Error {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::EndedEarly { qemu, messages, .. } if messages.contains("CPU model") => {
                let qemu = qemu.display();
                vec![format!("`{qemu} -cpu help` lists the models for --cpu")]
            }
            Self::SocketPath { .. } => vec!["choose a shorter TMPDIR".to_owned()],
            Self::Log { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                vec!["free some space on that disk, or choose another run directory".to_owned()]
            }
            _ => Vec::new(),
        }
    }
}

fn said(messages: &str) -> String {
    if messages.is_empty() {
        String::new()
    } else {
        format!(": {messages}")
    }
}

/// A running QEMU; killed and reaped when dropped.
#[derive(Debug)]
pub struct QemuProcess {
    binary: PathBuf,
    child: Supervised,
    console: Console,
    messages: Console,
    qmp_socket: PathBuf,
}

impl QemuProcess {
    /// Starts the VM of `spec`, whose shares must be listening.
    pub async fn start(spec: &VmSpec) -> Result<Self, Error> {
        Self::start_after(spec, b"").await
    }

    /// The same for a guest that was saved, and had written this to its console before.
    pub async fn start_after(spec: &VmSpec, console: &[u8]) -> Result<Self, Error> {
        let shares = spec.virtiofs.iter().map(|share| &share.socket);
        for path in shares.chain([&spec.qmp_socket]).chain(&spec.control_socket) {
            if path.as_os_str().as_bytes().len() > MAX_SOCKET_PATH {
                return Err(Error::SocketPath { path: path.clone() });
            }
        }
        let line = args::command(spec);
        let start = |source| Error::Start {
            qemu: spec.qemu.clone(),
            source,
        };
        let mut child = Supervised::spawn(stdio(&line)).await.map_err(start)?;
        let (Some(stdout), Some(stderr)) = (child.take_stdout(), child.take_stderr()) else {
            return Err(start(io::Error::other("its output is not piped")));
        };
        Ok(Self {
            binary: spec.qemu.clone(),
            console: log(
                &spec.console_log,
                stdout.into_owned_fd(),
                Some(Scanner::new(spec.kernel_log.clone())),
                console,
            )
            .await?,
            messages: log(&spec.qemu_log, stderr.into_owned_fd(), None, b"").await?,
            qmp_socket: spec.qmp_socket.clone(),
            child,
        })
    }

    /// Process id, also that of the process group.
    pub fn pid(&self) -> Pid {
        self.child.pid()
    }

    /// The guest's console.
    pub fn console(&self) -> &Console {
        &self.console
    }

    /// The last of QEMU's own messages.
    pub fn messages(&self) -> String {
        self.messages.tail(MESSAGE_LINES)
    }

    /// Waits for the last messages of a QEMU that has ended.
    pub async fn drain_messages(&self) {
        self.messages.drained().await;
    }

    /// Connects to QMP within `deadline`; reports an early end of QEMU at once.
    pub async fn connect_qmp(&mut self, deadline: Duration) -> Result<(Qmp, VmEvents), Error> {
        let socket = self.qmp_socket.clone();
        tokio::select! {
            connected = Qmp::connect(&socket, deadline) => match connected {
                Ok(connected) => Ok(connected),
                // QEMU is ending: that says more than the error of the connection.
                Err(error @ qmp::Error::HungUp { .. }) => {
                    match timeout(DYING, self.child.wait()).await {
                        Ok(Ok(status)) => Err(self.ended_early(status).await),
                        _ => Err(error.into()),
                    }
                }
                Err(error) => Err(error.into()),
            },
            ended = self.child.wait() => match ended {
                Ok(status) => Err(self.ended_early(status).await),
                Err(error) => Err(Error::Wait(error)),
            },
        }
    }

    /// Waits until QEMU ends. Can be cancelled and called again.
    pub async fn wait(&mut self) -> Result<ExitStatus, Error> {
        self.child.wait().await.map_err(Error::Wait)
    }

    /// The same, or until the console has what `found` looks for: then `None`.
    pub async fn wait_or_until(
        &mut self,
        found: fn(&str) -> bool,
    ) -> Result<Option<ExitStatus>, Error> {
        tokio::select! {
            status = self.child.wait() => status.map(Some).map_err(Error::Wait),
            () = self.console.has(found) => Ok(None),
        }
    }

    /// Gives QEMU `grace` to end by itself (a guest powering off, or after [`Qmp::quit`]), then
    /// kills it. It is reaped, and its logs are written, when this returns.
    pub async fn stop(mut self, grace: Duration) -> Result<ExitStatus, Error> {
        let status = self.child.stop(grace).await.map_err(Error::Wait)?;
        for console in [self.console, self.messages] {
            let path = console.path().to_owned();
            console
                .finish()
                .await
                .map_err(|source| Error::Log { path, source })?;
        }
        Ok(status)
    }

    async fn ended_early(&self, status: ExitStatus) -> Error {
        self.drain_messages().await;
        Error::EndedEarly {
            qemu: self.binary.clone(),
            status,
            messages: self.messages(),
        }
    }
}

/// `line` with the console on stdout, and nothing to read on stdin.
fn stdio(line: &[OsString]) -> Command {
    let mut words = line.iter();
    let mut command = Command::new(words.next().map_or_else(Default::default, Clone::clone));
    command
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

async fn log(
    path: &Path,
    pipe: io::Result<OwnedFd>,
    scanner: Option<Scanner>,
    before: &[u8],
) -> Result<Console, Error> {
    let captured = async { Console::capture(pipe?, path, scanner, before).await };
    captured.await.map_err(|source| Error::Log {
        path: path.to_owned(),
        source,
    })
}
