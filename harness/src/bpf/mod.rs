//! BPF objects and bpftrace scripts, and what they find on a kernel, without booting it: CO-RE
//! relocations, fields, attach targets, kernel functions and variables, the kernel's configuration.
//!
//! Knows kernels and their BTF, and no VM.

mod candidate;
mod check;
mod elf;
mod error;
mod exercise;
mod ext;
mod externs;
mod facts;
mod input;
mod insn;
mod kconfig;
mod kernel;
mod min;
mod names;
mod object;
mod reach;
mod relocate;
mod report;
mod script;
mod section;
mod struct_ops;
mod targets;
mod uses;
mod version;

pub use check::check;
pub use error::Error;
pub use exercise::exercise;
pub use facts::Facts;
pub use input::Input;
pub use kernel::KernelTypes;
pub use min::minimal;
pub use object::Object;
pub use report::{Finding, Level, Report, Verdict};
pub use script::exercise as exercise_script;
pub use uses::{Uses, uses};
