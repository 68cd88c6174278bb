//! The debug image of a kernel of Debian: `vmlinux` of the package `linux-image-RELEASE-dbg`, some
//! 300 MB to fetch and 600 MB in the cache, so it comes only where somebody asks for it.

use std::fs;
use std::path::PathBuf;

use super::super::lock::{LockedFile, LockedKernel};
use super::super::{Error, archive, partial};
use super::Request;
use super::apt::listed;
use super::package::fetch;
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

/// The same, fetched if it is not there.
pub(in super::super) fn fetched(
    request: &Request<'_>,
    source: &AptSource,
    pin: &LockedKernel,
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
    let wanted = format!("linux-image-{release}-dbg");
    let found = packages.into_iter().map(|package| package.file);
    // Symbols of another build of the same release would be wrong.
    let file = found
        .into_iter()
        .find(|file| file.package == wanted && file.version == image.version)
        .ok_or_else(|| none(format!("{wanted} {}", image.version)))?;
    let deb = fetch(request, &mirror, &file)?.path;
    let partial = partial::create(request.cache, DIRECTORY)?;
    let path = format!("usr/lib/debug/boot/vmlinux-{release}");
    archive::take_file(&deb, &file.package, path.as_ref(), &partial)?;
    partial::keep(partial, &place)?;
    fs::remove_file(&deb).map_err(Error::io("remove", &deb))?;
    Ok(place)
}
