//! `events.jsonl`: written as things happen, read back by reports.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use nix::fcntl::{Flock, FlockArg};
use thiserror::Error;

use super::event::{Event, Record, RunStarted, SCHEMA};
use crate::duration::millis;
use crate::hint::Hint;

/// What can go wrong with `events.jsonl`.
#[derive(Debug, Error)]
pub enum EventLogError {
    /// It cannot be created.
    #[error("cannot create {}: {source}", path.display())]
    Create {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Its file system, or the user's quota, is full.
    #[error("no space left for {}; all events before this one are in it", path.display())]
    DiskFull {
        /// The file.
        path: PathBuf,
        /// What the write said.
        source: io::Error,
    },
    /// An event cannot be written for another reason.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A directory has none, so it is not a run directory.
    #[error("{} is not a run directory: it has no events.jsonl", dir.display())]
    NoRun {
        /// The directory.
        dir: PathBuf,
    },
    /// It does not begin with the start of a run.
    #[error("{} does not begin with run_started", path.display())]
    NoStart {
        /// The file.
        path: PathBuf,
    },
    /// This kiln cannot read its version of the schema.
    #[error("{} has schema version {found}; this kiln reads {SCHEMA}", path.display())]
    Schema {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: String,
    },
    /// A line of it is not an event.
    #[error("{}:{line}: not an event: {source}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// Why.
        source: serde_json::Error,
    },
}

impl Hint for EventLogError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Create { .. } => {
                vec!["name a directory you can write to with --run-dir DIR".to_owned()]
            }
            Self::DiskFull { .. } => vec![
                "free some disk space, or use a run directory on another file system with \
                 --run-dir DIR"
                    .to_owned(),
            ],
            Self::Line { .. } => {
                vec!["another version of kiln wrote it, or somebody edited it".to_owned()]
            }
            Self::NoRun { .. } => {
                vec!["name the directories that kiln run wrote to (--run-dir DIR)".to_owned()]
            }
            Self::NoStart { .. } => {
                vec![
                    "kiln was killed before the run started, or somebody edited the file"
                        .to_owned(),
                ]
            }
            Self::Schema { .. } => {
                vec!["use the same version of kiln for the runs and for this command".to_owned()]
            }
            Self::Write { .. } | Self::Read { .. } => Vec::new(),
        }
    }
}

/// Name of the file in a run's directory.
pub const EVENTS: &str = "events.jsonl";

/// Where lines go: a file, except in tests.
trait Sink: Send {
    fn append(&mut self, line: &[u8]) -> io::Result<()>;
    fn cut(&mut self, length: u64) -> io::Result<()>;
}

impl Sink for Flock<File> {
    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        self.write_all(line)
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }
}

impl Sink for File {
    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        self.write_all(line)
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }
}

/// Appends events to `events.jsonl`, each in one write, without buffering.
pub struct EventWriter {
    sink: Box<dyn Sink>,
    path: PathBuf,
    /// Bytes of whole lines.
    length: u64,
    started: Instant,
    started_at: SystemTime,
}

impl EventWriter {
    /// Creates the file, which must not exist, and starts the run's clock.
    pub fn create(path: &Path) -> Result<Self, EventLogError> {
        let failed = |source| EventLogError::Create {
            path: path.to_owned(),
            source,
        };
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .open(path)
            .map_err(failed)?;
        // The lock shows others that the run is in progress; it ends with kiln. Run even on a file
        // system without locks.
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(locked) => Ok(Self::over(Box::new(locked), path)),
            Err((file, _)) => Ok(Self::over(Box::new(file), path)),
        }
    }

    fn over(sink: Box<dyn Sink>, path: &Path) -> Self {
        Self {
            sink,
            path: path.to_owned(),
            length: 0,
            started: Instant::now(),
            started_at: SystemTime::now(),
        }
    }

    /// When the run started, as RFC 3339 in UTC: for [`Event::RunStarted`].
    pub fn started_at(&self) -> String {
        chrono::DateTime::<chrono::Utc>::from(self.started_at)
            .to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
    }

    /// Milliseconds since the run started.
    pub fn elapsed_ms(&self) -> u64 {
        millis(self.started.elapsed())
    }

    /// Adds the time to the event and appends it; returns the record, for reports.
    ///
    /// After an error the file contains the complete lines before it, and the next event may be
    /// tried.
    pub fn write(&mut self, event: Event) -> Result<Record, EventLogError> {
        let record = Record {
            at_ms: self.elapsed_ms(),
            event,
        };
        self.append(&record)?;
        Ok(record)
    }

    /// Appends a record of an earlier run, with its time.
    pub fn append(&mut self, record: &Record) -> Result<(), EventLogError> {
        let line = record
            .to_json_line()
            .map_err(|source| self.failed(source.into()))?;
        if let Err(source) = self.sink.append(&line) {
            // Half a line would make the complete ones unreadable; cutting it off needs no space.
            // If even that fails, readers skip half a line at the end.
            let _ = self.sink.cut(self.length);
            return Err(self.failed(source));
        }
        self.length += line.len() as u64;
        Ok(())
    }

    fn failed(&self, source: io::Error) -> EventLogError {
        let path = self.path.clone();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                EventLogError::DiskFull { path, source }
            }
            _ => EventLogError::Write { path, source },
        }
    }
}

