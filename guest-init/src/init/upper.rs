//! Upper layers of overlays: the entries put into them before mounting, and the attributes that
//! they copy.

use std::ffi::CStr;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use guest_init::plan::{Attributes, Entry, EntryKind};
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use rustix::fs::XattrFlags;

/// Marks a directory of the upper layer that hides the lower one of the same name, and other
/// private attributes of an overlay (kernel doc, filesystems/overlayfs).
const OPAQUE: &CStr = c"trusted.overlay.opaque";
const OWN_XATTRS: &[u8] = b"trusted.overlay.";

/// Copies the attributes of a directory to the upper layer, since the overlay shows those of the
/// upper one. Copies none of what has gone.
pub(super) fn take_over(lower: &Path, upper: &Path) -> io::Result<()> {
    let Some(below) = look(lower)? else {
        return Ok(());
    };
    copy_xattrs(lower, upper);
    set(
        upper,
        Attributes {
            mode: below.mode(),
            uid: below.uid(),
            gid: below.gid(),
        },
    )?;
    take_over_times(&below, upper)
}

/// Puts entries into the upper layer `upper` of an overlay over `lower`.
pub(super) fn lay(entries: &[Entry], lower: &Path, upper: &Path) -> io::Result<()> {
    let mut made = Vec::new();
    for entry in entries {
        let path = entry.path.trim_start_matches('/');
        make_parents(path, lower, upper, &mut made)?;
        lay_one(entry, &lower.join(path), &upper.join(path))
            .map_err(|error| io::Error::other(format!("{}: {error}", entry.path)))?;
    }
    // Creating a directory's contents has changed its time.
    for (below, above) in made {
        if let Some(meta) = look(&below)? {
            take_over_times(&meta, &above)?;
        }
    }
    Ok(())
}

/// Looks up each directory that was put into the upper layer of the overlay at `merged`. The first
/// lookup stores the directory's origin in it (`ovl_fix_origin`, fs/overlayfs/namei.c), and tar(1)
/// would report that as a change of the directory while it reads it.
pub(super) fn settle(entries: &[Entry], merged: &Path) {
    let mut last = None;
    for entry in entries {
        let parent = Path::new(entry.path.trim_start_matches('/')).parent();
        if parent != last {
            last = parent;
            let _ = parent.map(|parent| merged.join(parent).symlink_metadata());
        }
    }
}

/// Creates an entry in the guest's own filesystems unless something of that name exists.
pub(super) fn add(entry: &Entry) -> io::Result<()> {
    let path = Path::new(&entry.path);
    if path.symlink_metadata().is_ok() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    make(&entry.kind, path)?;
    finish(entry, path)
}

/// Creates the directories above a mount point, the outermost first, with these attributes.
pub(super) fn make_above(target: &Path, attributes: &[Attributes]) -> io::Result<()> {
    let mut above: Vec<&Path> = target.ancestors().skip(1).collect();
    // Without the root.
    above.pop();
    for (index, dir) in above.into_iter().rev().enumerate() {
        match fs::create_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
            Ok(()) => {
                if let Some(attributes) = attributes.get(index) {
                    set(dir, *attributes)?;
                }
            }
        }
    }
    Ok(())
}

/// Creates the directories above an entry. `made` gets those that the lower layer has.
fn make_parents(
    path: &str,
    lower: &Path,
    upper: &Path,
    made: &mut Vec<(PathBuf, PathBuf)>,
) -> io::Result<()> {
    let mut above: Vec<&Path> = Path::new(path).ancestors().skip(1).collect();
    above.reverse();
    for dir in above {
        let (below, above) = (lower.join(dir), upper.join(dir));
        if above.is_dir() {
            continue;
        }
        fs::create_dir(&above)?;
        if below.is_dir() {
            take_over(&below, &above)?;
            made.push((below, above));
        }
    }
    Ok(())
}

