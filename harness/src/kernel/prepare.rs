//! Prepares a kernel in the cache: an image that QEMU boots, a module directory with metadata, and
//! a file that describes it.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use walkdir::WalkDir;

use super::image::{self, BootProtocol, Bootable};
use super::layout::{Layout, Modules};
use super::{Error, KernelImage, kconfig, modules};
use crate::arch::Arch;

/// The prepared image.
const IMAGE: &str = "image";

/// Describes the directory; part of every prepared kernel.
const MANIFEST: &str = "kernel.toml";

/// The configuration of the kernel.
const CONFIG: &str = "config";

/// In place of [`CONFIG`]: empty if the kernel has none, else why it could not be had.
const NO_CONFIG: &str = "config-none";

/// When to ask again for a configuration that could not be had: a host without a network would
/// otherwise wait for the network's deadline each time.
const ASK_AGAIN: Duration = Duration::from_secs(24 * 60 * 60);

/// The index of modules that are used in place, if it cannot be beside them.
const MODULE_INDEX: &str = "modules.kiln";

/// How the cache gets a module tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taking {
    /// The tree is ours and can be moved.
    Move,
    /// The tree belongs to the user: used in place if it has its metadata, hard-linked if the file
    /// system allows, else copied.
    Borrow,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    #[serde(default, skip_serializing_if = "Arch::is_default")]
    arch: Arch,
    release: String,
    boot_protocol: BootProtocol,
    /// In bytes; a cheap check for a damaged cache.
    image_size: u64,
    /// Absolute for modules used in place.
    modules: Option<PathBuf>,
}

/// Writes the kernel of `layout` to the directory `dest`.
pub(super) fn prepare(layout: &Layout, taking: Taking, dest: &Path) -> Result<(), Error> {
    let image = dest.join(IMAGE);
    let (bootable, source) = unpack_first(layout, &image)?;
    match image::release(source) {
        Ok(release) if release != layout.release => {
            return Err(Error::ReleaseDiffers {
                image: source.to_path_buf(),
                release,
                expected: layout.release.clone(),
            });
        }
        // If an image does not state its release, it cannot be wrong.
        _ => {}
    }
    write_configuration(layout, taking, &image, dest)?;
    let image_size = fs::metadata(&image)
        .map_err(Error::io("read", &image))?
        .len();
    let failed = |source| Error::Modules {
        release: layout.release.clone(),
        source,
    };
    let modules = match &layout.modules {
        Modules::None => None,
        Modules::Installed(dir)
            if taking == Taking::Borrow && dir.join("modules.dep").is_file() =>
        {
            modules::remember(dir, &dest.join(MODULE_INDEX)).map_err(failed)?;
            Some(dir.clone())
        }
        found => {
            let relative = Path::new("modules").join(&layout.release);
            let directory = dest.join(&relative);
            let parent = dest.join("modules");
            fs::create_dir_all(&parent).map_err(Error::io("create", &parent))?;
            match found {
                Modules::Installed(from) if taking == Taking::Move => {
                    fs::rename(from, &directory).map_err(Error::io("create", &directory))?;
                }
                Modules::Installed(from) => link_installed(from, &directory)?,
                Modules::Built { tree, files } => link_built(tree, files, &directory)?,
                Modules::None => {}
            }
            modules::write_metadata(&directory).map_err(failed)?;
            Some(relative)
        }
    };
    let manifest = Manifest {
        arch: bootable.arch,
        release: layout.release.clone(),
        boot_protocol: bootable.boot_protocol,
        image_size,
        modules,
    };
    let path = dest.join(MANIFEST);
    let text = toml::to_string(&manifest).map_err(|error| {
        // A path that is not UTF-8 cannot be stored.
        Error::io("describe the kernel in", &path)(io::Error::other(error))
    })?;
    fs::write(&path, text).map_err(Error::io("write", &path))
}

/// Writes the configuration of the kernel of `layout`, whose image lies ready to boot at `image`, to
/// the directory `dest`, or the file that says that it has none.
pub(super) fn write_configuration(
    layout: &Layout,
    taking: Taking,
    image: &Path,
    dest: &Path,
) -> Result<(), Error> {
    let write = |name: &str, content: &[u8]| {
        let path = dest.join(name);
        fs::write(&path, content).map_err(Error::io("write", &path))
    };
    let Some(found) = kconfig::of(layout, image)? else {
        return write(NO_CONFIG, b"");
    };
    // What was unpacked is soon gone.
    if let (Some(path), Taking::Borrow) = (found.path, taking) {
        write(kconfig::ORIGIN, path.as_os_str().as_bytes())?;
    }
    write(CONFIG, &found.text)
}

