//! What identifies a file and its content without reading it.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// Identifies a file, also after it was written anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stamp {
    /// Bytes.
    size: u64,
    /// Seconds and nanoseconds since the epoch.
    modified: (i64, i64),
    /// Seconds and nanoseconds since the epoch; an upgrade may set the time of
    /// modification back, but not this one.
    changed: (i64, i64),
    inode: u64,
}

impl Stamp {
    /// Of the file at `path`, which may be a link to it.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        let meta = fs::metadata(path)?;
        Ok(Self {
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
            inode: meta.ino(),
        })
    }
}
