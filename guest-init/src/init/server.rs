//! Serves requests: one thread and one poll loop, which owns the port.
//!
//! Output of a process is read only after the host has taken the earlier output. So a process that
//! prints without end is slowed down by its own pipe, and nothing accumulates here.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use guest_init::message::{
    GuestEvent, HEARTBEAT_MS, Hello, JobId, MAX_NAMED, ProcessExit, ProcessId, ProcessSpec,
    Request, Stream, TraceReply,
};
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::activity;
use super::caches::Caches;
use super::cgroup::Cgroup;
use super::children::{self, Child};
use super::clock;
use super::failure::{Context, Failure, console};
use super::job::{Job, WATCH_INTERVAL};
use super::nodes;
use super::port::Port;
use super::process::{Chunk, Process};
use super::remnants::Stock;
use super::taint::Taint;
use super::trace::Recorder;

/// Reads of one stream when its process ends: twice what a pipe holds, so
/// that everything it wrote is reported before its end.
const FINAL_READS: usize = 4;

/// What poll(2) found ready.
enum Ready {
    Port,
    Children,
    Devices,
    Trace,
    Stdin(ProcessId),
    Output(ProcessId, Stream),
}

/// The state of the guest's side.
pub(crate) struct Server<'a> {
    port: &'a mut Port,
    children: SignalFd,
    /// What the kernel says of devices, where it does not make their nodes itself.
    devices: Option<nodes::Messages>,
    jobs: BTreeMap<JobId, Job>,
    processes: BTreeMap<ProcessId, (JobId, Process)>,
    /// Recorded when the host asks for it: a guest that runs one command does not need it.
    stock: Option<Stock>,
    caches: Caches,
    taint: Taint,
    recorder: Recorder,
    /// When the next [`GuestEvent::Alive`] is due.
    heartbeat: Instant,
    done: bool,
}

const HEARTBEAT: Duration = Duration::from_millis(HEARTBEAT_MS);

impl<'a> Server<'a> {
    /// Takes over SIGCHLD.
    pub(crate) fn new(port: &'a mut Port) -> Result<Self, Failure> {
        const STAGE: &str = "watch for children";
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGCHLD);
        signals.thread_block().during(STAGE, &"SIGCHLD")?;
        let children =
            SignalFd::with_flags(&signals, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
                .during(STAGE, &"signalfd")?;
        Ok(Self {
            port,
            children,
            devices: nodes::Messages::listen(),
            jobs: BTreeMap::new(),
            processes: BTreeMap::new(),
            stock: None,
            caches: Caches::default(),
            taint: Taint::open(),
            recorder: Recorder::default(),
            heartbeat: Instant::now(),
            done: false,
        })
    }

    /// Says hello, and serves until the host requests power-off or disconnects.
    pub(crate) fn serve(mut self, hello: Hello) -> Result<(), Failure> {
        self.tell_taint()?;
        self.send(&GuestEvent::Hello(hello))?;
        self.flush()?;
        while !self.done {
            for ready in self.wait()? {
                match ready {
                    Ready::Port => self.take_requests()?,
                    Ready::Children => self.reap()?,
                    Ready::Devices => {
                        if let Some(devices) = &self.devices {
                            devices.follow();
                        }
                    }
                    Ready::Trace => {
                        let written = self.recorder.written();
                        self.reply_on_trace(written)?;
                    }
                    Ready::Stdin(process) => self.write_stdin(process)?,
                    Ready::Output(process, stream) => {
                        self.forward(process, stream)?;
                    }
                }
            }
            self.look_at_clock()?;
            self.flush()?;
        }
        Ok(())
    }

    /// Sends an event by the end of this round.
    fn send(&mut self, event: &GuestEvent) -> Result<(), Failure> {
        self.port
            .queue(event)
            .during("send an event", &"control port")
    }

    /// Sends all events now, because what follows may take long.
    fn flush(&mut self) -> Result<(), Failure> {
        self.port.flush().during("send events", &"control port")
    }

