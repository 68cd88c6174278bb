//! `events.jsonl`: written as things happen, read back by reports.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use thiserror::Error;

use super::event::{Event, Record};
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
    /// A line of it is no event.
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
                "make room, or put the run's directory on another file system with --run-dir DIR"
                    .to_owned(),
            ],
            Self::Line { .. } => {
                vec!["it was written by another version of kiln, or changed by hand".to_owned()]
            }
            Self::Write { .. } | Self::Read { .. } => Vec::new(),
        }
    }
}

/// Where lines go: a file, but for tests.
trait Sink: Send {
    fn append(&mut self, line: &[u8]) -> io::Result<()>;
    fn cut(&mut self, length: u64) -> io::Result<()>;
}

impl Sink for File {
    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        self.write_all(line)
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }
}

/// Appends events to `events.jsonl`, each in one write, none held back.
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
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .open(path)
            .map_err(|source| EventLogError::Create {
                path: path.to_owned(),
                source,
            })?;
        Ok(Self::over(Box::new(file), path))
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
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Stamps the event and appends it; the record is what reports fold.
    ///
    /// After an error the file holds the whole lines before it, and the next
    /// event may be tried.
    pub fn write(&mut self, event: Event) -> Result<Record, EventLogError> {
        let record = Record {
            at_ms: self.elapsed_ms(),
            event,
        };
        let line = record
            .to_json_line()
            .map_err(|source| self.failed(source.into()))?;
        if let Err(source) = self.sink.append(&line) {
            // Half a line would spoil the whole ones for readers; cutting it
            // needs no space. If even that fails, readers skip a last half line.
            let _ = self.sink.cut(self.length);
            return Err(self.failed(source));
        }
        self.length += line.len() as u64;
        Ok(record)
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

/// Reads the events of a run, also of one that was killed while writing: a last
/// line without its newline is left out.
pub fn read_events(path: &Path) -> Result<Vec<Record>, EventLogError> {
    let bytes = std::fs::read(path).map_err(|source| EventLogError::Read {
        path: path.to_owned(),
        source,
    })?;
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
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::{Arc, Mutex};

    use super::*;

    fn warning(message: &str) -> Event {
        Event::Warning {
            kernel: None,
            message: message.to_owned(),
        }
    }

    #[test]
    fn what_is_written_can_be_read_while_the_run_goes_on() {
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

    /// A disk with room for so many bytes.
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
}
