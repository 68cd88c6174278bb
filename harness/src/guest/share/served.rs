//! What every share adds to the file system that it serves: unique inode numbers, a count of the
//! descriptors that the guest holds, and a check of owners.

mod file_system;

use std::collections::{HashMap, HashSet};
use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read as _, Stdout};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use nix::fcntl::AtFlags;
use nix::libc;
use nix::sys::stat::fstatat;
use virtiofsd::filesystem::{
    Context, DirEntry, DirectoryIterator, Entry, FileSystem, ROOT_ID, SerializableFileSystem,
    SetattrValid, ZeroCopyWriter,
};
use virtiofsd::fuse;
use virtiofsd::oslib::ReadvFlags;
use virtiofsd::soft_idmap::Id;

use super::numbers::Numbers;
use super::pressure::Pressure;

/// How often to look up a name again that meanwhile refers to another file.
const LOOKUPS: u32 = 8;

/// The owner of files that a guest writes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Owner {
    /// The user on the host.
    pub(super) uid: u32,
    /// The user's group.
    pub(super) gid: u32,
}

impl Owner {
    /// Whether a guest may set these owners. On the host everything belongs to this user, as whom
    /// the guest's root acts; no other owner can be set.
    fn may_set(self, attr: &fuse::SetattrIn, valid: SetattrValid) -> bool {
        let uid = attr.uid.into_inner();
        let gid = attr.gid.into_inner();
        (!valid.contains(SetattrValid::UID) || uid == 0 || uid == self.uid)
            && (!valid.contains(SetattrValid::GID) || gid == 0 || gid == self.gid)
    }
}

/// A share's file system.
pub(super) struct Served<F> {
    inner: F,
    /// Set if the guest may change the share.
    owner: Option<Owner>,
    /// Device of the shared directory.
    first: u64,
    numbers: Arc<Mutex<Numbers>>,
    state: Mutex<State>,
}

struct State {
    /// The inodes that the guest's kernel caches.
    inodes: HashMap<u64, Known>,
    /// What it has open: inode and handle.
    handles: HashSet<(u64, u64)>,
    /// The directory of the last lookup.
    dir: Option<(u64, File)>,
    pressure: Pressure<Stdout>,
    /// Whether the guest has mounted it, at any time.
    mounted: bool,
}

/// An inode that the guest's kernel caches.
struct Known {
    /// How often the guest was given it.
    count: u64,
    device: u64,
}

impl State {
    /// Descriptors that the guest holds.
    fn used(&self) -> u64 {
        (self.inodes.len() + self.handles.len()) as u64
    }

    fn forget(&mut self, inode: u64, count: u64) {
        if let Some(known) = self.inodes.get_mut(&inode) {
            known.count = known.count.saturating_sub(count);
            if known.count == 0 {
                self.inodes.remove(&inode);
                self.dir.take_if(|(dir, _)| *dir == inode);
            }
        }
    }
}

impl<F: FileSystem<Inode = u64, Handle = u64>> Served<F> {
    /// Serves `inner`, whose root is on the device `first`; the guest may hold
    /// `limit` descriptors. With `owner` it may change things.
    pub(super) fn new(inner: F, first: u64, limit: u64, owner: Option<Owner>) -> Self {
        Self {
            inner,
            owner,
            first,
            numbers: Arc::new(Mutex::new(Numbers::new(first))),
            state: Mutex::new(State {
                inodes: HashMap::new(),
                handles: HashSet::new(),
                dir: None,
                pressure: Pressure::new(limit, io::stdout()),
                mounted: false,
            }),
        }
    }

    fn unless_mounted(&self, what: &str) -> io::Result<()> {
        if self.state().mounted {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                format!("cannot {what} a share that the guest has mounted"),
            ));
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// If descriptors are short, waits before using another one.
    fn admit(&self) {
        let wait = {
            let mut state = self.state();
            let used = state.used();
            state.pressure.note(used, Instant::now())
        };
        // Not sleep(): the filter does not allow its system call.
        if !wait.is_zero() {
            thread::park_timeout(wait);
        }
    }