/// The contents of a run directory.
#[derive(Debug)]
pub struct RunLog {
    /// The directory, as the user named it.
    pub path: PathBuf,
    /// The events; the first is the start.
    pub records: Vec<Record>,
    /// The last line had no newline, and was skipped.
    pub cut_off: bool,
}

impl RunLog {
    /// Reads the events of the run in this directory.
    ///
    /// # Errors
    ///
    /// If there are none, or this kiln cannot read them.
    pub fn read(dir: &Path) -> Result<Self, EventLogError> {
        let path = dir.join(EVENTS);
        let bytes = std::fs::read(&path).map_err(not_read(dir))?;
        // Check this before reading events: those of another version may have another meaning.
        let first = bytes.split(|byte| *byte == b'\n').next().unwrap_or(&[]);
        check_schema(first, &path)?;
        let records = parse(&bytes, &path)?;
        match records.first().map(|record| &record.event) {
            Some(Event::RunStarted(_)) => Ok(Self {
                path: dir.to_owned(),
                records,
                cut_off: !bytes.ends_with(b"\n"),
            }),
            _ => Err(EventLogError::NoStart { path }),
        }
    }

    /// The start of the run; [`RunLog::read`] refuses a run without it.
    pub fn start(&self) -> Option<&RunStarted> {
        match &self.records.first()?.event {
            Event::RunStarted(start) => Some(start),
            _ => None,
        }
    }
}

/// Why the events of the run in this directory cannot be read.
pub(super) fn not_read(dir: &Path) -> impl Fn(io::Error) -> EventLogError {
    move |source| match source.kind() {
        io::ErrorKind::NotFound if dir.is_dir() => EventLogError::NoRun {
            dir: dir.to_owned(),
        },
        _ => EventLogError::Read {
            path: dir.join(EVENTS),
            source,
        },
    }
}

/// Checks the first line of a run's events: it is of the version that this kiln reads.
pub(super) fn check_schema(first: &[u8], path: &Path) -> Result<(), EventLogError> {
    let schema = serde_json::from_slice::<serde_json::Value>(first)
        .ok()
        .and_then(|start| start.get("schema").cloned());
    let path = path.to_owned();
    match schema {
        None => Err(EventLogError::NoStart { path }),
        Some(found) if found != SCHEMA => Err(EventLogError::Schema {
            path,
            found: found.to_string(),
        }),
        Some(_) => Ok(()),
    }
}

/// Reads the events of a run, also of one that was killed while writing: skips a last line without
/// a newline, and events that only a later kiln knows.
pub fn read_events(path: &Path) -> Result<Vec<Record>, EventLogError> {
    let bytes = std::fs::read(path).map_err(|source| EventLogError::Read {
        path: path.to_owned(),
        source,
    })?;
    parse(&bytes, path)
}

