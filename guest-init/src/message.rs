//! The messages between host and guest.
//!
//! The host sends [`Request`]s, the guest sends [`GuestEvent`]s. The first event is
//! [`GuestEvent::Hello`], or [`GuestEvent::Waiting`] of a guest that waits for its plan. The host
//! numbers jobs and processes as it likes and never uses a number twice.

use serde::{Deserialize, Serialize};

use crate::plan::BootPlan;

/// Version of this protocol. Host and guest must have the same, since both come from the same
/// build.
pub const PROTOCOL_VERSION: u32 = 12;

/// Interval of the guest's signs of life, in milliseconds: several can be missing before the host
/// considers the guest hung.
pub const HEARTBEAT_MS: u64 = 2000;

/// How long the guest waits while it drops caches, in milliseconds; after that, dropping continues
/// in the background.
pub const DROP_WAIT_MS: u64 = 500;

/// How many bytes of stdin the host may have sent to a process beyond what the
/// guest has reported as taken ([`GuestEvent::StdinTaken`]).
pub const STDIN_WINDOW: usize = 256 * 1024;

/// How many leftovers of a kind to name at most, since the size of a message is limited.
pub const MAX_NAMED: usize = 100;

/// A job: processes that live and end together, in their own cgroup.
pub type JobId = u32;
/// A process that the host asked for.
pub type ProcessId = u32;

/// A request from the host to the guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Creates the job's cgroup, in which processes can then be started.
    OpenJob {
        /// The new job.
        job: JobId,
    },
    /// Starts a process in a job; answered by [`GuestEvent::Started`] or
    /// [`GuestEvent::SpawnFailed`].
    Spawn {
        /// The job it belongs to.
        job: JobId,
        /// The number of the new process.
        process: ProcessId,
        /// What to run, and how.
        spec: ProcessSpec,
    },
    /// More bytes for a process's stdin, within [`STDIN_WINDOW`].
    Stdin {
        /// The process.
        process: ProcessId,
        /// The bytes; empty closes stdin once everything before is written.
        data: Vec<u8>,
    },
    /// Stops reading what a process writes, or goes on: of several processes, one whose output
    /// nobody takes then waits alone.
    Hold {
        /// The process.
        process: ProcessId,
        /// Whether to stop.
        held: bool,
    },
    /// Sends a signal.
    Signal {
        /// The process.
        process: ProcessId,
        /// Signal number as in signal(7) on x86.
        signal: i32,
        /// Whether the whole process group gets it.
        group: bool,
    },
    /// Changes the window size of a process's terminal.
    Resize {
        /// The process.
        process: ProcessId,
        /// The new size.
        size: WindowSize,
    },
    /// Asks for [`GuestEvent::CommSeen`] as soon as a process of the job has this
    /// `comm` (`/proc/PID/comm`, at most 15 bytes), that is: has called
    /// execve on a file of that name.
    AwaitComm {
        /// The job.
        job: JobId,
        /// The name.
        comm: String,
    },
    /// Causes a few page faults with each [`GuestEvent::Alive`] for as long as the job
    /// is open: a guest that runs nothing but a test that waits for one has none.
    CausePageFaults {
        /// The job.
        job: JobId,
    },
    /// Kills whatever is left of the job and removes its cgroup; answered by
    /// [`GuestEvent::JobClosed`].
    CloseJob {
        /// The job.
        job: JobId,
    },
    /// Declares the guest's present state clean; [`Request::Tidy`] restores this state.
    TakeStock,
    /// Undoes what outlives closed jobs; answered by [`GuestEvent::Tidied`].
    Tidy,
    /// Makes the kernel drop unused files from its caches, each of which holds a file descriptor on
    /// the host. Not answered: the next request waits until this is done, but no longer than
    /// [`DROP_WAIT_MS`].
    DropCaches {
        /// Also drop cached pages: some kernels keep a file while it has any.
        pages: bool,
    },
    /// Runs the work of [`crate::speed`]; answered by [`GuestEvent::Speed`].
    MeasureSpeed,
    /// Asks for [`GuestEvent::Time`].
    AskTime,
    /// Moves the guest's wall clock.
    AdjustClock {
        /// By how many nanoseconds; positive values move it forwards.
        delta_ns: i64,
    },
    /// About the trace of events of the kernel; answered by [`GuestEvent::Trace`].
    Trace(TraceRequest),
    /// Ends the VM.
    PowerOff,
    /// Tells a guest that waits ([`GuestEvent::Waiting`]) to go on with its boot.
    GoOn {
        /// What to do from here on.
        plan: Box<BootPlan>,
        /// What it missed, if it was saved while it waited, and restored.
        restored: Option<Restored>,
    },
}

/// What a guest that was saved and restored cannot know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    /// Nanoseconds since 1970: its own clock stood still.
    pub realtime_ns: i64,
    /// Random bytes: every guest that is restored from one state has the same generator.
    pub entropy: Vec<u8>,
}