    /// Reports if something was refused for lack of descriptors.
    fn noting_refusal<T>(&self, result: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &result
            && matches!(error.raw_os_error(), Some(libc::ENFILE | libc::EMFILE))
        {
            self.state().pressure.full(Instant::now());
        }
        result
    }

    fn number(&self, device: u64, inode: u64) -> u64 {
        lock(&self.numbers).number(device, inode)
    }

    /// The device of an inode that the guest caches.
    fn device_of(&self, inode: u64) -> u64 {
        let state = self.state();
        state
            .inodes
            .get(&inode)
            .map_or(self.first, |known| known.device)
    }

    /// The device of the file found as `name` in `parent`; `None` if the name refers to another
    /// file by now.
    ///
    /// The file system reports inode numbers, but not the device.
    fn device(
        &self,
        ctx: Context,
        parent: u64,
        name: &CStr,
        entry: &Entry,
    ) -> io::Result<Option<u64>> {
        let mut state = self.state();
        if entry.inode == ROOT_ID {
            return Ok(Some(self.first));
        }
        if let Some(known) = state.inodes.get(&entry.inode) {
            return Ok(Some(known.device));
        }
        let dir = match state.dir.take() {
            Some((inode, dir)) if inode == parent => dir,
            _ => self.directory(ctx, parent)?,
        };
        let (_, dir) = state.dir.insert((parent, dir));
        let found = fstatat(&*dir, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
        Ok((found.st_ino == entry.attr.ino).then_some(found.st_dev))
    }

    /// A descriptor of a directory, only for looking up names in it. The file system gives no other
    /// access to what it opens.
    fn directory(&self, ctx: Context, inode: u64) -> io::Result<File> {
        struct Opened(Option<File>);
        impl ZeroCopyWriter for Opened {
            fn read_from_file_at(
                &mut self,
                file: &File,
                _count: usize,
                _offset: u64,
                _flags: Option<ReadvFlags>,
            ) -> io::Result<usize> {
                self.0 = Some(file.try_clone()?);
                Ok(0)
            }
        }
        let bad = || io::Error::from_raw_os_error(libc::EBADF);
        let flags = (libc::O_PATH | libc::O_DIRECTORY).cast_unsigned();
        let handle = self
            .inner
            .open(ctx, inode, false, flags)?
            .0
            .ok_or_else(bad)?;
        let mut opened = Opened(None);
        let read = self
            .inner
            .read(ctx, inode, handle, &mut opened, 0, 0, None, 0);
        self.inner
            .release(ctx, inode, 0, handle, false, false, None)?;
        read?;
        opened.0.ok_or_else(bad)
    }

    /// Counts an entry that goes to the guest, and sets its number.
    fn told(&self, mut entry: Entry, device: u64) -> Entry {
        let known = Known { count: 0, device };
        let mut state = self.state();
        state.inodes.entry(entry.inode).or_insert(known).count += 1;
        entry.attr.ino = self.number(device, entry.attr.ino);
        entry
    }

    /// The same for a file found or created as `name` in `parent`.
    fn found(
        &self,
        ctx: Context,
        parent: u64,
        name: &CStr,
        found: io::Result<Entry>,
    ) -> io::Result<Entry> {
        let numbered = found.and_then(|entry| self.numbered(ctx, parent, name, entry));
        self.noting_refusal(numbered)
    }

    fn numbered(
        &self,
        ctx: Context,
        parent: u64,
        name: &CStr,
        mut entry: Entry,
    ) -> io::Result<Entry> {
        for _ in 0..LOOKUPS {
            let device = self.device(ctx, parent, name, &entry);
            match device {
                Ok(Some(device)) => return Ok(self.told(entry, device)),
                Ok(None) => self.inner.forget(ctx, entry.inode, 1),
                Err(error) => {
                    self.inner.forget(ctx, entry.inode, 1);
                    return Err(error);
                }
            }
            entry = self.inner.lookup(ctx, parent, name)?;
        }
        self.inner.forget(ctx, entry.inode, 1);
        Err(io::Error::from_raw_os_error(libc::ESTALE))
    }

    fn opened(&self, inode: u64, handle: Option<u64>) {
        if let Some(handle) = handle {
            self.state().handles.insert((inode, handle));
        }
    }
}

fn lock(numbers: &Mutex<Numbers>) -> MutexGuard<'_, Numbers> {
    numbers.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A listing with our numbers that ends before descriptors run short: the guest asks again for the
/// rest.
pub(super) struct Listing<I> {
    inner: I,
    device: u64,
    numbers: Arc<Mutex<Numbers>>,
    left: u64,
}

impl<I: DirectoryIterator> DirectoryIterator for Listing<I> {
    fn next(&mut self) -> Option<DirEntry<'_>> {
        self.left = self.left.checked_sub(1)?;
        let mut entry = self.inner.next()?;
        entry.ino = lock(&self.numbers).number(self.device, entry.ino);
        Some(entry)
    }
}

