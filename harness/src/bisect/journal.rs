//! What a bisection has found so far, in a file of one JSON object per line: first what was asked,
//! then each answer, written before the next kernel is chosen.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use crate::hint::Hint;

/// Its name in the directory of the bisection.
pub const JOURNAL: &str = "bisect.jsonl";

/// Raised when an older kiln could not read a journal.
const FORMAT: u32 = 1;

/// What a kernel does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Good,
    /// It has the bug.
    Bad,
    /// It cannot say: it does not boot, or its test does not apply.
    Skip,
    /// It could not be had now. It is skipped, and tried again by a resumed bisection.
    Unavailable,
}

impl Verdict {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Bad => "bad",
            Self::Skip => "skip",
            Self::Unavailable => "unavailable",
        }
    }
}

/// What to look for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LookFor {
    /// The first kernel with the bug: the good one is older
    #[default]
    Broken,
    /// The first kernel without it: the bad one is older
    Fixed,
}

/// What was asked: the first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// Version of the journal.
    pub format: u32,
    /// Version of kiln.
    pub kiln: String,
    /// When it began, as RFC 3339 in UTC.
    pub started_at: String,
    /// Where.
    pub cwd: String,
    /// The command line of `kiln bisect`, without the values of variables.
    pub words: Vec<String>,
    /// What to look for.
    pub look_for: LookFor,
    /// How often each kernel is asked.
    pub confirm: u32,
    /// The kernels in their order, the two ends among them.
    pub kernels: Vec<Candidate>,
}

/// A kernel between the ends, or one of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// As `-k` takes it.
    pub name: String,
    /// Version of the kernel, or its release.
    pub upstream: String,
    /// Version of its package, or its release.
    pub package: String,
}

/// One run on one kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The kernel's name.
    pub kernel: String,
    /// Counts the runs on this kernel, from 1.
    pub attempt: u32,
    /// What it did.
    pub verdict: Verdict,
    /// Why, in one line; empty if the verdict says it all.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// Whether a VM was started.
    pub booted: bool,
    /// The directory of the run, in that of the bisection.
    pub dir: String,
}

/// What can go wrong with a journal.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The directory has none.
    #[error("{} is not the directory of a bisection: it has no {JOURNAL}", dir.display())]
    NoBisection {
        /// The directory.
        dir: PathBuf,
    },
    /// It cannot be read or written.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line of it cannot be understood.
    #[error("{}:{line}: not a line of a bisection: {source}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// Why.
        source: serde_json::Error,
    },
    /// Another version wrote it.
    #[error("{} has format {found}; this kiln reads {FORMAT}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// Another kiln writes it.
    #[error("another kiln is at work in {}", dir.display())]
    Busy {
        /// The directory.
        dir: PathBuf,
    },
}

impl Hint for JournalError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::NoBisection { .. } => {
                vec!["name the directory that kiln bisect printed when it began".to_owned()]
            }
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => vec![
                "free some disk space, then go on with `kiln bisect --resume`: all answers before \
                 this one are kept"
                    .to_owned(),
            ],
            Self::Line { .. } | Self::Format { .. } => {
                vec!["another version of kiln wrote it, or somebody edited it".to_owned()]
            }
            Self::Busy { .. } => vec!["wait until it has ended, or stop it".to_owned()],
            Self::Io { .. } => Vec::new(),
        }
    }
}

/// What a journal has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// What was asked.
    pub asked: Asked,
    /// The answers, in the order they came.
    pub answers: Vec<Answer>,
    /// Bytes of whole lines.
    length: u64,
}

/// Reads the journal in `dir`; half a last line, as a kill leaves it, does not count.
pub fn read(dir: &Path) -> Result<Read, JournalError> {
    let path = dir.join(JOURNAL);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(JournalError::NoBisection {
                dir: dir.to_owned(),
            });
        }
        Err(source) => return Err(failed("read", &path)(source)),
    };
    parse(&bytes, dir)
}

fn parse(bytes: &[u8], dir: &Path) -> Result<Read, JournalError> {
    let path = dir.join(JOURNAL);
    let whole = bytes.iter().rposition(|byte| *byte == b'\n');
    let whole = whole.map_or(&[][..], |end| &bytes[..=end]);
    let mut lines = whole.split_inclusive(|byte| *byte == b'\n').enumerate();
    let bad = |line: usize| {
        let path = path.clone();
        move |source| JournalError::Line {
            path,
            line: line + 1,
            source,
        }
    };
    let Some((_, first)) = lines.next() else {
        return Err(JournalError::NoBisection {
            dir: dir.to_owned(),
        });
    };
    let asked: Asked = serde_json::from_slice(first).map_err(bad(0))?;
    if asked.format != FORMAT {
        return Err(JournalError::Format {
            path,
            found: asked.format,
        });
    }
    let answers = lines.map(|(line, text)| serde_json::from_slice(text).map_err(bad(line)));
    Ok(Read {
        asked,
        answers: answers.collect::<Result<_, _>>()?,
        length: whole.len() as u64,
    })
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> JournalError {
    let path = path.to_owned();
    move |source| JournalError::Io { what, path, source }
}

/// A journal that is being written. Only one kiln at a time has it.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: Flock<File>,
}

