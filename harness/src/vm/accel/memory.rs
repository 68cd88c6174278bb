//! Results of earlier probes, valid until host or QEMU change.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use super::choice::Choice;
use crate::vm::accelerator::Accelerator;
use crate::vm::qemu::Qemu;
use crate::whole_file;

/// Changes with each boot of the host (random(4)).
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

const FILE: &str = "accel.json";

/// What a result is valid for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Key {
    boot_id: String,
    qemu: PathBuf,
    version: String,
    /// Seconds since the epoch.
    modified: Option<u64>,
}

/// A stored result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Answer {
    key: Key,
    pub(super) accelerator: Accelerator,
    pub(super) reason: Option<String>,
}

/// The file of results, seen by one QEMU.
pub(super) struct Memory {
    file: PathBuf,
    key: Key,
}

impl Memory {
    pub(super) fn of(cache_dir: &Path, qemu: &Qemu) -> Self {
        let boot_id = fs::read_to_string(BOOT_ID).unwrap_or_default();
        let modified = fs::metadata(&qemu.path)
            .and_then(|meta| meta.modified())
            .ok()
            .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
            .map(|since| since.as_secs());
        Self {
            file: cache_dir.join(FILE),
            key: Key {
                boot_id: boot_id.trim().to_owned(),
                qemu: qemu.path.clone(),
                version: qemu.full_version.clone(),
                modified,
            },
        }
    }

    /// The result for this boot of the host and this QEMU.
    pub(super) fn recall(&self) -> Option<Answer> {
        self.read()
            .into_iter()
            .find(|answer| answer.key == self.key)
    }

    /// Stores a result, with those of other QEMUs in this boot.
    pub(super) fn keep(&self, choice: &Choice) -> io::Result<()> {
        let mut answers = self.read();
        answers.retain(|answer| {
            answer.key.boot_id == self.key.boot_id && answer.key.qemu != self.key.qemu
        });
        answers.push(Answer {
            key: self.key.clone(),
            accelerator: choice.accelerator,
            reason: choice.reason.clone(),
        });
        whole_file::remember(&self.file, &answers)
    }

    /// All results.
    fn read(&self) -> Vec<Answer> {
        whole_file::recall(&self.file)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::vm::qemu::Version;

    fn qemu(full_version: &str) -> Qemu {
        Qemu {
            path: "/usr/bin/true".into(),
            version: Version { major: 7, minor: 2 },
            full_version: full_version.to_owned(),
            sandbox: true,
            kvm: true,
            lacks: Vec::new(),
        }
    }

    #[test]
    fn an_answer_is_remembered_for_its_qemu_only() {
        let dir = tempfile::tempdir().unwrap();
        let choice = Choice::fresh(Accelerator::Tcg, Some("broken".to_owned()));
        Memory::of(dir.path(), &qemu("1")).keep(&choice).unwrap();
        let answer = Memory::of(dir.path(), &qemu("1")).recall().unwrap();
        assert_eq!(answer.accelerator, Accelerator::Tcg);
        assert_eq!(answer.reason.as_deref(), Some("broken"));
        assert_eq!(Memory::of(dir.path(), &qemu("2")).recall(), None);
    }

    #[test]
    fn another_boot_of_the_host_forgets() {
        let dir = tempfile::tempdir().unwrap();
        let memory = Memory::of(dir.path(), &qemu("1"));
        memory.keep(&Choice::fresh(Accelerator::Kvm, None)).unwrap();
        let mut later = Memory::of(dir.path(), &qemu("1"));
        later.key.boot_id = "another".to_owned();
        assert_eq!(later.recall(), None);
        later.keep(&Choice::fresh(Accelerator::Kvm, None)).unwrap();
        assert_eq!(later.read().len(), 1);
    }

    #[test]
    fn a_damaged_file_is_forgotten_and_replaced() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), "{").unwrap();
        let memory = Memory::of(dir.path(), &qemu("1"));
        assert_eq!(memory.recall(), None);
        memory.keep(&Choice::fresh(Accelerator::Kvm, None)).unwrap();
        assert!(memory.recall().is_some());
    }
}
