//! Reads a directory of modules, and remembers the result.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde::{Deserialize, Serialize};
use walkdir::WalkDir;

use super::error::Error;
use super::index::{Index, Knowledge, Module, ModuleFile, decompress, module_name};
use super::modinfo;
use crate::whole_file;

/// The file beside the modules with what was read from them.
pub(super) const CACHE: &str = "modules.kiln";
/// Increase this whenever the meaning of [`CACHE`] changes.
const CACHE_VERSION: u32 = 1;

/// One file with the name of a module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Found {
    /// Path below the directory.
    path: String,
    size: u64,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
}

#[derive(Serialize, Deserialize)]
struct Cached {
    version: u32,
    files: Vec<Found>,
    modules: Vec<Module>,
}

impl Index {
    /// Reads the modules below `dir`, which is `/lib/modules/<release>` or a copy of it. Uses what
    /// [`write_metadata`] stored there if no module has changed since.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        open(dir, &dir.join(CACHE))
    }

    /// The same for a directory that is not ours: the file `remembered` has what was read from it
    /// before.
    pub fn open_remembered(dir: &Path, remembered: &Path) -> Result<Self, Error> {
        open(dir, remembered)
    }
}

/// Reads the directory, or uses what an earlier run left in `remembered`; see [`Index::open`].
pub(super) fn open(dir: &Path, remembered: &Path) -> Result<Index, Error> {
    let files = find(dir)?;
    let mut modules = match cached(remembered, &files) {
        Some(modules) => modules,
        None => read_all(dir, &files)?,
    };
    sort(
        &mut modules,
        &optional(dir, "modules.order")?.unwrap_or_default(),
    );

    let builtin = optional(dir, "modules.builtin")?;
    let knowledge = Knowledge::Directory {
        lists_builtins: builtin.is_some(),
    };
    let mut index = Index::new(dir.to_path_buf(), knowledge, modules);
    index.builtins = String::from_utf8_lossy(&builtin.unwrap_or_default())
        .lines()
        .filter_map(|line| module_name(line.rsplit('/').next()?))
        .collect();
    let info = optional(dir, "modules.builtin.modinfo")?.unwrap_or_default();
    index.builtin_aliases = modinfo::builtin_aliases(&info);
    Ok(index)
}

/// Reads the modules below `dir` and stores the result in `file`, for [`Index::open_remembered`].
pub(in super::super) fn remember(dir: &Path, file: &Path) -> Result<(), Error> {
    let bytes = to_bytes(&Index::open(dir)?)?;
    whole_file::write(file, &bytes).map_err(|source| Error::Write {
        path: file.to_owned(),
        source,
    })
}

/// The stored form of an index.
pub(super) fn to_bytes(index: &Index) -> Result<Vec<u8>, Error> {
    let cached = Cached {
        version: CACHE_VERSION,
        files: find(&index.dir)?,
        modules: index.modules.clone(),
    };
    postcard::to_allocvec(&cached).map_err(|error| Error::Write {
        path: index.dir.join(CACHE),
        source: io::Error::other(error),
    })
}

/// The modules below `dir` by their file names, unread: of several with one name, that below
/// `updates/`, else the first.
pub fn files(dir: &Path) -> Result<Vec<ModuleFile>, Error> {
    let mut paths: Vec<PathBuf> = find(dir)?
        .into_iter()
        .map(|found| PathBuf::from(found.path))
        .collect();
    paths.sort_by_key(|path| !path.starts_with("updates"));
    Ok(named(dir, &paths))
}

/// Those of `paths`, relative to `dir`, that have the name of a module, each name once, sorted by
/// name.
pub fn named(dir: &Path, paths: &[PathBuf]) -> Vec<ModuleFile> {
    let mut by_name = BTreeMap::new();
    for path in paths {
        let name = path
            .file_name()
            .and_then(|name| module_name(name.to_str()?));
        if let Some(name) = name {
            by_name.entry(name).or_insert_with(|| dir.join(path));
        }
    }
    by_name
        .into_iter()
        .map(|(name, path)| ModuleFile { name, path })
        .collect()
}