impl Journal {
    /// Begins the journal in `dir`.
    pub fn create(dir: &Path, mut asked: Asked) -> Result<Self, JournalError> {
        asked.format = FORMAT;
        let path = dir.join(JOURNAL);
        let file = OpenOptions::new().append(true).create_new(true).open(&path);
        let file = file.map_err(failed("create", &path))?;
        let mut journal = Self::locked(file, dir)?;
        journal.append(&asked)?;
        Ok(journal)
    }

    /// Goes on with the journal in `dir`, and returns what it has.
    pub fn resume(dir: &Path) -> Result<(Self, Read), JournalError> {
        let path = dir.join(JOURNAL);
        let file = match OpenOptions::new().append(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(JournalError::NoBisection {
                    dir: dir.to_owned(),
                });
            }
            Err(source) => return Err(failed("open", &path)(source)),
        };
        let journal = Self::locked(file, dir)?;
        let read = read(dir)?;
        let cut = journal.file.set_len(read.length);
        cut.map_err(failed("write", &path))?;
        Ok((journal, read))
    }

    fn locked(file: File, dir: &Path) -> Result<Self, JournalError> {
        let file =
            Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|_| JournalError::Busy {
                dir: dir.to_owned(),
            })?;
        Ok(Self {
            path: dir.join(JOURNAL),
            file,
        })
    }

    /// Adds an answer; it is on the disk when this returns.
    pub fn answer(&mut self, answer: &Answer) -> Result<(), JournalError> {
        self.append(answer)
    }

    fn append(&mut self, line: &impl Serialize) -> Result<(), JournalError> {
        let write = |file: &mut File| {
            let mut text = serde_json::to_vec(line)?;
            text.push(b'\n');
            let length = file.metadata()?.len();
            file.write_all(&text)
                .and_then(|()| file.sync_data())
                // Half a line must not stay in front of the next one.
                .inspect_err(|_| drop(file.set_len(length)))
        };
        write(&mut self.file).map_err(failed("write", &self.path))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    pub(crate) fn asked() -> Asked {
        Asked {
            format: FORMAT,
            kiln: "0.1.0".into(),
            started_at: "2026-11-28T20:00:00.000Z".into(),
            cwd: "/w".into(),
            words: vec!["kiln".into(), "bisect".into()],
            look_for: LookFor::Broken,
            confirm: 1,
            kernels: Vec::new(),
        }
    }

    fn answer(kernel: &str, verdict: Verdict) -> Answer {
        Answer {
            kernel: kernel.into(),
            attempt: 1,
            verdict,
            reason: "why\nso".into(),
            took_ms: 5,
            booted: true,
            dir: "steps/1".into(),
        }
    }

    #[test]
    fn what_a_kill_cut_off_is_lost_and_nothing_before_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::create(dir.path(), asked()).unwrap();
        let first = answer("6.1", Verdict::Good);
        journal.answer(&first).unwrap();
        drop(journal);
        let path = dir.path().join(JOURNAL);
        let mut bytes = std::fs::read(&path).unwrap();
        let whole = bytes.len();
        bytes.extend_from_slice(b"{\"kernel\":\"6.12\",\"att");
        std::fs::write(&path, &bytes).unwrap();
        let (mut journal, found) = Journal::resume(dir.path()).unwrap();
        assert_eq!(found.answers, std::slice::from_ref(&first));
        assert_eq!(std::fs::metadata(&path).unwrap().len(), whole as u64);
        let second = answer("6.12", Verdict::Bad);
        journal.answer(&second).unwrap();
        assert_eq!(read(dir.path()).unwrap().answers, [first, second]);
    }

    #[test]
    fn two_at_once_and_directories_of_others_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(
            Journal::resume(dir.path()),
            Err(JournalError::NoBisection { .. })
        ));
        let journal = Journal::create(dir.path(), asked()).unwrap();
        assert!(matches!(
            Journal::resume(dir.path()),
            Err(JournalError::Busy { .. })
        ));
        drop(journal);
        std::fs::write(dir.path().join(JOURNAL), "{\"format\":1}\n").unwrap();
        assert!(matches!(
            read(dir.path()),
            Err(JournalError::Line { line: 1, .. })
        ));
        std::fs::write(dir.path().join(JOURNAL), "").unwrap();
        assert!(matches!(
            read(dir.path()),
            Err(JournalError::NoBisection { .. })
        ));
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_any_cut_keeps_the_lines_before_it(
            noise in prop::collection::vec(any::<u8>(), 0..80),
            cut in any::<prop::sample::Index>(),
        ) {
            let _ = parse(&noise, Path::new("d"));
            let mut bytes = Vec::new();
            for line in [
                serde_json::to_vec(&asked()).unwrap(),
                serde_json::to_vec(&answer("a", Verdict::Skip)).unwrap(),
                serde_json::to_vec(&answer("b", Verdict::Unavailable)).unwrap(),
            ] {
                bytes.extend(line);
                bytes.push(b'\n');
            }
            let cut = cut.index(bytes.len() + 1);
            let whole = memchr::memchr_iter(b'\n', &bytes[..cut]).count();
            match parse(&bytes[..cut], Path::new("d")) {
                Ok(read) => prop_assert_eq!(read.answers.len() + 1, whole),
                Err(error) => prop_assert!(whole == 0, "{}", error),
            }
        }
    }
}
