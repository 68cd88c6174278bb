//! QMP: queries QEMU's state, and receives its events.

mod migration;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::StreamExt as _;
use qapi::futures::{QapiService, QmpStreamTokio};
use qapi::qmp::{self, Event, RunState, ShutdownCause};
use serde::{Deserialize, Serialize};
use tokio::io::WriteHalf;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// Time between two attempts to connect.
const RETRY: Duration = Duration::from_millis(5);

/// How long QEMU may take to answer a command.
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);

/// How long a memory dump may take: 2 GiB that the guest has used takes about
/// half a minute to compress.
const DUMP_DEADLINE: Duration = Duration::from_secs(300);

/// Events kept for a slow reader; a VM has a handful in its life.
const EVENT_QUEUE: usize = 64;

/// Why talking to QEMU failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nobody answered on the socket in time.
    #[error("QEMU did not greet on {} within {} s: {source}", socket.display(), waited.as_secs())]
    Connect {
        /// The QMP socket.
        socket: PathBuf,
        /// How long kiln waited.
        waited: Duration,
        /// What the last attempt said.
        source: io::Error,
    },
    /// QEMU hung up instead of greeting.
    #[error("QEMU closed its QMP socket {}: {source}", socket.display())]
    HungUp {
        /// The QMP socket.
        socket: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A command went unanswered.
    #[error("QEMU did not answer {command} within {} s", waited.as_secs())]
    Unanswered {
        /// The QMP command.
        command: &'static str,
        /// How long kiln waited.
        waited: Duration,
    },
    /// A command failed, or the connection did.
    #[error("QMP command {command} failed: {message}")]
    Command {
        /// The QMP command.
        command: &'static str,
        /// What QEMU or the system said.
        message: String,
    },
}

impl crate::hint::Hint for Error {}

/// What happened to a VM.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum VmEvent {
    /// The VM has ended; QEMU exits next.
    Shutdown {
        /// Whether the guest asked for it.
        guest: bool,
        /// QMP's `ShutdownCause`, such as `guest-shutdown`, `guest-reset` (a
        /// panic, with `panic=-1`) or `host-signal`.
        reason: String,
    },
    /// The VM was reset.
    Reset {
        /// QMP's `ShutdownCause`.
        reason: String,
    },
    /// The processors have stopped; `query-status` says why.
    Stopped,
    /// They run again.
    Resumed,
    /// The guest reported a panic (pvpanic).
    GuestPanicked,
}

impl VmEvent {
    fn from_qmp(event: Event) -> Option<Self> {
        match event {
            Event::SHUTDOWN { data, .. } => Some(Self::Shutdown {
                guest: data.guest,
                reason: cause(data.reason),
            }),
            Event::RESET { data, .. } => Some(Self::Reset {
                reason: cause(data.reason),
            }),
            Event::STOP { .. } => Some(Self::Stopped),
            Event::RESUME { .. } => Some(Self::Resumed),
            Event::GUEST_PANICKED { .. } => Some(Self::GuestPanicked),
            _ => None,
        }
    }
}

fn cause(cause: ShutdownCause) -> String {
    qapi::Enum::name(&cause).to_owned()
}

/// What `query-status` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Whether the processors run.
    pub running: bool,
    /// QMP's `RunState`, such as `running`, `paused` or `internal-error`.
    pub state: String,
    /// Whether an error inside the accelerator stopped the VM, for good.
    pub internal_error: bool,
}

/// A QMP connection, past its greeting.
pub struct Qmp {
    service: QapiService<QmpStreamTokio<WriteHalf<UnixStream>>>,
    reader: JoinHandle<()>,
}

/// The events of a VM in order; `recv` returns `None` once QEMU has ended.
pub type VmEvents = mpsc::Receiver<VmEvent>;