/// What the host asks about a trace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TraceRequest {
    /// Chooses what is recorded; answered by [`TraceReply::Done`], [`TraceReply::Unknown`] or
    /// [`TraceReply::Unavailable`].
    Prepare {
        /// As ftrace's `set_event` takes them: `sched:sched_switch`, `sched_switch`, `sched:*`.
        events: Vec<String>,
        /// Size of the buffer, in KiB, for all CPUs together. It keeps the newest events.
        buffer_kib: u64,
    },
    /// Empties the buffer and starts to record; answered by [`TraceReply::Done`].
    Start,
    /// Stops, and writes what was recorded; answered by [`TraceReply::Written`].
    Stop {
        /// The files' path without `.dat` for trace-cmd's format and `.txt` for the kernel's text.
        path: String,
    },
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TraceReply {
    /// Done.
    Done,
    /// The kernel has no such events.
    Unknown {
        /// These.
        events: Vec<String>,
        /// Those that it has, as many as fit into a message.
        known: Vec<String>,
    },
    /// The kernel cannot trace events.
    Unavailable(String),
    /// What was recorded is written.
    Written {
        /// How many events.
        events: u64,
        /// How many older ones had no room in the buffer.
        lost: u64,
    },
    /// It failed.
    Failed(String),
}

/// A message from the guest to the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum GuestEvent {
    /// The guest is ready for requests.
    Hello(Hello),
    /// The process runs: its execve succeeded.
    Started {
        /// The process.
        process: ProcessId,
        /// Its pid in the guest.
        pid: i32,
    },
    /// The process could not be started.
    SpawnFailed {
        /// The process.
        process: ProcessId,
        /// `errno` of the step that failed, or 0.
        errno: i32,
        /// What failed.
        message: String,
    },
    /// Bytes that a process wrote.
    Output {
        /// The process.
        process: ProcessId,
        /// Where it wrote them.
        stream: Stream,
        /// The bytes as written.
        data: Vec<u8>,
    },
    /// The stream is closed: nobody can write to it.
    Closed {
        /// The process.
        process: ProcessId,
        /// The stream.
        stream: Stream,
    },
    /// The guest has written this many more bytes to the process's stdin.
    StdinTaken {
        /// The process.
        process: ProcessId,
        /// Bytes since the last such event; also counts bytes dropped because
        /// the process closed its stdin.
        bytes: u32,
    },
    /// The process ended. Its descendants may still live and hold its streams.
    Exited {
        /// The process.
        process: ProcessId,
        /// How it ended.
        outcome: ProcessExit,
    },
    /// A process of the job has the name asked for.
    CommSeen {
        /// The job.
        job: JobId,
        /// The name.
        comm: String,
        /// The pid of that process.
        pid: i32,
    },
    /// The job is closed.
    JobClosed {
        /// The job.
        job: JobId,
        /// The first [`MAX_NAMED`] processes that still lived.
        leftovers: Vec<Leftover>,
    },
    /// The guest is as clean as it can be made.
    Tidied {
        /// The first [`MAX_NAMED`] leftovers; processes only if no job is open.
        remnants: Vec<Remnant>,
        /// How long that took, in microseconds on the guest's monotonic clock.
        micros: u64,
    },
    /// The kernel's taint flags have changed, `/proc/sys/kernel/tainted`. Checked before hello and
    /// at each [`Request::Tidy`], and sent before the answer.
    Tainted {
        /// All of them.
        flags: u64,
    },
    /// How long the work of [`crate::speed`] took.
    Speed {
        /// In microseconds, by the guest's monotonic clock.
        micros: u64,
    },
    /// A sign of life: the guest's kernel runs PID 1. Sent every [`HEARTBEAT_MS`].
    Alive {
        /// Nanoseconds since the kernel started its clock (`CLOCK_BOOTTIME`).
        since_boot_ns: u64,
    },
    /// The times of the guest's clocks.
    Time {
        /// Nanoseconds since 1970 (`CLOCK_REALTIME`).
        realtime_ns: i64,
        /// Nanoseconds since the kernel started its clock (`CLOCK_BOOTTIME`).
        since_boot_ns: u64,
    },
    /// The answer to [`Request::Trace`].
    Trace(TraceReply),
    /// A request failed or was invalid.
    Refused {
        /// What was wrong.
        message: String,
    },
    /// Guest-init cannot continue and ends the VM.
    Failed {
        /// What it was doing.
        stage: String,
        /// What went wrong.
        message: String,
    },
    /// The boot modules are loaded, nothing of the host is mounted, and the guest waits for
    /// [`Request::GoOn`]: here it can be saved.
    Waiting {
        /// [`PROTOCOL_VERSION`] of the guest.
        protocol: u32,
    },
}

