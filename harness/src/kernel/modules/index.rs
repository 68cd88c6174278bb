//! The modules of a kernel and the information in them.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::Error;
use crate::kernel::image::compression::Compression;

/// No module unpacks to more bytes than this: one that claims to is damaged.
const MAX_UNPACKED: u64 = 1 << 30;

/// A module to load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleFile {
    /// Its name, with `_` for `-`, as `lsmod` prints it.
    pub name: String,
    /// Where it is on the host, perhaps compressed.
    pub path: PathBuf,
}

/// Whether a kernel has something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Availability {
    /// As a module.
    Module,
    /// In the image itself, or assumed so if the index knows nothing.
    Builtin,
    /// Not at all.
    Absent,
}

/// The information in one module.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Module {
    /// Normalised name.
    pub(super) name: String,
    /// Path below the index's directory, such as `kernel/fs/xfs/xfs.ko.xz`.
    pub(super) path: String,
    /// Normalised names of the modules whose symbols it uses.
    pub(super) depends: Vec<String>,
    /// Soft dependencies as written: `pre: a b post: c`.
    pub(super) softdeps: Vec<String>,
    /// Aliases as written, patterns of fnmatch(3).
    pub(super) aliases: Vec<String>,
}

/// What an index knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Knowledge {
    /// A directory of modules, and whether it contains `modules.builtin`.
    Directory { lists_builtins: bool },
    /// Nothing is known, so assume that everything exists.
    AllBuiltin,
}

/// The modules and builtins of one kernel.
#[derive(Debug, Clone)]
pub struct Index {
    pub(super) dir: PathBuf,
    pub(super) knowledge: Knowledge,
    /// In the order of `modules.order`, which is the order of preference among
    /// providers of one alias; modules it does not list come last, by path.
    pub(super) modules: Vec<Module>,
    pub(super) by_name: HashMap<String, usize>,
    pub(super) builtins: BTreeSet<String>,
    /// Alias and normalised module name.
    pub(super) builtin_aliases: Vec<(String, String)>,
}

impl Index {
    /// A kernel that is an image alone: builtins are unknown, so assume that everything is built
    /// in; booting will show.
    pub fn all_builtin() -> Self {
        Self::new(PathBuf::new(), Knowledge::AllBuiltin, Vec::new())
    }

    pub(super) fn new(dir: PathBuf, knowledge: Knowledge, modules: Vec<Module>) -> Self {
        let mut by_name = HashMap::with_capacity(modules.len());
        for (number, module) in modules.iter().enumerate() {
            by_name.entry(module.name.clone()).or_insert(number);
        }
        Self {
            dir,
            knowledge,
            modules,
            by_name,
            builtins: BTreeSet::new(),
            builtin_aliases: Vec::new(),
        }
    }

    /// Whether this is about a directory of modules.
    pub fn is_of_directory(&self) -> bool {
        matches!(self.knowledge, Knowledge::Directory { .. })
    }

    /// Whether there are modules to load.
    pub fn has_files(&self) -> bool {
        !self.modules.is_empty()
    }

    /// Whether it is known what is built in.
    pub fn lists_builtins(&self) -> bool {
        let knows = Knowledge::Directory {
            lists_builtins: true,
        };
        self.knowledge == knows
    }

    pub(super) fn file(&self, module: &Module) -> ModuleFile {
        ModuleFile {
            name: module.name.clone(),
            path: self.dir.join(&module.path),
        }
    }
}

/// The bytes of a module for the kernel: those of the file, unpacked if it is compressed.
pub fn decompress(path: &Path) -> Result<Vec<u8>, Error> {
    let data = fs::read(path).map_err(|source| Error::Read {
        path: path.into(),
        source,
    })?;
    let Some(compression) = Compression::detect(&data) else {
        return Ok(data);
    };
    let unpack = || -> io::Result<Vec<u8>> {
        let mut plain = Vec::with_capacity(data.len() * 4);
        compression
            .reader(&data)?
            .take(MAX_UNPACKED)
            .read_to_end(&mut plain)?;
        Ok(plain)
    };
    unpack().map_err(|source| Error::Unpack {
        path: path.into(),
        compression: compression.name(),
        source,
    })
}

/// The kernel treats `-` and `_` in module names as equal.
pub(super) fn normalise(name: &str) -> String {
    name.replace('-', "_")
}

/// The name of the module in a file, from the file name as in kmod; `None` if the file is not a
/// module.
pub(super) fn module_name(file_name: &str) -> Option<String> {
    const SUFFIXES: [&str; 4] = [".ko", ".ko.xz", ".ko.zst", ".ko.gz"];
    SUFFIXES
        .iter()
        .find_map(|suffix| file_name.strip_suffix(suffix))
        .filter(|stem| !stem.is_empty())
        .map(normalise)
}
