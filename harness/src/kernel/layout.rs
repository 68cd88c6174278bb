//! Where a directory keeps its kernel: an unpacked package tree, an installed
//! root, the output of a build, or a build tree.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::{Error, vmlinux};

/// A kernel found in a directory, or an image alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    /// The image as it is.
    pub(super) image: PathBuf,
    /// `uname -r`.
    pub(super) release: String,
    /// Its modules.
    pub(super) modules: Modules,
}

/// Where a kernel's modules are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Modules {
    /// Nowhere.
    None,
    /// In `lib/modules/<release>`.
    Installed(PathBuf),
    /// In a build tree: the modules that `modules.order` lists, relative to the
    /// tree.
    Built {
        /// The build tree.
        tree: PathBuf,
        /// Paths of `.ko` files.
        files: Vec<PathBuf>,
    },
}

/// Finds the kernel at `path`: a directory or an image.
pub(super) fn find(path: &Path) -> Result<Layout, Error> {
    if !path.is_dir() {
        return of_image(path);
    }
    let root = descend(path)?;
    let release_file = root.join("include/config/kernel.release");
    if release_file.is_file() {
        return of_build_tree(&root, &release_file);
    }
    of_tree(&root)
}

/// Finds the kernel in one of `directories`, with its modules from any of them:
/// Nix has them in an output of their own in places.
pub(super) fn find_among(directories: &[PathBuf]) -> Result<Layout, Error> {
    let mut missing = Error::NoImage {
        path: directories.first().cloned().unwrap_or_default(),
    };
    for directory in directories {
        match find(directory) {
            Ok(mut layout) => {
                for other in directories {
                    if layout.modules == Modules::None
                        && let Some(modules) = module_directories(other)?.remove(&layout.release)
                    {
                        layout.modules = Modules::Installed(modules);
                    }
                }
                return Ok(layout);
            }
            // Of several problems the first kernel's is the one to tell.
            Err(error @ Error::NoImage { .. }) => missing = error,
            Err(error) => return Err(error),
        }
    }
    Err(missing)
}

/// An archive often wraps everything in one directory.
fn descend(path: &Path) -> Result<PathBuf, Error> {
    const KNOWN: [&str; 4] = ["boot", "lib", "usr", "arch"];
    let mut path = path.to_path_buf();
    for _ in 0..3 {
        let entries = list(&path)?;
        match entries.as_slice() {
            [only]
                if only.is_dir()
                    && !KNOWN
                        .iter()
                        .any(|name| only.file_name().is_some_and(|n| n == *name)) =>
            {
                path.clone_from(only);
            }
            _ => break,
        }
    }
    Ok(path)
}

/// An image; one that lies in the `boot` directory of a root has that root's
/// modules.
fn of_image(image: &Path) -> Result<Layout, Error> {
    let release = vmlinux::release(image).map_err(Error::Image)?;
    let root = image
        .parent()
        .filter(|dir| dir.file_name().is_some_and(|name| name == "boot"))
        .and_then(Path::parent);
    let modules = match root {
        Some(root) => module_directories(root)?
            .remove(&release)
            .map_or(Modules::None, Modules::Installed),
        None => Modules::None,
    };
    Ok(Layout {
        image: image.to_path_buf(),
        release,
        modules,
    })
}

