//! Parts of a kernel that its archive no longer lists, but still has.
//!
//! Their hashes are not signed: kiln trusts what came first from then on. They may contain modules,
//! which the kernel checks (`signed_modules.rs`), but nothing that boots or runs.

use std::fs;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::super::cache::Key;
use super::super::lock::LockedFile;
use super::super::{Cache, Error, download, partial};
use super::content::Request;
use super::package;
use crate::config::{PoolKernel, UnlistedFile};
use crate::whole_file;

/// Where to store the hash of an unlisted file when it first came.
fn memory_of(file: &UnlistedFile, cache: &Cache) -> PathBuf {
    let path = cache.root().join("unlisted");
    path.join(Key::new("deb", [file.path.as_bytes()]).to_string())
}

/// What `file` was when it first came.
pub(super) fn known(file: &UnlistedFile, cache: &Cache) -> Option<LockedFile> {
    let bytes = fs::read(memory_of(file, cache)).ok()?;
    let known: LockedFile = serde_json::from_slice(&bytes).ok()?;
    // What an older kiln remembers does not say that.
    (known.path == file.path).then_some(LockedFile {
        unlisted: true,
        ..known
    })
}

/// Fetches `file` of `kernel`, and records its hash.
pub(super) fn fetch(
    request: &Request<'_>,
    kernel: &PoolKernel,
    file: &UnlistedFile,
) -> Result<(), Error> {
    let mirror = package::mirror(&kernel.source);
    let url = format!("{}/{}", mirror.uri, file.path);
    download::allowed(&url)?;
    let partial = partial::create(request.cache, "downloads")?;
    let name = format!("{} {}", file.package, file.version);
    let came = request
        .progress
        .download(&name, None, |heard| {
            download::to_file(&url, &partial, heard)
        })
        .map_err(|error| match error {
            Error::Download { gone: true, .. } => Error::IncompletePackage {
                package: kernel.source.package.clone(),
                missing: file.package.clone(),
                suite: kernel.source.suite.clone(),
            },
            other => other,
        })?;
    let size = fs::metadata(&partial)
        .map_err(Error::io("read", &partial))?
        .len();
    let known = LockedFile {
        package: file.package.clone(),
        version: file.version.clone(),
        path: file.path.clone(),
        size,
        sha256: came.sha256.clone(),
        sha1: Some(came.sha1),
        unlisted: true,
    };
    let dest = package::kept(request.cache, &known)?;
    partial::keep(partial, &dest)?;
    request.cache.subdirectory("unlisted")?;
    let memory = memory_of(file, request.cache);
    whole_file::remember(&memory, &known).map_err(Error::io("write", &memory))
}

/// Refuses a tree with more than modules, which the kernel checks itself, and what
/// lies beside them in Debian's packages: nothing else in it may be booted or run.
pub(super) fn check(tree: &Path, package: &str) -> Result<(), Error> {
    for entry in WalkDir::new(tree).into_iter().flatten() {
        let Ok(path) = entry.path().strip_prefix(tree) else {
            continue;
        };
        let name = entry.file_name().to_string_lossy();
        let modules = ["usr/lib/modules", "lib/modules"]
            .iter()
            .any(|directory| path.starts_with(directory));
        let harmless = entry.file_type().is_dir()
            || path.starts_with("usr/share")
            || (modules && (name.contains(".ko") || name.starts_with("modules.")))
            || (path.starts_with("boot")
                && (name.starts_with("config-") || name.starts_with("System.map-")));
        if !harmless {
            return Err(Error::Archive {
                what: package.to_owned(),
                reason: format!(
                    "the archive does not list it any more, and it brings {}, which is no module",
                    path.display()
                ),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "unlisted_tests.rs"]
mod tests;
