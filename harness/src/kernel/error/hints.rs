//! What to do about a kernel that could not be provided.

use std::io;

use super::{Error, is_disk_full};
use crate::hint::{Hint, quoted, readable};
use crate::kernel::image::names::TREES;
use crate::kernel::modules;
use crate::store;

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
            Error::WrongDebugImage { .. } => {
                "kiln kept nothing; name another server in DEBUGINFOD_URLS".to_owned()
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