/// What an earlier run read from the same files. An unreadable cache is not an error: read the
/// modules themselves.
fn cached(remembered: &Path, files: &[Found]) -> Option<Vec<Module>> {
    let cached: Cached = postcard::from_bytes(&fs::read(remembered).ok()?).ok()?;
    (cached.version == CACHE_VERSION && cached.files == files).then_some(cached.modules)
}

/// The modules below a directory, by path. Does not follow the links `build` and `source`, which
/// lead to whole kernel trees, nor other links to directories.
fn find(dir: &Path) -> Result<Vec<Found>, Error> {
    let mut files = Vec::new();
    for entry in WalkDir::new(dir)
        .follow_root_links(true)
        .sort_by_file_name()
    {
        let failed = |error: walkdir::Error| Error::Read {
            path: error.path().unwrap_or(dir).into(),
            source: error.into(),
        };
        let entry = entry.map_err(failed)?;
        let is_module = entry.file_name().to_str().and_then(module_name).is_some();
        let Some(path) = entry
            .path()
            .strip_prefix(dir)
            .ok()
            .and_then(Path::to_str)
            .filter(|_| is_module)
        else {
            continue;
        };
        // A module may be a link to one, as in a store of packages.
        let data = fs::metadata(entry.path()).map_err(|source| Error::Read {
            path: entry.path().into(),
            source,
        })?;
        if data.is_file() {
            files.push(Found {
                path: path.to_owned(),
                size: data.size(),
                modified: (data.mtime(), data.mtime_nsec()),
            });
        }
    }
    Ok(files)
}

/// Reads every module; unpacking them is most of the work, so all processors
/// share it.
fn read_all(dir: &Path, files: &[Found]) -> Result<Vec<Module>, Error> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut read = Vec::new();
        while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            read.push(read_one(dir, &file.path)?);
        }
        Ok(read)
    };
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let handles: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        let mut modules = Vec::with_capacity(files.len());
        for handle in handles {
            match handle.join() {
                Ok(read) => modules.extend(read?),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(modules)
    })
}

fn read_one(dir: &Path, relative: &str) -> Result<Module, Error> {
    let path = dir.join(relative);
    let data = decompress(&path)?;
    let module = modinfo::read(&data).map_err(|reason| Error::NotAModule { path, reason })?;
    let file_name = relative.rsplit('/').next().unwrap_or(relative);
    Ok(Module {
        name: module_name(file_name).unwrap_or_default(),
        path: relative.to_owned(),
        ..module
    })
}

/// Sorts by `modules.order` as depmod does, the rest after it by path. Of modules with one name
/// only the first stays; those below `updates/` come before all others, as in depmod's default
/// search order (`depmod.d(5)`).
fn sort(modules: &mut Vec<Module>, order: &[u8]) {
    let order = String::from_utf8_lossy(order);
    let place: HashMap<&str, usize> = order.lines().zip(0..).collect();
    modules.sort_by_cached_key(|module| {
        let end = module.path.rfind(".ko").map_or(0, |at| at + 3);
        let listed = place.get(&module.path[..end]).copied();
        (
            !module.path.starts_with("updates/"),
            listed.unwrap_or(usize::MAX),
            module.path.clone(),
        )
    });
    let mut seen = HashSet::new();
    modules.retain(|module| seen.insert(module.name.clone()));
}

