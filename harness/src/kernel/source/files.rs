//! A kernel that files make together: packages of any distribution, archives and
//! images, from web servers or of this machine.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::super::archive::{self, Came, Kind};
use super::super::cache::Key;
use super::super::layout::{Layout, Modules};
use super::super::prepare::Taking;
use super::super::{Error, Progress, digest, download, image, layout};
use super::content::{Content, Request};
use crate::config::{FilePlace, FileSource, UrlSource};

/// Names of packages end so.
const PACKAGES: [&str; 5] = [".deb", ".rpm", ".pkg.tar.zst", ".pkg.tar.xz", ".pkg.tar.gz"];

/// The files of a kernel.
pub(super) struct Files {
    /// What keys begin with.
    kind: &'static str,
    files: Vec<FileSource>,
}

impl Files {
    /// What `files` in a `kernels.toml` names.
    pub(super) fn of(files: &[FileSource]) -> Self {
        Files {
            kind: "files",
            files: files.to_vec(),
        }
    }

    /// One file on a web server.
    pub(super) fn of_url(source: &UrlSource) -> Self {
        let file = FileSource {
            place: FilePlace::Url(source.url.clone()),
            sha256: Some(source.sha256.clone()),
        };
        Files {
            kind: "url",
            files: vec![file],
        }
    }

    /// The files at `paths`.
    pub(super) fn at(paths: &[PathBuf]) -> Self {
        let file = |path: &PathBuf| FileSource {
            place: FilePlace::Path(path.clone()),
            sha256: None,
        };
        Files {
            kind: "files",
            files: paths.iter().map(file).collect(),
        }
    }

    fn names(&self) -> Vec<String> {
        self.files.iter().map(|file| name(&file.place)).collect()
    }
}

/// The packages at `path`: itself if it is one, or those of a directory that has
/// no kernel.
pub(super) fn packages(path: &Path) -> Option<Files> {
    let path = fs::canonicalize(path).ok()?;
    if path.is_file() {
        let kind = Kind::of(&path).ok().flatten();
        return kind.map(|_| Files::at(&[path]));
    }
    let mut packages: Vec<PathBuf> = fs::read_dir(&path)
        .ok()?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            PACKAGES.iter().any(|end| name.ends_with(end)) && path.is_file()
        })
        .collect();
    packages.sort();
    if packages.is_empty() || !matches!(layout::find(&path), Err(Error::NoImage { .. })) {
        return None;
    }
    Some(Files::at(&packages))
}

impl Content for Files {
    /// The content, wherever it comes from; of a file of this machine without a
    /// hash, what changes with its content.
    fn key(&self) -> Result<Key, Error> {
        let mut parts = Vec::new();
        for file in &self.files {
            match (&file.sha256, &file.place) {
                (Some(sha256), _) => parts.push(sha256.clone().into_bytes()),
                (None, FilePlace::Url(url)) => parts.push(url.clone().into_bytes()),
                (None, FilePlace::Path(path)) => {
                    let meta = fs::metadata(path).map_err(Error::io("read", path))?;
                    let changes = [meta.mtime(), meta.mtime_nsec()];
                    parts.push(path.as_os_str().as_bytes().to_vec());
                    parts.push(format!("{} {} {changes:?}", meta.ino(), meta.size()).into_bytes());
                }
            }
        }
        Ok(Key::new(self.kind, parts.iter().map(Vec::as_slice)))
    }

    fn get(&self, request: &Request<'_>, work: &Path) -> Result<(Layout, Taking), Error> {
        let tree = work.join("tree");
        fs::create_dir(&tree).map_err(Error::io("create", &tree))?;
        let mut came = Vec::new();
        for file in &self.files {
            came.push(unpack(file, &tree, work, request.progress)?);
        }
        Ok((self.find(&tree, &came)?, Taking::Move))
    }
}

