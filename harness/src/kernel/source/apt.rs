//! A kernel from a Debian archive.
//!
//! New packages are found in signed indices. Pinned ones are fetched by path, or by hash if they
//! have left the mirrors, and only need the right hash: a pin needs no index.

use std::fs;
use std::path::{Path, PathBuf};

use super::super::cache::Key;
use super::super::debian::{Keyring, Newest, Package, Suite, newest};
use super::super::layout::Layout;
use super::super::lock::{LockedFile, LockedKernel, Pin};
use super::super::prepare::Taking;
use super::super::{Cache, Error, KernelImage, archive, layout, signed_modules};
use super::content::{Content, Pinning, Request, Status};
use super::mirror::Mirror;
use super::package::{fetch, mirror};
use super::unlisted;
use crate::config::{AptSource, PoolKernel};

/// A source in a Debian archive.
pub(super) struct Archive<'s>(pub(super) &'s AptSource);

/// The archive of a source, and whose signatures count there.
#[derive(Debug)]
pub(in super::super) struct Place {
    pub(in super::super) mirror: Mirror,
    source: AptSource,
}

/// Finds the archive of `source`.
pub(in super::super) fn place(source: &AptSource) -> Place {
    Place {
        mirror: mirror(source),
        source: source.clone(),
    }
}

impl Place {
    /// Files of keys that are trusted beside Debian's.
    pub(in super::super) fn keyrings(&self) -> Vec<PathBuf> {
        if self.source.trusted {
            return Vec::new();
        }
        // A keyring of Debian's that was removed since is not needed.
        let of_host = self.mirror.signed_by.as_deref().map(PathBuf::from);
        of_host
            .filter(|file| file.exists())
            .into_iter()
            .chain(self.source.keyring.clone())
            .collect()
    }

    /// Whose signatures count; `None` where anybody is trusted.
    pub(in super::super) fn keyring(&self) -> Result<Option<Keyring>, Error> {
        if self.source.trusted {
            return Ok(None);
        }
        let mut keyring = Keyring::debian()?;
        for file in self.keyrings() {
            keyring = keyring.with(Keyring::open(&file)?);
        }
        Ok(Some(keyring))
    }
}

/// The archive of `source`, and the kernel packages that it has.
pub(super) fn listed(
    request: &Request<'_>,
    source: &AptSource,
) -> Result<(Mirror, Vec<Package>), Error> {
    let place = place(source);
    let keyring = place.keyring()?;
    let suite = Suite {
        mirror: &place.mirror.uri,
        name: &source.suite,
        component: &source.component,
        arch: request.arch,
        keyring: keyring.as_ref(),
    };
    let packages = suite.packages(request.cache, request.progress)?;
    Ok((place.mirror, packages))
}

/// The files of its pin.
struct Packages<'p> {
    source: &'p AptSource,
    pin: &'p LockedKernel,
}

