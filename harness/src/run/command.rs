//! Runs one command in a guest: its streams, its signals, its end.

use std::time::Duration;

use guest_init::frame::MAX_DATA;
use guest_init::message::{
    GuestEvent, Leftover, OutputMode, ProcessExit, ProcessId, ProcessSpec, Request, STDIN_WINDOW,
    Stdin, Stream, WindowSize,
};
use nix::sys::signal::Signal;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::duration::millis;
use crate::vm::control::{Control, Error};

/// How long a command's streams may stay open after its end, for a helper such as `tee` that is
/// still passing on output.
const STREAM_GRACE: Duration = Duration::from_secs(1);
/// How long the guest may take for an immediate action, under emulation on a busy host.
pub(crate) const GUEST_REPLY: Duration = Duration::from_secs(60);
/// How much longer than the command's own deadline, which the guest enforces, the host waits before
/// it considers the guest dead.
const DEADLINE_SLACK: Duration = Duration::from_secs(60);

/// Minimum time between two refreshes of the host's files in a guest.
const REFRESH: Duration = Duration::from_secs(1);

/// A whole environment: names and values.
pub type Environment = Vec<(Vec<u8>, Vec<u8>)>;

/// What to run.
#[derive(Debug, Clone, Default)]
pub struct Command {
    /// Program and arguments.
    pub argv: Vec<Vec<u8>>,
    /// The whole environment.
    pub env: Environment,
    /// Working directory in the guest.
    pub cwd: Vec<u8>,
    /// A terminal of this size instead of pipes.
    pub terminal: Option<WindowSize>,
    /// How long it may take; `None` means no limit.
    pub timeout: Option<Duration>,
    /// Whether to refresh the host's files before each line of input: users edit files while a
    /// shell is open.
    pub edited: bool,
    /// The user of the guest that runs it, by name or number; root if not given.
    pub user: Option<String>,
}

/// Input for a running command.
#[derive(Debug)]
pub struct Input {
    /// Bytes for stdin; empty is its end. They wait until the command reads.
    pub stdin: mpsc::Receiver<Vec<u8>>,
    /// Input that never waits.
    pub notices: mpsc::UnboundedReceiver<Notice>,
}

/// Input that a command gets independently of stdin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// A signal for its process group.
    Signal(Signal),
    /// A new size of its terminal.
    Resize(WindowSize),
}

/// The result.
#[derive(Debug)]
pub enum CommandEnd {
    /// It ran and ended.
    Ended(ProcessExit),
    /// It could not be started.
    NotStarted {
        /// `errno` of the failing step.
        errno: i32,
        /// What failed.
        message: String,
    },
    /// Writing the host's own output failed, such as to a closed pipe.
    OutputFailed(std::io::Error),
}

/// Runs one command and passes its streams through. Must be the VM's last, since processes that it
/// leaves running are not ended. `input` may end early, which closes nothing.
pub async fn run(
    control: &mut Control,
    command: Command,
    mut input: Input,
    stdout: &mut (impl AsyncWrite + Unpin),
    stderr: &mut (impl AsyncWrite + Unpin),
) -> Result<CommandEnd, Error> {
    let deadline = command
        .timeout
        .map(|timeout| Instant::now() + timeout + DEADLINE_SLACK);
    let job = control.open_job()?;
    let edited = command.edited;
    let process = control.spawn(job, spec(command)).await?;
    let mut running = Running {
        process,
        refreshed: edited.then(Instant::now),
        window: STDIN_WINDOW,
        started: false,
        outcome: None,
        open: 2,
    };
    let mut reply_by = Instant::now() + GUEST_REPLY;
    let (mut no_more_stdin, mut no_more_notices) = (false, false);
    let mut output = Output {
        stdout,
        stderr,
        waiting: None,
    };
    let end = loop {
        let wait_until = match &running.outcome {
            Some(_) => reply_by,
            None if !running.started => reply_by,
            None => {
                deadline.unwrap_or_else(|| Instant::now() + Duration::from_secs(365 * 24 * 3600))
            }
        };
        tokio::select! {
            biased;
            written = output.write(), if output.waits() => if let Err(error) = written {
                break CommandEnd::OutputFailed(error);
            },
            notice = input.notices.recv(), if !no_more_notices && running.started => match notice {
                Some(notice) => control.send(&running.request(notice)).await?,
                None => no_more_notices = true,
            },
            // While our output is blocked, so is the command's.
            event = control.next(), if !output.waits() => {
                let event = event.unwrap_or_else(|| Err(Error::Closed {
                    what: "the end of the command".to_owned(),
                }))?;
                let had_ended = running.outcome.is_some();
                if let Some(end) = running.take(event, &mut output) {
                    return Ok(end);
                }
                if let Some(outcome) = running.outcome {
                    if running.open == 0 {
                        break CommandEnd::Ended(outcome);
                    }
                    if !had_ended {
                        reply_by = Instant::now() + STREAM_GRACE;
                    }
                }
            }
            data = input.stdin.recv(), if !no_more_stdin && running.started && running.window >= MAX_DATA => {
                match data {
                    Some(data) => {
                        let request = running.stdin(control, data)?;
                        control.send(&request).await?;
                    }
                    None => no_more_stdin = true,
                }
            }
            () = sleep_until(wait_until), if !output.waits() => match running.outcome {
                Some(outcome) => break CommandEnd::Ended(outcome),
                None if running.started => {
                    return Err(Error::Deadline {
                        what: "the end of the command".to_owned(),
                        waited: DEADLINE_SLACK,
                    });
                }
                None => {
                    return Err(Error::Deadline {
                        what: "the start of the command".to_owned(),
                        waited: GUEST_REPLY,
                    });
                }
            }
        }
    };
    Ok(end)
}

