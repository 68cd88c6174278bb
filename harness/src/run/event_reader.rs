//! Reads a run's events one at a time, as far as they go: for reports on runs that may be damaged,
//! or not over.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use super::event::{Event, Record};
use super::event_log::{EVENTS, EventLogError, check_schema, not_read};

/// How far the events of a run go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Extent {
    /// To its end.
    Whole,
    /// It is in progress.
    Running,
    /// kiln was killed, or its disk was full.
    Unfinished,
    /// This line, counted from 1, is not an event; the rest was not read.
    Damaged(usize),
}

impl Extent {
    /// What a reader of a report must know.
    pub fn note(&self) -> Option<String> {
        Some(match self {
            Self::Whole => return None,
            Self::Running => "The run is not over yet: this is what it has so far.".to_owned(),
            Self::Unfinished => {
                "The run did not end: kiln was killed, or its disk was full. This is what it had."
                    .to_owned()
            }
            Self::Damaged(line) => {
                format!("Line {line} of events.jsonl is damaged: this is what stands before it.")
            }
        })
    }
}

/// The file of a run's events, whose first line has been read.
pub struct EventReader {
    path: PathBuf,
    reader: BufReader<File>,
    running: bool,
    first: Record,
}

impl EventReader {
    /// Opens the events of the run in this directory.
    ///
    /// # Errors
    ///
    /// If there are none, or they do not begin with the start of a run that this kiln can read.
    pub fn open(dir: &Path) -> Result<Self, EventLogError> {
        let path = dir.join(EVENTS);
        let failed = not_read(dir);
        let file = File::open(&path).map_err(&failed)?;
        // A kiln that writes the file holds a lock. Asked before reading: a run that ends in
        // between then counts as ended.
        let (file, running) = match Flock::lock(file, FlockArg::LockSharedNonblock) {
            Ok(locked) => (
                locked.unlock().map_err(|(_, errno)| failed(errno.into()))?,
                false,
            ),
            Err((file, _)) => (file, true),
        };
        let mut reader = BufReader::with_capacity(1 << 18, file);
        let mut line = Vec::new();
        reader.read_until(b'\n', &mut line).map_err(&failed)?;
        check_schema(&line, &path)?;
        let first = Record::from_json(&line).map_err(|source| EventLogError::Line {
            path: path.clone(),
            line: 1,
            source,
        })?;
        if !matches!(first.event, Event::RunStarted(_)) {
            return Err(EventLogError::NoStart { path });
        }
        Ok(Self {
            path,
            reader,
            running,
            first,
        })
    }

    /// Passes each event to `take`, and says how far they go. Skips events of a later kiln.
    pub fn each(self, mut take: impl FnMut(Record)) -> Result<Extent, EventLogError> {
        let Self {
            path,
            mut reader,
            running,
            first,
        } = self;
        take(first);
        let mut line = Vec::new();
        let mut number = 1;
        let mut ended = false;
        loop {
            line.clear();
            number += 1;
            let read = reader.read_until(b'\n', &mut line);
            read.map_err(|source| EventLogError::Read {
                path: path.clone(),
                source,
            })?;
            if !line.ends_with(b"\n") {
                break;
            }
            match Record::from_json(&line) {
                Ok(record) => {
                    ended |= matches!(record.event, Event::RunFinished(_));
                    if record.event != Event::Unknown {
                        take(record);
                    }
                }
                Err(_) => return Ok(Extent::Damaged(number)),
            }
        }
        Ok(match (ended, running) {
            (true, _) => Extent::Whole,
            (false, true) => Extent::Running,
            (false, false) => Extent::Unfinished,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::report::samples::{finished, started};
    use crate::run::event::{RunFinished, Verdict};
    use crate::run::event_log::EventWriter;

    fn read(dir: &Path) -> (usize, Extent) {
        let mut count = 0;
        let extent = EventReader::open(dir)
            .unwrap()
            .each(|_| count += 1)
            .unwrap();
        (count, extent)
    }

    #[test]
    fn a_run_is_read_as_far_as_it_goes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(EVENTS);
        let mut writer = EventWriter::create(&path).unwrap();
        writer.append(&started(&["6.1"], 1)).unwrap();
        writer
            .append(&finished("6.1", "a.b", Verdict::Pass, ""))
            .unwrap();
        assert_eq!(read(dir.path()), (2, Extent::Running));
        let end = Event::RunFinished(RunFinished {
            exit_code: 0,
            duration_ms: 1,
        });
        drop(writer);
        assert_eq!(read(dir.path()), (2, Extent::Unfinished));
        let whole = std::fs::read_to_string(&path).unwrap();
        let end = Record {
            at_ms: 9,
            event: end,
        }
        .to_json_line()
        .unwrap();
        let end = String::from_utf8(end).unwrap();
        std::fs::write(
            &path,
            format!("{whole}{{\"at_ms\":1,\"event\":\"later\"}}\n{end}"),
        )
        .unwrap();
        assert_eq!(read(dir.path()), (3, Extent::Whole));
        std::fs::write(&path, format!("{whole}half of\n{end}")).unwrap();
        assert_eq!(read(dir.path()), (2, Extent::Damaged(3)));
        std::fs::write(&path, format!("{whole}{{\"at_ms\":9,\"even")).unwrap();
        assert_eq!(read(dir.path()), (2, Extent::Unfinished));
    }

    #[test]
    fn what_is_no_run_has_a_cause() {
        let dir = tempfile::tempdir().unwrap();
        let open = |text: &str| {
            std::fs::write(dir.path().join(EVENTS), text).unwrap();
            EventReader::open(dir.path()).err().unwrap()
        };
        assert!(matches!(
            EventReader::open(dir.path()).err(),
            Some(EventLogError::NoRun { .. })
        ));
        assert!(matches!(open(""), EventLogError::NoStart { .. }));
        assert!(matches!(
            open("{\"schema\":2}\n"),
            EventLogError::Schema { .. }
        ));
        assert!(matches!(
            open("{\"schema\":1}\n"),
            EventLogError::Line { line: 1, .. }
        ));
        assert!(matches!(
            open("{\"schema\":1,\"at_ms\":0,\"event\":\"warning\",\"message\":\"\"}\n"),
            EventLogError::NoStart { .. }
        ));
    }
}
