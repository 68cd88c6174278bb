//! Cached answers of a QEMU, valid until its file changes.
//!
//! Querying QEMU takes four short processes, 40 to 130 ms of each start of kiln.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Qemu, Version};
use crate::stamp::Stamp;
use crate::whole_file;

const FILE: &str = "qemu.json";

/// A cached QEMU, which is usable. Problems of others are not cached, since they may be fixed by
/// the next time.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Answer {
    stamp: Stamp,
    version: (u32, u32),
    full_version: String,
    sandbox: bool,
    kvm: bool,
    lacks: Vec<String>,
}

type Answers = BTreeMap<PathBuf, Answer>;

impl Qemu {
    /// The QEMU at `path`, if it was described before and is still the same file.
    pub(super) fn recall(cache_dir: &Path, path: &Path) -> Option<Self> {
        let answer = read(cache_dir).remove(path)?;
        let (major, minor) = answer.version;
        (answer.stamp == Stamp::of(path).ok()?).then(|| Self {
            path: path.to_owned(),
            version: Version { major, minor },
            full_version: answer.full_version,
            sandbox: answer.sandbox,
            kvm: answer.kvm,
            lacks: answer.lacks,
        })
    }

    /// Adds it to the cache.
    pub(super) fn remember(&self, cache_dir: &Path) -> io::Result<()> {
        let mut answers = read(cache_dir);
        answers.retain(|path, _| path.exists());
        answers.insert(
            self.path.clone(),
            Answer {
                stamp: Stamp::of(&self.path)?,
                version: (self.version.major, self.version.minor),
                full_version: self.full_version.clone(),
                sandbox: self.sandbox,
                kvm: self.kvm,
                lacks: self.lacks.clone(),
            },
        );
        whole_file::remember(&cache_dir.join(FILE), &answers)
    }
}

fn read(cache_dir: &Path) -> Answers {
    whole_file::recall(&cache_dir.join(FILE))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;

    use super::*;

    fn qemu(dir: &Path) -> Qemu {
        let path = dir.join("qemu");
        fs::write(&path, "one").unwrap();
        Qemu {
            path,
            version: Version { major: 7, minor: 2 },
            full_version: "7.2.22".to_owned(),
            sandbox: true,
            kvm: false,
            lacks: vec!["isa-serial".to_owned()],
        }
    }

    #[test]
    fn a_qemu_is_remembered_until_its_file_changes() {
        let dir = tempfile::tempdir().unwrap();
        let qemu = qemu(dir.path());
        assert_eq!(Qemu::recall(dir.path(), &qemu.path), None);
        qemu.remember(dir.path()).unwrap();
        assert_eq!(Qemu::recall(dir.path(), &qemu.path), Some(qemu.clone()));
        fs::write(&qemu.path, "another").unwrap();
        assert_eq!(Qemu::recall(dir.path(), &qemu.path), None);
    }

    #[test]
    fn a_damaged_file_is_forgotten_and_replaced() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), "[").unwrap();
        let qemu = qemu(dir.path());
        assert_eq!(Qemu::recall(dir.path(), &qemu.path), None);
        qemu.remember(dir.path()).unwrap();
        assert_eq!(Qemu::recall(dir.path(), &qemu.path), Some(qemu));
    }
}