/// Ends a job and everything in it; returns what was still running.
pub(crate) async fn close_job(control: &mut Control, job: u32) -> Result<Vec<Leftover>, Error> {
    control.send(&Request::CloseJob { job }).await?;
    let deadline = Instant::now() + GUEST_REPLY;
    loop {
        // Ignore the last output of its processes.
        if let GuestEvent::JobClosed {
            job: closed,
            leftovers,
        } = control
            .event(deadline, "the end of a job's processes")
            .await?
            && closed == job
        {
            return Ok(leftovers);
        }
    }
}

fn spec(command: Command) -> ProcessSpec {
    ProcessSpec {
        argv: command.argv,
        env: command.env,
        cwd: command.cwd,
        stdin: Stdin::Pipe,
        output: command
            .terminal
            .map_or(OutputMode::Separate, OutputMode::Terminal),
        deadline_ms: command.timeout.map(millis),
        addr_no_randomize: false,
        user: command.user,
    }
}

/// A running command.
struct Running {
    process: ProcessId,
    /// When the guest last refreshed the host's files, if it should.
    refreshed: Option<Instant>,
    /// Bytes of stdin that may still be sent.
    window: usize,
    started: bool,
    outcome: Option<ProcessExit>,
    /// Open streams.
    open: usize,
}

impl Running {
    /// Handles one event; returns an end if the command never ran.
    fn take<O, E>(
        &mut self,
        event: GuestEvent,
        output: &mut Output<'_, O, E>,
    ) -> Option<CommandEnd> {
        match event {
            GuestEvent::Started { process, .. } if process == self.process => self.started = true,
            GuestEvent::SpawnFailed {
                process,
                errno,
                message,
            } if process == self.process => {
                return Some(CommandEnd::NotStarted { errno, message });
            }
            GuestEvent::Output {
                process,
                stream,
                data,
            } if process == self.process => output.waiting = Some((stream, data, 0)),
            GuestEvent::Closed { process, .. } if process == self.process => {
                self.open = self.open.saturating_sub(1);
            }
            GuestEvent::StdinTaken { process, bytes } if process == self.process => {
                self.window += bytes as usize;
            }
            GuestEvent::Exited { process, outcome } if process == self.process => {
                self.outcome = Some(outcome);
            }
            _ => {}
        }
        None
    }

    /// Makes the guest drop unused files from its caches before it gets a line: an overlay never
    /// looks up a cached name again, whether it exists or not.
    fn refresh(&mut self, control: &mut Control, input: &[u8]) -> Result<(), Error> {
        let now = Instant::now();
        let line = input.iter().any(|byte| matches!(byte, b'\n' | b'\r'));
        match self.refreshed {
            Some(last) if line && now - last >= REFRESH => {
                self.refreshed = Some(now);
                control.queue(&Request::DropCaches { pages: false })
            }
            _ => Ok(()),
        }
    }

    fn stdin(&mut self, control: &mut Control, data: Vec<u8>) -> Result<Request, Error> {
        self.refresh(control, &data)?;
        self.window = self.window.saturating_sub(data.len());
        Ok(Request::Stdin {
            process: self.process,
            data,
        })
    }

    fn request(&self, notice: Notice) -> Request {
        let process = self.process;
        match notice {
            Notice::Signal(signal) => Request::Signal {
                process,
                signal: signal as i32,
                group: true,
            },
            Notice::Resize(size) => Request::Resize { process, size },
        }
    }
}

/// Our own streams, and the command's output that waits for them.
struct Output<'o, O, E> {
    stdout: &'o mut O,
    stderr: &'o mut E,
    /// The stream, the bytes, and how many of them are written.
    waiting: Option<(Stream, Vec<u8>, usize)>,
}

impl<O, E> Output<'_, O, E> {
    fn waits(&self) -> bool {
        self.waiting.is_some()
    }
}

impl<O: AsyncWrite + Unpin, E: AsyncWrite + Unpin> Output<'_, O, E> {
    /// Writes waiting output. Can be cancelled and called again.
    async fn write(&mut self) -> std::io::Result<()> {
        if let Some((stream, data, done)) = &mut self.waiting {
            let out: &mut (dyn AsyncWrite + Unpin) = match stream {
                Stream::Stdout => self.stdout,
                Stream::Stderr => self.stderr,
            };
            while *done < data.len() {
                match out.write(&data[*done..]).await? {
                    0 => return Err(std::io::ErrorKind::WriteZero.into()),
                    count => *done += count,
                }
            }
            out.flush().await?;
        }
        self.waiting = None;
        Ok(())
    }
}
