//! The kernel that this machine runs.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::super::cache::Key;
use super::super::layout::{Layout, Modules};
use super::super::prepare::Taking;
use super::super::{Error, image};
use super::content::{Content, Request};
use super::path::fingerprint;

/// Where NixOS keeps the kernel that it booted; of its modules, `lib/modules` is
/// below.
const NIXOS_IMAGE: &str = "/run/booted-system/kernel";
const NIXOS_MODULES: &str = "/run/booted-system/kernel-modules/lib/modules";

/// What container runtimes leave in a container: Docker, Podman, systemd-nspawn
/// and others by the Container Interface of systemd.
const CONTAINER: [&str; 3] = [
    "/.dockerenv",
    "/run/.containerenv",
    "/run/systemd/container",
];

/// The running kernel.
pub(super) struct Host;

impl Content for Host {
    fn key(&self) -> Result<Key, Error> {
        fingerprint(&find()?)
    }

    fn get(&self, _request: &Request<'_>, _work: &Path) -> Result<(Layout, Taking), Error> {
        Ok((find()?, Taking::Borrow))
    }
}

fn find() -> Result<Layout, Error> {
    let uname = nix::sys::utsname::uname()
        .map_err(|errno| Error::io("read", Path::new("/proc/version"))(errno.into()))?;
    let release = uname.release().to_string_lossy().into_owned();
    let modules = [
        format!("/lib/modules/{release}"),
        format!("/usr/lib/modules/{release}"),
        format!("{NIXOS_MODULES}/{release}"),
    ];
    let modules = modules
        .into_iter()
        .map(PathBuf::from)
        .find(|dir| dir.is_dir());
    let mut unreadable = None;
    let mut images: Vec<PathBuf> = Vec::new();
    for image in candidates(&release, modules.as_deref()) {
        match File::open(&image) {
            Ok(_) => images.push(image),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                unreadable.get_or_insert((image, error));
            }
            Err(_) => {}
        }
    }
    // Not every name has a release in it: Arch has /boot/vmlinuz-linux.
    images.retain(|path| image::release(path).is_ok_and(|found| found == release));
    let mut images = images.into_iter();
    match (images.next(), unreadable) {
        (Some(image), _) => Ok(Layout {
            image,
            others: images.collect(),
            release,
            modules: modules.map_or(Modules::None, Modules::Installed),
        }),
        (None, Some((image, error))) => Err(Error::io("read", &image)(error)),
        (None, None) => Err(Error::NoHostKernel {
            release,
            container: is_container(),
        }),
    }
}

/// Files that may be the image, those first that say so by their name.
fn candidates(release: &str, modules: Option<&Path>) -> Vec<PathBuf> {
    let boot = Path::new("/boot");
    let mut candidates = vec![
        boot.join(format!("vmlinuz-{release}")),
        boot.join(format!("vmlinux-{release}")),
    ];
    candidates.extend(modules.map(|dir| dir.join("vmlinuz")));
    candidates.push(PathBuf::from(NIXOS_IMAGE));
    // One that says its release by its name is not this one.
    let may_be = |name: &str| {
        image::names::after_kind(name).is_some_and(|rest| {
            !rest
                .trim_start_matches('-')
                .starts_with(|c: char| c.is_ascii_digit())
        })
    };
    let mut others: Vec<PathBuf> = boot
        .read_dir()
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| may_be(&path.file_name().unwrap_or_default().to_string_lossy()))
        .collect();
    others.sort();
    candidates.extend(others);
    candidates
}

fn is_container() -> bool {
    CONTAINER.iter().any(|path| Path::new(path).exists())
        // How LXC and others say it to what they start.
        || std::env::var_os("container").is_some()
}