/// The first message of a guest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`PROTOCOL_VERSION`] of the guest.
    pub protocol: u32,
    /// `uname -r`.
    pub release: String,
    /// `uname -m`.
    pub machine: String,
    /// When each boot step was complete.
    pub timings: Timings,
    /// Failed steps that the guest can do without, such as mounting a filesystem that this kernel
    /// does not have.
    pub warnings: Vec<String>,
}

/// Microseconds since the kernel started its clock (`CLOCK_BOOTTIME`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timings {
    /// The kernel handed over to `/init`.
    pub init: u64,
    /// The boot modules are loaded.
    pub modules: u64,
    /// The root is switched.
    pub root: u64,
    /// All is mounted; hello is sent.
    pub ready: u64,
}

/// What to run, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessSpec {
    /// Program and arguments; the program is searched in the `PATH` of `env`.
    pub argv: Vec<Vec<u8>>,
    /// The whole environment; nothing is inherited.
    pub env: Vec<(Vec<u8>, Vec<u8>)>,
    /// Working directory.
    pub cwd: Vec<u8>,
    /// What is stdin.
    pub stdin: Stdin,
    /// Where stdout and stderr go.
    pub output: OutputMode,
    /// Milliseconds after which the guest ends the process: it sends SIGTERM to the process group,
    /// and SIGKILL after [`TERM_GRACE_MS`].
    pub deadline_ms: Option<u64>,
    /// The process and what it starts run with `ADDR_NO_RANDOMIZE`, as
    /// personality(2) has it: without ASLR.
    pub addr_no_randomize: bool,
    /// The user that it runs as, by name or number; root if not given. `HOME`, `USER` and `LOGNAME`
    /// of `env` are then that user's.
    pub user: Option<String>,
}

/// Time between SIGTERM and SIGKILL when a deadline passes, in milliseconds.
pub const TERM_GRACE_MS: u64 = 2000;

/// What a process has as stdin.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stdin {
    /// `/dev/null`.
    #[default]
    Null,
    /// A pipe that the host writes to.
    Pipe,
}

/// Where a process's output goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OutputMode {
    /// stdout and stderr through separate pipes.
    #[default]
    Separate,
    /// Both into one pipe, reported as [`Stream::Stdout`], in the order in
    /// which they were written.
    Merged,
    /// A terminal is stdin, stdout and stderr, and the controlling terminal of
    /// the new session; reported as [`Stream::Stdout`].
    Terminal(WindowSize),
}

/// Size of a terminal, in character cells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowSize {
    /// Height.
    pub rows: u16,
    /// Width.
    pub cols: u16,
}

/// One of a process's output streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Stream {
    /// Standard output, or everything if the two are merged.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessExit {
    /// Exit status or signal.
    pub status: Status,
    /// Whether the guest ended it because its deadline passed.
    pub deadline_passed: bool,
}

/// Exit status or signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    /// It called exit with this status (0 to 255).
    Exited(i32),
    /// A signal of this number ended it.
    Signaled(i32),
}

/// A process that outlived its job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leftover {
    /// Its pid.
    pub pid: i32,
    /// Its name, `/proc/PID/comm`.
    pub comm: String,
    /// Id of its session: the pid of the process that the host asked for, unless it created its own
    /// session.
    pub session: i32,
    /// Whether it is gone now; a process in uninterruptible sleep survives
    /// SIGKILL, and the VM is no longer clean.
    pub killed: bool,
}

/// What outlived the jobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remnant {
    /// What it is.
    pub kind: RemnantKind,
    /// Its name: the `comm` of a process, type and mount point of a mount, family and name of a
    /// table, the new value of a setting.
    pub name: String,
    /// Whether the change is undone; otherwise the VM is no longer clean.
    pub gone: bool,
}

/// Kinds of [`Remnant`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum RemnantKind {
    /// A process that had left its job's cgroup.
    Process,
    /// A mount that was not there before.
    Mount,
    /// A mount that was there before.
    LostMount,
    /// A network namespace with a name, ip-netns(8).
    NetworkNamespace,
    /// A table of nftables, in the first network namespace.
    NftablesTable,
    /// Options of a mount.
    MountOptions,
    /// A setting of the kernel or of PID 1: a sysctl, the clock, a name, a limit.
    Setting,
    /// A file that was changed or removed. New files are named only if they cannot be removed.
    File,
    /// A device of the first network namespace.
    NetworkDevice,
    /// Another part of that network: an address, a route, a rule.
    Network,
    /// An object of System V IPC, a POSIX message queue.
    Ipc,
    /// A cgroup.
    Cgroup,
    /// A BPF program or link, or a pin of one.
    Bpf,
    /// Something in tracefs.
    Tracing,
    /// A block device that was set up.
    BlockDevice,
    /// Swap that was turned on.
    Swap,
    /// A loaded module that cannot be unloaded.
    Module,
    /// A module that was unloaded.
    LostModule,
}
