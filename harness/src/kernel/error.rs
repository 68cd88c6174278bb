//! What can go wrong between a kernel's name and its image in the cache.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::image::names::TREES;
use super::{image, modules};
use crate::config::SelectError;
use crate::hint::{Hint, quoted, readable, with_causes};
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
    /// No archive is known for a suite.
    #[error("no package archive is known for suite {suite}")]
    NoMirror {
        /// The suite.
        suite: String,
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

const FREE_SPACE: &str = "free some space, or set KILN_CACHE_DIR to a directory on another disk";

impl Hint for Error {
    fn hints(&self) -> Vec<String> {
        let hint = match self {
            Error::NoCacheDirectory => "set KILN_CACHE_DIR to a directory of yours".to_owned(),
            error if is_disk_full(error) => FREE_SPACE.to_owned(),
            Error::Io { source, .. } if source.kind() == io::ErrorKind::FileTooLarge => {
                "raise the limit on file size: `ulimit -f unlimited`".to_owned()
            }
            Error::Io { source, path, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                readable(path)
            }
            Error::Io { .. } => return Vec::new(),
            Error::NotBuilt { tree, .. } => format!(
                "build them: `make -C {} modules`; if the kernel needs no modules, copy its image \
                 out of the tree and boot that",
                quoted(tree)
            ),
            Error::ReleaseDiffers { .. } => {
                "build image and modules together (`make` in a build tree), or name an image that \
                 matches the modules".to_owned()
            }
            Error::Store(error) => {
                let mut hints = error.hints();
                if matches!(error, store::Error::NotInstalled { .. }) {
                    hints.truncate(1);
                    hints.push("a kernel with an apt, url or path source needs no Nix".to_owned());
                }
                return hints;
            }
            Error::Deadline { .. } => "try again; another kiln may hold the lock, or the network is slow".to_owned(),
            Error::BadLock { .. } => "write it again with `kiln kernels update`".to_owned(),
            Error::NoMirror { .. } => {
                "set KILN_APT_MIRROR to the root of a Debian archive (the directory with dists/)".to_owned()
            }
            Error::Index { .. } => {
                "check suite and component in kernels.toml; KILN_APT_MIRROR sets another mirror; \
                 kernels in the cache need none".to_owned()
            }
            Error::Signature { changed: true, .. } => {
                "the mirror, or something on the way to it, changed the file: try again, or with \
                 another mirror (KILN_APT_MIRROR)".to_owned()
            }
            Error::Signature { .. } => {
                "name the archive's keys in kernels.toml (`keyring = \"FILE\"`), or set `trusted = \
                 true` for an archive that you trust without a signature".to_owned()
            }
            Error::Keyring { .. } => {
                "export the archive's keys with: gpg --export FINGERPRINT > FILE".to_owned()
            }
            Error::IncompletePackage { .. } => {
                "archives drop the modules of old versions first: choose a newer one in kernels.toml".to_owned()
            }
            Error::NoPackage { .. } => {
                "check suite and package in kernels.toml; `*` in package takes the newest match".to_owned()
            }
            Error::NixWithoutKernel { files, .. } => {
                let files: Vec<_> = files.iter().map(|path| path.to_string_lossy()).collect();
                let files = shlex::try_join(files.iter().map(AsRef::as_ref));
                format!(
                    "it must hold {TREES}; see what there is with: ls {}",
                    files.unwrap_or_default()
                )
            }
            Error::NixChanged { name, .. } => {
                format!("`kiln kernels update {name}` pins what it gives now")
            }
            Error::PinGone { name, .. } => {
                format!("`kiln kernels update {name}` pins the newest version")
            }
            Error::WrongHash { .. } => {
                "kiln kept nothing; if the file changed on purpose, change the hash in \
                 kernels.toml, or run `kiln kernels update` for a package".to_owned()
            }
            Error::Download { .. } => {
                "kiln kept nothing; check the address and the network, then try again with `kiln \
                 kernels fetch`".to_owned()
            }
            Error::Registry {
                host,
                wants_login: true,
                ..
            } => format!(
                "check the name; an image that is not public wants a login: `docker login {host}` or `podman login {host}`, kiln takes what they keep (~/.docker/config.json, containers/auth.json)"
            ),
            Error::Registry { .. } => {
                "kiln kept nothing; check name and tag of the image and the network, then try again".to_owned()
            }
            Error::Refused { .. } => {
                "kiln kept nothing; no package of a kernel needs that: get it from somewhere else, or pack it anew".to_owned()
            }
            Error::Offline { .. } => ONLINE.to_owned(),
            Error::NotCached { name, source } | Error::NoLists { pool: name, source }
                if matches!(**source, Error::Offline { .. }) =>
            {
                format!("{ONLINE}; {}", fetched(self, name))
            }
            Error::NotCached { name, source } | Error::NoLists { pool: name, source } => {
                let mut hints = source.hints();
                hints.push(format!("without a network: {}", fetched(self, name)));
                return hints;
            }
            Error::NoVersion { pool, .. } => {
                format!("`kiln kernels search {pool}` lists what it has")
            }
            Error::LeftPool { pool, .. } => {
                format!("`kiln kernels search --refresh {pool}` asks it again what it has")
            }
            Error::Unsigned { .. } => {
                "choose a newer version: `kiln kernels search` says which are whole".to_owned()
            }
            Error::NameTaken { .. } => "give the new one another name: `kiln kernels pin POOL:VERSION NAME`".to_owned(),
            Error::NotEdited { .. } => "add it by hand: see docs/kernels.md".to_owned(),
            Error::Select(error) => return error.hints(),
            Error::Archive { .. } => {
                "it must be a .deb, an .rpm, a tar archive (plain, .gz, .xz, .zst) or a kernel image".to_owned()
            }
            Error::NoImage { .. } => {
                format!("it must hold {TREES}, or be a kernel build tree")
            }
            Error::NoHostKernel { container: true, .. } => {
                "share them with the container (`--volume /boot:/boot:ro --volume /lib/modules:/lib/modules:ro`), or name another kernel: `kiln kernels list` shows them".to_owned()
            }
            Error::NoHostKernel { .. } => {
                "name the image, or a directory with image and modules, by its path: -k PATH".to_owned()
            }
            Error::FilesWithoutImage { .. } => {
                "add the package with the image: linux-image-… (Debian, Ubuntu), kernel-core (Fedora, CentOS, AlmaLinux), kernel-default (openSUSE); on the command line: -k ./IMAGE,./MODULES".to_owned()
            }
            Error::FilesWithoutModules { .. } => {
                "add the packages with the modules: linux-modules-… (Ubuntu, Debian from 6.19), kernel-modules-core and kernel-modules (Fedora, CentOS, AlmaLinux); on the command line: -k ./IMAGE,./MODULES".to_owned()
            }
            Error::FilesDiffer { .. } => "give packages of one version".to_owned(),
            Error::ManyImages { .. } => "name one of the images instead of the directory; of packages, give those of one kernel, and unpack an archive of several".to_owned(),
            Error::Image(error) => return error.hints(),
            Error::Modules {
                source: modules::Error::Read { path, source },
                ..
            } if source.kind() == io::ErrorKind::PermissionDenied => readable(path),
            Error::Modules { .. } => "the module tree may be damaged; fetch or build it again".to_owned(),
            Error::NotPinned { .. } => "change its source in kernels.toml".to_owned(),
        };
        vec![hint]
    }
}

fn with_modules(releases: &[String]) -> String {
    if releases.is_empty() {
        String::new()
    } else {
        format!(", only modules of {}", releases.join(", "))
    }
}

const ONLINE: &str = "leave out --offline, or unset KILN_OFFLINE";

/// What fills the cache, so that no network is needed afterwards.
fn fetched(error: &Error, name: &str) -> String {
    match error {
        Error::NoLists { .. } => format!(
            "`kiln kernels search {name}`, once with a network, puts the lists into the cache"
        ),
        _ => {
            format!("`kiln kernels fetch -k '{name}'`, once with a network, puts it into the cache")
        }
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
