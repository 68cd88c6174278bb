//! Reads a Debian archive, without apt, dpkg or gpg on the host.
//!
//! The signed Release file of a suite contains the hashes of its indices, which contain those of
//! the packages (Debian Wiki, DebianRepository/Format).

mod date;
mod index;
mod release;
mod signature;

pub use index::KernelNames;
pub(super) use index::{Kernel, Newest, Package, all, compare, newest};
pub(super) use signature::Keyring;

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use chrono::Utc;

use super::image::compression::Compression;
use super::{Cache, Error, LockedFile, Progress, digest, download};
use crate::arch::Arch;
use crate::whole_file;
use download::Page;
use release::{Entry, Release};

/// The kernels of a `Packages` index that `names` has, each with the files that the index has of it.
pub fn kernels_of_index(index: &str, names: &KernelNames) -> Vec<Vec<LockedFile>> {
    let kernels = all(&index::parse(index), names);
    kernels.into_iter().map(|kernel| kernel.files).collect()
}

/// 50 times the size of Debian's largest Release file.
const MAX_RELEASE: u64 = 16 << 20;

/// 10 times the size of an index of all of Debian, unpacked.
const MAX_INDEX: u64 = 512 << 20;

/// The forms of an index in archives, the smallest first.
const INDEX_FORMS: [&str; 4] = [".xz", ".zst", ".gz", ""];

/// One component of one suite of an archive.
pub(super) struct Suite<'a> {
    /// The directory that holds `dists/` and `pool/`, without a slash at its end.
    pub(super) mirror: &'a str,
    /// Such as `bookworm-security`.
    pub(super) name: &'a str,
    /// Such as `main`.
    pub(super) component: &'a str,
    /// What its packages are for.
    pub(super) arch: Arch,
    /// The trusted keys; `None` trusts everybody.
    pub(super) keyring: Option<&'a Keyring>,
}

/// What was known of a suite when it was last asked.
pub(super) struct Known<'a> {
    /// When its Release file was changed last, in the server's words.
    pub(super) modified: Option<&'a str>,
    /// SHA-256 of its index.
    pub(super) index: &'a str,
}

/// What a suite has, as far as it is not [`Known`].
pub(super) enum Change {
    /// Its Release file is the known one.
    None,
    /// Its Release file is another, which lists the known index.
    Release(Listing),
    /// Its index is another.
    Index(Listing, Vec<Package>),
}

/// What the Release file says.
pub(super) struct Listing {
    /// As of [`Known`].
    pub(super) modified: Option<String>,
    /// As of [`Known`].
    pub(super) index: String,
    /// Until when it is to be used, in seconds since 1970.
    pub(super) valid_until: Option<i64>,
}

