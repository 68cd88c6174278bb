//! A package file of a Debian archive: fetched by its path, or by its hash if it has left the
//! mirrors, and checked only by its hash.

use std::path::{Path, PathBuf};

use super::super::lock::LockedFile;
use super::super::{Cache, Error, digest, download, partial};
use super::content::Request;
use super::mirror::{self, Host, Mirror};
use crate::config::AptSource;

/// The archive of `source`, as this host sees it.
pub(super) fn mirror(source: &AptSource) -> Mirror {
    let etc = Path::new("/etc");
    mirror::resolve(source, &Host { etc })
}

/// A fetched package.
pub(super) struct Fetched {
    pub(super) path: PathBuf,
    pub(super) sha1: String,
}

/// Fetches a file of a kernel into the cache: from the mirror, else from the archive of old
/// packages. Uses a file that was fetched earlier but not unpacked.
pub(super) fn fetch(
    request: &Request<'_>,
    mirror: &Mirror,
    file: &LockedFile,
) -> Result<Fetched, Error> {
    let path = kept(request.cache, file)?;
    if let Ok(sha1) = digest::sha1_if(&path, &file.sha256) {
        return Ok(Fetched { path, sha1 });
    }
    let from_mirror = format!("{}/{}", mirror.uri, file.path);
    match from(request, &from_mirror, file, &path) {
        Ok(sha1) => return Ok(Fetched { path, sha1 }),
        Err(Error::Download { gone: true, .. }) => {}
        Err(other) => return Err(other),
    }
    let Some(sha1) = &file.sha1 else {
        return Err(pin_gone(request, mirror, file, None));
    };
    let url = mirror::old_file(sha1);
    request.progress.line(&format!(
        "{} {} has left {}: asking the archive of old packages",
        file.package, file.version, mirror.uri
    ));
    match from(request, &url, file, &path) {
        Ok(sha1) => Ok(Fetched { path, sha1 }),
        Err(Error::Download { url, reason, .. }) => {
            let answer = format!("{url}: {reason}");
            Err(pin_gone(request, mirror, file, Some(answer)))
        }
        Err(other) => Err(other),
    }
}

fn pin_gone(
    request: &Request<'_>,
    mirror: &Mirror,
    file: &LockedFile,
    snapshot: Option<String>,
) -> Error {
    Error::PinGone {
        name: request.name.to_owned(),
        package: file.package.clone(),
        version: file.version.clone(),
        mirror: mirror.uri.clone(),
        snapshot,
    }
}

/// Downloads a file to `dest`, if it is the one that `file` names; returns its SHA-1.
fn from(request: &Request<'_>, url: &str, file: &LockedFile, dest: &Path) -> Result<String, Error> {
    download::allowed(url)?;
    let partial = partial::create(request.cache, "downloads")?;
    let name = format!("{} {}", file.package, file.version);
    let came = request.progress.download(&name, Some(file.size), |heard| {
        download::to_file(url, &partial, heard)
    })?;
    if came.sha256 != file.sha256 {
        return Err(Error::WrongHash {
            what: format!("{name} from {url}"),
            expected: file.sha256.clone(),
            actual: came.sha256,
        });
    }
    partial::keep(partial, dest)?;
    request.cache.remember_sha1(&came.sha256, &came.sha1);
    Ok(came.sha1)
}

/// Where a package waits to be unpacked.
pub(super) fn kept(cache: &Cache, file: &LockedFile) -> Result<PathBuf, Error> {
    Ok(cache
        .subdirectory("downloads")?
        .join(format!("{}.deb", file.sha256)))
}
