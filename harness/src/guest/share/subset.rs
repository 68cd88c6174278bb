//! A read-only share that shows only some entries of its directory: a Nix store of which the guest
//! may see one closure.
//!
//! The filter is on the host, in the share process: the guest can neither look up nor list a name
//! that is not on the list. Everything below an entry is reached through a lookup of its name.

use std::ffi::{CStr, CString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use virtiofsd::filesystem::{
    Context, DirEntry, DirectoryIterator, Entry, FileSystem, FsOptions, OpenOptions, ROOT_ID,
    SerializableFileSystem, ZeroCopyWriter,
};
use virtiofsd::fuse;
use virtiofsd::passthrough::read_only::PassthroughFsRo;

use nix::libc;

type Inner = PassthroughFsRo;
type Inode = <Inner as FileSystem>::Inode;
type Handle = <Inner as FileSystem>::Handle;

/// One visible entry.
#[derive(Debug)]
pub(super) struct Shown {
    name: CString,
    ino: u64,
    /// `DT_DIR` and so on.
    kind: u32,
}

/// The share.
pub(super) struct Subset {
    inner: Inner,
    /// Sorted by name; with `.` and `..`, which are the root.
    shown: Arc<[Shown]>,
}

impl Subset {
    /// Shows the existing entries of `dir`, the root of `inner`, that `names` lists.
    pub(super) fn new(inner: Inner, dir: &Path, names: &[String]) -> io::Result<Self> {
        let ino = dir.symlink_metadata()?.ino();
        let mut shown: Vec<Shown> = [c".", c".."]
            .map(|name| Shown {
                name: name.to_owned(),
                ino,
                kind: u32::from(libc::DT_DIR),
            })
            .into();
        for name in names {
            // A closure that lacks a path is the store's problem, not ours.
            let Ok(meta) = dir.join(name).symlink_metadata() else {
                log::warn!("{name} is not in {}", dir.display());
                continue;
            };
            let kind = if meta.is_dir() {
                libc::DT_DIR
            } else if meta.is_symlink() {
                libc::DT_LNK
            } else {
                libc::DT_REG
            };
            shown.push(Shown {
                name: CString::new(std::ffi::OsStr::new(name).as_bytes())?,
                ino: meta.ino(),
                kind: u32::from(kind),
            });
        }
        shown.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self {
            inner,
            shown: shown.into(),
        })
    }

    fn shows(&self, name: &CStr) -> bool {
        self.shown
            .binary_search_by(|shown| shown.name.as_c_str().cmp(name))
            .is_ok()
    }
}

/// A position in a listing.
pub(super) enum Listing {
    /// Of the root: ours.
    Root { shown: Arc<[Shown]>, next: usize },
    /// Of any other directory: the file system's.
    Inner(<Inner as FileSystem>::DirIter),
}

impl DirectoryIterator for Listing {
    fn next(&mut self) -> Option<DirEntry<'_>> {
        match self {
            Self::Root { shown, next } => {
                let entry = shown.get(*next)?;
                *next += 1;
                Some(DirEntry {
                    ino: entry.ino,
                    offset: *next as u64,
                    type_: entry.kind,
                    name: &entry.name,
                })
            }
            Self::Inner(inner) => inner.next(),
        }
    }
}

impl FileSystem for Subset {
    type Inode = Inode;
    type Handle = Handle;
    type DirIter = Listing;

    fn init(&self, capable: FsOptions) -> io::Result<FsOptions> {
        // The root is listed without being opened: the file system would not know a handle made up
        // by the kernel.
        let wanted = self.inner.init(capable)?;
        Ok(wanted - FsOptions::ZERO_MESSAGE_OPENDIR)
    }

    fn destroy(&self) {
        self.inner.destroy();
    }

    fn lookup(&self, ctx: Context, parent: Inode, name: &CStr) -> io::Result<Entry> {
        if parent == ROOT_ID && !self.shows(name) {
            return Err(io::Error::from_raw_os_error(libc::ENOENT));
        }
        self.inner.lookup(ctx, parent, name)
    }

