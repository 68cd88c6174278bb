//! Finds the kernel in a directory: an unpacked package tree, an installed root, the output of a
//! build, or a build tree.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::image::names::{IMAGES, UKI, bootable_siblings, built, rank};
use super::{Error, image};
use crate::arch::Arch;

/// A kernel in a directory, or an image alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    /// The original image.
    pub(super) image: PathBuf,
    /// Other images of the same kernel, for where QEMU cannot enter the first:
    /// an ELF kernel needs a PVH entry point.
    pub(super) others: Vec<PathBuf>,
    /// `uname -r`.
    pub(super) release: String,
    /// Its modules.
    pub(super) modules: Modules,
}

/// The file that marks a build tree and contains its release.
const KERNEL_RELEASE: &str = "include/config/kernel.release";

/// How many levels above an image its root or build tree may be: `arch/ARCH/boot/IMAGE`,
/// `boot/efi/MACHINE/RELEASE/linux`.
const LEVELS: usize = 4;

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
    let release_file = root.join(KERNEL_RELEASE);
    if release_file.is_file() {
        return of_build_tree(&root, &release_file);
    }
    of_tree(&root)
}

/// Finds the kernel in one of `directories`, with its modules from any of them: Nix sometimes puts
/// them into a separate output.
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
            // Of several problems, report that of the first kernel.
            Err(error @ Error::NoImage { .. }) => missing = error,
            Err(error) => return Err(error),
        }
    }
    Err(missing)
}

/// An archive often has everything in one directory.
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

/// An image alone. One in a build tree gets the tree's modules; one beside `lib/modules`, below a
/// root's `boot` or among its modules gets those.
fn of_image(image: &Path) -> Result<Layout, Error> {
    let above: Vec<&Path> = image.ancestors().skip(1).take(LEVELS).collect();
    for root in &above {
        let release_file = root.join(KERNEL_RELEASE);
        if release_file.is_file() {
            let mut layout = of_build_tree(root, &release_file)?;
            layout.others.retain(|other| other != image);
            if layout.image != image {
                let other = std::mem::replace(&mut layout.image, image.to_path_buf());
                layout.others.insert(0, other);
            }
            return Ok(layout);
        }
    }
    let release = image::release(image).map_err(Error::Image)?;
    let mut layout = Layout {
        image: image.to_path_buf(),
        others: siblings(image, &release),
        release,
        modules: Modules::None,
    };
    if let Some(directory) = above.first()
        && is_modules(directory)
        && directory
            .file_name()
            .is_some_and(|name| *name == *layout.release)
    {
        layout.modules = Modules::Installed(directory.to_path_buf());
        return Ok(layout);
    }
    let below_boot = above
        .iter()
        .filter(|dir| dir.file_name().is_some_and(|name| name == "boot"))
        .filter_map(|dir| dir.parent());
    for root in above.first().copied().into_iter().chain(below_boot) {
        if let Some(modules) = module_directories(root)?.remove(&layout.release) {
            layout.modules = Modules::Installed(modules);
            break;
        }
    }
    Ok(layout)
}

/// The other images of the same kernel beside one called vmlinux.
fn siblings(image: &Path, release: &str) -> Vec<PathBuf> {
    bootable_siblings(image)
        .into_iter()
        .filter(|path| path.is_file())
        .filter(|path| image::release(path).is_ok_and(|other| other == release))
        .collect()
}

