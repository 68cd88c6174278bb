//! The host's end of the control port.

mod number;
mod side;

pub use number::SIDE;
pub use side::Side;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use guest_init::frame::{self, Decoder, FrameError};
use guest_init::message::{
    GuestEvent, Hello, JobId, PROTOCOL_VERSION, ProcessId, ProcessSpec, Request,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::clock::ClockKeeper;
use super::guest_time::GuestTime;
use super::health::Loss;
use crate::hint::Hint;

/// Events that may wait to be handled; beyond that the guest's port is not read, and the guest
/// slows down.
pub(crate) const EVENT_BACKLOG: usize = 64;
/// Requests that may wait for the guest.
const REQUEST_BACKLOG: usize = 64;
/// Damaged frames after which the connection is closed.
const MAX_BAD_FRAMES: usize = 16;

/// What can go wrong on the control port.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// QEMU's socket could not be connected to.
    #[error("cannot connect to the control port at {}: {source}", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// The last attempt's error.
        source: std::io::Error,
    },
    /// A deadline passed.
    #[error("timed out after {} s waiting for {what}", waited.as_secs())]
    Deadline {
        /// What the caller waited for.
        what: String,
        /// How long.
        waited: Duration,
    },
    /// The other side closed the port: QEMU ended, or guest-init did.
    #[error("the control port closed while waiting for {what}")]
    Closed {
        /// What the caller waited for.
        what: String,
    },
    /// Guest-init gave up.
    #[error("guest-init failed to {stage}: {message}")]
    Guest {
        /// What it was doing.
        stage: String,
        /// What went wrong.
        message: String,
    },
    /// A request was refused.
    #[error("guest-init refused a request: {0}")]
    Refused(String),
    /// The VM died or hung.
    #[error(transparent)]
    Lost(#[from] Loss),
    /// Another process has lost the VM; it says what it knows.
    #[error("{0}")]
    Elsewhere(String),
    /// Guest and host come from different builds.
    #[error("guest-init speaks protocol {guest}, this kiln speaks {PROTOCOL_VERSION}")]
    Version {
        /// The guest's version.
        guest: u32,
    },
    /// The guest sends invalid frames.
    #[error("the guest sends damaged frames on the control port: {0}")]
    Garbage(FrameError),
    /// The guest sent something out of turn.
    #[error("the guest sent an unexpected message while waiting for {what}")]
    OutOfTurn {
        /// What the caller waited for.
        what: String,
    },
    /// A request does not fit a frame.
    #[error("request too large for the control port: {0}")]
    TooLarge(FrameError),
}

impl Hint for Error {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Version { .. } => {
                vec!["build kiln without KILN_GUEST_INIT, or from the same sources".to_owned()]
            }
            _ => Vec::new(),
        }
    }
}

/// Sends requests; can be cloned and used from several tasks.
#[derive(Debug, Clone)]
pub struct Requests {
    frames: mpsc::Sender<Vec<u8>>,
}

impl Requests {
    /// Queues one request.
    pub async fn send(&self, request: &Request) -> Result<(), Error> {
        let frame = frame::encode(request).map_err(Error::TooLarge)?;
        self.send_frames(frame).await
    }

    async fn send_frames(&self, frames: Vec<u8>) -> Result<(), Error> {
        self.frames.send(frames).await.map_err(|_| Error::Closed {
            what: "room for a request".to_owned(),
        })
    }
}

/// A connected control port.
#[derive(Debug)]
pub struct Control {
    requests: Requests,
    /// Frames to send with the next request.
    queue: Vec<u8>,
    events: mpsc::Receiver<Result<GuestEvent, Error>>,
    /// When the last event of the guest came.
    heard: watch::Receiver<Instant>,
    /// Whether the guest's clock has been set.
    clock_set: watch::Receiver<bool>,
    /// Its kernel's taint flags.
    taint: Arc<AtomicU64>,
    /// The guest's own time.
    pub time: GuestTime,
    /// What is about jobs and processes of others.
    side: Option<mpsc::UnboundedReceiver<GuestEvent>>,
    next_job: JobId,
    next_process: ProcessId,
}

impl Control {
    /// Connects to QEMU's socket at `path` as soon as it exists, before `deadline`.
    pub async fn connect(path: &Path, deadline: Instant) -> Result<Self, Error> {
        let stream = loop {
            match UnixStream::connect(path).await {
                Ok(stream) => break stream,
                Err(source) if Instant::now() > deadline => {
                    return Err(Error::Connect {
                        path: path.to_owned(),
                        source,
                    });
                }
                Err(_) => sleep(Duration::from_millis(5)).await,
            }
        };
        Ok(Self::over(stream))
    }