impl Qmp {
    /// Connects to `socket` as soon as QEMU listens there, within `deadline`, and negotiates
    /// capabilities.
    pub async fn connect(socket: &Path, deadline: Duration) -> Result<(Self, VmEvents), Error> {
        let failed = |source| Error::Connect {
            socket: socket.to_owned(),
            waited: deadline,
            source,
        };
        let until = Instant::now() + deadline;
        let stream = loop {
            match UnixStream::connect(socket).await {
                Ok(stream) => break stream,
                Err(error) if Instant::now() + RETRY >= until => return Err(failed(error)),
                // Not bound yet, or bound and not listening yet.
                Err(_) => sleep(RETRY).await,
            }
        };
        let greet = async { QmpStreamTokio::open(stream).await?.negotiate().await };
        let greeted = timeout_at(until, greet)
            .await
            .map_err(|_| failed(io::ErrorKind::TimedOut.into()))?
            .map_err(|source| Error::HungUp {
                socket: socket.to_owned(),
                source,
            })?;
        let (service, mut messages) = greeted.into_parts();
        let (sender, events) = mpsc::channel(EVENT_QUEUE);
        // Also delivers answers to commands, so it must always run.
        let reader = tokio::spawn(async move {
            while let Some(message) = messages.next().await {
                match message {
                    Ok(event) => {
                        if let Some(event) = VmEvent::from_qmp(event)
                            && sender.try_send(event).is_err()
                        {
                            tracing::debug!("nobody takes the VM's events");
                        }
                    }
                    // For example an answer that came after its deadline.
                    Err(error) => tracing::debug!("QMP: {error}"),
                }
            }
        });
        Ok((Self { service, reader }, events))
    }

    /// Whether the VM runs, and if not, why.
    pub async fn status(&self) -> Result<Status, Error> {
        let status = answered("query-status", self.service.execute(qmp::query_status {})).await?;
        Ok(Status {
            running: status.running,
            state: qapi::Enum::name(&status.status).to_owned(),
            internal_error: status.status == RunState::internal_error,
        })
    }

    /// The ids of the host's threads in which the processors run.
    pub async fn cpu_threads(&self) -> Result<Vec<i64>, Error> {
        let cpus = answered("query-cpus-fast", self.service.execute(QueryCpus {})).await?;
        Ok(cpus.into_iter().map(|cpu| cpu.thread_id).collect())
    }

    /// Stops the processors.
    pub async fn stop(&self) -> Result<(), Error> {
        answered("stop", self.service.execute(qmp::stop {}))
            .await
            .map(|_| ())
    }

    /// Starts the processors of a VM that was started with `-S`, or stopped.
    pub async fn cont(&self) -> Result<(), Error> {
        answered("cont", self.service.execute(qmp::cont {}))
            .await
            .map(|_| ())
    }

    /// Writes the guest's memory to `path`, as a vmcore in kdump's format that crash(8) and drgn
    /// can read. Pauses a running guest meanwhile.
    pub async fn dump(&self, path: &Path) -> Result<(), Error> {
        let command = qmp::dump_guest_memory {
            paging: false,
            protocol: format!("file:{}", path.display()),
            detach: None,
            begin: None,
            length: None,
            format: Some(qmp::DumpGuestMemoryFormat::kdump_zlib),
        };
        let answer = self.service.execute(command);
        answered_within("dump-guest-memory", DUMP_DEADLINE, answer)
            .await
            .map(|_| ())
    }

    /// Runs a command of QEMU's monitor for people; returns what it printed, which is empty if all
    /// went well.
    pub async fn human(&self, command: &str) -> Result<String, Error> {
        let command = qmp::human_monitor_command {
            command_line: command.to_owned(),
            cpu_index: None,
        };
        answered("human-monitor-command", self.service.execute(command)).await
    }

