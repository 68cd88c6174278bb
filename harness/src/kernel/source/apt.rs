//! A kernel from a Debian archive.
//!
//! New packages are found in signed indices. Pinned ones are fetched by path, or by hash if they
//! have left the mirrors, and only need the right hash: a pin needs no index.

use std::fs;
use std::path::{Path, PathBuf};

use super::super::cache::Key;
use super::super::debian::{Keyring, Newest, Suite, newest};
use super::super::layout::Layout;
use super::super::lock::{LockedFile, LockedKernel, Pin};
use super::super::prepare::Taking;
use super::super::{Cache, Error, archive, digest, download, layout};
use super::mirror::{self, Host, Mirror};
use super::{Asked, Content, Pinning, Status};
use crate::config::AptSource;

/// A source in a Debian archive.
pub(super) struct Archive<'s>(pub(super) &'s AptSource);

/// The files of its pin.
struct Packages<'p> {
    source: &'p AptSource,
    pin: &'p LockedKernel,
}

impl Pinning for Archive<'_> {
    /// Asks the archive for the newest match, and fetches new files to compute their SHA-1, which
    /// the archive does not list and which is needed once a file has left it.
    fn resolve(&self, asked: &Asked<'_>, before: Option<&Pin>) -> Result<Pin, Error> {
        let source = self.0;
        let mirror = mirror(source);
        let keyring = keyring(source, &mirror)?;
        let suite = Suite {
            mirror: &mirror.uri,
            name: &source.suite,
            component: &source.component,
            arch: asked.arch,
            keyring: keyring.as_ref(),
        };
        let packages = suite.packages(asked.cache, asked.progress)?;
        let mut files = match newest(&packages, &source.package) {
            Newest::Found(files) => files,
            Newest::NoMatch => {
                return Err(Error::NoPackage {
                    package: source.package.clone(),
                    suite: source.suite.clone(),
                    component: source.component.clone(),
                });
            }
            Newest::Incomplete { package, missing } => {
                return Err(Error::IncompletePackage {
                    package,
                    missing,
                    suite: source.suite.clone(),
                });
            }
        };
        let known = match before {
            Some(Pin::Apt(pin)) => pin.files.as_slice(),
            _ => &[],
        };
        for file in &mut files {
            let same = known.iter().find(|known| known.sha256 == file.sha256);
            file.sha1 = match same.and_then(|known| known.sha1.clone()) {
                Some(sha1) => Some(sha1),
                None => Some(fetch(asked, &mirror, file)?.sha1),
            };
        }
        Ok(Pin::Apt(LockedKernel {
            name: asked.name.to_owned(),
            suite: source.suite.clone(),
            component: source.component.clone(),
            package: source.package.clone(),
            arch: asked.arch,
            files,
        }))
    }

    fn content<'p>(&'p self, pin: &'p Pin) -> Option<Box<dyn Content + 'p>> {
        match pin {
            Pin::Apt(pin) if pin.is_of(self.0) => Some(Box::new(Packages {
                source: self.0,
                pin,
            })),
            _ => None,
        }
    }
}

impl Content for Packages<'_> {
    fn key(&self) -> Result<Key, Error> {
        let hashes = self.pin.files.iter().map(|file| file.sha256.as_bytes());
        Ok(Key::new("apt", hashes))
    }

    fn get(&self, asked: &Asked<'_>, work: &Path) -> Result<(Layout, Taking), Error> {
        let mirror = mirror(self.source);
        let tree = work.join("tree");
        fs::create_dir(&tree).map_err(Error::io("create", &tree))?;
        for file in &self.pin.files {
            let deb = fetch(asked, &mirror, file)?.path;
            archive::unpack_deb(&deb, &tree)?;
            fs::remove_file(&deb).map_err(Error::io("remove", &deb))?;
        }
        let layout = layout::find(&tree).map_err(|error| match error {
            // Do not show the temporary directory to the user.
            Error::NoImage { .. } => Error::NoImage {
                path: format!("package {}", self.pin.files[0].package).into(),
            },
            other => other,
        })?;
        Ok((layout, Taking::Move))
    }

    fn status(&self, asked: &Asked<'_>) -> Result<Status, Error> {
        Ok(Status {
            version: Some(self.pin.version().to_owned()),
            cached: asked
                .cache
                .prepared(&self.key()?.for_arch(asked.arch), asked.name)
                .is_some(),
        })
    }
}

