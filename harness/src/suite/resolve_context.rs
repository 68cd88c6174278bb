//! The user's options for the suites to run, and where their files are.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use super::bpftrace::Options;
use super::refusal::Refusal;
use crate::guest::root::Root;

/// The user's options for the suites to run, and where their files are.
#[derive(Clone, Copy)]
pub struct ResolveContext<'a> {
    /// Options for bpftrace's runtime tests.
    pub runtime: &'a Options,
    /// Finds bpftrace in the packages that the user chose, if any.
    pub packaged: &'a dyn Fn() -> Result<Option<PathBuf>, Refusal>,
    /// Refuses a program, by its path in the guest, that the guest would not see.
    pub check_program: &'a dyn Fn(&Path) -> Result<(), Refusal>,
    /// The guest's root.
    pub root: &'a Root,
    /// The directory for the user's relative paths.
    pub cwd: &'a Path,
    /// The root of the user's cache.
    pub cache: &'a Path,
    /// Once it is set, long work ends with an error.
    pub stop: &'a AtomicBool,
}

impl<'a> ResolveContext<'a> {
    /// Where the guest's root is on the host.
    pub fn root_on_host(&self) -> &'a Path {
        match self.root {
            Root::Dir(root) => root,
            Root::Host | Root::Nix(_) => Path::new("/"),
        }
    }

    /// Whether the guest's root is not the host's: then paths in it belong to the guest.
    pub fn has_own_root(&self) -> bool {
        matches!(self.root, Root::Dir(_))
    }
}
