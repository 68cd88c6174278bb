//! Where saved states are: a directory each in the user's cache, which appears whole, and goes when
//! it has not been used for long or there are too many.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::fcntl::{Flock, FlockArg};

use super::Error;
use super::record::Record;

/// The directory of states in the cache.
const DIRECTORY: &str = "snapshots";
/// Most bytes of all states: some twenty.
const MOST_BYTES: u64 = 2 << 30;
/// Those that were not used for so long go, too.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// A directory that is being filled; longer than that takes.
const FILLING: &str = "filling-";
const LONGEST_FILLING: Duration = Duration::from_secs(60 * 60);

const RECORD: &str = "record.json";
const MEMORY: &str = "memory";
const DEVICES: &str = "devices";
const CONSOLE: &str = "console";

/// All states of a user.
#[derive(Debug, Clone)]
pub(super) struct Store {
    root: PathBuf,
}

/// A saved state.
#[derive(Debug)]
pub struct State {
    dir: PathBuf,
    pub(super) record: Record,
}

/// A state that is being saved; removed when dropped unpublished.
#[derive(Debug)]
pub(super) struct Draft {
    dir: tempfile::TempDir,
    target: PathBuf,
    /// Held, so that nobody else saves the same.
    _lock: Flock<File>,
}

impl Store {
    /// In this cache.
    pub(super) fn at(cache: &Path) -> Self {
        Self {
            root: cache.join(DIRECTORY),
        }
    }

    /// The state of `key`, which is then used. One that cannot be read does not exist.
    pub(super) fn find(&self, key: &str) -> Option<State> {
        let dir = self.root.join(key);
        let record = fs::read(dir.join(RECORD)).ok()?;
        let record = serde_json::from_slice(&record).ok();
        let Some(record) = record else {
            remove(&dir);
            return None;
        };
        if let Ok(directory) = File::open(&dir) {
            // Where that cannot be written down, it is an old one.
            let _ = directory.set_modified(SystemTime::now());
        }
        Some(State { dir, record })
    }

    /// Begins to save the state of `key`; `None` if somebody else does, or has.
    pub(super) fn begin(&self, key: &str) -> Result<Option<Draft>, Error> {
        let failed = |source| Error::file("write", &self.root)(source);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.root)
            .map_err(failed)?;
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(self.root.join(format!("{key}.lock")))
            .map_err(failed)?;
        let Ok(lock) = Flock::lock(lock, FlockArg::LockExclusiveNonblock) else {
            return Ok(None);
        };
        let target = self.root.join(key);
        if target.exists() {
            return Ok(None);
        }
        let dir = tempfile::Builder::new()
            .prefix(FILLING)
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(&self.root)
            .map_err(failed)?;
        Ok(Some(Draft {
            dir,
            target,
            _lock: lock,
        }))
    }

    /// Removes what is old, and the least recently used beyond [`MOST_BYTES`].
    pub(super) fn tidy(&self) {
        self.tidy_to(MOST_BYTES);
    }

    fn tidy_to(&self, most_bytes: u64) {
        let now = SystemTime::now();
        let mut states = Vec::new();
        for entry in fs::read_dir(&self.root).into_iter().flatten().flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            let Ok(meta) = path.symlink_metadata() else {
                continue;
            };
            let used = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            // A use in the future counts as just now.
            let age = now.duration_since(used).unwrap_or_default();
            let is_filling = name.as_encoded_bytes().starts_with(FILLING.as_bytes());
            if !meta.is_dir() {
                if age > LONGEST {
                    let _ = fs::remove_file(&path);
                }
            } else if is_filling {
                if age > LONGEST_FILLING {
                    remove(&path);
                }
            } else {
                states.push((age, path));
            }
        }
        states.sort();
        let mut total = 0;
        for (age, path) in states {
            total += size(&path);
            if age > LONGEST || total > most_bytes {
                remove(&path);
            }
        }
    }
}

impl State {
    /// The file of the guest's memory.
    pub(super) fn memory(&self) -> PathBuf {
        self.dir.join(MEMORY)
    }

    /// That of QEMU's devices.
    pub(super) fn devices(&self) -> PathBuf {
        self.dir.join(DEVICES)
    }

    /// What the guest had written to its console.
    pub fn console(&self) -> Vec<u8> {
        fs::read(self.dir.join(CONSOLE)).unwrap_or_default()
    }

    /// Removes it.
    pub fn remove(&self) {
        remove(&self.dir);
    }
}

impl Draft {
    /// The file of the guest's memory.
    pub(super) fn memory(&self) -> PathBuf {
        self.dir.path().join(MEMORY)
    }

    /// That of QEMU's devices.
    pub(super) fn devices(&self) -> PathBuf {
        self.dir.path().join(DEVICES)
    }