fn mirror(source: &AptSource) -> Mirror {
    let etc = Path::new("/etc");
    mirror::resolve(source, &Host { etc })
}

/// The trusted keys for `source`; `None` if everybody is trusted.
fn keyring(source: &AptSource, mirror: &Mirror) -> Result<Option<Keyring>, Error> {
    if source.trusted {
        return Ok(None);
    }
    let mut keyring = Keyring::debian()?;
    let of_host = mirror.signed_by.as_deref().map(Path::new);
    // A keyring of Debian's that was removed since is not needed.
    for file in of_host
        .filter(|file| file.exists())
        .into_iter()
        .chain(source.keyring.as_deref())
    {
        keyring = keyring.with(Keyring::open(file)?);
    }
    Ok(Some(keyring))
}

/// A fetched package.
struct Fetched {
    path: PathBuf,
    sha1: String,
}

/// Fetches a file of a kernel into the cache: from the mirror, else from the archive of old
/// packages. Uses a file that was fetched earlier but not unpacked.
fn fetch(asked: &Asked<'_>, mirror: &Mirror, file: &LockedFile) -> Result<Fetched, Error> {
    let path = kept(asked.cache, file)?;
    if let Ok(sha1) = digest::sha1_if(&path, &file.sha256) {
        return Ok(Fetched { path, sha1 });
    }
    let from_mirror = format!("{}/{}", mirror.uri, file.path);
    match from(asked, &from_mirror, file, &path) {
        Ok(sha1) => return Ok(Fetched { path, sha1 }),
        Err(Error::Download { gone: true, .. }) => {}
        Err(other) => return Err(other),
    }
    let Some(sha1) = &file.sha1 else {
        return Err(pin_gone(asked, mirror, file, None));
    };
    let url = format!("{}/file/{sha1}", mirror::snapshot());
    asked.progress.line(&format!(
        "{} {} has left {}: asking the archive of old packages",
        file.package, file.version, mirror.uri
    ));
    match from(asked, &url, file, &path) {
        Ok(sha1) => Ok(Fetched { path, sha1 }),
        Err(Error::Download { url, reason, .. }) => {
            let answer = format!("{url}: {reason}");
            Err(pin_gone(asked, mirror, file, Some(answer)))
        }
        Err(other) => Err(other),
    }
}

fn pin_gone(
    asked: &Asked<'_>,
    mirror: &Mirror,
    file: &LockedFile,
    snapshot: Option<String>,
) -> Error {
    Error::PinGone {
        name: asked.name.to_owned(),
        package: file.package.clone(),
        version: file.version.clone(),
        mirror: mirror.uri.clone(),
        snapshot,
    }
}

/// Downloads a file to `dest`, if it is the one that `file` names; returns its SHA-1.
fn from(asked: &Asked<'_>, url: &str, file: &LockedFile, dest: &Path) -> Result<String, Error> {
    let directory = asked.cache.subdirectory("downloads")?;
    // Under a unique name, because two kilns may fetch the same file.
    let partial = tempfile::NamedTempFile::new_in(&directory)
        .map_err(Error::io("create a file in", &directory))?
        .into_temp_path();
    let name = format!("{} {}", file.package, file.version);
    let came = asked
        .progress
        .download(&name, Some(file.size), |on_progress| {
            download::to_file(url, &partial, on_progress)
        })?;
    if came.sha256 != file.sha256 {
        return Err(Error::WrongHash {
            what: format!("{name} from {url}"),
            expected: file.sha256.clone(),
            actual: came.sha256,
        });
    }
    partial
        .persist(dest)
        .map_err(|error| Error::io("create", dest)(error.error))?;
    Ok(came.sha1)
}

/// Where a package waits to be unpacked.
fn kept(cache: &Cache, file: &LockedFile) -> Result<PathBuf, Error> {
    Ok(cache
        .subdirectory("downloads")?
        .join(format!("{}.deb", file.sha256)))
}
