//! The cache: kernels ready to boot, each in a directory that appears complete, in one step.
//!
//! A kernel is written to a temporary directory of the cache, under its own lock, and renamed into
//! place: everybody who sees `kernels/<key>` sees all of it.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use sha2::{Digest, Sha256};

use super::layout::Layout;
use super::prepare::{self, Taking};
use super::{Error, KernelImage, Progress};
use crate::arch::Arch;

/// Enough for another harness to fetch a full-size kernel on a slow line.
const LOCK_DEADLINE: Duration = Duration::from_secs(30 * 60);

/// How often to retry a taken lock.
const LOCK_POLL: Duration = Duration::from_millis(100);

/// After this time, kiln tells the user what it is waiting for.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);

/// Longer than it takes to rename a directory: somebody who removes a kernel holds
/// its lock no longer.
const PRUNING: Duration = Duration::from_secs(5);

/// SHA-1 of packages, by their SHA-256.
const SHA1: &str = "sha1";

/// The cache directory.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
    /// Locks of the kernels that were provided, held until the last clone goes: a
    /// kernel is in use as long as the kiln that asked for it runs.
    used: Arc<Mutex<BTreeMap<String, CacheLock>>>,
}

/// The inputs of a kernel, as a file name: equal keys mean equal kernels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key(String);

/// A held lock; dropping it releases it.
#[derive(Debug)]
pub(super) struct CacheLock {
    _file: Flock<File>,
}

/// A directory of the cache that is being filled; dropping it unpublished
/// removes it.
#[derive(Debug)]
pub(super) struct Filling {
    temporary: tempfile::TempDir,
    target: PathBuf,
    _lock: CacheLock,
}