    /// Over an already connected stream.
    pub(crate) fn over(stream: UnixStream) -> Self {
        let (read, write) = stream.into_split();
        let (frame_sender, frame_receiver) = mpsc::channel(REQUEST_BACKLOG);
        let (event_sender, event_receiver) = mpsc::channel(EVENT_BACKLOG);
        let (clock, clock_set) = ClockKeeper::new(frame_sender.downgrade());
        tokio::spawn(write_frames(write, frame_receiver));
        let (heard_sender, heard) = watch::channel(Instant::now());
        let taint = Arc::new(AtomicU64::new(0));
        let (side_sender, side) = mpsc::unbounded_channel();
        tokio::spawn(read_events(
            read,
            (event_sender, side_sender),
            heard_sender,
            clock,
            Arc::clone(&taint),
        ));
        Self {
            requests: Requests {
                frames: frame_sender,
            },
            queue: Vec::new(),
            events: event_receiver,
            heard,
            clock_set,
            taint,
            time: GuestTime::unmetered(),
            side: Some(side),
            next_job: 1,
            next_process: 1,
        }
    }

    /// For requests to a guest that another process listens to: `events` are what it passes on.
    pub(crate) fn with_events(
        write: OwnedWriteHalf,
        events: mpsc::Receiver<Result<GuestEvent, Error>>,
    ) -> Self {
        let (frames, frame_receiver) = mpsc::channel(REQUEST_BACKLOG);
        tokio::spawn(write_frames(write, frame_receiver));
        Self {
            requests: Requests { frames },
            queue: Vec::new(),
            events,
            // The other process watches over the guest, and sets its clock.
            heard: watch::channel(Instant::now()).1,
            clock_set: watch::channel(true).1,
            taint: Arc::default(),
            time: GuestTime::unmetered(),
            side: None,
            next_job: 1,
            next_process: 1,
        }
    }

    /// Waits until the guest waits for its plan.
    pub async fn waiting(&mut self, deadline: Instant) -> Result<(), Error> {
        const WHAT: &str = "the guest to wait for its plan";
        match self.event(deadline, WHAT).await? {
            GuestEvent::Waiting { protocol } if protocol == PROTOCOL_VERSION => Ok(()),
            GuestEvent::Waiting { protocol } | GuestEvent::Hello(Hello { protocol, .. }) => {
                Err(Error::Version { guest: protocol })
            }
            _ => Err(Error::OutOfTurn {
                what: WHAT.to_owned(),
            }),
        }
    }

    /// Waits for the guest's hello.
    pub async fn hello(&mut self, deadline: Instant) -> Result<Hello, Error> {
        match self.event(deadline, "the guest's hello").await? {
            GuestEvent::Hello(hello) if hello.protocol == PROTOCOL_VERSION => Ok(hello),
            GuestEvent::Hello(hello) => Err(Error::Version {
                guest: hello.protocol,
            }),
            _ => Err(Error::OutOfTurn {
                what: "the guest's hello".to_owned(),
            }),
        }
    }

    /// The next event before `deadline`; `what` says in errors what the caller waited for. Failures
    /// of guest-init come as errors.
    pub async fn event(&mut self, deadline: Instant, what: &str) -> Result<GuestEvent, Error> {
        let start = Instant::now();
        match timeout_at(deadline, self.next()).await {
            Ok(Some(event)) => event,
            Ok(None) => Err(Error::Closed {
                what: what.to_owned(),
            }),
            Err(_) => Err(Error::Deadline {
                what: what.to_owned(),
                waited: start.elapsed(),
            }),
        }
    }

    /// The next event, without a deadline, for callers that wait for several things at once and
    /// check the deadline themselves. `None` if the port is closed. Cancel safe.
    pub async fn next(&mut self) -> Option<Result<GuestEvent, Error>> {
        Some(match self.events.recv().await? {
            Ok(GuestEvent::Failed { stage, message }) => Err(Error::Guest { stage, message }),
            Ok(GuestEvent::Refused { message }) => Err(Error::Refused(message)),
            other => other,
        })
    }

    /// When the last event of the guest came: it sends one at least every
    /// [`HEARTBEAT_MS`](guest_init::message::HEARTBEAT_MS).
    pub fn heard(&self) -> watch::Receiver<Instant> {
        self.heard.clone()
    }

    /// Waits until the guest's wall clock has been set, which starts at its hello; false if that
    /// takes longer than `within`, or the port closes.
    pub async fn clock_is_set(&self, within: Duration) -> bool {
        let mut clock_set = self.clock_set.clone();
        let set = clock_set.wait_for(|set| *set);
        timeout(within, set).await.is_ok_and(|set| set.is_ok())
    }