fn optional(dir: &Path, name: &str) -> Result<Option<Vec<u8>>, Error> {
    let path = dir.join(name);
    match fs::read(&path) {
        Ok(data) => Ok(Some(data)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::Read { path, source }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::Write;

    use super::super::fixture::{module, put, tree};
    use super::super::write_metadata;
    use super::*;

    fn names(index: &Index) -> Vec<&str> {
        index.modules.iter().map(|m| m.name.as_str()).collect()
    }

    #[test]
    fn modules_in_every_compression_are_read_alike() {
        let plain = module(&["depends=b"]);
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(&plain).unwrap();
        let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
        xz.write_all(&plain).unwrap();
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), "kernel/a-plain.ko", &plain);
        put(dir.path(), "kernel/b.ko.gz", &gz.finish().unwrap());
        put(dir.path(), "kernel/c.ko.xz", &xz.finish().unwrap());
        put(
            dir.path(),
            "kernel/d.ko.zst",
            &zstd::encode_all(&plain[..], 1).unwrap(),
        );
        put(dir.path(), "kernel/not-a-module.txt", b"x");
        let index = Index::open(dir.path()).unwrap();
        assert_eq!(names(&index), ["a_plain", "b", "c", "d"]);
        assert!(index.modules.iter().all(|m| m.depends == ["b"]));
        assert!(
            index
                .modules
                .iter()
                .all(|m| decompress(&index.file(m).path).unwrap() == plain)
        );
    }

    #[test]
    fn a_damaged_module_is_named() {
        let dir = tree(&[("kernel/a.ko", &[])]);
        put(dir.path(), "kernel/bad.ko", b"nothing of the kind");
        let error = Index::open(dir.path()).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("kernel/bad.ko is not a kernel module"),
            "{error}"
        );
        put(
            dir.path(),
            "kernel/bad.ko",
            &[0xfd, b'7', b'z', b'X', b'Z', 0, 1, 2],
        );
        let error = Index::open(dir.path()).unwrap_err();
        assert!(error.to_string().contains("xz module"), "{error}");
    }

    #[test]
    fn a_missing_directory_is_named() {
        let error = Index::open(Path::new("/nonexistent/modules")).unwrap_err();
        assert_eq!(error.to_string(), "cannot read /nonexistent/modules");
    }

    #[test]
    fn modules_stand_in_the_order_of_modules_order() {
        let dir = tree(&[
            ("kernel/a.ko", &[]),
            ("kernel/b.ko", &[]),
            ("extra/c.ko", &[]),
        ]);
        put(dir.path(), "modules.order", b"kernel/b.ko\nkernel/a.ko\n");
        assert_eq!(names(&Index::open(dir.path()).unwrap()), ["b", "a", "c"]);
    }

    #[test]
    fn an_updated_module_replaces_the_one_of_the_kernel() {
        let dir = tree(&[("kernel/a.ko", &[]), ("updates/dkms/a.ko", &[])]);
        put(dir.path(), "modules.order", b"kernel/a.ko\n");
        let index = Index::open(dir.path()).unwrap();
        assert_eq!(names(&index), ["a"]);
        assert_eq!(index.modules[0].path, "updates/dkms/a.ko");
    }

    #[test]
    fn what_was_written_is_used_until_a_module_changes() {
        let dir = tree(&[("kernel/a.ko", &["alias=before"])]);
        write_metadata(dir.path()).unwrap();
        let path = dir.path().join("kernel/a.ko");
        let stamp = fs::metadata(&path).unwrap().modified().unwrap();
        let aliases = || Index::open(dir.path()).unwrap().modules[0].aliases.clone();

        // Same length, same time: the cache is believed, which shows it is used.
        fs::write(&path, module(&["alias=behind"])).unwrap();
        let file = fs::File::options().append(true).open(&path).unwrap();
        file.set_modified(stamp).unwrap();
        assert_eq!(aliases(), ["before"]);
        file.set_modified(stamp + std::time::Duration::from_secs(1))
            .unwrap();
        assert_eq!(aliases(), ["behind"]);

        fs::write(dir.path().join(CACHE), b"\xff\xff\xff").unwrap();
        assert_eq!(aliases(), ["behind"]);
    }
}
