//! `kiln` tests programs against kernels.
//!
//! It boots a QEMU microVM per kernel, as an ordinary user, with or without
//! KVM, shares a root into it over virtiofs, and has a tiny init run commands
//! and tests there, reporting over a virtio-serial port.
//!
//! Arrows point one way: `cli → report → run → {vm, suite} → {guest, kernel} →
//! config → arch`.

pub mod appimage;
pub mod arch;
mod blocking;
#[allow(unreachable_pub)] // Nothing of it leaves the crate.
pub(crate) mod bpf;
#[allow(unused_imports, unreachable_pub)] // Nothing of it leaves the crate.
pub(crate) mod btf;
pub mod child;
pub mod ci;
pub mod cli;
pub mod config;
pub(crate) mod duration;
pub mod exit_code;
pub mod guest;
pub mod hint;
pub mod kernel;
mod offline;
mod program;
pub mod report;
pub mod run;
pub mod scratch;
pub mod store;
pub mod suite;
pub mod vm;
mod whole_file;

/// For the fuzz target alone.
#[doc(hidden)]
pub mod bpf_exercise {
    pub use crate::bpf::exercise;
}

/// For the fuzz target alone.
#[doc(hidden)]
pub mod btf_exercise {
    pub use crate::btf::exercise;
}