    /// The kernel's taint flags, as last reported by the guest.
    pub fn taint(&self) -> u64 {
        self.taint.load(Ordering::Relaxed)
    }

    /// For sending from another task.
    pub fn requests(&self) -> Requests {
        self.requests.clone()
    }

    /// Sends the queued requests, and then this one.
    pub async fn send(&mut self, request: &Request) -> Result<(), Error> {
        self.queue(request)?;
        let frames = std::mem::take(&mut self.queue);
        self.requests.send_frames(frames).await
    }

    /// Keeps a request for the next [`send`](Self::send): each write costs the
    /// guest an interrupt.
    pub fn queue(&mut self, request: &Request) -> Result<(), Error> {
        let frame = frame::encode(request).map_err(Error::TooLarge)?;
        self.queue.extend(frame);
        Ok(())
    }

    /// Opens a job, with the next request, and returns its number.
    pub fn open_job(&mut self) -> Result<JobId, Error> {
        let job = self.next_job;
        self.next_job += 1;
        self.queue(&Request::OpenJob { job })?;
        Ok(job)
    }

    /// A new number for a process, even if it is never started.
    pub fn process_number(&mut self) -> ProcessId {
        let process = self.next_process;
        self.next_process += 1;
        process
    }

    /// Requests a process and returns its number; the guest answers with `Started` or
    /// `SpawnFailed`.
    pub async fn spawn(&mut self, job: JobId, spec: ProcessSpec) -> Result<ProcessId, Error> {
        let process = self.process_number();
        self.send(&Request::Spawn { job, process, spec }).await?;
        Ok(process)
    }

    /// Measures how many times slower the guest is than the reference of [`guest_init::speed`].
    ///
    /// The work cannot have taken longer than its answer, whatever the guest says: this keeps time
    /// limits finite. Time in which the guest waited for a host CPU says nothing about its speed.
    pub async fn speed_factor(&mut self, deadline: Instant) -> Result<f64, Error> {
        const WHAT: &str = "the speed measurement";
        let (asked, before) = (Instant::now(), self.time.vcpus());
        self.send(&Request::MeasureSpeed).await?;
        match self.event(deadline, WHAT).await? {
            GuestEvent::Speed { micros } => {
                let waited = u64::try_from(asked.elapsed().as_micros()).unwrap_or(u64::MAX);
                let ran = self.time.vcpus().since(before).share();
                Ok((guest_init::speed::factor(micros.min(waited)) * ran).max(1.0))
            }
            _ => Err(Error::OutOfTurn {
                what: WHAT.to_owned(),
            }),
        }
    }
}

async fn write_frames(mut port: OwnedWriteHalf, mut frames: mpsc::Receiver<Vec<u8>>) {
    while let Some(frame) = frames.recv().await {
        // The reader will notice that the port is closed.
        if port.write_all(&frame).await.is_err() {
            return;
        }
    }
}

async fn read_events(
    mut port: OwnedReadHalf,
    (events, side): (
        mpsc::Sender<Result<GuestEvent, Error>>,
        mpsc::UnboundedSender<GuestEvent>,
    ),
    heard: watch::Sender<Instant>,
    mut clock: ClockKeeper,
    taint: Arc<AtomicU64>,
) {
    let mut decoder = Decoder::new();
    let mut buffer = vec![0; frame::MAX_DATA];
    let mut bad_frames = 0;
    let mut greeted = false;
    loop {
        let length = match port.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(length) => length,
        };
        for event in decoder.push::<GuestEvent>(&buffer[..length]) {
            let event = match event {
                Ok(event) => {
                    heard.send_replace(Instant::now());
                    if clock.take(&event) {
                        continue;
                    }
                    if let GuestEvent::Tainted { flags } = event {
                        taint.store(flags, Ordering::Relaxed);
                        continue;
                    }
                    if number::is_of_others(&event) {
                        // Ignored unless somebody has a door there.
                        let _ = side.send(event);
                        continue;
                    }
                    let hello = matches!(event, GuestEvent::Hello(_));
                    if hello && std::mem::replace(&mut greeted, true) {
                        Err(Error::Lost(Loss::Restarted))
                    } else {
                        Ok(event)
                    }
                }
                Err(error) => {
                    bad_frames += 1;
                    tracing::warn!(%error, "damaged frame on the control port");
                    if bad_frames < MAX_BAD_FRAMES {
                        continue;
                    }
                    Err(Error::Garbage(error))
                }
            };
            let last = event.is_err();
            if events.send(event).await.is_err() || last {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests;
