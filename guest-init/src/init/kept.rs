//! Access to the kernel's filesystems that no mount or unmount of a test can block, and that blocks
//! no test.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, Stat, openat, statat};
use rustix::mount::{OpenTreeFlags, open_tree};

/// How many bytes of a file to read at a time.
const PIECE: usize = 4096;
/// How many bytes of a file to read at most: a test may make it arbitrarily long.
const LIMIT: usize = 64 << 10;

/// A detached mount of a filesystem: a test can still unmount its own mount, which our open files
/// do not make busy.
#[derive(Debug)]
pub(super) struct View(OwnedFd);

impl View {
    /// The filesystem mounted at a path.
    pub(super) fn of(path: impl AsRef<Path>) -> Option<Self> {
        let path = path.as_ref();
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        open_tree(CWD, path, flags)
            // Linux before 5.2.
            .or_else(|_| {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                openat(CWD, path, flags, Mode::empty())
            })
            .ok()
            .map(Self)
    }

    pub(super) fn into_fd(self) -> OwnedFd {
        self.0
    }

    pub(super) fn from_fd(fd: OwnedFd) -> Self {
        Self(fd)
    }

    pub(super) fn fd(&self) -> &OwnedFd {
        &self.0
    }

    /// Opens a path below it.
    pub(super) fn stat(&self, path: &str) -> Option<Stat> {
        statat(&self.0, path, AtFlags::SYMLINK_NOFOLLOW).ok()
    }

    /// Of the directory itself.
    pub(super) fn stat_self(&self) -> Option<Stat> {
        statat(&self.0, "", AtFlags::EMPTY_PATH).ok()
    }

    pub(super) fn open(&self, path: &str, flags: OFlags) -> Option<File> {
        let flags = flags | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let fd = openat(&self.0, path, flags, Mode::empty()).ok()?;
        Some(fd.into())
    }

    /// Opens a file to read it repeatedly.
    pub(super) fn keep(&self, path: &str) -> Option<Kept> {
        self.open(path, OFlags::RDONLY).map(Kept)
    }

    pub(super) fn read(&self, path: &str) -> Option<Vec<u8>> {
        self.keep(path)?.read()
    }

    /// Writes to a kernel file, in one write(2).
    pub(super) fn write(&self, path: &str, flags: OFlags, content: &[u8]) -> bool {
        self.open(path, flags | OFlags::WRONLY)
            .is_some_and(|mut file| file.write_all(content).is_ok())
    }

    /// The names in a directory below it, or in itself by `.`.
    pub(super) fn names(&self, path: &str) -> Option<Vec<std::ffi::CString>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = openat(&self.0, path, flags, Mode::empty()).ok()?;
        Some(super::tree::names(fd.as_fd(), usize::MAX))
    }
}

/// A small kernel file, kept open: reading it again costs a tenth of opening it.
#[derive(Debug)]
pub(super) struct Kept(File);

impl Kept {
    /// Its current content.
    pub(super) fn read(&self) -> Option<Vec<u8>> {
        let mut text = Vec::new();
        let mut piece = [0; PIECE];
        loop {
            let count = self
                .0
                .read_at(&mut piece, u64::try_from(text.len()).ok()?)
                .ok()?;
            text.extend(piece.get(..count)?);
            // The kernel fills the buffer while whole records fit (seq_read of fs/seq_file.c), and
            // no record is that long.
            let whole = text.len() == count && count < PIECE / 2;
            if count == 0 || whole || text.len() >= LIMIT {
                return Some(text);
            }
        }
    }
}

/// As text without the final newline.
pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.trim_ascii_end()).into_owned()
}
