//! What every share adds to the file system it serves: inode numbers that tell
//! files apart, a count of the descriptors that the guest holds, and owners
//! that nobody can give files to.

use std::collections::{HashMap, HashSet};
use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Stdout};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::AtFlags;
use nix::libc;
use nix::sys::stat::fstatat;
use virtiofsd::filesystem::{
    Context, DirEntry, DirectoryIterator, Entry, Extensions, FileSystem, FsOptions, GetxattrReply,
    ListxattrReply, OpenOptions, ROOT_ID, SerializableFileSystem, SetattrValid, SetxattrFlags,
    ZeroCopyReader, ZeroCopyWriter,
};
use virtiofsd::fuse;
use virtiofsd::oslib::ReadvFlags;
use virtiofsd::soft_idmap::Id;

use super::numbers::Numbers;
use super::pressure::Pressure;

/// How often a name is looked up again that meanwhile stands for another file.
const LOOKUPS: u32 = 8;

/// Who owns what a guest writes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Owner {
    /// The user on the host.
    pub(super) uid: u32,
    /// The user's group.
    pub(super) gid: u32,
}

impl Owner {
    /// Whether a guest may set these owners. On the host all is this user's,
    /// whom the guest's root stands for; nobody else could be set.
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
    /// Of a share that the guest may change.
    owner: Option<Owner>,
    /// Device of the shared directory.
    first: u64,
    numbers: Arc<Mutex<Numbers>>,
    state: Mutex<State>,
}

struct State {
    /// The inodes that the guest's kernel remembers.
    inodes: HashMap<u64, Known>,
    /// What it has open: inode and handle.
    handles: HashSet<(u64, u64)>,
    /// The directory of the last look-up.
    dir: Option<(u64, File)>,
    pressure: Pressure<Stdout>,
}

/// An inode that the guest's kernel remembers.
struct Known {
    /// How often it was told of it.
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
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits, if descriptors are short, before one more is taken.
    fn admit(&self) {
        let wait = {
            let mut state = self.state();
            let used = state.used();
            state.pressure.note(used, Instant::now())
        };
        // Not sleep(), whose system call is not on the list of the filter.
        if !wait.is_zero() {
            thread::park_timeout(wait);
        }
    }

    /// Tells if something was refused for want of descriptors.
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

    /// The device of an inode that the guest knows.
    fn device_of(&self, inode: u64) -> u64 {
        let state = self.state();
        state
            .inodes
            .get(&inode)
            .map_or(self.first, |known| known.device)
    }

    /// The device of what was found as `name` in `parent`; `None` if that name
    /// stands for another file by now.
    ///
    /// The file system tells inode numbers, but not of which device.
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

    /// A descriptor of a directory, for looking up names in it only. What the
    /// file system opens it hands out nowhere but to whom it is read into.
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

    /// Counts an entry that is told to the guest, and gives it its number.
    fn told(&self, mut entry: Entry, device: u64) -> Entry {
        let known = Known { count: 0, device };
        let mut state = self.state();
        state.inodes.entry(entry.inode).or_insert(known).count += 1;
        entry.attr.ino = self.number(device, entry.attr.ino);
        entry
    }

    /// The same for what was found, or made, as `name` in `parent`.
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

/// A listing with our numbers, and an end before descriptors are short: the
/// guest asks again for the rest.
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

impl<F: FileSystem<Inode = u64, Handle = u64>> FileSystem for Served<F> {
    type Inode = u64;
    type Handle = u64;
    type DirIter = Listing<F::DirIter>;

    fn init(&self, capable: FsOptions) -> io::Result<FsOptions> {
        let wanted = self.inner.init(capable)?;
        {
            let mut state = self.state();
            state.inodes.clear();
            state.handles.clear();
            state.dir = None;
        }
        Ok(match self.owner {
            // The host's kernel takes set-user-id bits away at a write: this
            // process has no CAP_FSETID. Else the guest's would ask for
            // capabilities, an attribute, before each.
            Some(_) => wanted | FsOptions::HANDLE_KILLPRIV_V2,
            None => wanted,
        })
    }

    fn destroy(&self) {
        self.inner.destroy();
    }

    fn lookup(&self, ctx: Context, parent: u64, name: &CStr) -> io::Result<Entry> {
        self.admit();
        self.found(ctx, parent, name, self.inner.lookup(ctx, parent, name))
    }

    fn forget(&self, ctx: Context, inode: u64, count: u64) {
        self.state().forget(inode, count);
        self.inner.forget(ctx, inode, count);
    }

    fn batch_forget(&self, ctx: Context, requests: Vec<(u64, u64)>) {
        {
            let mut state = self.state();
            for &(inode, count) in &requests {
                state.forget(inode, count);
            }
        }
        self.inner.batch_forget(ctx, requests);
    }

    fn getattr(
        &self,
        ctx: Context,
        inode: u64,
        handle: Option<u64>,
    ) -> io::Result<(fuse::Attr, Duration)> {
        let (mut attr, timeout) = self.inner.getattr(ctx, inode, handle)?;
        attr.ino = self.number(self.device_of(inode), attr.ino);
        Ok((attr, timeout))
    }