fn lay_one(entry: &Entry, lower: &Path, upper: &Path) -> io::Result<()> {
    make(&entry.kind, upper)?;
    match (&entry.attributes, fs::symlink_metadata(lower)) {
        (None, Ok(below)) if entry.kind_is_that_of(&below) => take_over(lower, upper),
        _ => finish(entry, upper),
    }
}

/// What something in the share is; `None` if the host has removed it meanwhile.
fn look(path: &Path) -> io::Result<Option<fs::Metadata>> {
    match fs::symlink_metadata(path) {
        Err(error) if has_gone(&error) => Ok(None),
        meta => meta.map(Some),
    }
}

/// Whether what was to be read from the share has gone, or has become something else.
pub(super) fn has_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound, StaleNetworkFileHandle};
    matches!(
        error.kind(),
        NotFound | NotADirectory | StaleNetworkFileHandle
    )
}

/// Creates an entry; a directory may exist.
fn make(kind: &EntryKind, path: &Path) -> io::Result<()> {
    match kind {
        EntryKind::File(content) => fs::write(path, content),
        EntryKind::Link(target) => symlink(target, path),
        EntryKind::Directory | EntryKind::EmptyDirectory => {
            match fs::create_dir(path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
            if *kind == EntryKind::EmptyDirectory {
                rustix::fs::setxattr(path, OPAQUE, b"y", XattrFlags::empty())?;
            }
            Ok(())
        }
    }
}

/// Sets the requested attributes of an entry.
fn finish(entry: &Entry, path: &Path) -> io::Result<()> {
    match entry.attributes {
        Some(attributes) if !matches!(entry.kind, EntryKind::Link(_)) => set(path, attributes),
        _ => Ok(()),
    }
}

pub(super) fn set(path: &Path, attributes: Attributes) -> io::Result<()> {
    chown(path, Some(attributes.uid), Some(attributes.gid))?;
    // Last, because a change of the owner clears set-id bits.
    fs::set_permissions(path, fs::Permissions::from_mode(attributes.mode & 0o7777))
}

pub(super) fn take_over_times(below: &fs::Metadata, upper: &Path) -> io::Result<()> {
    let accessed = TimeSpec::new(below.atime(), below.atime_nsec());
    let modified = TimeSpec::new(below.mtime(), below.mtime_nsec());
    utimensat(
        nix::fcntl::AT_FDCWD,
        upper,
        &accessed,
        &modified,
        UtimensatFlags::NoFollowSymlink,
    )?;
    Ok(())
}

/// Copies extended attributes, such as access control lists. The share may not have any, and the
/// upper filesystem may not support any.
fn copy_xattrs(lower: &Path, upper: &Path) {
    let mut names = vec![0; 64 * 1024];
    let Ok(length) = rustix::fs::llistxattr(lower, names.as_mut_slice()) else {
        return;
    };
    let names = names.get(..length).unwrap_or_default();
    for name in names.split_inclusive(|&byte| byte == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name) else {
            continue;
        };
        if name.to_bytes().starts_with(OWN_XATTRS) {
            continue;
        }
        let mut value = vec![0; 64 * 1024];
        if let Ok(length) = rustix::fs::lgetxattr(lower, name, value.as_mut_slice()) {
            let value = value.get(..length).unwrap_or_default();
            let _ = rustix::fs::lsetxattr(upper, name, value, XattrFlags::empty());
        }
    }
}

/// What an entry has in common with a file.
trait OfKind {
    fn kind_is_that_of(&self, meta: &fs::Metadata) -> bool;
}

