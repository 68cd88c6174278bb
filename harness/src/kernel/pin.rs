//! Writes a kernel of a pool to `kernels.toml` and `kernels.lock`.

use std::fs;
use std::path::{Path, PathBuf};

use globset::Glob;

use super::lock::{LockedKernel, Pin};
use super::pins::Pins;
use super::source::{self, Request};
use super::{Cache, Error, Progress};
use crate::config::{self, AptSource, Catalogue, Origin, PoolKernel, Source};
use crate::whole_file;

/// What to pin.
#[derive(Debug, Clone)]
pub struct NewPin {
    /// The kernel's new name.
    pub name: String,
    /// Where `kiln kernels update` looks for a newer one.
    pub source: AptSource,
    /// Its present pin.
    pub files: LockedKernel,
}

impl NewPin {
    /// `kernel` as `name`. If it should be the newest of its `series`, such as 6.18, the package in
    /// `kernels.toml` is a glob, which `update` follows.
    pub fn of(
        kernel: &PoolKernel,
        name: &str,
        series: Option<&str>,
        pool_package: &str,
        cache: &Cache,
        progress: &Progress,
    ) -> Result<Self, Error> {
        let mut source = kernel.source.clone();
        if let Some(glob) = series
            .map(|series| pool_package.replacen('*', &format!("{series}.*"), 1))
            .filter(|glob| matches(glob, &source.package))
        {
            source.package = glob;
        }
        let request = Request {
            name,
            arch: kernel.arch,
            base: Path::new("/"),
            cache,
            progress,
        };
        let mut files = source::whole_pin_of(&request, kernel)?;
        for file in &kernel.unlisted {
            progress.line(&format!(
                "warning: {} {} is pinned to what the mirror has: nobody signs its hash any more",
                file.package, file.version
            ));
        }
        name.clone_into(&mut files.name);
        files.package.clone_from(&source.package);
        Ok(Self {
            name: name.to_owned(),
            source,
            files,
        })
    }
}

fn matches(glob: &str, name: &str) -> bool {
    Glob::new(glob).is_ok_and(|glob| glob.compile_matcher().is_match(name))
}

/// Writes `new` to the `kernels.toml` of `catalogue`, or to a new one in `cwd` where there is only
/// the built-in one, and to its lock; returns the file. Fetches what was never fetched, like
/// [`super::update`]. Leaves an existing kernel unchanged if it has the same source.
pub fn pin(
    catalogue: &Catalogue,
    new: Vec<NewPin>,
    cwd: &Path,
    cache: &Cache,
    progress: &Progress,
) -> Result<PathBuf, Error> {
    let (path, mut text) = match &catalogue.origin {
        // The file itself if it is a link.
        Origin::File(path) => {
            let path = fs::canonicalize(path).unwrap_or_else(|_| path.clone());
            let text = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
            (path, text)
        }
        Origin::BuiltIn => (cwd.join(config::FILE_NAME), String::new()),
    };
    let mut pins = Vec::new();
    for mut new in new {
        match catalogue.kernel(&new.name) {
            Some(known) if matches!(catalogue.origin, Origin::File(_)) => {
                let same =
                    known.arch == new.files.arch && known.source == Source::Apt(new.source.clone());
                if !same {
                    return Err(Error::NameTaken {
                        name: new.name,
                        path,
                        line: known.line,
                    });
                }
            }
            _ => {
                text = config::with_kernel(&text, &new.name, new.files.arch, &new.source).map_err(
                    |reason| Error::NotEdited {
                        path: path.clone(),
                        reason,
                    },
                )?;
            }
        }
        let request = Request {
            name: &new.name,
            arch: new.files.arch,
            base: Path::new("/"),
            cache,
            progress,
        };
        source::complete_pin(&request, &new.source, &mut new.files)?;
        pins.push(Pin::Apt(new.files));
    }
    let edited =
        Catalogue::parse(&text, Origin::File(path.clone())).map_err(|error| Error::NotEdited {
            path: path.clone(),
            reason: error.to_string(),
        })?;
    whole_file::write(&path, text.as_bytes()).map_err(Error::io("write", &path))?;
    Pins::store(&edited, cache, pins)?;
    Ok(path)
}