    fn setattr(
        &self,
        ctx: Context,
        inode: u64,
        attr: fuse::SetattrIn,
        handle: Option<u64>,
        valid: SetattrValid,
    ) -> io::Result<(fuse::Attr, Duration)> {
        if self.owner.is_some_and(|owner| !owner.may_set(&attr, valid)) {
            return Err(io::Error::from_raw_os_error(libc::EPERM));
        }
        let (mut attr, timeout) = self.inner.setattr(ctx, inode, attr, handle, valid)?;
        attr.ino = self.number(self.device_of(inode), attr.ino);
        Ok((attr, timeout))
    }

    fn readlink(&self, ctx: Context, inode: u64) -> io::Result<Vec<u8>> {
        self.inner.readlink(ctx, inode)
    }

    fn symlink(
        &self,
        ctx: Context,
        linkname: &CStr,
        parent: u64,
        name: &CStr,
        extensions: Extensions,
    ) -> io::Result<Entry> {
        self.admit();
        let made = self.inner.symlink(ctx, linkname, parent, name, extensions);
        self.found(ctx, parent, name, made)
    }

    fn mknod(
        &self,
        ctx: Context,
        parent: u64,
        name: &CStr,
        mode: u32,
        rdev: u32,
        umask: u32,
        extensions: Extensions,
    ) -> io::Result<Entry> {
        self.admit();
        let made = self
            .inner
            .mknod(ctx, parent, name, mode, rdev, umask, extensions);
        self.found(ctx, parent, name, made)
    }

    fn mkdir(
        &self,
        ctx: Context,
        parent: u64,
        name: &CStr,
        mode: u32,
        umask: u32,
        extensions: Extensions,
    ) -> io::Result<Entry> {
        self.admit();
        let made = self.inner.mkdir(ctx, parent, name, mode, umask, extensions);
        self.found(ctx, parent, name, made)
    }

    fn unlink(&self, ctx: Context, parent: u64, name: &CStr) -> io::Result<()> {
        self.inner.unlink(ctx, parent, name)
    }

    fn rmdir(&self, ctx: Context, parent: u64, name: &CStr) -> io::Result<()> {
        self.inner.rmdir(ctx, parent, name)
    }

    fn rename(
        &self,
        ctx: Context,
        olddir: u64,
        oldname: &CStr,
        newdir: u64,
        newname: &CStr,
        flags: u32,
    ) -> io::Result<()> {
        self.inner
            .rename(ctx, olddir, oldname, newdir, newname, flags)
    }

    fn link(&self, ctx: Context, inode: u64, newparent: u64, newname: &CStr) -> io::Result<Entry> {
        self.admit();
        let made = self.inner.link(ctx, inode, newparent, newname);
        self.found(ctx, newparent, newname, made)
    }

    fn open(
        &self,
        ctx: Context,
        inode: u64,
        kill_priv: bool,
        flags: u32,
    ) -> io::Result<(Option<u64>, OpenOptions)> {
        self.admit();
        let opened = self.noting_refusal(self.inner.open(ctx, inode, kill_priv, flags))?;
        self.opened(inode, opened.0);
        Ok(opened)
    }

    fn create(
        &self,
        ctx: Context,
        parent: u64,
        name: &CStr,
        mode: u32,
        kill_priv: bool,
        flags: u32,
        umask: u32,
        extensions: Extensions,
    ) -> io::Result<(Entry, Option<u64>, OpenOptions)> {
        self.admit();
        let made = self
            .inner
            .create(ctx, parent, name, mode, kill_priv, flags, umask, extensions);
        let (entry, handle, options) = self.noting_refusal(made)?;
        // Open as it is, it cannot be looked up again.
        let device = self.device(ctx, parent, name, &entry);
        let device = device.ok().flatten();
        let device = device.unwrap_or_else(|| self.device_of(parent));
        self.opened(entry.inode, handle);
        Ok((self.told(entry, device), handle, options))
    }

    fn read<W: ZeroCopyWriter>(
        &self,
        ctx: Context,
        inode: u64,
        handle: u64,
        w: W,
        size: u32,
        offset: u64,
        lock_owner: Option<u64>,
        flags: u32,
    ) -> io::Result<usize> {
        self.inner
            .read(ctx, inode, handle, w, size, offset, lock_owner, flags)
    }

    fn write<R: ZeroCopyReader>(
        &self,
        ctx: Context,
        inode: u64,
        handle: u64,
        r: R,
        size: u32,
        offset: u64,
        lock_owner: Option<u64>,
        delayed_write: bool,
        kill_priv: bool,
        flags: u32,
    ) -> io::Result<usize> {
        self.inner.write(
            ctx,
            inode,
            handle,
            r,
            size,
            offset,
            lock_owner,
            delayed_write,
            kill_priv,
            flags,
        )
    }

    fn flush(&self, ctx: Context, inode: u64, handle: u64, owner: u64) -> io::Result<()> {
        self.inner.flush(ctx, inode, handle, owner)
    }

    fn fsync(&self, ctx: Context, inode: u64, datasync: bool, handle: u64) -> io::Result<()> {
        self.inner.fsync(ctx, inode, datasync, handle)
    }