    fn forget(&self, ctx: Context, inode: Inode, count: u64) {
        self.inner.forget(ctx, inode, count);
    }

    fn batch_forget(&self, ctx: Context, requests: Vec<(Inode, u64)>) {
        self.inner.batch_forget(ctx, requests);
    }

    fn getattr(
        &self,
        ctx: Context,
        inode: Inode,
        handle: Option<Handle>,
    ) -> io::Result<(fuse::Attr, Duration)> {
        // The root has no handle in the file system.
        let handle = handle.filter(|_| inode != ROOT_ID);
        self.inner.getattr(ctx, inode, handle)
    }

    fn readlink(&self, ctx: Context, inode: Inode) -> io::Result<Vec<u8>> {
        self.inner.readlink(ctx, inode)
    }

    fn open(
        &self,
        ctx: Context,
        inode: Inode,
        kill_priv: bool,
        flags: u32,
    ) -> io::Result<(Option<Handle>, OpenOptions)> {
        self.inner.open(ctx, inode, kill_priv, flags)
    }

    fn read<W: ZeroCopyWriter>(
        &self,
        ctx: Context,
        inode: Inode,
        handle: Handle,
        w: W,
        size: u32,
        offset: u64,
        lock_owner: Option<u64>,
        flags: u32,
    ) -> io::Result<usize> {
        self.inner
            .read(ctx, inode, handle, w, size, offset, lock_owner, flags)
    }

    fn flush(&self, ctx: Context, inode: Inode, handle: Handle, owner: u64) -> io::Result<()> {
        self.inner.flush(ctx, inode, handle, owner)
    }

    fn release(
        &self,
        ctx: Context,
        inode: Inode,
        flags: u32,
        handle: Handle,
        flush: bool,
        flock_release: bool,
        lock_owner: Option<u64>,
    ) -> io::Result<()> {
        self.inner
            .release(ctx, inode, flags, handle, flush, flock_release, lock_owner)
    }

    fn statfs(&self, ctx: Context, inode: Inode) -> io::Result<libc::statvfs64> {
        self.inner.statfs(ctx, inode)
    }

    fn opendir(
        &self,
        ctx: Context,
        inode: Inode,
        flags: u32,
    ) -> io::Result<(Option<Handle>, OpenOptions)> {
        if inode == ROOT_ID {
            // Landlock would not let us open it, and nobody needs it.
            return Ok((None, OpenOptions::empty()));
        }
        self.inner.opendir(ctx, inode, flags)
    }

    fn readdir(
        &self,
        ctx: Context,
        inode: Inode,
        handle: Handle,
        size: u32,
        offset: u64,
    ) -> io::Result<Listing> {
        if inode == ROOT_ID {
            return Ok(Listing::Root {
                shown: Arc::clone(&self.shown),
                next: usize::try_from(offset).unwrap_or(usize::MAX),
            });
        }
        self.inner
            .readdir(ctx, inode, handle, size, offset)
            .map(Listing::Inner)
    }

    fn releasedir(&self, ctx: Context, inode: Inode, flags: u32, handle: Handle) -> io::Result<()> {
        if inode == ROOT_ID {
            return Ok(());
        }
        self.inner.releasedir(ctx, inode, flags, handle)
    }

    fn access(&self, ctx: Context, inode: Inode, mask: u32) -> io::Result<()> {
        self.inner.access(ctx, inode, mask)
    }

    fn lseek(
        &self,
        ctx: Context,
        inode: Inode,
        handle: Handle,
        offset: u64,
        whence: u32,
    ) -> io::Result<u64> {
        self.inner.lseek(ctx, inode, handle, offset, whence)
    }
}

// For saving a VM: `Served`, around it, answers for both.
impl SerializableFileSystem for Subset {}
