//! The contents of a `kernels.toml`.

use std::path::{Path, PathBuf};

use super::ci::CiProfile;
use super::kernel_log::KernelLogPattern;
use super::origin::Origin;
use super::pool::Pool;
use super::settings::VmSettings;
use super::source::Kernel;
use super::suite::SuiteEntry;

/// The contents of a `kernels.toml`, validated.
#[derive(Debug, Clone)]
pub struct Catalogue {
    /// Where it was read from.
    pub origin: Origin,
    /// Settings of the VMs of all kernels, unless a kernel has its own.
    pub defaults: VmSettings,
    /// The kernels, in the order of the file.
    pub kernels: Vec<Kernel>,
    /// The pools, in the order of the file, and Debian's.
    pub pools: Vec<Pool>,
    /// The groups, in the order of the file.
    pub groups: Vec<Group>,
    /// The suites, in the order of the file.
    pub suites: Vec<SuiteEntry>,
    /// The profiles of `kiln ci`, in the order of the file.
    pub ci: Vec<CiProfile>,
    /// Known lines of kernels' logs, in the order of the file.
    pub kernel_log: Vec<KernelLogPattern>,
}

/// `NAME = [...]` in `[groups]`: members resolved to names of kernels, and to
/// those of pools as they stand there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The name, without `@`.
    pub name: String,
    /// Names of kernels and `POOL:VERSION`, in the group's order, each once.
    pub kernels: Vec<String>,
}

impl Catalogue {
    /// The kernel called `name`.
    pub fn kernel(&self, name: &str) -> Option<&Kernel> {
        self.kernels.iter().find(|kernel| kernel.name == name)
    }

    /// The kernels to take if nobody names any, as for `-k`: the first of `groups` that the file
    /// has, else all its kernels.
    pub fn default_kernels(&self, groups: &[&str]) -> String {
        let has = |name: &&&str| self.groups.iter().any(|group| group.name == **name);
        let group = groups.iter().find(has);
        group.map_or_else(|| "*".to_owned(), |name| format!("@{name}"))
    }

    /// What the file asks of the VMs of the kernel called `name`, which may be of a pool.
    pub fn settings_of(&self, name: &str) -> VmSettings {
        match self.kernel(name) {
            Some(kernel) => (*kernel.settings).clone().or(&self.defaults),
            None => self.defaults.clone(),
        }
    }

    /// The pool called `name`.
    pub fn pool(&self, name: &str) -> Option<&Pool> {
        self.pools.iter().find(|pool| pool.name == name)
    }

    /// The suite called `name`.
    pub fn suite(&self, name: &str) -> Option<&SuiteEntry> {
        self.suites.iter().find(|suite| suite.name == name)
    }

    /// The file and the line that name the suite called `name`; `None` for the
    /// built-in catalogue.
    pub fn place_of(&self, name: &str) -> Option<(&Path, usize)> {
        match &self.origin {
            Origin::File(path) => Some((path, self.suite(name)?.line)),
            Origin::BuiltIn => None,
        }
    }

    /// The path of this catalogue's lock; `None` for the built-in one.
    pub fn lock_path(&self) -> Option<PathBuf> {
        match &self.origin {
            Origin::File(path) => Some(path.with_extension("lock")),
            Origin::BuiltIn => None,
        }
    }
}