    fn fallocate(
        &self,
        ctx: Context,
        inode: u64,
        handle: u64,
        mode: u32,
        offset: u64,
        length: u64,
    ) -> io::Result<()> {
        self.inner
            .fallocate(ctx, inode, handle, mode, offset, length)
    }

    fn release(
        &self,
        ctx: Context,
        inode: u64,
        flags: u32,
        handle: u64,
        flush: bool,
        flock_release: bool,
        lock_owner: Option<u64>,
    ) -> io::Result<()> {
        self.state().handles.remove(&(inode, handle));
        self.inner
            .release(ctx, inode, flags, handle, flush, flock_release, lock_owner)
    }

    fn statfs(&self, ctx: Context, inode: u64) -> io::Result<libc::statvfs64> {
        self.inner.statfs(ctx, inode)
    }

    fn setxattr(
        &self,
        ctx: Context,
        inode: u64,
        name: &CStr,
        value: &[u8],
        flags: u32,
        extra_flags: SetxattrFlags,
    ) -> io::Result<()> {
        self.inner
            .setxattr(ctx, inode, name, value, flags, extra_flags)
    }

    fn getxattr(
        &self,
        ctx: Context,
        inode: u64,
        name: &CStr,
        size: u32,
    ) -> io::Result<GetxattrReply> {
        self.inner.getxattr(ctx, inode, name, size)
    }

    fn listxattr(&self, ctx: Context, inode: u64, size: u32) -> io::Result<ListxattrReply> {
        self.inner.listxattr(ctx, inode, size)
    }

    fn removexattr(&self, ctx: Context, inode: u64, name: &CStr) -> io::Result<()> {
        self.inner.removexattr(ctx, inode, name)
    }

    fn opendir(
        &self,
        ctx: Context,
        inode: u64,
        flags: u32,
    ) -> io::Result<(Option<u64>, OpenOptions)> {
        self.admit();
        let opened = self.noting_refusal(self.inner.opendir(ctx, inode, flags))?;
        self.opened(inode, opened.0);
        Ok(opened)
    }

    fn readdir(
        &self,
        ctx: Context,
        inode: u64,
        handle: u64,
        size: u32,
        offset: u64,
    ) -> io::Result<Self::DirIter> {
        let left = {
            let state = self.state();
            state.pressure.entries(state.used())
        };
        Ok(Listing {
            inner: self.inner.readdir(ctx, inode, handle, size, offset)?,
            device: self.device_of(inode),
            numbers: Arc::clone(&self.numbers),
            left,
        })
    }

    fn fsyncdir(&self, ctx: Context, inode: u64, datasync: bool, handle: u64) -> io::Result<()> {
        self.inner.fsyncdir(ctx, inode, datasync, handle)
    }

    fn releasedir(&self, ctx: Context, inode: u64, flags: u32, handle: u64) -> io::Result<()> {
        self.state().handles.remove(&(inode, handle));
        self.inner.releasedir(ctx, inode, flags, handle)
    }

    fn access(&self, ctx: Context, inode: u64, mask: u32) -> io::Result<()> {
        self.inner.access(ctx, inode, mask)
    }

    fn lseek(
        &self,
        ctx: Context,
        inode: u64,
        handle: u64,
        offset: u64,
        whence: u32,
    ) -> io::Result<u64> {
        self.inner.lseek(ctx, inode, handle, offset, whence)
    }

    fn copyfilerange(
        &self,
        ctx: Context,
        inode_in: u64,
        handle_in: u64,
        offset_in: u64,
        inode_out: u64,
        handle_out: u64,
        offset_out: u64,
        len: u64,
        flags: u64,
    ) -> io::Result<usize> {
        self.inner.copyfilerange(
            ctx, inode_in, handle_in, offset_in, inode_out, handle_out, offset_out, len, flags,
        )
    }

    fn syncfs(&self, ctx: Context, inode: u64) -> io::Result<()> {
        self.inner.syncfs(ctx, inode)
    }
}

// Migration of a running VM, which kiln does not do.
impl<F> SerializableFileSystem for Served<F> {}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(uid: u32, gid: u32) -> fuse::SetattrIn {
        fuse::SetattrIn {
            uid: uid.into(),
            gid: gid.into(),
            ..fuse::SetattrIn::default()
        }
    }

    #[test]
    fn a_file_can_be_given_to_the_user_and_to_nobody_else() {
        let owner = Owner {
            uid: 1000,
            gid: 100,
        };
        let both = SetattrValid::UID | SetattrValid::GID;
        assert!(owner.may_set(&setting(1000, 100), both));
        assert!(owner.may_set(&setting(0, 0), both));
        assert!(!owner.may_set(&setting(1001, 100), both));
        assert!(!owner.may_set(&setting(1000, 1000), both));
        // What is not asked for is not looked at.
        assert!(owner.may_set(&setting(1001, 100), SetattrValid::GID));
        assert!(owner.may_set(&setting(1000, 7), SetattrValid::UID));
        assert!(owner.may_set(&setting(7, 7), SetattrValid::MODE));
    }
}
