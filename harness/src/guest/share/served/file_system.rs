//! Passes each request of the guest to the inner file system.

use std::ffi::CStr;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use nix::libc;
use virtiofsd::filesystem::{
    Context, Entry, Extensions, FileSystem, FsOptions, GetxattrReply, ListxattrReply, OpenOptions,
    SetattrValid, SetxattrFlags, ZeroCopyReader, ZeroCopyWriter,
};
use virtiofsd::fuse;

use super::{Listing, Served};

impl<F: FileSystem<Inode = u64, Handle = u64>> FileSystem for Served<F> {
    type Inode = u64;
    type Handle = u64;
    type DirIter = Listing<F::DirIter>;

    fn init(&self, capable: FsOptions) -> io::Result<FsOptions> {
        let wanted = self.inner.init(capable)?;
        {
            let mut state = self.state();
            state.mounted = true;
            state.inodes.clear();
            state.handles.clear();
            state.dir = None;
        }
        Ok(match self.owner {
            // The host's kernel clears set-user-id bits on a write, because this process has no
            // CAP_FSETID. Otherwise the guest's kernel would read the capabilities attribute before
            // each write.
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
        // It is only open, so it cannot be looked up again.
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
