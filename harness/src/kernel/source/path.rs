//! A kernel on this machine: nothing is copied but what a guest cannot use in
//! place.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::super::cache::Key;
use super::super::layout::{Layout, Modules};
use super::super::prepare::{self, Taking};
use super::super::{Cache, Error, KernelImage, Progress, layout};

/// Provides the kernel at `path`, an absolute path of a directory or an image,
/// under the name `name`. It is prepared again when a file of it changed.
pub(crate) fn provide(
    name: &str,
    path: &Path,
    cache: &Cache,
    progress: &Progress,
) -> Result<KernelImage, Error> {
    let path = fs::canonicalize(path).map_err(Error::io("find", path))?;
    let layout = layout::find(&path)?;
    let key = fingerprint(&layout)?;
    if let Some(kernel) = prepare::load(&cache.kernel_dir(&key), name) {
        return Ok(kernel);
    }
    cache.discard_damaged(&key, |dir| prepare::load(dir, name).is_some())?;
    if let Some(filling) = cache.fill(&key, || progress.waiting(name))? {
        prepare::prepare(&layout, Taking::Borrow, &filling.kernel())?;
        filling.publish()?;
    }
    prepare::load(&cache.kernel_dir(&key), name).ok_or(Error::NoImage { path })
}

/// Changes whenever the image or a module does.
fn fingerprint(layout: &Layout) -> Result<Key, Error> {
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
    match &layout.modules {
        Modules::None => {}
        Modules::Installed(dir) if dir.join("modules.dep").is_file() => {
            // depmod renews it with every change.
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
