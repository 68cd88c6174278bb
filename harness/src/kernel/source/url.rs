//! A kernel on a web server: a tar archive or a plain image, pinned by its
//! hash.

use std::path::Path;

use super::super::cache::Key;
use super::super::layout::Layout;
use super::super::prepare::Taking;
use super::super::{Error, Progress, archive, download, image, layout};
use super::{Asked, Content};
use crate::config::UrlSource;

/// A file on a web server.
pub(super) struct Download<'s>(pub(super) &'s UrlSource);

impl Content for Download<'_> {
    /// The content, wherever it comes from.
    fn key(&self) -> Result<Key, Error> {
        Ok(Key::new("url", [self.0.sha256.as_bytes()]))
    }

    fn get(&self, asked: &Asked<'_>, work: &Path) -> Result<(Layout, Taking), Error> {
        let url = &self.0.url;
        let file = work.join("download");
        download(self.0, &file, asked.progress)?;
        let tree = work.join("tree");
        if archive::is_tar(&file)? {
            std::fs::create_dir(&tree).map_err(Error::io("create", &tree))?;
            archive::unpack_tar_file(&file, url, &tree)?;
        } else {
            std::fs::rename(&file, &tree).map_err(Error::io("create", &tree))?;
        }
        let layout = layout::find(&tree).map_err(|error| match error {
            // Do not show the temporary directory to the user.
            Error::NoImage { .. } => Error::NoImage {
                path: url.clone().into(),
            },
            Error::Image(image::Error::OtherArchitecture { arch, .. }) => {
                Error::Image(image::Error::OtherArchitecture {
                    path: url.into(),
                    arch,
                })
            }
            Error::Image(_) => Error::Archive {
                what: url.clone(),
                reason: format!(
                    "it is neither an archive nor an {} kernel image",
                    image::titles()
                ),
            },
            other => other,
        })?;
        Ok((layout, Taking::Move))
    }
}

/// Downloads to `dest` and checks the hash.
fn download(source: &UrlSource, dest: &Path, progress: &Progress) -> Result<(), Error> {
    let name = file_name(&source.url);
    let came = progress.download(name, None, |on_progress| {
        download::to_file(&source.url, dest, on_progress)
    })?;
    if came.sha256 == source.sha256 {
        Ok(())
    } else {
        Err(Error::WrongHash {
            what: source.url.clone(),
            expected: source.sha256.clone(),
            actual: came.sha256,
        })
    }
}

/// The last part of an address, without a query.
fn file_name(url: &str) -> &str {
    let path = url.split(['?', '#']).next().unwrap_or(url);
    path.rsplit('/')
        .find(|part| !part.is_empty())
        .unwrap_or(url)
}
