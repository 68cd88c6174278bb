//! The debug image of any kernel, from the servers that `DEBUGINFOD_URLS` names (elfutils'
//! debuginfod(8)). They know files by the build ID that these carry, and what comes must carry it, too.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::super::{Cache, Error, KernelImage, Progress, download, partial};
use super::build_id;
use super::debug_image::DIRECTORY;

/// The variable that names servers, separated by blanks, as for debuginfod-find(1).
const SERVERS: &str = "DEBUGINFOD_URLS";

/// The servers to ask, in their order.
pub(in super::super) fn servers() -> Vec<String> {
    let servers = std::env::var(SERVERS).unwrap_or_default();
    let servers = servers.split_whitespace();
    servers
        .map(|server| server.trim_end_matches('/').to_owned())
        .collect()
}

/// Whether the debug image of a kernel of this release may have been fetched before.
pub(in super::super) fn may_have(cache: &Cache, release: &str) -> Result<bool, Error> {
    let directory = cache.subdirectory(DIRECTORY)?;
    let mut files = fs::read_dir(&directory).map_err(Error::io("read", &directory))?;
    let start = start_of_name(release);
    Ok(files.any(|file| {
        file.is_ok_and(|file| file.file_name().as_bytes().starts_with(start.as_bytes()))
    }))
}

/// The debug image of this kernel: what was fetched before, else from the first of `servers` that has it.
/// `None` if the image has no build ID, or no server knows it.
pub(in super::super) fn find(
    cache: &Cache,
    progress: &Progress,
    kernel: &KernelImage,
    servers: &[String],
) -> Result<Option<PathBuf>, Error> {
    let Some(id) = build_id::of_image(&kernel.image)? else {
        return Ok(None);
    };
    let place = place(cache, kernel, &id)?;
    if place.is_file() {
        return Ok(Some(place));
    }
    let mut failed = None;
    for server in servers {
        let url = format!("{server}/buildid/{id}/debuginfo");
        match from(cache, progress, &url, &id, &place) {
            Ok(()) => return Ok(Some(place)),
            Err(Error::Download { gone: true, .. }) => {}
            Err(error) => failed = Some(error),
        }
    }
    failed.map_or(Ok(None), Err)
}

/// Its file in the cache.
fn place(cache: &Cache, kernel: &KernelImage, id: &str) -> Result<PathBuf, Error> {
    let name = start_of_name(&kernel.release) + id;
    Ok(cache.subdirectory(DIRECTORY)?.join(name))
}

fn start_of_name(release: &str) -> String {
    format!("vmlinux-{release}_")
}

/// Downloads `url` to `place`, if it is debug information with this build ID.
fn from(
    cache: &Cache,
    progress: &Progress,
    url: &str,
    id: &str,
    place: &Path,
) -> Result<(), Error> {
    download::allowed(url)?;
    let partial = partial::create(cache, DIRECTORY)?;
    progress.download(url, None, |heard| download::to_file(url, &partial, heard))?;
    build_id::check(&partial, url, id)?;
    partial::keep(partial, place)
}
