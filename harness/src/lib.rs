//! `kiln` tests programs against kernels.
//!
//! It boots a QEMU microVM per kernel, as an ordinary user, with or without
//! KVM, shares a root into it over virtiofs, and has a tiny init run commands
//! and tests there, reporting over a virtio-serial port.
//!
//! Arrows point one way: `cli → report → run → {vm, suite} → {guest, kernel} →
//! config → arch`.
//!
//! The library is one program: all modules are private, so that the compiler
//! finds what nobody uses. What tests, benchmarks and fuzz targets need of them
//! is in `internals`.

// `pub` in a private module says that the rest of the crate uses an item, as
// opposed to `pub(super)`.
#![allow(unreachable_pub)]

mod appimage;
mod arch;
mod bisect;
mod blocking;
mod bpf;
mod btf;
mod child;
mod ci;
mod cli;
mod config;
mod duration;
mod environment;
pub mod exit_code;
mod guest;
mod hint;
#[doc(hidden)]
pub mod internals;
mod kernel;
#[cfg(all(target_feature = "crt-static", target_env = "gnu"))]
mod name_service;
mod offline;
mod program;
mod report;
mod run;
mod scratch;
mod stamp;
mod store;
mod suite;
mod vm;
mod whole_file;

pub use cli::main;