impl Files {
    /// The kernel in `tree`, to which each of the files brought what `came` says.
    fn find(&self, tree: &Path, came: &[Came]) -> Result<Layout, Error> {
        // Do not show the temporary directory to the user.
        let brought = |image: &str| {
            let image = Path::new(image);
            let path = image.strip_prefix(tree).unwrap_or(image);
            let file = came
                .iter()
                .position(|came| came.images.iter().any(|image| image == path))
                .and_then(|index| self.files.get(index));
            let path = path.display();
            file.map_or_else(
                || path.to_string(),
                |file| format!("{path} of {}", name(&file.place)),
            )
        };
        let modules = || -> Vec<String> {
            let releases = came.iter().flat_map(|came| &came.modules);
            let mut releases: Vec<_> = releases.map(|r| r.to_string_lossy().into_owned()).collect();
            releases.sort();
            releases.dedup();
            releases
        };
        let layout = layout::find(tree).map_err(|error| match error {
            Error::NoImage { .. } => Error::FilesWithoutImage {
                files: self.names(),
                modules: modules(),
            },
            Error::ManyImages { images, .. } => Error::ManyImages {
                path: self.names().join(", ").into(),
                images: images.iter().map(|image| brought(image)).collect(),
            },
            Error::Image(error) => {
                let image = brought(&error.path().to_string_lossy());
                Error::Image(error.of(image))
            }
            other => other,
        })?;
        let order = tree_file(&layout, "modules.order");
        match &layout.modules {
            // Modules of its own, or a kernel that has none.
            Modules::Installed(_) if modules().contains(&layout.release) => Ok(layout),
            Modules::None if modules().is_empty() => Ok(layout),
            Modules::None | Modules::Installed(_) if !modules().is_empty() => {
                Err(Error::FilesDiffer {
                    image: brought(&layout.image.to_string_lossy()),
                    release: layout.release,
                    modules: modules(),
                })
            }
            _ if order.is_some_and(|order| !order.trim().is_empty()) => {
                Err(Error::FilesWithoutModules {
                    files: self.names(),
                    release: layout.release,
                })
            }
            _ => Ok(layout),
        }
    }
}

/// The text of a file beside a kernel's modules.
fn tree_file(layout: &Layout, name: &str) -> Option<String> {
    let Modules::Installed(dir) = &layout.modules else {
        return None;
    };
    fs::read_to_string(dir.join(name)).ok()
}

/// Fetches a file and unpacks it below `tree`.
fn unpack(file: &FileSource, tree: &Path, work: &Path, progress: &Progress) -> Result<Came, Error> {
    let what = file.place.to_string();
    let (path, ours) = match &file.place {
        FilePlace::Url(url) => {
            let path = work.join("download");
            let came = progress.download(&name(&file.place), None, |heard| {
                download::to_file(url, &path, heard)
            })?;
            expect(file, &came.sha256)?;
            (path, true)
        }
        FilePlace::Path(path) => {
            if file.sha256.is_some() {
                expect(file, &digest::of_file(path)?)?;
            }
            (path.clone(), false)
        }
    };
    let came = match archive::unpack(&path, &what, tree)? {
        Some(came) => came,
        None => put_image(&path, &what, tree)?,
    };
    if ours {
        fs::remove_file(&path).map_err(Error::io("remove", &path))?;
    }
    Ok(came)
}

/// Puts a file that is an image by itself where images are.
fn put_image(path: &Path, what: &str, tree: &Path) -> Result<Came, Error> {
    let release = image::release(path).map_err(|error| match error {
        error @ image::Error::OtherArchitecture { .. } => Error::Image(error.of(what)),
        _ => Error::Archive {
            what: what.to_owned(),
            reason: format!(
                "it is neither an archive nor an {} kernel image",
                image::titles()
            ),
        },
    })?;
    let boot = tree.join("boot");
    fs::create_dir_all(&boot).map_err(Error::io("create", &boot))?;
    let image = PathBuf::from("boot").join(format!("vmlinuz-{release}"));
    let dest = tree.join(&image);
    fs::copy(path, &dest).map_err(Error::io("create", &dest))?;
    Ok(Came {
        images: vec![image],
        ..Came::default()
    })
}

fn expect(file: &FileSource, actual: &str) -> Result<(), Error> {
    match &file.sha256 {
        Some(expected) if expected != actual => Err(Error::WrongHash {
            what: file.place.to_string(),
            expected: expected.clone(),
            actual: actual.to_owned(),
        }),
        _ => Ok(()),
    }
}

/// The last part of a place, without the query of an address.
fn name(place: &FilePlace) -> String {
    match place {
        FilePlace::Url(url) => {
            let path = url.split(['?', '#']).next().unwrap_or(url);
            let last = path.rsplit('/').find(|part| !part.is_empty());
            last.unwrap_or(url).to_owned()
        }
        FilePlace::Path(path) => path
            .file_name()
            .unwrap_or(path.as_os_str())
            .to_string_lossy()
            .into_owned(),
    }
}
