//! Reads a Debian archive, without apt, dpkg or gpg on the host.
//!
//! The signed Release file of a suite contains the hashes of its indices, which contain those of
//! the packages (Debian Wiki, DebianRepository/Format).

mod date;
mod index;
mod release;
mod signature;

pub(super) use index::{Newest, Package, newest};
pub(super) use signature::Keyring;

use std::fs;
use std::io::Read as _;
use std::path::PathBuf;

use chrono::Utc;

use super::image::compression::Compression;
use super::{Cache, Error, Progress, digest, download};
use crate::arch::Arch;
use crate::whole_file;
use release::Release;

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

impl Suite<'_> {
    /// Its kernel packages. An index is read only once: the cache keeps the result by its hash.
    pub(super) fn packages(
        &self,
        cache: &Cache,
        progress: &Progress,
    ) -> Result<Vec<Package>, Error> {
        let release = self.release(progress)?;
        let packages = format!("{}/binary-{}/Packages", self.component, self.arch.debian());
        let (name, entry) = release
            .index(&packages, INDEX_FORMS)
            .ok_or_else(|| self.damaged(format!("it lists no {packages}")))?;
        let kept = kept(cache, &entry.sha256)?;
        if let Some(packages) = fs::read(&kept)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        {
            return Ok(packages);
        }
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
            let _ = whole_file::write(&kept, &bytes);
        }
        Ok(packages)
    }

    /// The Release file, with a checked signature.
    fn release(&self, progress: &Progress) -> Result<Release, Error> {
        let url = format!("{}/dists/{}/InRelease", self.mirror, self.name);
        let text = download::to_memory(&url, MAX_RELEASE).map_err(|error| match error {
            Error::Download {
                url,
                gone: true,
                reason,
            } => Error::Index { url, reason },
            other => other,
        })?;
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
        Ok(release)
    }

    fn damaged(&self, reason: String) -> Error {
        Error::Index {
            url: format!("{}/dists/{}/InRelease", self.mirror, self.name),
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

fn days(age: chrono::TimeDelta) -> String {
    match age.num_days() {
        0 => "less than a day".to_owned(),
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    }
}

#[cfg(test)]
mod tests;
