//! The BTF of kernels, read without booting them: a parser, an index by name in the cache, and the
//! questions that `kiln btf` asks.
//!
//! Knows kernels, and no VM.

mod answer;
mod bytes;
pub mod c;
mod check;
pub mod diff;
mod distilled;
pub mod elf;
mod error;
mod exercise;
#[cfg(test)]
pub(crate) mod fixture;
mod header;
pub mod hub;
mod kernel;
mod names;
mod parse;
mod query;
mod raw;
mod resolve;
pub mod show;
mod source;
mod store;
mod types;
pub mod versions;

pub use answer::{Answers, ask};
pub use error::Error;
pub use exercise::exercise;
pub use header::header;
pub use kernel::KernelBtf;
pub use names::{Entry, Meaning, VMLINUX};
pub use query::Query;
pub use raw::{ByteOrder, Kind};
pub use source::{Kernel, open};
pub use types::{Btf, Type, TypeId};

#[cfg(test)]
mod tests;

#[cfg(test)]
mod question_tests;