impl OfKind for Entry {
    fn kind_is_that_of(&self, meta: &fs::Metadata) -> bool {
        match self.kind {
            EntryKind::Directory | EntryKind::EmptyDirectory => meta.is_dir(),
            EntryKind::File(_) => meta.is_file(),
            EntryKind::Link(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// This user's own, since an ordinary user cannot give files away.
    fn own(mode: u32) -> Attributes {
        Attributes {
            mode,
            uid: nix::unistd::geteuid().as_raw(),
            gid: nix::unistd::getegid().as_raw(),
        }
    }

    fn entry(path: &str, kind: EntryKind, attributes: Option<Attributes>) -> Entry {
        Entry {
            path: path.to_owned(),
            kind,
            attributes,
        }
    }

    fn mode(path: &Path) -> u32 {
        path.symlink_metadata().unwrap().mode() & 0o7777
    }

    #[test]
    fn a_layer_takes_mode_and_times_over() {
        let dir = tempfile::tempdir().unwrap();
        let [lower, upper] = ["lower", "upper"].map(|name| dir.path().join(name));
        fs::create_dir(&lower).unwrap();
        fs::create_dir(&upper).unwrap();
        set(&lower, own(0o2770)).unwrap();
        let then = TimeSpec::new(1_000_000_000, 7);
        let flags = UtimensatFlags::NoFollowSymlink;
        utimensat(nix::fcntl::AT_FDCWD, &lower, &then, &then, flags).unwrap();
        take_over(&lower, &upper).unwrap();
        let meta = upper.metadata().unwrap();
        assert_eq!(mode(&upper), 0o2770);
        assert_eq!((meta.mtime(), meta.mtime_nsec()), (1_000_000_000, 7));
    }

    #[test]
    fn a_file_in_a_layer_has_the_mode_of_what_it_hides_and_so_have_the_directories_above() {
        let dir = tempfile::tempdir().unwrap();
        let [lower, upper] = ["lower", "upper"].map(|name| dir.path().join(name));
        fs::create_dir_all(lower.join("etc/deep")).unwrap();
        fs::create_dir(&upper).unwrap();
        fs::write(lower.join("etc/deep/secret"), "secret").unwrap();
        set(&lower.join("etc"), own(0o711)).unwrap();
        set(&lower.join("etc/deep/secret"), own(0o640)).unwrap();
        let modified = lower.join("etc").metadata().unwrap().mtime_nsec();
        let entries = [
            entry("/etc/deep/secret", EntryKind::File(b"public".into()), None),
            entry("/etc/new", EntryKind::File(Vec::new()), Some(own(0o600))),
            entry("/etc/link", EntryKind::Link("deep".to_owned()), None),
            entry("/new/root", EntryKind::Directory, Some(own(0o700))),
        ];
        lay(&entries, &lower, &upper).unwrap();
        assert_eq!(fs::read(upper.join("etc/deep/secret")).unwrap(), b"public");
        assert_eq!(mode(&upper.join("etc")), 0o711);
        assert_eq!(mode(&upper.join("etc/deep/secret")), 0o640);
        assert_eq!(mode(&upper.join("etc/new")), 0o600);
        assert_eq!(mode(&upper.join("new/root")), 0o700);
        assert!(upper.join("etc/link").is_dir());
        assert_eq!(upper.join("etc").metadata().unwrap().mtime_nsec(), modified);
    }

    #[test]
    fn what_is_there_is_left_alone_where_only_missing_things_are_added() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("run/resolve/conf");
        let path = file.to_str().unwrap();
        add(&entry(
            path,
            EntryKind::File(b"one".into()),
            Some(own(0o640)),
        ))
        .unwrap();
        add(&entry(path, EntryKind::File(b"two".into()), None)).unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"one");
        assert_eq!(mode(&file), 0o640);
    }

    #[test]
    fn only_directories_that_are_made_get_the_attributes_of_the_hosts() {
        let dir = tempfile::tempdir().unwrap();
        let depth = dir.path().components().count() - 1;
        let target = dir.path().join("a/b/c");
        fs::create_dir(dir.path().join("a")).unwrap();
        let before = mode(&dir.path().join("a"));
        make_above(&target, &vec![own(0o2750); depth + 2]).unwrap();
        assert_eq!(mode(&dir.path().join("a")), before);
        assert_eq!(mode(&dir.path().join("a/b")), 0o2750);
        assert!(!target.exists());
    }
}
