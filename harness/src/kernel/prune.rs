//! Lists the contents of the cache, and removes what has not been used for long.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::disk::size_on_disk;
use super::{Cache, Error, prepare};

/// Somebody may be waiting for files that came within this time.
const HOUR: Duration = Duration::from_secs(60 * 60);

/// Kernels are first renamed with this prefix, and then removed.
const REMOVED: &str = ".removed-";

/// A kernel of the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedKernel {
    /// Name of its directory: where it came from, and a hash.
    pub key: String,
    /// `uname -r`; `None` if it is damaged.
    pub release: Option<String>,
    /// Disk usage, in bytes.
    pub bytes: u64,
    /// When it was made or last used.
    pub used: SystemTime,
}

/// What to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// This many of the most recently used.
    pub newest: usize,
    /// Those used within this time.
    pub within: Duration,
    /// Lists of pools, packages that were fetched and not unpacked, what was read from kernels, and
    /// states of VMs, that came or were used within this time; what came within the last hour always
    /// stays.
    pub files_within: Duration,
}

/// A kernel to remove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pruned {
    /// The kernel.
    pub kernel: CachedKernel,
    /// It stays: a kiln is using it.
    pub in_use: bool,
}

/// The kernels of the cache, the most recently used first.
pub fn cached_kernels(cache: &Cache) -> Result<Vec<CachedKernel>, Error> {
    let mut kernels = Vec::new();
    for (path, name) in entries(&cache.root().join("kernels"))? {
        if !is_key(&name) {
            continue;
        }
        // Links lead out of the cache.
        let Ok(meta) = path.symlink_metadata() else {
            continue;
        };
        if meta.is_dir() {
            kernels.push(CachedKernel {
                release: prepare::load(&path, &name).map(|kernel| kernel.release),
                bytes: size_on_disk(&path),
                used: meta.modified().unwrap_or(SystemTime::UNIX_EPOCH),
                key: name,
            });
        }
    }
    kernels.sort_by(|a, b| b.used.cmp(&a.used).then_with(|| a.key.cmp(&b.key)));
    Ok(kernels)
}

/// Removes the kernels that `keep` does not name and nobody uses, and lists and
/// downloads of that age. A `dry_run` removes nothing.
pub fn prune(cache: &Cache, keep: Keep, dry_run: bool) -> Result<Vec<Pruned>, Error> {
    let now = SystemTime::now();
    // A use in the future counts as just now.
    let old = |used: SystemTime, within: Duration| {
        now.duration_since(used).is_ok_and(|age| age >= within)
    };
    let mut pruned = Vec::new();
    for kernel in cached_kernels(cache)?.into_iter().skip(keep.newest) {
        if old(kernel.used, keep.within) {
            let in_use = !remove(cache, &kernel.key, dry_run)?;
            pruned.push(Pruned { kernel, in_use });
        }
    }
    if !dry_run {
        let old = |file: SystemTime| old(file, keep.files_within.max(HOUR));
        remove_leftovers(cache)?;
        for (path, _) in entries(&cache.root().join("snapshots"))? {
            let meta = path.symlink_metadata();
            if meta.is_ok_and(|meta| meta.is_dir() && meta.modified().is_ok_and(old)) {
                fs::remove_dir_all(&path).map_err(Error::io("remove", &path))?;
            }
        }
        for directory in ["btf", "debug", "downloads", "indices", "pools"] {
            for (path, _) in entries(&cache.root().join(directory))? {
                let meta = path.symlink_metadata();
                if meta.is_ok_and(|meta| meta.is_file() && meta.modified().is_ok_and(old)) {
                    fs::remove_file(&path).map_err(Error::io("remove", &path))?;
                }
            }
        }
    }
    Ok(pruned)
}

/// Whether the kernel of `key` is gone now, or would be; it stays while somebody
/// uses it.
fn remove(cache: &Cache, key: &str, dry_run: bool) -> Result<bool, Error> {
    let Some(_locks) = cache.exclude(key)? else {
        return Ok(false);
    };
    if !dry_run {
        let kernels = cache.root().join("kernels");
        let (path, hidden) = (kernels.join(key), kernels.join(format!("{REMOVED}{key}")));
        // Others find either all of it or nothing.
        fs::rename(&path, &hidden).map_err(Error::io("remove", &path))?;
        fs::remove_dir_all(&hidden).map_err(Error::io("remove", &hidden))?;
    }
    Ok(true)
}

/// Removes what a killed kiln has not removed.
fn remove_leftovers(cache: &Cache) -> Result<(), Error> {
    for (path, name) in entries(&cache.root().join("kernels"))? {
        let key = name.strip_prefix(REMOVED).filter(|key| is_key(key));
        let Some(key) = key else {
            continue;
        };
        if cache.exclude(key)?.is_some() {
            fs::remove_dir_all(&path).map_err(Error::io("remove", &path))?;
        }
    }
    Ok(())
}

/// Whether `name` is one that the cache gives to kernels.
fn is_key(name: &str) -> bool {
    name.rsplit_once('-').is_some_and(|(kind, hash)| {
        !kind.is_empty()
            && !kind.starts_with('.')
            && hash.len() == 24
            && hash.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// What is in `directory`, with its name; nothing if there is no such directory.
fn entries(directory: &Path) -> Result<Vec<(PathBuf, String)>, Error> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("read", directory)(error)),
    };
    let named = entries.flatten().filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        Some((entry.path(), name))
    });
    Ok(named.collect())
}

#[cfg(test)]
#[path = "prune_tests.rs"]
mod tests;
