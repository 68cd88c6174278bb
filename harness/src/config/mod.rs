//! `kernels.toml` as types: kernels, groups and suites, and how the command line selects kernels
//! from it.

mod catalogue;
mod check;
mod error;
mod kernel_log;
mod origin;
mod parse;
mod select;
mod size;
mod source;
mod suite;

pub(crate) use check::{explain, line_of};

pub use catalogue::{Catalogue, Defaults, Group};
pub use error::{ConfigError, Problem};
pub use kernel_log::{KernelLogPattern, KernelLogRule};
pub use origin::Origin;
pub use parse::{BUILT_IN_LOCK, FILE_NAME};
pub use select::{SelectError, Selected};
pub use size::{MemorySize, MemorySizeError};
pub use source::{AptSource, Kernel, Source, UrlSource};
pub use suite::{BpftraceTable, CommandTable, ResultsFormat, RunnerTable, Suite};