fn parse(bytes: &[u8], path: &Path) -> Result<Vec<Record>, EventLogError> {
    bytes
        .split_inclusive(|byte| *byte == b'\n')
        .enumerate()
        .filter(|(_, line)| line.ends_with(b"\n"))
        .map(|(index, line)| {
            Record::from_json(line).map_err(|source| EventLogError::Line {
                path: path.to_owned(),
                line: index + 1,
                source,
            })
        })
        .filter(|record| !matches!(record, Ok(record) if record.event == Event::Unknown))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::run::event::{VmStopped, Warning};

    fn warning(message: &str) -> Event {
        Event::Warning(Warning {
            kernel: None,
            message: message.to_owned(),
        })
    }

    #[test]
    fn events_can_be_read_during_the_run() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        let mut writer = EventWriter::create(&path).unwrap();
        let first = writer.write(warning("one")).unwrap();
        assert_eq!(read_events(&path).unwrap(), std::slice::from_ref(&first));
        let second = writer.write(warning("two")).unwrap();
        assert_eq!(read_events(&path).unwrap(), [first, second]);
    }

    #[test]
    fn the_events_of_another_run_are_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        EventWriter::create(&path).unwrap();
        assert!(matches!(
            EventWriter::create(&path),
            Err(EventLogError::Create { .. })
        ));
    }

    #[test]
    fn half_a_last_line_is_left_out_and_half_a_line_inside_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        let mut writer = EventWriter::create(&path).unwrap();
        let record = writer.write(warning("one")).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.extend(b"{\"at_ms\":1,\"ev");
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(read_events(&path).unwrap(), [record]);

        bytes.push(b'\n');
        std::fs::write(&path, &bytes).unwrap();
        let error = read_events(&path).unwrap_err();
        assert!(matches!(error, EventLogError::Line { line: 2, .. }));
    }

    #[test]
    fn unreadable_runs_get_different_errors() {
        let dir = tempfile::tempdir().unwrap();
        let read = |text: &str| {
            std::fs::write(dir.path().join(EVENTS), text).unwrap();
            RunLog::read(dir.path())
        };
        assert!(matches!(
            RunLog::read(dir.path()),
            Err(EventLogError::NoRun { .. })
        ));
        assert!(matches!(
            RunLog::read(&dir.path().join("gone")),
            Err(EventLogError::Read { .. })
        ));
        assert!(matches!(read(""), Err(EventLogError::NoStart { .. })));
        assert!(matches!(
            read("{\"schema\":2,\"any\":\"thing\"}\n"),
            Err(EventLogError::Schema { found, .. }) if found == "2"
        ));
        let start = crate::report::samples::started(&["6.1"], 1);
        let mut text = String::from_utf8(start.to_json_line().unwrap()).unwrap();
        assert!(!read(&text).unwrap().cut_off);
        text.push_str("{\"at_ms\":1,");
        let cut = read(&text).unwrap();
        assert!(cut.cut_off);
        assert_eq!(cut.records, [start]);
    }

    /// A disk with room for this many bytes.
    struct SmallDisk {
        held: Arc<Mutex<Vec<u8>>>,
        room: usize,
    }

    impl Sink for SmallDisk {
        fn append(&mut self, line: &[u8]) -> io::Result<()> {
            let mut held = self.held.lock().unwrap();
            let fits = line.len().min(self.room - held.len());
            held.extend(&line[..fits]);
            if fits < line.len() {
                return Err(io::ErrorKind::StorageFull.into());
            }
            Ok(())
        }

        fn cut(&mut self, length: u64) -> io::Result<()> {
            let length = usize::try_from(length).unwrap();
            self.held.lock().unwrap().truncate(length);
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_is_named_and_keeps_the_events_before_it() {
        let held = Arc::new(Mutex::new(Vec::new()));
        let disk = SmallDisk {
            held: Arc::clone(&held),
            room: 100,
        };
        let mut writer = EventWriter::over(Box::new(disk), Path::new("events.jsonl"));
        let first = writer.write(warning("fits")).unwrap();
        let error = writer.write(warning(&"x".repeat(200))).unwrap_err();
        assert!(matches!(error, EventLogError::DiskFull { .. }));
        assert!(!error.hints().is_empty());
        assert_eq!(*held.lock().unwrap(), first.to_json_line().unwrap());
    }

    #[test]
    fn the_kernels_own_word_for_a_full_disk_is_understood() {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut writer = EventWriter::over(Box::new(full), Path::new("/dev/full"));
        assert!(matches!(
            writer.write(warning("anything")),
            Err(EventLogError::DiskFull { .. })
        ));
    }

    #[test]
    fn the_start_is_an_rfc_3339_time() {
        let dir = tempfile::tempdir().unwrap();
        let writer = EventWriter::create(&dir.path().join("events.jsonl")).unwrap();
        assert!(chrono::DateTime::parse_from_rfc3339(&writer.started_at()).is_ok());
    }

    #[test]
    fn what_a_later_kiln_says_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        let mut writer = EventWriter::create(&path).unwrap();
        let first = writer.write(warning("one")).unwrap();
        drop(writer);
        let mut text = std::fs::read_to_string(&path).unwrap();
        text.push_str("{\"at_ms\":5,\"event\":\"test_explained\",\"why\":[1,{\"a\":2}]}\n");
        text.push_str(
            "{\"at_ms\":6,\"event\":\"vm_stopped\",\"kernel\":\"6.1\",\"vm\":0,\"new\":true}\n",
        );
        std::fs::write(&path, &text).unwrap();
        let stopped = Event::VmStopped(VmStopped {
            kernel: "6.1".into(),
            vm: 0,
        });
        let second = Record {
            at_ms: 6,
            event: stopped,
        };
        assert_eq!(read_events(&path).unwrap(), [first, second]);
        // A known event without a required field is not an event.
        std::fs::write(&path, "{\"at_ms\":6,\"event\":\"vm_stopped\",\"vm\":0}\n").unwrap();
        assert!(read_events(&path).is_err());
    }
}