impl Pinning for Archive<'_> {
    /// Asks the archive for the newest match, and fetches new files to compute their SHA-1, which
    /// the archive does not list and which is needed once a file has left it.
    fn resolve(&self, request: &Request<'_>, before: Option<&Pin>) -> Result<Pin, Error> {
        let source = self.0;
        let (mirror, packages) = listed(request, source)?;
        let mut files = match newest(&packages, &source.package) {
            Newest::Found(files) => files,
            Newest::NoMatch => {
                return Err(Error::NoPackage {
                    package: source.package.clone(),
                    suite: source.suite.clone(),
                    component: source.component.clone(),
                });
            }
            Newest::Incomplete {
                package,
                version,
                missing,
            } => {
                // The pin has the missing part, which the archive dropped since.
                if let Some(Pin::Apt(pin)) = before
                    && let Some(first) = pin.files.first()
                    && (&first.package, &first.version) == (&package, &version)
                {
                    return Ok(Pin::Apt(pin.clone()));
                }
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
        complete(request, &mirror, &mut files, known)?;
        Ok(Pin::Apt(LockedKernel {
            name: request.name.to_owned(),
            suite: source.suite.clone(),
            component: source.component.clone(),
            package: source.package.clone(),
            arch: request.arch,
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

    fn get(&self, request: &Request<'_>, work: &Path) -> Result<(Layout, Taking), Error> {
        let mirror = mirror(self.source);
        let tree = work.join("tree");
        fs::create_dir(&tree).map_err(Error::io("create", &tree))?;
        let unpack = |file: &LockedFile| -> Result<(), Error> {
            let deb = fetch(request, &mirror, file)?.path;
            archive::unpack(&deb, &file.package, &tree)?;
            fs::remove_file(&deb).map_err(Error::io("remove", &deb))
        };
        // First, so that what they bring can be told from the rest.
        for file in self.pin.files.iter().filter(|file| file.unlisted) {
            unpack(file)?;
            unlisted::check(&tree, &file.package)?;
        }
        for file in self.pin.files.iter().filter(|file| !file.unlisted) {
            unpack(file)?;
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

    fn secure(&self, kernel: &KernelImage) -> Result<(), Error> {
        let Some(unlisted) = self.pin.files.iter().find(|file| file.unlisted) else {
            return Ok(());
        };
        if signed_modules::enforce(&kernel.image)? {
            return Ok(());
        }
        Err(Error::Unsigned {
            name: kernel.name.clone(),
            unlisted: unlisted.package.clone(),
        })
    }

    fn status(&self, request: &Request<'_>) -> Result<Status, Error> {
        Ok(Status {
            version: Some(self.pin.version().to_owned()),
            cached: request
                .cache
                .prepared(&self.key()?.for_arch(request.arch), request.name)
                .is_some(),
        })
    }
}

/// The kernel of a pool as a pin, as far as it is known: without SHA-1 of what was
/// never fetched. `None` if not even the SHA-256 of all files is known.
pub(in super::super) fn pin_of(kernel: &PoolKernel, cache: &Cache) -> Option<LockedKernel> {
    let listed = kernel.files.iter().map(|file| LockedFile {
        package: file.package.clone(),
        version: file.version.clone(),
        path: file.path.clone(),
        size: file.size,
        sha256: file.sha256.clone(),
        sha1: cache.sha1_of(&file.sha256),
        unlisted: false,
    });
    let mut files: Vec<LockedFile> = listed.collect();
    for file in &kernel.unlisted {
        files.push(unlisted::known(file, cache)?);
    }
    Some(LockedKernel {
        name: kernel.name.clone(),
        arch: kernel.arch,
        suite: kernel.source.suite.clone(),
        component: kernel.source.component.clone(),
        package: kernel.source.package.clone(),
        files,
    })
}

/// The same; what is not listed any more, and not known from before, is fetched.
pub(in super::super) fn whole_pin_of(
    request: &Request<'_>,
    kernel: &PoolKernel,
) -> Result<LockedKernel, Error> {
    for file in &kernel.unlisted {
        if unlisted::known(file, request.cache).is_none() {
            unlisted::fetch(request, kernel, file)?;
        }
    }
    pin_of(kernel, request.cache).ok_or_else(|| Error::NotPinned {
        name: kernel.name.clone(),
    })
}

/// What `pin`, which is of `kernel`, names.
pub(in super::super) fn packages<'p>(
    kernel: &'p PoolKernel,
    pin: &'p LockedKernel,
) -> Box<dyn Content + 'p> {
    Box::new(Packages {
        source: &kernel.source,
        pin,
    })
}

/// Fetches what of `pin` was never fetched, so that it says every SHA-1.
pub(in super::super) fn complete_pin(
    request: &Request<'_>,
    source: &AptSource,
    pin: &mut LockedKernel,
) -> Result<(), Error> {
    complete(request, &mirror(source), &mut pin.files, &[])
}

/// Gives every file its SHA-1: from `known` files, from what was fetched before,
/// or by fetching it.
fn complete(
    request: &Request<'_>,
    mirror: &Mirror,
    files: &mut [LockedFile],
    known: &[LockedFile],
) -> Result<(), Error> {
    for file in files {
        let same = known.iter().find(|known| known.sha256 == file.sha256);
        let sha1 = same
            .and_then(|known| known.sha1.clone())
            .or_else(|| request.cache.sha1_of(&file.sha256));
        file.sha1 = match sha1 {
            Some(sha1) => Some(sha1),
            None => Some(fetch(request, mirror, file)?.sha1),
        };
    }
    Ok(())
}