    fn refuse(&mut self, message: String) -> Result<(), Failure> {
        self.send(&GuestEvent::Refused { message })
    }

    fn wait(&mut self) -> Result<Vec<Ready>, Failure> {
        let mut fds = vec![
            PollFd::new(self.port.fd(), PollFlags::POLLIN),
            PollFd::new(self.children.as_fd(), PollFlags::POLLIN),
        ];
        let mut meaning = vec![];
        if let Some(devices) = &self.devices {
            fds.push(PollFd::new(devices.fd(), PollFlags::POLLIN));
            meaning.push(Ready::Devices);
        }
        if let Some(written) = self.recorder.fd() {
            fds.push(PollFd::new(written, PollFlags::POLLIN));
            meaning.push(Ready::Trace);
        }
        for (&id, (_, process)) in &self.processes {
            if let Some(stdin) = process.stdin_to_poll() {
                fds.push(PollFd::new(stdin.as_fd(), PollFlags::POLLOUT));
                meaning.push(Ready::Stdin(id));
            }
            for stream in [Stream::Stdout, Stream::Stderr] {
                if let Some(file) = process.stream(stream).filter(|_| !process.held) {
                    fds.push(PollFd::new(file.as_fd(), PollFlags::POLLIN));
                    meaning.push(Ready::Output(id, stream));
                }
            }
        }
        match poll(&mut fds, self.timeout()) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error).during("wait for events", &"poll"),
        }
        let fired = |fd: &PollFd<'_>| fd.revents().is_some_and(|events| !events.is_empty());
        let mut ready: Vec<Ready> = fds
            .iter()
            .skip(2)
            .zip(meaning)
            .filter_map(|(fd, what)| fired(fd).then_some(what))
            .collect();
        // Output before ends, and both before new requests, so that the host sees everything in
        // order.
        if fds.get(1).is_some_and(fired) {
            ready.push(Ready::Children);
        }
        if fds.first().is_some_and(fired) {
            ready.push(Ready::Port);
        }
        Ok(ready)
    }

    fn timeout(&self) -> PollTimeout {
        let now = Instant::now();
        let deadlines = self
            .processes
            .values()
            .filter_map(|(_, process)| process.next_deadline())
            .map(|deadline| deadline.saturating_duration_since(now));
        let watch = self
            .jobs
            .values()
            .any(Job::watching)
            .then_some(WATCH_INTERVAL);
        let heartbeat = self.heartbeat.saturating_duration_since(now);
        let wait = deadlines.chain(watch).fold(heartbeat, Duration::min);
        // Rounded up: waking too early would spin.
        PollTimeout::try_from(wait + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
    }

    fn look_at_clock(&mut self) -> Result<(), Failure> {
        let now = Instant::now();
        if self.heartbeat <= now {
            self.heartbeat = now + HEARTBEAT;
            let since_boot_ns = clock::since_boot_ns();
            self.send(&GuestEvent::Alive { since_boot_ns })?;
            if self.jobs.values().any(Job::wants_page_faults) {
                activity::cause_page_faults();
            }
        }
        for (_, process) in self.processes.values_mut() {
            process.enforce_deadline(now);
        }
        let seen: Vec<GuestEvent> = self
            .jobs
            .iter_mut()
            .flat_map(|(&job, state)| {
                state
                    .seen()
                    .into_iter()
                    .map(move |(comm, pid)| GuestEvent::CommSeen { job, comm, pid })
            })
            .collect();
        for event in seen {
            self.send(&event)?;
        }
        Ok(())
    }

    fn take_requests(&mut self) -> Result<(), Failure> {
        let received = self
            .port
            .receive()
            .during("receive a request", &"control port")?;
        let Some(messages) = received else {
            console("the host has gone");
            self.done = true;
            return Ok(());
        };
        for message in messages {
            match message {
                Ok(request) => self.handle(request)?,
                Err(error) => self.refuse(error.to_string())?,
            }
        }
        Ok(())
    }

    fn handle(&mut self, request: Request) -> Result<(), Failure> {
        match request {
            Request::OpenJob { job } => match Cgroup::create(job) {
                Ok(cgroup) => {
                    self.jobs.insert(job, Job::new(cgroup));
                    Ok(())
                }
                Err(error) => self.refuse(format!("open job {job}: {error}")),
            },
            Request::Spawn { job, process, spec } => self.spawn(job, process, &spec),
            Request::Stdin { process, data } => {
                if let Some((_, state)) = self.processes.get_mut(&process) {
                    state.queue_stdin(&data);
                }
                self.write_stdin(process)
            }
            Request::Hold { process, held } => {
                if let Some((_, state)) = self.processes.get_mut(&process) {
                    state.held = held;
                }
                Ok(())
            }
            Request::Signal {
                process,
                signal,
                group,
            } => self.signal(process, signal, group),
            Request::Resize { process, size } => {
                let resized = self
                    .processes
                    .get(&process)
                    .map(|(_, state)| state.resize(size));
                match resized {
                    Some(Err(error)) => self.refuse(format!("resize process {process}: {error}")),
                    // It may have ended meanwhile.
                    Some(Ok(())) | None => Ok(()),
                }
            }
            Request::AwaitComm { job, comm } => {
                match self.jobs.get_mut(&job) {
                    Some(state) => state.watch(comm),
                    None => return self.refuse(format!("await {comm}: no job {job}")),
                }
                Ok(())
            }
            Request::CausePageFaults { job } => match self.jobs.get_mut(&job) {
                Some(state) => {
                    state.want_page_faults();
                    Ok(())
                }
                None => self.refuse(format!("cause page faults: no job {job}")),
            },
            Request::CloseJob { job } => self.close(job),
            Request::TakeStock => {
                match &mut self.stock {
                    Some(stock) => stock.again(),
                    None => self.stock = Some(Stock::take()),
                }
                Ok(())
            }
            Request::Tidy => self.tidy(),
            Request::DropCaches { pages } => {
                self.caches.drop(pages);
                Ok(())
            }
            Request::MeasureSpeed => {
                let micros = guest_init::speed::work().as_micros();
                self.send(&GuestEvent::Speed {
                    micros: u64::try_from(micros).unwrap_or(u64::MAX),
                })
            }
            Request::AskTime => self.send(&GuestEvent::Time {
                realtime_ns: clock::realtime(),
                since_boot_ns: clock::since_boot_ns(),
            }),
            Request::AdjustClock { delta_ns } => match clock::adjust(delta_ns) {
                Ok(()) => {
                    if let Some(stock) = &mut self.stock {
                        stock.clock_was_set();
                    }
                    Ok(())
                }
                Err(error) => self.refuse(format!("set the clock: {error}")),
            },
            Request::Trace(request) => {
                let reply = self.recorder.handle(request);
                self.reply_on_trace(reply)
            }
            Request::GoOn { .. } => self.refuse("the guest does not wait".to_owned()),
            Request::PowerOff => {
                self.done = true;
                Ok(())
            }
        }
    }

    fn reply_on_trace(&mut self, reply: Option<TraceReply>) -> Result<(), Failure> {
        match reply {
            Some(reply) => self.send(&GuestEvent::Trace(reply)),
            None => Ok(()),
        }
    }

    fn spawn(&mut self, job: JobId, process: ProcessId, spec: &ProcessSpec) -> Result<(), Failure> {
        let failed = |errno: i32, message: String| GuestEvent::SpawnFailed {
            process,
            errno,
            message,
        };
        let event = match self.jobs.get(&job).map(Job::procs) {
            None => failed(libc::ESRCH, format!("no job {job}")),
            Some(Err(error)) => failed(0, format!("cgroup of job {job}: {error}")),
            Some(Ok(procs)) => match Process::spawn(spec, procs) {
                Ok(state) => {
                    let pid = state.pid;
                    self.processes.insert(process, (job, state));
                    GuestEvent::Started { process, pid }
                }
                Err(error) => failed(error.errno, error.message),
            },
        };
        self.send(&event)
    }

    fn signal(&mut self, process: ProcessId, signal: i32, group: bool) -> Result<(), Failure> {
        let Some((_, state)) = self.processes.get(&process) else {
            return Ok(());
        };
        match state.signal(signal, group) {
            Ok(()) | Err(nix::errno::Errno::ESRCH) => Ok(()),
            Err(error) => self.refuse(format!("send signal {signal} to {process}: {error}")),
        }
    }

    fn close(&mut self, job: JobId) -> Result<(), Failure> {
        let Some(state) = self.jobs.remove(&job) else {
            return self.refuse(format!("close job {job}: no such job"));
        };
        self.flush()?;
        let mut reaped = Vec::new();
        let leftovers = state.close(|| reaped.extend(children::collect()));
        for child in reaped {
            self.ended(&child)?;
        }
        self.processes.retain(|_, (of, _)| *of != job);
        self.send(&GuestEvent::JobClosed { job, leftovers })
    }

    fn tidy(&mut self) -> Result<(), Failure> {
        let started = Instant::now();
        let jobs_open = !self.jobs.is_empty();
        let stock = self.stock.get_or_insert_with(Stock::take);
        let mut remnants = Vec::new();
        if !jobs_open {
            // All processes that the host asked for have ended.
            remnants = stock.end_processes(|| drop(children::collect()));
        }
        remnants.extend(stock.restore(jobs_open));
        // What remains must be among those that fit.
        remnants.sort_by_key(|remnant| remnant.gone);
        remnants.truncate(MAX_NAMED);
        self.tell_taint()?;
        let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.send(&GuestEvent::Tidied { remnants, micros })
    }

    fn tell_taint(&mut self) -> Result<(), Failure> {
        match self.taint.change() {
            Some(flags) => self.send(&GuestEvent::Tainted { flags }),
            None => Ok(()),
        }
    }

    fn write_stdin(&mut self, process: ProcessId) -> Result<(), Failure> {
        let Some((_, state)) = self.processes.get_mut(&process) else {
            return Ok(());
        };
        match state.write_stdin() {
            0 => Ok(()),
            taken => self.send(&GuestEvent::StdinTaken {
                process,
                bytes: u32::try_from(taken).unwrap_or(u32::MAX),
            }),
        }
    }

    /// Forwards one chunk; returns whether there may be more.
    fn forward(&mut self, process: ProcessId, stream: Stream) -> Result<bool, Failure> {
        let Some((_, state)) = self.processes.get_mut(&process) else {
            return Ok(false);
        };
        if state.stream(stream).is_none() {
            return Ok(false);
        }
        match state.read(stream) {
            Chunk::Data(data) => {
                self.send(&GuestEvent::Output {
                    process,
                    stream,
                    data,
                })?;
                Ok(true)
            }
            Chunk::Empty => Ok(false),
            Chunk::Closed => {
                self.send(&GuestEvent::Closed { process, stream })?;
                Ok(false)
            }
        }
    }

    /// Collects ended children: ours, and orphans, which become ours.
    fn reap(&mut self) -> Result<(), Failure> {
        while let Ok(Some(_)) = self.children.read_signal() {}
        for child in children::collect() {
            self.ended(&child)?;
        }
        Ok(())
    }

    fn ended(&mut self, child: &Child) -> Result<(), Failure> {
        let found = self
            .processes
            .iter_mut()
            .find(|(_, (_, state))| state.pid == child.pid && !state.exited);
        let Some((&process, (_, state))) = found else {
            return Ok(());
        };
        state.exited = true;
        let deadline_passed = state.deadline_passed;
        for stream in [Stream::Stdout, Stream::Stderr] {
            let mut reads = 0;
            while reads < FINAL_READS && self.forward(process, stream)? {
                reads += 1;
            }
        }
        self.send(&GuestEvent::Exited {
            process,
            outcome: ProcessExit {
                status: child.status,
                deadline_passed,
            },
        })
    }
}
