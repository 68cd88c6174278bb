//! The BTF of kernels, read without booting them: a parser, an index by name in the cache, and the
//! questions that `kiln btf` asks.
//!
//! Knows kernels, and no VM.

mod check;
mod distilled;
pub mod elf;
mod error;
#[cfg(test)]
pub(crate) mod fixture;
mod kernel;
mod names;
mod raw;
mod resolve;
mod source;
mod store;
mod types;

pub use error::Error;
pub use kernel::KernelBtf;
pub use names::{Entry, Meaning, Names, Unit, VMLINUX};
pub use raw::{ByteOrder, Damage, Kind};
pub use resolve::FoundMember;
pub use source::{Kernel, open};
pub use types::{Btf, Enumerator, IntEncoding, Member, Param, SectionVar, Type, TypeId};

#[cfg(test)]
mod tests;