/// Whether nobody has looked for the configuration of the prepared kernel in `directory`, as older
/// versions of kiln did not, or the last attempt to get it failed more than a day ago.
pub(super) fn wants_configuration(directory: &Path) -> bool {
    let asked = match fs::metadata(directory.join(NO_CONFIG)) {
        Ok(marker) if marker.len() == 0 => return false,
        Ok(marker) => marker.modified().ok().and_then(|at| at.elapsed().ok()),
        Err(_) => None,
    };
    !directory.join(CONFIG).is_file() && asked.is_none_or(|ago| ago > ASK_AGAIN)
}

/// Keeps in mind why the configuration of the prepared kernel in `directory` could not be had.
pub(super) fn put_off_configuration(directory: &Path, why: &str) {
    // Without it, kiln asks again next time.
    let _ = fs::write(directory.join(NO_CONFIG), why);
}

/// Unpacks the first of a kernel's images that QEMU can enter, and returns which. If QEMU can enter
/// no image, the error is that of the first.
fn unpack_first<'a>(layout: &'a Layout, dest: &Path) -> Result<(Bootable, &'a Path), Error> {
    let mut failed = None;
    for image in std::iter::once(&layout.image).chain(&layout.others) {
        match image::unpack(image, dest) {
            Ok(bootable) => return Ok((bootable, image)),
            Err(
                error @ (image::Error::NoEntry { .. }
                | image::Error::NotAKernel { .. }
                | image::Error::OtherArchitecture { .. }),
            ) => {
                failed.get_or_insert(error);
            }
            Err(error) => return Err(Error::Image(error)),
        }
    }
    Err(match failed {
        Some(error) => Error::Image(error),
        None => Error::NoImage {
            path: layout.image.clone(),
        },
    })
}

/// The prepared kernel in `directory`, called `name`; `None` if it does not exist or is not
/// complete.
pub(super) fn load(directory: &Path, name: &str) -> Option<KernelImage> {
    let text = fs::read_to_string(directory.join(MANIFEST)).ok()?;
    let manifest: Manifest = toml::from_str(&text).ok()?;
    let image = directory.join(IMAGE);
    if fs::metadata(&image).ok()?.len() != manifest.image_size {
        return None;
    }
    // `join` leaves an absolute path as it is.
    let modules = manifest.modules.map(|path| directory.join(path));
    // Modules used in place may have been removed, or garbage-collected.
    if modules.as_ref().is_some_and(|modules| !modules.is_dir()) {
        return None;
    }
    let remembered = directory.join(MODULE_INDEX);
    let config = directory.join(CONFIG);
    Some(KernelImage {
        name: name.to_owned(),
        arch: manifest.arch,
        release: manifest.release,
        image,
        modules,
        module_index: remembered.is_file().then_some(remembered),
        config: config.is_file().then_some(config),
    })
}

fn link_installed(from: &Path, to: &Path) -> Result<(), Error> {
    for entry in WalkDir::new(from).sort_by_file_name() {
        let entry = entry.map_err(|error| {
            let path = error.path().unwrap_or(from).to_path_buf();
            Error::io("read", &path)(error.into())
        })?;
        // Does not follow links: skips `build` and `source`.
        if entry.file_type().is_file()
            && let Ok(relative) = entry.path().strip_prefix(from)
        {
            link(entry.path(), &to.join(relative))?;
        }
    }
    Ok(())
}

fn link_built(tree: &Path, files: &[PathBuf], to: &Path) -> Result<(), Error> {
    for file in files {
        link(&tree.join(file), &to.join("kernel").join(file))?;
    }
    for name in ["modules.builtin", "modules.builtin.modinfo"] {
        let from = tree.join(name);
        if from.is_file() {
            link(&from, &to.join(name))?;
        }
    }
    let order = files
        .iter()
        .map(|file| format!("kernel/{}", file.display()))
        .chain([String::new()])
        .collect::<Vec<_>>()
        .join("\n");
    fs::create_dir_all(to).map_err(Error::io("create", to))?;
    let path = to.join("modules.order");
    fs::write(&path, order).map_err(Error::io("write", &path))
}

/// Links `from` to `to`; copies if that is not allowed, such as across file systems and for files
/// of other users (`fs.protected_hardlinks`).
fn link(from: &Path, to: &Path) -> Result<(), Error> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
    }
    if fs::hard_link(from, to).is_ok() {
        return Ok(());
    }
    fs::copy(from, to)
        .map(drop)
        .map_err(Error::io("copy", from))
}
