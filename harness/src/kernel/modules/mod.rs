//! Kernel modules: which ones a kernel has, which are built in, and which to load in which order.
//!
//! Packages come without `modules.dep`, and some kernels' modules are
//! compressed, so everything is read from the modules themselves. Meaning of the
//! files: `Documentation/kbuild/kbuild.rst` of Linux 6.12, `modprobe.d(5)` and
//! `depmod(8)` of kmod 30.

mod closure;
mod error;
mod kmod_index;
mod metadata;
mod modinfo;
mod scan;
mod static_nodes;

#[cfg(test)]
pub(crate) mod fixture;

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::image::compression::Compression;

pub use error::Error;
pub use metadata::write_metadata;
pub(super) use scan::remember;
pub use static_nodes::StaticNode;

/// Modules that a guest needs before it can say hello and see its root.
pub const BOOT_MODULES: [&str; 5] = [
    "virtio_mmio",
    "virtio_console",
    "fuse",
    "virtiofs",
    "overlay",
];

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
struct Module {
    /// Normalised name.
    name: String,
    /// Path below the index's directory, such as `kernel/fs/xfs/xfs.ko.xz`.
    path: String,
    /// Normalised names of the modules whose symbols it uses.
    depends: Vec<String>,
    /// Soft dependencies as written: `pre: a b post: c`.
    softdeps: Vec<String>,
    /// Aliases as written, patterns of fnmatch(3).
    aliases: Vec<String>,
}

/// What an index knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Knowledge {
    /// A directory of modules, and whether it contains `modules.builtin`.
    Directory { lists_builtins: bool },
    /// There are no modules and nothing is built in.
    Empty,
    /// Nothing is known, so assume that everything exists.
    AllBuiltin,
}

/// The modules and builtins of one kernel.
#[derive(Debug, Clone)]
pub struct Index {
    dir: PathBuf,
    knowledge: Knowledge,
    /// In the order of `modules.order`, which is the order of preference among
    /// providers of one alias; modules it does not list come last, by path.
    modules: Vec<Module>,
    by_name: HashMap<String, usize>,
    builtins: BTreeSet<String>,
    /// Alias and normalised module name.
    builtin_aliases: Vec<(String, String)>,
}

impl Index {
    /// Reads the modules below `dir`, which is `/lib/modules/<release>` or a copy of it. Uses what
    /// [`write_metadata`] stored there if no module has changed since.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        scan::open(dir, &dir.join(scan::CACHE))
    }

    /// The same for a directory that is not ours: the file `remembered` has what was read from it
    /// before.
    pub fn open_remembered(dir: &Path, remembered: &Path) -> Result<Self, Error> {
        scan::open(dir, remembered)
    }

    /// A kernel that has no modules, and nothing built in.
    pub fn empty() -> Self {
        Self::new(PathBuf::new(), Knowledge::Empty, Vec::new())
    }

    /// A kernel that is an image alone: builtins are unknown, so assume that everything is built
    /// in; booting will show.
    pub fn all_builtin() -> Self {
        Self::new(PathBuf::new(), Knowledge::AllBuiltin, Vec::new())
    }

    fn new(dir: PathBuf, knowledge: Knowledge, modules: Vec<Module>) -> Self {
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

    fn file(&self, module: &Module) -> ModuleFile {
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
fn normalise(name: &str) -> String {
    name.replace('-', "_")
}

/// The name of the module in a file, from the file name as in kmod; `None` if the file is not a
/// module.
fn module_name(file_name: &str) -> Option<String> {
    const SUFFIXES: [&str; 4] = [".ko", ".ko.xz", ".ko.zst", ".ko.gz"];
    SUFFIXES
        .iter()
        .find_map(|suffix| file_name.strip_suffix(suffix))
        .filter(|stem| !stem.is_empty())
        .map(normalise)
}