impl Suite<'_> {
    /// The kernel packages it has.
    pub(super) fn packages(
        &self,
        cache: &Cache,
        progress: &Progress,
    ) -> Result<Vec<Package>, Error> {
        match self.changed(None, cache, progress) {
            Ok(Change::Index(_, packages)) => Ok(packages),
            Ok(Change::None | Change::Release(_)) => Ok(Vec::new()),
            Err(Error::Download {
                url,
                gone: true,
                reason,
            }) => Err(Error::Index { url, reason }),
            Err(other) => Err(other),
        }
    }

    /// What it has, as far as that is not `known`. An index that was read before is
    /// not read again: what was found in it is in the cache by its hash.
    pub(super) fn changed(
        &self,
        known: Option<&Known<'_>>,
        cache: &Cache,
        progress: &Progress,
    ) -> Result<Change, Error> {
        let since = known.and_then(|known| known.modified);
        let Some((release, modified)) = self.release(since, progress)? else {
            return Ok(Change::None);
        };
        let packages = format!("{}/binary-{}/Packages", self.component, self.arch.debian());
        let (name, entry) = release
            .index(&packages, INDEX_FORMS)
            .ok_or_else(|| self.damaged(format!("it lists no {packages}")))?;
        let listing = Listing {
            modified,
            index: entry.sha256.clone(),
            valid_until: release.valid_until(),
        };
        if known.is_some_and(|known| known.index == entry.sha256) {
            return Ok(Change::Release(listing));
        }
        let kept = kept(cache, &entry.sha256)?;
        let packages = fs::read(&kept)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let packages = match packages {
            Some(packages) => packages,
            None => self.read(&release, name, entry, &kept, progress)?,
        };
        Ok(Change::Index(listing, packages))
    }

    /// The address of its Release file.
    pub(super) fn release_url(&self) -> String {
        format!("{}/dists/{}/InRelease", self.mirror, self.name)
    }

    /// Reads the index `name`, and keeps at `kept` what was found in it.
    fn read(
        &self,
        release: &Release,
        name: &str,
        entry: &Entry,
        kept: &Path,
        progress: &Progress,
    ) -> Result<Vec<Package>, Error> {
        progress.line(&format!(
            "reading the package index of {}/{}",
            self.name, self.component
        ));
        let directory = format!("{}/dists/{}", self.mirror, self.name);
        let url = match (release.by_hash, name.rsplit_once('/')) {
            // The file of that name may be replaced while we read it.
            (true, Some((parent, _))) => {
                format!("{directory}/{parent}/by-hash/SHA256/{}", entry.sha256)
            }
            _ => format!("{directory}/{name}"),
        };
        let packed = download::to_memory(&url, entry.size.min(MAX_INDEX))?;
        let actual = digest::of_bytes(&packed);
        if actual != entry.sha256 {
            return Err(Error::WrongHash {
                what: url,
                expected: entry.sha256.clone(),
                actual,
            });
        }
        let packages = index::parse(&unpacked(&url, &packed)?);
        if let Ok(bytes) = serde_json::to_vec(&packages) {
            // If it is not cached, it is read again the next time.
            let _ = whole_file::write(kept, &bytes);
        }
        Ok(packages)
    }

    /// The Release file, whose signature holds, and when it was changed last; `None`
    /// if that was not `since` a time that the server told.
    fn release(
        &self,
        since: Option<&str>,
        progress: &Progress,
    ) -> Result<Option<(Release, Option<String>)>, Error> {
        let url = self.release_url();
        let (text, modified) = match download::page(&url, MAX_RELEASE, since)? {
            Page::Unchanged => return Ok(None),
            Page::New { body, modified } => (body, modified),
        };
        let text = match self.keyring {
            Some(keyring) => keyring.verified(&url, &text)?,
            None => signature::unverified(&url, &text)?,
        };
        let release = Release::parse(&text).map_err(|reason| self.damaged(reason))?;
        if !release.is_of(self.name) {
            return Err(self.damaged(format!(
                "it is of the suite {}",
                release.names().collect::<Vec<_>>().join(" or ")
            )));
        }
        if let Some(age) = release.expired_for(Utc::now()) {
            progress.line(&format!(
                "warning: {url} has expired: its metadata is {} old",
                days(age)
            ));
        }
        Ok(Some((release, modified)))
    }

    fn damaged(&self, reason: String) -> Error {
        Error::Index {
            url: self.release_url(),
            reason,
        }
    }
}

/// The cache's path for the packages of an index.
fn kept(cache: &Cache, sha256: &str) -> Result<PathBuf, Error> {
    Ok(cache
        .subdirectory("indices")?
        .join(format!("{sha256}.packages")))
}

fn unpacked(url: &str, packed: &[u8]) -> Result<String, Error> {
    let mut plain = Vec::new();
    let read = match Compression::detect(packed) {
        Some(compression) => compression
            .reader(packed)
            .and_then(|reader| reader.take(MAX_INDEX).read_to_end(&mut plain)),
        None => packed.take(MAX_INDEX).read_to_end(&mut plain),
    };
    read.map_err(|error| Error::Index {
        url: url.to_owned(),
        reason: error.to_string(),
    })?;
    // Package names and paths are ASCII; a maintainer's name may be anything.
    Ok(String::from_utf8_lossy(&plain).into_owned())
}

pub(super) fn days(age: chrono::TimeDelta) -> String {
    match age.num_days() {
        0 => "less than a day".to_owned(),
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    }
}

#[cfg(test)]
mod tests;