fn of_build_tree(root: &Path, release_file: &Path) -> Result<Layout, Error> {
    // The bzImage is a fortieth of a vmlinux with debug information.
    let image = ["arch/x86/boot/bzImage", "vmlinux"]
        .iter()
        .map(|name| root.join(name))
        .find(|path| path.is_file())
        .ok_or_else(|| Error::NoImage {
            path: root.to_path_buf(),
        })?;
    let release = fs::read_to_string(release_file)
        .map_err(Error::io("read", release_file))?
        .trim()
        .to_owned();
    let order = root.join("modules.order");
    let modules = match fs::read_to_string(&order) {
        Ok(text) => Modules::Built {
            tree: root.to_path_buf(),
            files: built_modules(&text),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Modules::None,
        Err(error) => return Err(Error::io("read", &order)(error)),
    };
    Ok(Layout {
        image,
        release,
        modules,
    })
}

/// `modules.order` of a build tree lists `kernel/….ko` up to Linux 5.18,
/// `….ko` up to 6.1 and `….o` since 6.2.
fn built_modules(order: &str) -> Vec<PathBuf> {
    let lines = || order.lines().map(str::trim).filter(|line| !line.is_empty());
    // A tree has a directory `kernel` too, but not every module is in it.
    let prefix = if lines().all(|line| line.starts_with("kernel/")) {
        "kernel/"
    } else {
        ""
    };
    lines()
        .filter_map(|line| line.strip_prefix(prefix))
        .map(|line| PathBuf::from(line).with_extension("ko"))
        .filter(|path| {
            path.components()
                .all(|part| matches!(part, std::path::Component::Normal(_)))
        })
        .collect()
}

fn of_tree(root: &Path) -> Result<Layout, Error> {
    let modules = module_directories(root)?;
    let mut images: Vec<(String, PathBuf)> = Vec::new();
    let mut add = |release: String, path: PathBuf| {
        if images.iter().all(|(known, _)| *known != release) {
            images.push((release, path));
        }
    };
    for directory in [root.join("boot"), root.to_path_buf()] {
        if !directory.is_dir() {
            continue;
        }
        for path in list(&directory)? {
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let suffix = ["vmlinuz-", "vmlinux-", "bzImage-"]
                .iter()
                .find_map(|prefix| name.strip_prefix(prefix));
            let plain = matches!(name.as_str(), "vmlinuz" | "bzImage" | "vmlinux");
            if !path.is_file() {
                continue;
            }
            // A link such as `/vmlinuz` repeats an image of `boot`: same release.
            match suffix {
                Some(release) if modules.contains_key(release) => add(release.to_owned(), path),
                None if !plain => {}
                _ => add(vmlinux::release(&path).map_err(Error::Image)?, path),
            }
        }
    }
    for (release, directory) in &modules {
        for name in ["vmlinuz", "bzImage", "vmlinux"] {
            let path = directory.join(name);
            if path.is_file() {
                add(release.clone(), path);
            }
        }
    }
    // A rescue image has no modules of its own.
    if images
        .iter()
        .any(|(release, _)| modules.contains_key(release))
    {
        images.retain(|(release, _)| modules.contains_key(release));
    }
    let mut images = images.into_iter();
    match (images.next(), images.len()) {
        (Some((release, image)), 0) => {
            let modules = modules
                .get(&release)
                .map_or(Modules::None, |dir| Modules::Installed(dir.clone()));
            Ok(Layout {
                image,
                release,
                modules,
            })
        }
        (None, _) => Err(Error::NoImage {
            path: root.to_path_buf(),
        }),
        (Some(first), _) => Err(Error::ManyImages {
            path: root.to_path_buf(),
            images: std::iter::once(first)
                .chain(images)
                .map(|(_, path)| path.display().to_string())
                .collect(),
        }),
    }
}

/// `[usr/]lib/modules/*` of `root`, by release.
fn module_directories(root: &Path) -> Result<BTreeMap<String, PathBuf>, Error> {
    let mut found = BTreeMap::new();
    for parent in ["usr/lib/modules", "lib/modules"] {
        let parent = root.join(parent);
        if !parent.is_dir() {
            continue;
        }
        for path in list(&parent)? {
            // Headers alone leave a directory with nothing but `build`.
            let real = path.join("kernel").is_dir() || path.join("vmlinuz").is_file();
            if let (true, Some(release)) = (real, path.file_name().and_then(|n| n.to_str())) {
                found.entry(release.to_owned()).or_insert(path);
            }
        }
    }
    Ok(found)
}

/// The entries of a directory, sorted.
fn list(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = || Error::io("read", directory);
    let mut entries = fs::read_dir(directory)
        .map_err(failed())?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(failed())?;
    entries.sort();
    Ok(entries)
}

#[cfg(test)]
#[path = "layout_tests.rs"]
mod tests;