impl Key {
    /// A key of the kind `kind` over `parts`.
    pub(super) fn new<'a>(kind: &str, parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        let mut hex = super::digest::hex(&hash.finalize());
        hex.truncate(24);
        Key(format!("{kind}-{hex}"))
    }

    /// The key of a kernel for `arch`: two archives may give files of one name and
    /// content for two architectures.
    pub(super) fn for_arch(self, arch: Arch) -> Self {
        Key(format!("{}{self}", arch.key_prefix()))
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// The lock of those who use the kernel of `key`.
fn use_lock(key: &str) -> String {
    format!("{key}.used")
}

impl Cache {
    /// `KILN_CACHE_DIR`, else `kiln` in `XDG_CACHE_HOME`, else `~/.cache/kiln`
    /// (XDG Base Directory Specification 0.8: relative values are ignored).
    pub fn from_env() -> Result<Self, Error> {
        let absolute = |name: &str| {
            std::env::var_os(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        absolute("KILN_CACHE_DIR")
            .or_else(|| absolute("XDG_CACHE_HOME").map(|dir| dir.join("kiln")))
            .or_else(|| absolute("HOME").map(|dir| dir.join(".cache/kiln")))
            .map(Cache::at)
            .ok_or(Error::NoCacheDirectory)
    }

    /// The cache in the directory `root`, which is absolute and need not exist yet.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Cache {
            root: root.into(),
            used: Arc::default(),
        }
    }

    /// The cache's directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The kernel of `key`, called `name`, if it exists and is complete.
    pub(super) fn prepared(&self, key: &Key, name: &str) -> Option<KernelImage> {
        prepare::load(&self.kernel_dir(key), name)
    }

    /// The kernel of `key`, called `name`. If it does not exist, or is not complete, `get` finds
    /// it, or fetches it into the given directory, which is removed afterwards, and the cache
    /// prepares it.
    pub(super) fn provide(
        &self,
        key: &Key,
        name: &str,
        progress: &Progress,
        get: impl FnOnce(&Path) -> Result<(Layout, Taking), Error>,
    ) -> Result<KernelImage, Error> {
        self.use_kernel(key);
        if let Some(kernel) = self.prepared(key, name) {
            self.touch(key);
            if prepare::wants_configuration(&self.kernel_dir(key)) {
                return Ok(self.with_configuration(key, kernel, progress, get));
            }
            return Ok(kernel);
        }
        self.discard_damaged(key, |dir| prepare::load(dir, name).is_some())?;
        if let Some(filling) = self.fill(key, || progress.waiting(name))? {
            let (layout, taking) = get(&filling.work())?;
            prepare::prepare(&layout, taking, &filling.kernel())
                .map_err(|error| shown(error, &filling.work(), name))?;
            filling.publish()?;
            if let Some(note) = super::disk::note_of_size(&self.root) {
                progress.line(&note);
            }
        }
        self.prepared(key, name).ok_or_else(|| Error::NoImage {
            path: self.kernel_dir(key),
        })
    }

    /// Nobody removes the kernel of `key` from now on. A cache that cannot be
    /// written to needs no lock for that.
    fn use_kernel(&self, key: &Key) {
        let used = || self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if used().contains_key(&key.0) {
            return;
        }
        let Ok(mut file) = self.open_lock(&use_lock(&key.0)) else {
            return;
        };
        let begun = Instant::now();
        while begun.elapsed() < PRUNING {
            match Flock::lock(file, FlockArg::LockSharedNonblock) {
                Ok(lock) => {
                    used().insert(key.0.clone(), CacheLock { _file: lock });
                    return;
                }
                Err((back, Errno::EWOULDBLOCK | Errno::EINTR)) => file = back,
                Err(_) => return,
            }
            std::thread::sleep(LOCK_POLL);
        }
    }

    /// Says that the kernel of `key` was used now. Where that cannot be written
    /// down, it was not.
    fn touch(&self, key: &Key) {
        if let Ok(directory) = File::open(self.kernel_dir(key)) {
            let _ = directory.set_modified(SystemTime::now());
        }
    }

    /// Takes the kernel called `key` away from everybody who might use or fill it;
    /// `None` if somebody does.
    pub(super) fn exclude(&self, key: &str) -> Result<Option<[CacheLock; 2]>, Error> {
        let take = |name: &str| -> Result<Option<CacheLock>, Error> {
            let file = self.open_lock(name)?;
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => Ok(Some(CacheLock { _file: lock })),
                Err((_, Errno::EWOULDBLOCK)) => Ok(None),
                Err((_, errno)) => Err(Error::io("lock", &self.root)(errno.into())),
            }
        };
        let Some(used) = take(&use_lock(key))? else {
            return Ok(None);
        };
        Ok(take(key)?.map(|filled| [used, filled]))
    }

    /// The SHA-1 of a package file whose SHA-256 is `sha256`, if the file was
    /// fetched once.
    pub(super) fn sha1_of(&self, sha256: &str) -> Option<String> {
        let text = fs::read_to_string(self.root.join(SHA1).join(sha256)).ok()?;
        let hex = text.len() == 40 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        hex.then_some(text)
    }

    /// Remembers it.
    pub(super) fn remember_sha1(&self, sha256: &str, sha1: &str) {
        // Forgotten, it costs a download when somebody asks.
        if let Ok(directory) = self.subdirectory(SHA1) {
            let _ = crate::whole_file::write(&directory.join(sha256), sha1.as_bytes());
        }
    }

    /// What the kernel of `key` takes on the disk, in bytes, if it is there.
    pub(super) fn size_of(&self, key: &Key) -> Option<u64> {
        let directory = self.kernel_dir(key);
        directory
            .is_dir()
            .then(|| super::disk::size_on_disk(&directory))
    }

    /// Where the kernel of `key` is, or would be.
    pub(super) fn kernel_dir(&self, key: &Key) -> PathBuf {
        self.root.join("kernels").join(&key.0)
    }

    /// A directory of the cache for `purpose`, created if missing.
    pub(super) fn subdirectory(&self, purpose: &str) -> Result<PathBuf, Error> {
        let path = self.root.join(purpose);
        fs::create_dir_all(&path).map_err(Error::io("create", &path))?;
        Ok(path)
    }

    /// Takes the lock called `name`; `waiting` is called once if somebody else
    /// holds it for longer than a moment.
    pub(super) fn lock(&self, name: &str, waiting: impl FnOnce()) -> Result<CacheLock, Error> {
        let mut file = self.open_lock(name)?;
        let begun = Instant::now();
        let mut waiting = Some(waiting);
        loop {
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => return Ok(CacheLock { _file: lock }),
                Err((back, Errno::EWOULDBLOCK | Errno::EINTR)) => file = back,
                Err((_, errno)) => return Err(Error::io("lock", &self.root)(errno.into())),
            }
            if begun.elapsed() > LOCK_DEADLINE {
                return Err(Error::Deadline {
                    what: format!("the lock {name} in {}", self.root.display()),
                    after: LOCK_DEADLINE,
                });
            }
            if begun.elapsed() > LOCK_PATIENCE
                && let Some(waiting) = waiting.take()
            {
                waiting();
            }
            std::thread::sleep(LOCK_POLL);
        }
    }

    /// Removes the directory of `key` if it is there and `whole` refuses it, so that it is filled
    /// again.
    fn discard_damaged(&self, key: &Key, whole: impl Fn(&Path) -> bool) -> Result<(), Error> {
        let target = self.kernel_dir(key);
        if !target.exists() {
            return Ok(());
        }
        let _lock = self.lock(&key.0, || {})?;
        if target.exists() && !whole(&target) {
            fs::remove_dir_all(&target).map_err(Error::io("remove", &target))?;
        }
        Ok(())
    }

    /// Begins to fill the directory of `key`; `None` if somebody else has
    /// filled it meanwhile.
    fn fill(&self, key: &Key, waiting: impl FnOnce()) -> Result<Option<Filling>, Error> {
        let lock = self.lock(&key.0, waiting)?;
        if self.kernel_dir(key).exists() {
            return Ok(None);
        }
        self.subdirectory("kernels")?;
        self.begin(key, lock).map(Some)
    }

    /// Makes a temporary directory for the kernel of `key`, whose `lock` is held.
    pub(super) fn begin(&self, key: &Key, lock: CacheLock) -> Result<Filling, Error> {
        let temporaries = self.subdirectory("tmp")?;
        self.sweep(&temporaries, key)?;
        let prefix = format!("{key}.");
        let temporary = tempfile::Builder::new()
            .prefix(&prefix)
            .tempdir_in(&temporaries)
            .map_err(Error::io("create a directory in", &temporaries))?;
        for name in ["work", "kernel"] {
            let path = temporary.path().join(name);
            fs::create_dir(&path).map_err(Error::io("create", &path))?;
        }
        Ok(Filling {
            temporary,
            target: self.kernel_dir(key),
            _lock: lock,
        })
    }

    /// Removes what killed harnesses left in `temporaries`: directories whose key is `held` by this
    /// one, or whose key's lock nobody holds. A directory exists only while its lock is held.
    fn sweep(&self, temporaries: &Path, held: &Key) -> Result<(), Error> {
        for entry in fs::read_dir(temporaries).map_err(Error::io("read", temporaries))? {
            let path = entry.map_err(Error::io("read", temporaries))?.path();
            let Some((key, _)) = path
                .file_name()
                .and_then(|name| name.to_str())
                .and_then(|name| name.split_once('.'))
            else {
                continue;
            };
            let file = self.open_lock(key)?;
            let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock);
            if key == held.0 || lock.is_ok() {
                fs::remove_dir_all(&path).map_err(Error::io("remove", &path))?;
            }
        }
        Ok(())
    }

    fn open_lock(&self, name: &str) -> Result<File, Error> {
        let path = self.subdirectory("locks")?.join(format!("{name}.lock"));
        OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(Error::io("open", &path))
    }
}

