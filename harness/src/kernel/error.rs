//! What can go wrong between a kernel's name and its image in the cache.
//!
//! One type for all sources: most steps can fail like those of any other (the network, the disk,
//! an archive), and callers ask what went wrong, not where.

mod hints;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{image, modules};
use crate::config::SelectError;
use crate::hint::with_causes;
use crate::store;

/// A kernel could not be provided.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// None of `KILN_CACHE_DIR`, `XDG_CACHE_HOME` and `HOME` gives the cache's path.
    #[error(
        "there is no place for the cache: neither KILN_CACHE_DIR, XDG_CACHE_HOME nor HOME is set to an absolute path"
    )]
    NoCacheDirectory,
    /// A file operation failed.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What kiln did with it, such as `write`.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// Waiting for something took too long.
    #[error("gave up after {} s waiting for {what}", after.as_secs())]
    Deadline {
        /// What kiln waited for.
        what: String,
        /// How long.
        after: Duration,
    },
    /// The Nix store could not be used, or a build failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// Nix built something without a kernel.
    #[error("kernel \"{name}\": there is no kernel image in {path}, the output of {installable}")]
    NixWithoutKernel {
        /// The kernel.
        name: String,
        /// Its source.
        installable: String,
        /// The store paths.
        path: String,
        /// Where they are on this host.
        files: Vec<PathBuf>,
    },
    /// The flake gives another kernel than the pinned one, which is no longer available.
    #[error(
        "kernel \"{name}\" is pinned to {pinned}, which is in no store, but {installable} now \
         gives {built}"
    )]
    NixChanged {
        /// The kernel.
        name: String,
        /// Its source.
        installable: String,
        /// The pinned store paths.
        pinned: String,
        /// The store paths that Nix built.
        built: String,
    },
    /// `kernels.lock` is not what kiln writes.
    #[error("{origin}:{line}: {message}")]
    BadLock {
        /// The file.
        origin: String,
        /// Line in it, from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// The index of an archive cannot be read.
    #[error("the package index {url} cannot be used: {reason}")]
    Index {
        /// Its address.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No trusted key signed the Release file of an archive.
    #[error("the signature of {url} is not trusted: {reason}")]
    Signature {
        /// The address of the Release file.
        url: String,
        /// Which key, and what is wrong.
        reason: String,
        /// Whether a trusted key signed it, but another text.
        changed: bool,
    },
    /// The file of trusted keys cannot be used.
    #[error("{name} cannot be used as a keyring: {reason}")]
    Keyring {
        /// The file.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No package matches.
    #[error("no package matches \"{package}\" in {suite}/{component}")]
    NoPackage {
        /// Name or glob.
        package: String,
        /// Suite of the archive.
        suite: String,
        /// Component of the suite.
        component: String,
    },
    /// A debuginfod server sent something else than what it was asked for.
    #[error("{url} is not the debug information of a kernel with the build ID {build_id}")]
    WrongDebugImage {
        /// Where it came from.
        url: String,
        /// The kernel's.
        build_id: String,
    },
    /// A package depends on a part of the kernel that is not in the archive.
    #[error("{package} is incomplete: {suite} no longer has {missing}")]
    IncompletePackage {
        /// The package.
        package: String,
        /// Its missing dependency.
        missing: String,
        /// Suite of the archive.
        suite: String,
    },
    /// A pinned version is neither on the mirror nor in the archive of old
    /// packages.
    #[error("kernel \"{name}\" is pinned to {package} {version}, which has left the mirror {mirror}{}", and_snapshot(snapshot.as_deref()))]
    PinGone {
        /// The kernel.
        name: String,
        /// The package.
        package: String,
        /// The pinned version.
        version: String,
        /// The mirror's root.
        mirror: String,
        /// The snapshot service's answer; `None` if the pin lacks the SHA-1 to ask for.
        snapshot: Option<String>,
    },
    /// A download is not the expected file.
    #[error("{what} has a wrong hash\n  expected sha256 {expected}\n  received sha256 {actual}")]
    WrongHash {
        /// What was downloaded.
        what: String,
        /// Hash that is pinned.
        expected: String,
        /// Hash of the received file.
        actual: String,
    },
    /// A download failed or ended early.
    #[error("cannot download {url}: {reason}")]
    Download {
        /// The address.
        url: String,
        /// Whether the server has no such file.
        gone: bool,
        /// Why.
        reason: String,
    },
    /// A registry does not give an image.
    #[error("cannot get the image {image}: {reason}")]
    Registry {
        /// The image.
        image: String,
        /// The registry.
        host: String,
        /// It might, for a user whom it knows.
        wants_login: bool,
        /// Its own words.
        reason: String,
    },
    /// It would have to be downloaded, and kiln may not.
    #[error("kiln is offline, and would need {url}")]
    Offline {
        /// The address.
        url: String,
    },
    /// A kernel is not in the cache and cannot be fetched.
    #[error("kernel \"{name}\" is not in the cache: {source}")]
    NotCached {
        /// The kernel.
        name: String,
        /// Why it cannot be fetched.
        source: Box<Error>,
    },
    /// The lists of a pool are not in the cache and cannot be fetched.
    #[error("what the pool \"{pool}\" has is not in the cache: {source}")]
    NoLists {
        /// The pool.
        pool: String,
        /// Why they cannot be fetched.
        source: Box<Error>,
    },
    /// A pool does not have what was asked for.
    #[error("the pool \"{pool}\" has no kernel {wanted}{}", and_nearest(nearest))]
    NoVersion {
        /// The pool.
        pool: String,
        /// What was asked for.
        wanted: String,
        /// The nearest kernels it has.
        nearest: Vec<String>,
    },
    /// A kernel has left its pool since the pool was asked.
    #[error("{source}")]
    LeftPool {
        /// The pool.
        pool: String,
        /// Where kiln looked for it.
        source: Box<Error>,
    },
    /// Parts of a kernel have no signed hash, and the kernel cannot check them.
    #[error(
        "kernel \"{name}\" cannot be trusted: the archive does not list {unlisted} any more, and the kernel checks no signatures of modules"
    )]
    Unsigned {
        /// The kernel.
        name: String,
        /// The first part that is not listed.
        unlisted: String,
    },
    /// A kernel of that name is there already, with another source.
    #[error("there is a kernel \"{name}\" already, in {}:{line}", path.display())]
    NameTaken {
        /// The name.
        name: String,
        /// The `kernels.toml`.
        path: PathBuf,
        /// Line in it, from 1.
        line: usize,
    },
    /// A `kernels.toml` cannot be written anew.
    #[error("cannot add a kernel to {}: {reason}", path.display())]
    NotEdited {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A `-k` selects nothing.
    #[error(transparent)]
    Select(#[from] SelectError),
    /// An archive cannot be read.
    #[error("cannot unpack {what}: {reason}")]
    Archive {
        /// The archive.
        what: String,
        /// Why.
        reason: String,
    },
    /// An archive would write where it must not, or without end.
    #[error("cannot unpack {archive}: {entry}: {reason}")]
    Refused {
        /// The archive.
        archive: String,
        /// The entry, by its name in the archive.
        entry: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no kernel.
    #[error("there is no kernel in {}", path.display())]
    NoImage {
        /// The directory or archive.
        path: PathBuf,
    },
    /// Files that are to make a kernel have no image.
    #[error("there is no kernel image in {}{}", files.join(", "), with_modules(modules))]
    FilesWithoutImage {
        /// Their names.
        files: Vec<String>,
        /// Releases of the modules that they have.
        modules: Vec<String>,
    },
    /// Files that are to make a kernel have none of its modules.
    #[error("{} have none of the modules of {release}", files.join(", "))]
    FilesWithoutModules {
        /// Their names.
        files: Vec<String>,
        /// Release of the image.
        release: String,
    },
    /// Files that are to make a kernel are of several.
    #[error("{image} is release {release}, but the modules are those of {}", modules.join(", "))]
    FilesDiffer {
        /// The image, and the file that has it.
        image: String,
        /// Its release.
        release: String,
        /// Releases of the modules.
        modules: Vec<String>,
    },
    /// The running kernel has no image on this machine.
    #[error(
        "there is no image of the kernel that runs here, {release}, neither in /boot nor in /lib/modules/{release}{}",
        if *container { ": this is a container, which has the kernel of its host and none of its files" } else { "" }
    )]
    NoHostKernel {
        /// `uname -r`.
        release: String,
        /// Whether this is a container.
        container: bool,
    },
    /// There is more than one kernel.
    #[error("there is more than one kernel in {}: {}", path.display(), images.join(", "))]
    ManyImages {
        /// The directory.
        path: PathBuf,
        /// The images.
        images: Vec<String>,
    },
    /// A build tree lists modules that have not been built.
    #[error(
        "{missing} of the {all} modules that {}/modules.order lists are not built; the first is {}",
        tree.display(),
        first.display()
    )]
    NotBuilt {
        /// The build tree.
        tree: PathBuf,
        /// The first that is missing, below the tree.
        first: PathBuf,
        /// How many are missing.
        missing: usize,
        /// How many are listed.
        all: usize,
    },
    /// The image is from another build than the files beside it.
    #[error(
        "the image {} is release {release}, but its tree or modules are {expected}",
        image.display()
    )]
    ReleaseDiffers {
        /// The image.
        image: PathBuf,
        /// Its release.
        release: String,
        /// The release in `kernel.release` or of the module directory.
        expected: String,
    },
    /// An image cannot be unpacked.
    #[error("{}", with_causes(.0))]
    Image(#[source] image::Error),
    /// The metadata of a module directory could not be created.
    #[error(
        "cannot write the module metadata of {release}: {}",
        with_causes(source)
    )]
    Modules {
        /// Release of the kernel.
        release: String,
        /// Why.
        source: modules::Error,
    },
    /// `update` for a kernel that cannot be pinned.
    #[error(
        "kernel \"{name}\" comes neither from apt, nor from Nix, nor from a registry; kernels.lock pins nothing else"
    )]
    NotPinned {
        /// The kernel.
        name: String,
    },
}

impl Error {
    /// Wraps an I/O error with the action and the path.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Error::Io {
            action,
            path,
            source,
        }
    }
}

fn with_modules(releases: &[String]) -> String {
    if releases.is_empty() {
        String::new()
    } else {
        format!(", only modules of {}", releases.join(", "))
    }
}

fn and_nearest(nearest: &[String]) -> String {
    if nearest.is_empty() {
        return "; it is empty".to_owned();
    }
    let verb = if nearest.len() == 1 { "is" } else { "are" };
    format!("; the nearest {verb} {}", nearest.join(" and "))
}

fn and_snapshot(answer: Option<&str>) -> String {
    match answer {
        Some(answer) => format!(", and the snapshot service does not have it: {answer}"),
        None => String::new(),
    }
}

/// Whether an error comes from a full disk or an exhausted quota.
pub(super) fn is_disk_full(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |cause| cause.source()).any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| {
            matches!(
                error.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
            )
        })
    })
}
