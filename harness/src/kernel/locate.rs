//! Finds the files of a kernel on this machine for those who only read them: nothing is prepared,
//! and it need not boot.

use std::path::{Path, PathBuf};

use super::Error;
use super::layout::{self, Modules};
use super::modules::{self, ModuleFile};

/// The files of a kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// Its image.
    pub image: PathBuf,
    /// Other images of it.
    pub others: Vec<PathBuf>,
    /// `uname -r`.
    pub release: String,
    /// Its modules.
    pub modules: Vec<ModuleFile>,
}

/// Finds the kernel at `path`: a directory or an image.
pub fn locate(path: &Path) -> Result<Located, Error> {
    let path = std::fs::canonicalize(path).map_err(Error::io("find", path))?;
    let layout = layout::find(&path)?;
    let failed = |source| Error::Modules {
        release: layout.release.clone(),
        source,
    };
    let modules = match &layout.modules {
        Modules::None => Vec::new(),
        Modules::Installed(directory) => modules::files(directory).map_err(failed)?,
        Modules::Built { tree, files } => modules::named(tree, files),
    };
    Ok(Located {
        image: layout.image,
        others: layout.others,
        release: layout.release,
        modules,
    })
}
