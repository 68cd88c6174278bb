//! Kernel modules: which ones a kernel has, which are built in, and which to load in which order.
//!
//! Packages come without `modules.dep`, and some kernels' modules are
//! compressed, so everything is read from the modules themselves. Meaning of the
//! files: `Documentation/kbuild/kbuild.rst` of Linux 6.12, `modprobe.d(5)` and
//! `depmod(8)` of kmod 30.

mod closure;
mod error;
mod index;
mod kmod_index;
mod metadata;
mod modinfo;
mod scan;
mod static_nodes;

#[cfg(test)]
pub(crate) mod fixture;

pub use error::Error;
pub use index::{Availability, Index, ModuleFile, decompress};
pub use metadata::write_metadata;
pub(super) use scan::remember;
pub use scan::{files, named};
pub use static_nodes::StaticNode;