fn of_build_tree(root: &Path, release_file: &Path) -> Result<Layout, Error> {
    let mut images: Vec<PathBuf> = Arch::ALL
        .iter()
        .map(|arch| built(*arch).map(|name| root.join(name)))
        .find(|images| images.iter().any(|path| path.is_file()))
        .map_or_else(Vec::new, Vec::from);
    images.retain(|path| path.is_file());
    // The build makes the image of the vmlinux: an older one is of an older
    // build.
    let built = |path: &PathBuf| fs::metadata(path).and_then(|meta| meta.modified()).ok();
    if let [image, vmlinux] = images.as_slice()
        && built(image) < built(vmlinux)
    {
        images.reverse();
    }
    if images.is_empty() {
        return Err(Error::NoImage {
            path: root.to_path_buf(),
        });
    }
    let image = images.remove(0);
    let release = fs::read_to_string(release_file)
        .map_err(Error::io("read", release_file))?
        .trim()
        .to_owned();
    let order = root.join("modules.order");
    let modules = match fs::read_to_string(&order) {
        // From an earlier build.
        Ok(_) if has_no_modules(root) => Modules::None,
        Ok(text) => Modules::Built {
            tree: root.to_path_buf(),
            files: all_built(root, built_modules(&text))?,
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Modules::None,
        Err(error) => return Err(Error::io("read", &order)(error)),
    };
    Ok(Layout {
        image,
        others: images,
        release,
        modules,
    })
}

/// Whether a build tree is configured to build no modules (`CONFIG_MODULES=n`).
fn has_no_modules(tree: &Path) -> bool {
    fs::read_to_string(tree.join(".config")).is_ok_and(|text| {
        text.lines()
            .any(|line| line.trim_end() == "# CONFIG_MODULES is not set")
    })
}

/// The modules of a build tree, if all of them exist: building only an image already lists them.
fn all_built(tree: &Path, files: Vec<PathBuf>) -> Result<Vec<PathBuf>, Error> {
    let mut missing = files.iter().filter(|file| !tree.join(file).exists());
    match missing.next() {
        None => Ok(files),
        Some(first) => Err(Error::NotBuilt {
            tree: tree.to_path_buf(),
            first: first.clone(),
            missing: 1 + missing.count(),
            all: files.len(),
        }),
    }
}

/// `modules.order` of a build tree lists `kernel/….ko` up to Linux 5.18,
/// `….ko` up to 6.1 and `….o` since 6.2.
fn built_modules(order: &str) -> Vec<PathBuf> {
    let lines = || order.lines().map(str::trim).filter(|line| !line.is_empty());
    // A tree also has a directory `kernel`, but it does not contain all modules.
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
    let mut modules = module_directories(root)?;
    let mut found = Images::default();
    for directory in [root.join("boot"), root.to_path_buf()] {
        if directory.is_dir() {
            found.search(&directory, &modules)?;
        }
    }
    for (release, directory) in &modules {
        for name in IMAGES.into_iter().chain([UKI]) {
            let path = directory.join(name);
            if path.is_file() {
                found.add(release.clone(), path);
            }
        }
    }
    let mut kernels = found.kernels;
    // A rescue image has no separate modules.
    if kernels
        .iter()
        .any(|(release, _)| modules.contains_key(release))
    {
        kernels.retain(|(release, _)| modules.contains_key(release));
    }
    let mut kernels = kernels.into_iter();
    match (kernels.next(), kernels.len()) {
        (Some((release, mut images)), 0) => {
            // Stable: within a kind, the first one found stays first.
            images.sort_by_key(|path| rank(path));
            let image = images.remove(0);
            Ok(Layout {
                image,
                others: images,
                modules: modules
                    .remove(&release)
                    .map_or(Modules::None, Modules::Installed),
                release,
            })
        }
        (None, _) => Err(match found.refused {
            Some(error) => Error::Image(error),
            None => Error::NoImage {
                path: root.to_path_buf(),
            },
        }),
        (Some(first), _) => Err(Error::ManyImages {
            path: root.to_path_buf(),
            images: std::iter::once(first)
                .chain(kernels)
                .filter_map(|(_, images)| images.into_iter().min_by_key(|path| rank(path)))
                .map(|path| path.display().to_string())
                .collect(),
        }),
    }
}

/// The images of a directory tree.
#[derive(Default)]
struct Images {
    /// Releases with their images, in the order in which they were found.
    kernels: Vec<(String, Vec<PathBuf>)>,
    /// The problem of the first file that only has the name of an image.
    refused: Option<image::Error>,
}

impl Images {
    /// Adds the files of a directory that are named like images.
    fn search(
        &mut self,
        directory: &Path,
        modules: &BTreeMap<String, PathBuf>,
    ) -> Result<(), Error> {
        for path in list(directory)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let Some(kind) = IMAGES.iter().find(|kind| name.starts_with(**kind)) else {
                continue;
            };
            let release = match &name[kind.len()..] {
                "" => None,
                rest => match rest.strip_prefix('-') {
                    Some(release) => Some(release.to_owned()),
                    None => continue,
                },
            };
            if !path.is_file() {
                continue;
            }
            match release {
                Some(release) if modules.contains_key(&release) => self.add(release, path),
                // Signatures, debug information and others beside an image also start with its
                // name.
                _ => match image::release(&path) {
                    Ok(release) => self.add(release, path),
                    Err(error) => {
                        self.refused.get_or_insert(error);
                    }
                },
            }
        }
        Ok(())
    }

    /// A link such as `/vmlinuz` repeats an image of `boot`: same release.
    fn add(&mut self, release: String, path: PathBuf) {
        match self.kernels.iter_mut().find(|(known, _)| *known == release) {
            Some((_, images)) => images.push(path),
            None => self.kernels.push((release, vec![path])),
        }
    }
}

/// `[usr/]lib/modules/*` of `root`, by release, and what NixOS systems have beside their `kernel`.
fn module_directories(root: &Path) -> Result<BTreeMap<String, PathBuf>, Error> {
    let mut found = BTreeMap::new();
    for parent in [
        "usr/lib/modules",
        "lib/modules",
        "kernel-modules/lib/modules",
    ] {
        let parent = root.join(parent);
        if !parent.is_dir() {
            continue;
        }
        for path in list(&parent)? {
            if let (true, Some(release)) =
                (is_modules(&path), path.file_name().and_then(|n| n.to_str()))
            {
                found.entry(release.to_owned()).or_insert(path);
            }
        }
    }
    Ok(found)
}

/// Headers alone leave a directory with only `build`; out-of-tree modules go to
/// `extra` or `updates` (Linux: `Documentation/kbuild/modules.rst`).
fn is_modules(directory: &Path) -> bool {
    ["kernel", "extra", "updates"]
        .iter()
        .any(|name| directory.join(name).is_dir())
        || directory.join("vmlinuz").is_file()
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
