//! `kernels.toml` as types: kernels, groups and suites, and how the command line selects kernels
//! from it.

mod catalogue;
mod check;
mod ci;
mod devices;
mod edit;
mod error;
mod files;
mod kernel_log;
mod origin;
mod parse;
mod pool;
mod qemu_args;
mod select;
mod settings;
mod size;
mod source;
mod suite;
mod version_range;
mod wanted;

pub(crate) use check::{explain, line_of};
pub(crate) use edit::with_kernel;
pub(crate) use select::nearest_first;
pub(crate) use version_range::{numbers, series};
pub(crate) use wanted::What;

pub use catalogue::Catalogue;
pub use ci::{CiProfile, Sanitizer};
pub use devices::{Asked, AskedDevices, Machine, ShareKind, Transport};
pub use error::{ConfigError, Problem};
pub use files::{FilePlace, FileSource, UrlSource};
pub use kernel_log::{KernelLogPattern, KernelLogRule};
pub use origin::Origin;
pub use parse::{BUILT_IN_LOCK, FILE_NAME};
pub use pool::{Pool, PoolFile, PoolKernel, UnlistedFile};
pub use qemu_args::taken as taken_qemu_arg;
pub use select::{SelectError, Selected};
pub use settings::VmSettings;
pub use size::MemorySize;
pub use source::{AptSource, Kernel, Source};
pub use suite::{BpftraceTable, BtfTable, CommandTable, ResultsFormat, RunnerTable};
pub use version_range::VersionRange;
pub use wanted::Wanted;