/// The error without the temporary directory `work`: the image is of the kernel called `name`.
fn shown(error: Error, work: &Path, name: &str) -> Error {
    let of_kernel = |image: &Path| -> Option<PathBuf> {
        let inside = image.strip_prefix(work).ok()?;
        // The first part is the directory that the kernel was unpacked to.
        let path = inside.iter().skip(1).collect::<PathBuf>();
        Some(format!("{} of kernel \"{name}\"", path.display()).into())
    };
    match error {
        Error::Image(error) => Error::Image(match of_kernel(error.path()) {
            Some(image) => error.of(image),
            None => error,
        }),
        Error::ReleaseDiffers {
            image,
            release,
            expected,
        } => Error::ReleaseDiffers {
            image: of_kernel(&image).unwrap_or(image),
            release,
            expected,
        },
        other => other,
    }
}

impl Filling {
    /// Where downloads and archives are unpacked; never published.
    pub(super) fn work(&self) -> PathBuf {
        self.temporary.path().join("work")
    }

    /// What will be published.
    pub(super) fn kernel(&self) -> PathBuf {
        self.temporary.path().join("kernel")
    }

    /// Makes the kernel visible, at once and whole.
    fn publish(self) -> Result<PathBuf, Error> {
        let kernel = self.kernel();
        // Data before name: a crash must not leave a name without its data.
        let directory = File::open(&kernel).map_err(Error::io("open", &kernel))?;
        nix::unistd::syncfs(&directory)
            .map_err(|errno| Error::io("sync", &kernel)(errno.into()))?;
        fs::rename(&kernel, &self.target).map_err(Error::io("create", &self.target))?;
        Ok(self.target.clone())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn key() -> Key {
        Key::new("test", [b"a".as_slice()])
    }

    #[test]
    fn keys_tell_where_one_part_ends() {
        let ab_c = Key::new("k", [b"ab".as_slice(), b"c"]);
        let a_bc = Key::new("k", [b"a".as_slice(), b"bc"]);
        assert_ne!(ab_c, a_bc);
        assert_eq!(key().to_string().len(), "test-".len() + 24);
    }

    #[test]
    fn kernels_that_were_cached_before_architectures_had_keys_are_found() {
        // As kiln without architectures has it.
        let key = Key::new("apt", [b"0123".as_slice(), b"4567"]).for_arch(Arch::X86_64);
        assert_eq!(key.to_string(), "apt-4af4ab44116b3f073c72b41f");
    }

    #[test]
    fn a_kernel_is_seen_only_after_it_is_published() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path());
        let filling = cache.fill(&key(), || {}).unwrap().unwrap();
        fs::write(filling.kernel().join("image"), b"x").unwrap();
        assert!(!cache.kernel_dir(&key()).exists());
        let path = filling.publish().unwrap();
        assert_eq!(fs::read(path.join("image")).unwrap(), b"x");
        assert!(cache.fill(&key(), || {}).unwrap().is_none());
        let left = fs::read_dir(dir.path().join("tmp")).unwrap().count();
        assert_eq!(left, 0);
    }

    #[test]
    fn an_abandoned_filling_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path());
        drop(cache.fill(&key(), || {}).unwrap().unwrap());
        assert_eq!(fs::read_dir(dir.path().join("tmp")).unwrap().count(), 0);
        assert!(!cache.kernel_dir(&key()).exists());
    }

    #[test]
    fn what_killed_harnesses_left_is_removed_and_what_others_fill_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path());
        let stale = [format!("{}.dead", key()), "other-key.dead".to_owned()]
            .map(|name| dir.path().join("tmp").join(name));
        for path in &stale {
            fs::create_dir_all(path.join("work")).unwrap();
        }
        let alive = Key::new("alive", [b"b".as_slice()]);
        let others = cache.fill(&alive, || {}).unwrap().unwrap();
        let mine = cache.fill(&key(), || {}).unwrap().unwrap();
        assert!(stale.iter().all(|path| !path.exists()));
        assert!(others.kernel().exists() && mine.kernel().exists());
    }

    #[test]
    fn the_second_harness_waits_and_then_finds_the_kernel() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path());
        let filling = cache.fill(&key(), || {}).unwrap().unwrap();
        let second = {
            let cache = cache.clone();
            std::thread::spawn(move || cache.fill(&key(), || {}).unwrap().is_none())
        };
        std::thread::sleep(Duration::from_millis(150));
        assert!(!second.is_finished());
        filling.publish().unwrap();
        assert!(second.join().unwrap());
    }
}
