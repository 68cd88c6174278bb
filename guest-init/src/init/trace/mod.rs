//! Records events of the kernel with ftrace (kernel doc, trace/ftrace), in an instance of its own:
//! tests that trace have their own buffers, and do not see this one's events.

mod data;

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, PipeReader, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

use guest_init::message::{TraceReply, TraceRequest};
use nix::libc;

use data::Source;

const TRACEFS: &str = "/sys/kernel/tracing";
const INSTANCE: &str = "/sys/kernel/tracing/instances/kiln";
const KALLSYMS: &str = "/proc/kallsyms";
/// Bytes of names of events that fit into a message.
const NAMES: usize = 128 << 10;
/// Least KiB for a CPU.
const LEAST: u64 = 64;

/// Records, and writes what was recorded in a thread, since it takes seconds under emulation.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    writing: Option<Writing>,
}

#[derive(Debug)]
struct Writing {
    /// Closed when the thread ends.
    end: PipeReader,
    thread: JoinHandle<TraceReply>,
}

impl Recorder {
    /// Does what the host asks; the reply may come later.
    pub(super) fn handle(&mut self, request: TraceRequest) -> Option<TraceReply> {
        let done = match request {
            TraceRequest::Prepare { events, buffer_kib } => prepare(&events, buffer_kib),
            TraceRequest::Start => start(Path::new(INSTANCE)).map(|()| TraceReply::Done),
            TraceRequest::Stop { path } => match self.stop(path) {
                Ok(()) => return None,
                Err(error) => Err(error),
            },
        };
        Some(done.unwrap_or_else(|error| failed(&error)))
    }

    /// Readable once what was recorded is written.
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.writing.as_ref().map(|writing| writing.end.as_fd())
    }

    /// The reply to the request to stop, once it is there.
    pub(super) fn written(&mut self) -> Option<TraceReply> {
        let Writing { thread, .. } = self.writing.take()?;
        let reply = thread.join();
        Some(reply.unwrap_or_else(|_| TraceReply::Failed("the writer panicked".to_owned())))
    }

    fn stop(&mut self, path: String) -> io::Result<()> {
        let instance = PathBuf::from(INSTANCE);
        set(&instance, "tracing_on", "0")?;
        let (end, sender) = io::pipe()?;
        let thread = thread::Builder::new().spawn(move || {
            let _ended = sender;
            write(&instance, &path).unwrap_or_else(|error| failed(&error))
        })?;
        self.writing = Some(Writing { end, thread });
        Ok(())
    }
}

fn failed(error: &io::Error) -> TraceReply {
    TraceReply::Failed(error.to_string())
}

/// Writes what was recorded since the kernel started (`trace_event=`), and records no more.
pub(super) fn keep_boot(path: &str) -> io::Result<()> {
    let tracefs = Path::new(TRACEFS);
    set(tracefs, "tracing_on", "0")?;
    write(tracefs, path)?;
    // As it is without.
    File::create(tracefs.join("set_event"))?;
    start(tracefs)
}

fn prepare(events: &[String], buffer_kib: u64) -> io::Result<TraceReply> {
    let instance = Path::new(INSTANCE);
    match fs::create_dir(instance) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Ok(TraceReply::Unavailable(format!("{INSTANCE}: {error}"))),
    }
    set(instance, "tracing_on", "0")?;
    let cpus = u64::try_from(data::cpus(instance)?.max(1)).unwrap_or(u64::MAX);
    let size = (buffer_kib / cpus).max(LEAST);
    set(instance, "buffer_size_kb", &size.to_string())?;
    // Programs can ask for this clock, too.
    set(instance, "trace_clock", "mono")?;
    let mut unknown = Vec::new();
    for event in events {
        match set(instance, "set_event", event) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => unknown.push(event.clone()),
            Err(error) => return Err(error),
        }
    }
    if unknown.is_empty() {
        return Ok(TraceReply::Done);
    }
    fs::remove_dir(instance)?;
    let mut known = Vec::new();
    let mut bytes = 0;
    for name in fs::read_to_string(Path::new(TRACEFS).join("available_events"))?.lines() {
        bytes += name.len();
        if bytes > NAMES {
            break;
        }
        known.push(name.to_owned());
    }
    Ok(TraceReply::Unknown {
        events: unknown,
        known,
    })
}

/// Empties the buffer and records from now on.
fn start(instance: &Path) -> io::Result<()> {
    // Opening it with O_TRUNC is enough.
    File::create(instance.join("trace"))?;
    set(instance, "tracing_on", "1")
}

/// Writes the buffer in both forms, and empties it.
fn write(instance: &Path, path: &str) -> io::Result<TraceReply> {
    let (events, lost) = counts(instance)?;
    // First: reading the pages takes them out of the buffer.
    let mut text = create(&format!("{path}.txt"))?;
    data::copy(&mut File::open(instance.join("trace"))?, &mut text)?;
    text.flush()?;
    let mut out = create(&format!("{path}.dat"))?;
    let source = Source {
        tracefs: TRACEFS.into(),
        instance: instance.to_owned(),
        kallsyms: KALLSYMS.into(),
    };
    source.write(&mut out)?;
    Ok(TraceReply::Written { events, lost })
}

/// Creates a file of the host, to which few large writes cost less than many small ones.
fn create(path: &str) -> io::Result<BufWriter<File>> {
    Ok(BufWriter::with_capacity(256 << 10, File::create(path)?))
}

/// How many events the buffer has, and how many it has overwritten.
fn counts(instance: &Path) -> io::Result<(u64, u64)> {
    let (mut events, mut lost) = (0, 0);
    for cpu in 0..data::cpus(instance)? {
        let stats = instance.join(format!("per_cpu/cpu{cpu}/stats"));
        let stats = fs::read_to_string(stats).unwrap_or_default();
        events += number(&stats, "entries: ");
        lost += number(&stats, "overrun: ");
    }
    Ok((events, lost))
}

fn number(stats: &str, key: &str) -> u64 {
    let found = stats.lines().find_map(|line| line.strip_prefix(key));
    found.and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// Writes to a file of tracefs, and only adds to those that are lists.
fn set(dir: &Path, file: &str, value: &str) -> io::Result<()> {
    let mut opened = OpenOptions::new().append(true).open(dir.join(file))?;
    opened.write_all(value.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_those_of_the_kernel() {
        let stats = "entries: 12\noverrun: 3\ncommit overrun: 4\nbytes: 5\n";
        assert_eq!(number(stats, "entries: "), 12);
        assert_eq!(number(stats, "overrun: "), 3);
        assert_eq!(number("", "entries: "), 0);
    }
}