    /// Ends QEMU. It is not an error if it ends before it answers.
    pub async fn quit(&self) -> Result<(), Error> {
        match answered("quit", self.service.execute(qmp::quit {})).await {
            Ok(_) | Err(Error::Command { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// `query-cpus-fast`, of whose answer qapi's own type has a variant for each architecture.
#[derive(Debug, Serialize)]
struct QueryCpus {}

impl qmp::QmpCommand for QueryCpus {}

impl qapi::Command for QueryCpus {
    const NAME: &'static str = "query-cpus-fast";
    const ALLOW_OOB: bool = false;

    type Ok = Vec<Cpu>;
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Cpu {
    thread_id: i64,
}

impl Drop for Qmp {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// Waits for an answer, with a limit.
async fn answered<T>(
    command: &'static str,
    answer: impl Future<Output = Result<T, qapi::ExecuteError>>,
) -> Result<T, Error> {
    answered_within(command, ANSWER_DEADLINE, answer).await
}

async fn answered_within<T>(
    command: &'static str,
    waited: Duration,
    answer: impl Future<Output = Result<T, qapi::ExecuteError>>,
) -> Result<T, Error> {
    timeout(waited, answer)
        .await
        .map_err(|_| Error::Unanswered { command, waited })?
        .map_err(|error| Error::Command {
            command,
            message: error.to_string(),
        })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
    use tokio::net::UnixListener;

    const GREETING: &str = r#"{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": ""}, "capabilities": ["oob"]}}"#;

    /// A future QEMU: sends what our `qapi` does not know.
    async fn fake_qemu(listener: UnixListener) {
        let (stream, _) = listener.accept().await.unwrap();
        let (read, mut write) = stream.into_split();
        write
            .write_all(format!("{GREETING}\r\n").as_bytes())
            .await
            .unwrap();
        let mut lines = BufReader::new(read).lines();
        let (mut migrating, mut asked) = (String::new(), 0);
        while let Some(line) = lines.next_line().await.unwrap() {
            let request: serde_json::Value = serde_json::from_str(&line).unwrap();
            let id = &request["id"];
            let answer = match request["execute"].as_str().unwrap() {
                "query-status" => {
                    let stop = r#"{"event":"STOP","timestamp":{"seconds":1,"microseconds":2}}"#;
                    format!(
                        "{stop}\r\n{{\"return\":{{\"running\":false,\"singlestep\":false,\"status\":\"internal-error\"}},\"id\":{id}}}\r\n"
                    )
                }
                "migrate" | "migrate-incoming" => {
                    migrating = request["arguments"]["uri"].as_str().unwrap().to_owned();
                    format!("{{\"return\":{{}},\"id\":{id}}}\r\n")
                }
                "query-migrate" => {
                    asked += 1;
                    let progress = match migrating.as_str() {
                        "file:/broken" => r#""status":"failed","error-desc":"no devices""#,
                        // At first it has not begun.
                        _ if asked == 1 => "",
                        _ if asked == 2 => r#""status":"active","new":{}"#,
                        _ => r#""status":"completed""#,
                    };
                    format!("{{\"return\":{{{progress}}},\"id\":{id}}}\r\n")
                }
                "query-cpus-fast" => {
                    format!(
                        r#"{{"return":[{{"cpu-index":0,"thread-id":71,"target":"new"}}],"id":{id}}}"#
                    ) + "\r\n"
                }
                "quit" => {
                    let end = r#"{"event":"SHUTDOWN","data":{"guest":true,"reason":"guest-reset"},"timestamp":{"seconds":1,"microseconds":2}}"#;
                    write
                        .write_all(format!("{end}\r\n").as_bytes())
                        .await
                        .unwrap();
                    return;
                }
                _ => format!("{{\"return\":{{}},\"id\":{id}}}\r\n"),
            };
            write.write_all(answer.as_bytes()).await.unwrap();
        }
    }

    #[tokio::test]
    async fn status_events_and_quit_come_through() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("qmp");
        // The listener comes late: connecting waits for it.
        let late = socket.clone();
        let qemu = tokio::spawn(async move {
            sleep(Duration::from_millis(50)).await;
            fake_qemu(UnixListener::bind(late).unwrap()).await;
        });
        let (qmp, mut events) = Qmp::connect(&socket, Duration::from_secs(5)).await.unwrap();
        let status = qmp.status().await.unwrap();
        assert!(status.internal_error);
        assert_eq!(status.state, "internal-error");
        assert_eq!(events.recv().await, Some(VmEvent::Stopped));
        assert_eq!(qmp.cpu_threads().await.unwrap(), [71]);
        qmp.quit().await.unwrap();
        qemu.await.unwrap();
        assert_eq!(
            events.recv().await,
            Some(VmEvent::Shutdown {
                guest: true,
                reason: "guest-reset".to_owned()
            })
        );
        assert_eq!(events.recv().await, None);
    }

    #[tokio::test]
    async fn a_state_is_waited_for_and_what_failed_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("qmp");
        let listener = UnixListener::bind(&socket).unwrap();
        let qemu = tokio::spawn(fake_qemu(listener));
        let within = Duration::from_secs(5);
        let (qmp, _events) = Qmp::connect(&socket, within).await.unwrap();
        qmp.save_state(Path::new("/state"), within).await.unwrap();
        let error = qmp.load_state(Path::new("/broken"), within).await;
        assert_eq!(
            error.unwrap_err().to_string(),
            "QMP command migrate-incoming failed: no devices"
        );
        qmp.quit().await.unwrap();
        qemu.await.unwrap();
    }

    #[tokio::test]
    async fn a_socket_that_never_comes_is_given_up() {
        let error = Qmp::connect(Path::new("/nonexistent/qmp"), Duration::from_millis(50))
            .await
            .err()
            .unwrap();
        assert!(error.to_string().contains("/nonexistent/qmp"), "{error}");
    }

    #[tokio::test]
    async fn a_qemu_that_says_nothing_is_given_up() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("qmp");
        let _silent = UnixListener::bind(&socket).unwrap();
        let result = Qmp::connect(&socket, Duration::from_millis(50)).await;
        assert!(matches!(result, Err(Error::Connect { .. })));
    }
}
