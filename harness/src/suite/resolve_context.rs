//! What the user says of the suites to run, and where their files lie.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use super::bpftrace::Options;
use super::refusal::Refusal;
use crate::guest::root::Root;

/// What the user says of the suites to run, and where their files lie.
#[derive(Clone, Copy)]
pub struct ResolveContext<'a> {
    /// What is said of bpftrace's runtime tests.
    pub runtime: &'a Options,
    /// Finds bpftrace in the packages that the user chose, if any.
    pub packaged: &'a dyn Fn() -> Result<Option<PathBuf>, Refusal>,
    /// The guest's root.
    pub root: &'a Root,
    /// What the user's relative paths are relative to.
    pub cwd: &'a Path,
    /// The root of the user's cache.
    pub cache: &'a Path,
    /// Once it is set, whatever takes long ends with an error.
    pub stop: &'a AtomicBool,
}

impl<'a> ResolveContext<'a> {
    /// Where the guest's root lies on the host.
    pub fn root_on_host(&self) -> &'a Path {
        match self.root {
            Root::Dir(root) => root,
            Root::Host | Root::Nix(_) => Path::new("/"),
        }
    }

    /// Whether the guest's root is one of its own: paths in it are the guest's,
    /// not the host's.
    pub fn has_own_root(&self) -> bool {
        matches!(self.root, Root::Dir(_))
    }
}
