//! `kernels.toml` as types: kernels, groups and suites, and how the command line selects kernels
//! from it.

mod error;
mod kernel_log;
mod parse;
mod select;
mod size;
mod suite;

pub(crate) use parse::{explain, line_of};

pub use error::{ConfigError, Problem};
pub use kernel_log::{KernelLogPattern, KernelLogRule};
pub use select::{SelectError, Selected};
pub use size::{MemorySize, MemorySizeError};
pub use suite::{CommandRunner, ResultsFormat};

use std::path::{Path, PathBuf};

use crate::arch::Arch;

/// Name of the file that [`Catalogue::discover`] looks for.
pub const FILE_NAME: &str = "kernels.toml";

/// The catalogue that is built into the binary, so that kiln works outside any
/// checkout.
const BUILT_IN: &str = include_str!("../../../kernels.toml");

/// The lock of [`BUILT_IN`].
pub const BUILT_IN_LOCK: &str = include_str!("../../../kernels.lock");

/// Where a [`Catalogue`] was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// This file, as an absolute path.
    File(PathBuf),
    /// The catalogue built into the binary.
    BuiltIn,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Origin::File(path) => write!(f, "{}", path.display()),
            Origin::BuiltIn => f.write_str("the built-in kernels.toml"),
        }
    }
}

/// The contents of a `kernels.toml`, validated.
#[derive(Debug, Clone)]
pub struct Catalogue {
    /// Where it was read from.
    pub origin: Origin,
    /// Defaults for VMs, which the command line overrides.
    pub defaults: Defaults,
    /// The kernels, in the order of the file.
    pub kernels: Vec<Kernel>,
    /// The groups, in the order of the file.
    pub groups: Vec<Group>,
    /// The suites, in the order of the file.
    pub suites: Vec<Suite>,
    /// Known lines of kernels' logs, in the order of the file.
    pub kernel_log: Vec<KernelLogPattern>,
}

/// `[defaults]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defaults {
    /// Guest memory.
    pub memory: MemorySize,
    /// Number of vCPUs.
    pub cpus: u32,
    /// Modules to load before the tests.
    pub modules: Vec<String>,
}

impl Default for Defaults {
    fn default() -> Self {
        Defaults {
            memory: MemorySize::from_mib(2048),
            cpus: 1,
            modules: Vec::new(),
        }
    }
}

/// `[kernels.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// The name in the file.
    pub name: String,
    /// What it runs on.
    pub arch: Arch,
    /// Where it comes from.
    pub source: Source,
    /// Line of the source in the file, from 1.
    pub line: usize,
}

/// Where a kernel comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A Debian package.
    Apt(AptSource),
    /// What `nix build` takes: a flake output or a store path. Relative to
    /// the file's directory.
    Nix(String),
    /// A file on a web server.
    Url(UrlSource),
    /// A build tree, a directory with an image and modules, or an image;
    /// absolute.
    Path(PathBuf),
}

/// A kernel in a Debian archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AptSource {
    /// Suite of the archive, such as `bookworm-security`.
    pub suite: String,
    /// Package name or glob; the newest match counts.
    pub package: String,
    /// Archive root; `None` means `KILN_APT_MIRROR`, the host's own or a public one.
    pub mirror: Option<String>,
    /// File of OpenPGP keys that are trusted in addition to Debian's; absolute.
    pub keyring: Option<PathBuf>,
    /// No signature is required.
    pub trusted: bool,
    /// Component of the archive.
    pub component: String,
}

/// A kernel on a web server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlSource {
    /// `http` or `https` address of an image or a tar archive.
    pub url: String,
    /// Expected SHA-256 of the file, 64 lower-case hexadecimal digits.
    pub sha256: String,
}

/// `NAME = [...]` in `[groups]`: members resolved to kernel names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The name, without `@`.
    pub name: String,
    /// Names of kernels, in the group's order, each once.
    pub kernels: Vec<String>,
}

/// `[suites.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suite {
    /// The name in the file.
    pub name: String,
    /// What runs the suite.
    pub runner: Runner,
    /// Line of the suite in the file, from 1.
    pub line: usize,
}

/// What runs a suite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Runner {
    /// bpftrace's runtime tests.
    BpftraceRuntime {
        /// The directory that holds `runtime/` (upstream's `tests`); absolute.
        tests: PathBuf,
        /// The bpftrace under test; absolute; `None` means the one on the guest's `PATH`.
        bpftrace: Option<PathBuf>,
    },
    /// Any command.
    Command(CommandRunner),
}

impl Catalogue {
    /// Reads `explicit` (`--config`), else the nearest [`FILE_NAME`] in `cwd`
    /// or a parent of it, else the built-in catalogue.
    pub fn discover(explicit: Option<&Path>, cwd: &Path) -> Result<Self, ConfigError> {
        if let Some(path) = explicit {
            return Self::load(&absolute(cwd, path));
        }
        match cwd
            .ancestors()
            .map(|dir| dir.join(FILE_NAME))
            .find(|path| path.is_file())
        {
            Some(path) => Self::load(&path),
            None => Self::built_in(),
        }
    }

    /// Reads the file at `path`, which is absolute.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_path_buf(),
            source,
        })?;
        Self::parse(&text, Origin::File(path.to_path_buf()))
    }

    /// The catalogue built into the binary.
    pub fn built_in() -> Result<Self, ConfigError> {
        Self::parse(BUILT_IN, Origin::BuiltIn)
    }

    /// Parses `text`; relative paths in it are relative to `origin`'s
    /// directory.
    pub fn parse(text: &str, origin: Origin) -> Result<Self, ConfigError> {
        parse::parse(text, origin)
    }

    /// The kernel called `name`.
    pub fn kernel(&self, name: &str) -> Option<&Kernel> {
        self.kernels.iter().find(|kernel| kernel.name == name)
    }

    /// The suite called `name`.
    pub fn suite(&self, name: &str) -> Option<&Suite> {
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

/// `path` as seen from `base`, without following links.
fn absolute(base: &Path, path: &Path) -> PathBuf {
    let joined = base.join(path);
    std::path::absolute(&joined).unwrap_or(joined)
}