/// A share has nothing to save before the guest mounts it, and cannot be saved later: a state would
/// then hold what the guest knows of the host's files.
impl<F: FileSystem<Inode = u64, Handle = u64>> SerializableFileSystem for Served<F> {
    fn serialize(&self, _state: File) -> io::Result<()> {
        self.unless_mounted("save")
    }

    fn deserialize_and_apply(&self, mut state: File) -> io::Result<()> {
        self.unless_mounted("restore")?;
        match state.read(&mut [0])? {
            0 => Ok(()),
            _ => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the state is that of a mounted share",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::{Seek as _, Write as _};

    use virtiofsd::filesystem::FsOptions;

    use super::*;

    /// A file system in which nothing is.
    struct Nothing;

    impl FileSystem for Nothing {
        type Inode = u64;
        type Handle = u64;
        type DirIter = NoEntries;
    }

    struct NoEntries;

    impl DirectoryIterator for NoEntries {
        fn next(&mut self) -> Option<DirEntry<'_>> {
            None
        }
    }

    #[test]
    fn a_share_is_saved_and_restored_until_it_is_mounted() {
        let share = Served::new(Nothing, 1, 100, None);
        let mut state = tempfile::tempfile().unwrap();
        share.serialize(state.try_clone().unwrap()).unwrap();
        assert_eq!(state.metadata().unwrap().len(), 0);
        let other = Served::new(Nothing, 1, 100, None);
        let restore = |state: &File| other.deserialize_and_apply(state.try_clone().unwrap());
        restore(&state).unwrap();
        // Of a program that has more to say.
        state.write_all(b"inodes").unwrap();
        state.rewind().unwrap();
        let error = restore(&state).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        let capable = FsOptions::empty();
        share.init(capable).unwrap();
        let refused = share.serialize(state).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::Unsupported);
        let empty = tempfile::tempfile().unwrap();
        assert!(share.deserialize_and_apply(empty).is_err());
    }

    fn setting(uid: u32, gid: u32) -> fuse::SetattrIn {
        fuse::SetattrIn {
            uid: uid.into(),
            gid: gid.into(),
            ..fuse::SetattrIn::default()
        }
    }

    #[test]
    fn a_file_can_only_be_given_to_the_user() {
        let owner = Owner {
            uid: 1000,
            gid: 100,
        };
        let both = SetattrValid::UID | SetattrValid::GID;
        assert!(owner.may_set(&setting(1000, 100), both));
        assert!(owner.may_set(&setting(0, 0), both));
        assert!(!owner.may_set(&setting(1001, 100), both));
        assert!(!owner.may_set(&setting(1000, 1000), both));
        // Skips what the guest did not ask for.
        assert!(owner.may_set(&setting(1001, 100), SetattrValid::GID));
        assert!(owner.may_set(&setting(1000, 7), SetattrValid::UID));
        assert!(owner.may_set(&setting(7, 7), SetattrValid::MODE));
    }
}
