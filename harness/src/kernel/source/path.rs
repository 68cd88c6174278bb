//! A kernel on this machine: copies only what a guest cannot use in place.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::super::cache::Key;
use super::super::layout::{Layout, Modules};
use super::super::prepare::Taking;
use super::super::{Error, kconfig, layout};
use super::content::{Content, Request, Status};

/// A directory or an image, by an absolute path.
pub(super) struct Local<'s>(pub(super) &'s Path);

impl Content for Local<'_> {
    /// Prepared again if one of its files changes.
    fn key(&self) -> Result<Key, Error> {
        fingerprint(&self.find()?)
    }

    fn get(&self, _request: &Request<'_>, _work: &Path) -> Result<(Layout, Taking), Error> {
        Ok((self.find()?, Taking::Borrow))
    }

    fn status(&self, _request: &Request<'_>) -> Result<Status, Error> {
        let found = self.find().ok();
        Ok(Status {
            cached: found.is_some(),
            version: found.map(|layout| layout.release),
        })
    }
}

impl Local<'_> {
    fn find(&self) -> Result<Layout, Error> {
        let path = fs::canonicalize(self.0).map_err(Error::io("find", self.0))?;
        layout::find(&path)
    }
}

/// Changes whenever the image, its configuration or a module does.
pub(super) fn fingerprint(layout: &Layout) -> Result<Key, Error> {
    let mut parts: Vec<Vec<u8>> = vec![layout.release.clone().into_bytes()];
    let mut add = |path: &Path| -> Result<(), Error> {
        let meta = fs::metadata(path).map_err(Error::io("read", path))?;
        parts.push(path.as_os_str().as_bytes().to_vec());
        parts.push(
            format!(
                "{} {} {} {}",
                meta.ino(),
                meta.size(),
                meta.mtime(),
                meta.mtime_nsec()
            )
            .into_bytes(),
        );
        Ok(())
    };
    add(&layout.image)?;
    for other in &layout.others {
        add(other)?;
    }
    if let Some(config) = kconfig::file(layout) {
        add(&config)?;
    }
    match &layout.modules {
        Modules::None => {}
        Modules::Installed(dir) if dir.join("modules.dep").is_file() => {
            // depmod updates it with every change.
            add(&dir.join("modules.dep"))?;
        }
        Modules::Installed(dir) => {
            for entry in walkdir::WalkDir::new(dir).sort_by_file_name() {
                let entry = entry.map_err(|error| {
                    let path = error.path().unwrap_or(dir).to_path_buf();
                    Error::io("read", &path)(error.into())
                })?;
                if entry.file_type().is_file() {
                    add(entry.path())?;
                }
            }
        }
        Modules::Built { tree, files } => {
            for file in files {
                add(&tree.join(file))?;
            }
        }
    }
    Ok(Key::new("path", parts.iter().map(Vec::as_slice)))
}
