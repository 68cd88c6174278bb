//! The debug image of a kernel of Debian: `vmlinux` of the package `linux-image-RELEASE-dbg`, some
//! 300 MB to fetch and 600 MB in the cache, so it comes only where somebody asks for it.

use std::fs;
use std::path::PathBuf;

use super::super::lock::{LockedFile, LockedKernel};
use super::super::{Error, KernelImage, archive, partial};
use super::apt::listed;
use super::package::fetch;
use super::{Request, build_id, old_package};
use crate::config::AptSource;

/// The directory of debug images in the cache.
pub(super) const DIRECTORY: &str = "debug";

/// Where the debug image of a kernel is in the cache, if it is there.
fn place(request: &Request<'_>, image: &LockedFile, release: &str) -> Result<PathBuf, Error> {
    let name = format!(
        "vmlinux-{release}_{}",
        image.version.replace(['/', ':'], "_")
    );
    Ok(request.cache.subdirectory(DIRECTORY)?.join(name))
}

/// The debug image of the kernel of this pin, if it was fetched before.
pub(in super::super) fn kept(
    request: &Request<'_>,
    pin: &LockedKernel,
) -> Result<Option<PathBuf>, Error> {
    let Some((image, release)) = pin.image() else {
        return Ok(None);
    };
    let place = place(request, image, release)?;
    Ok(Some(place).filter(|place| place.is_file()))
}

/// The same, fetched if it is not there: from the archive, or if that has a newer version by now, from
/// the archive of old packages. `kernel` provides the kernel of the pin.
pub(in super::super) fn fetched(
    request: &Request<'_>,
    source: &AptSource,
    pin: &LockedKernel,
    kernel: impl FnOnce() -> Result<KernelImage, Error>,
) -> Result<PathBuf, Error> {
    let none = |package: String| Error::NoPackage {
        package,
        suite: pin.suite.clone(),
        component: pin.component.clone(),
    };
    let (image, release) = pin
        .image()
        .ok_or_else(|| none("linux-image-*".to_owned()))?;
    let place = place(request, image, release)?;
    if place.is_file() {
        return Ok(place);
    }
    let (mirror, packages) = listed(request, source)?;
    let package = format!("linux-image-{release}-dbg");
    let found = packages.into_iter().map(|package| package.file);
    // Symbols of another build of the same release would be wrong.
    let file = found
        .into_iter()
        .find(|file| file.package == package && file.version == image.version);
    let partial = partial::create(request.cache, DIRECTORY)?;
    let path = format!("usr/lib/debug/boot/vmlinux-{release}");
    if let Some(file) = file {
        let deb = fetch(request, &mirror, &file)?.path;
        archive::take_file(&deb, &package, path.as_ref(), &partial)?;
        fs::remove_file(&deb).map_err(Error::io("remove", &deb))?;
    } else {
        request.progress.line(&format!(
            "{package} {} has left {}: asking the archive of old packages",
            image.version, mirror.uri
        ));
        let none = || none(format!("{package} {}", image.version));
        let id = build_id::of_image(&kernel()?.image)?.ok_or_else(none)?;
        let old = old_package::fetch(request, &package, &image.version)?.ok_or_else(none)?;
        archive::take_file(&old.file, &package, path.as_ref(), &partial)?;
        build_id::check(&partial, &old.url, &id)?;
    }
    partial::keep(partial, &place)?;
    Ok(place)
}