    /// Adds the rest, and makes the state visible, at once and whole.
    pub(super) fn publish(self, record: &Record, console: &[u8]) -> Result<(), Error> {
        let dir = self.dir.path();
        let written = || -> io::Result<()> {
            fs::write(dir.join(CONSOLE), console)?;
            fs::write(dir.join(RECORD), serde_json::to_vec(record)?)?;
            for name in [MEMORY, DEVICES, CONSOLE, RECORD] {
                let path = dir.join(name);
                fs::set_permissions(&path, Permissions::from_mode(0o600))?;
                // Data before name: a crash must not leave a name without its data.
                File::open(path)?.sync_data()?;
            }
            fs::rename(dir, &self.target)
        };
        written().map_err(Error::file("write", &self.target))?;
        // It has another name now.
        let _ = self.dir.keep();
        Ok(())
    }
}

/// Removes a state; others find either all of it or nothing.
fn remove(dir: &Path) {
    let hidden = dir.with_file_name(format!(
        "{FILLING}{}-{}",
        std::process::id(),
        dir.file_name().unwrap_or_default().to_string_lossy()
    ));
    // Another kiln may have removed it.
    if fs::rename(dir, &hidden).is_ok() {
        let _ = fs::remove_dir_all(&hidden);
    }
}

fn size(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.metadata().ok())
        .map(|meta| meta.len())
        .sum()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::vm::snapshot::memory::Content;
    use crate::vm::snapshot::record::Program;

    fn record() -> Record {
        Record {
            program: Program::of(nix::unistd::Pid::this()).unwrap(),
            counter_khz: Some(7),
            memory: Content::default(),
            devices: 0,
        }
    }

    fn save(store: &Store, key: &str) {
        let draft = store.begin(key).unwrap().unwrap();
        fs::write(draft.memory(), b"memory").unwrap();
        fs::write(draft.devices(), b"devices").unwrap();
        draft.publish(&record(), b"console").unwrap();
    }

    fn names(store: &Store) -> Vec<String> {
        let entries = fs::read_dir(&store.root).unwrap();
        let mut names: Vec<String> = entries
            .map(Result::unwrap)
            .filter(|entry| entry.path().is_dir())
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_state_is_found_once_it_is_whole_and_is_for_its_user_alone() {
        let cache = tempfile::tempdir().unwrap();
        let store = Store::at(cache.path());
        assert!(store.find("k").is_none());
        let draft = store.begin("k").unwrap().unwrap();
        // Somebody else may do it meanwhile, but need not.
        assert!(store.begin("k").unwrap().is_none());
        assert!(store.find("k").is_none());
        drop(draft);
        assert!(names(&store).is_empty());
        save(&store, "k");
        assert!(store.begin("k").unwrap().is_none());
        let state = store.find("k").unwrap();
        assert_eq!(state.record, record());
        assert_eq!(state.console(), b"console");
        assert_eq!(fs::read(state.memory()).unwrap(), b"memory");
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&store.root), 0o700);
        assert_eq!(mode(&store.root.join("k")), 0o700);
        assert_eq!(mode(&state.devices()), 0o600);
        state.remove();
        assert!(names(&store).is_empty());
    }

    #[test]
    fn a_state_whose_record_is_damaged_goes() {
        let cache = tempfile::tempdir().unwrap();
        let store = Store::at(cache.path());
        save(&store, "k");
        fs::write(store.root.join("k").join(RECORD), "{").unwrap();
        assert!(store.find("k").is_none());
        assert!(names(&store).is_empty());
    }

    #[test]
    fn the_least_recently_used_states_go_when_there_are_too_many() {
        let cache = tempfile::tempdir().unwrap();
        let store = Store::at(cache.path());
        let hours_ago = |name: &str, hours: u64| {
            let past = SystemTime::now() - Duration::from_secs(hours * 60 * 60);
            let file = File::open(store.root.join(name)).unwrap();
            file.set_modified(past).unwrap();
        };
        for (key, hours) in [("a", 3), ("b", 2), ("c", 1), ("old", 31 * 24)] {
            save(&store, key);
            hours_ago(key, hours);
        }
        for (name, hours) in [("filling-now", 0), ("filling-killed", 2)] {
            fs::create_dir(store.root.join(name)).unwrap();
            hours_ago(name, hours);
        }
        store.tidy();
        assert_eq!(names(&store), ["a", "b", "c", "filling-now"]);
        let one = size(&store.root.join("a"));
        // That makes it the newest.
        store.find("a").unwrap();
        store.tidy_to(2 * one);
        assert_eq!(names(&store), ["a", "c", "filling-now"]);
    }
}
