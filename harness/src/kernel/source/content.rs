//! What every source says of a kernel: what its content is, and how to get it.

use std::path::Path;

use crate::arch::Arch;
use crate::kernel::cache::Key;
use crate::kernel::layout::Layout;
use crate::kernel::lock::Pin;
use crate::kernel::prepare::Taking;
use crate::kernel::{Cache, Error, KernelImage, Progress};

/// The context of a request to a source.
pub(in super::super) struct Request<'a> {
    /// The kernel's name.
    pub(in super::super) name: &'a str,
    /// Its architecture.
    pub(in super::super) arch: Arch,
    /// The directory for relative flakes.
    pub(in super::super) base: &'a Path,
    /// Sources keep their own state there.
    pub(in super::super) cache: &'a Cache,
    /// Where to show progress.
    pub(in super::super) progress: &'a Progress,
}

/// What is known about a kernel without fetching anything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// Its version: Debian's for a package, `uname -r` for a prepared kernel from elsewhere; `None`
    /// if unknown so far.
    pub version: Option<String>,
    /// Whether it can boot without its source.
    pub cached: bool,
}

/// One kernel's content: equal keys mean equal kernels.
pub(in super::super) trait Content {
    /// The inputs of the kernel.
    fn key(&self) -> Result<Key, Error>;

    /// Gets it, using `work` for temporary files.
    fn get(&self, request: &Request<'_>, work: &Path) -> Result<(Layout, Taking), Error>;

    /// Called before each use of the kernel in the cache: an error refuses it.
    fn secure(&self, _kernel: &KernelImage) -> Result<(), Error> {
        Ok(())
    }

    /// What is known about it without fetching anything.
    fn status(&self, request: &Request<'_>) -> Result<Status, Error> {
        let key = self.key()?.for_arch(request.arch);
        let kernel = request.cache.prepared(&key, request.name);
        Ok(Status {
            cached: kernel.is_some(),
            version: kernel.map(|kernel| kernel.release),
        })
    }
}

/// A source whose newest content is looked up once and pinned.
pub(in super::super) trait Pinning {
    /// Looks up the newest content; `before` is the present pin of the kernel.
    fn resolve(&self, request: &Request<'_>, before: Option<&Pin>) -> Result<Pin, Error>;

    /// The content that `pin` names; `None` if it was made for another source: a pin of another
    /// suite or package does not count.
    fn content<'p>(&'p self, pin: &'p Pin) -> Option<Box<dyn Content + 'p>>;
}
