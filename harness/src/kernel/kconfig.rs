//! The configuration that a kernel was built with: a file beside it, or in the
//! image itself.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::layout::{Layout, Modules};
use super::{Error, image};

/// No configuration is longer: distributions' have some 300 KiB.
const MAX_BYTES: u64 = 4 << 20;

/// What stands before and behind the configuration in an image, which is gzipped
/// there (Linux: `kernel/configs.c`).
const BEGIN: &[u8] = b"IKCFG_ST";
const END: &[u8] = b"IKCFG_ED";

/// The configuration of a kernel.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) text: Vec<u8>,
    /// The file; `None` if it is built into the image.
    pub(super) path: Option<PathBuf>,
}

/// Finds the configuration of the kernel of `layout`, the image of which lies
/// ready to boot at `prepared`; `None` if it has none.
pub(super) fn of(layout: &Layout, prepared: &Path) -> Result<Option<Found>, Error> {
    let mut doubtful = None;
    for path in candidates(layout) {
        if let Some(text) = read(&path).map_err(Error::io("read", &path))? {
            let found = Found {
                text,
                path: Some(path),
            };
            if !is_edited(layout, &found) {
                return Ok(Some(found));
            }
            doubtful.get_or_insert(found);
        }
    }
    // An image that unpacks to nothing that is known may still boot.
    let vmlinux = image::vmlinux(prepared).ok().flatten();
    let text = vmlinux.as_deref().and_then(built_in);
    Ok(text.map(|text| Found { text, path: None }).or(doubtful))
}

/// The first file with the configuration of the kernel of `layout`, whether or not it is of use.
pub(super) fn file(layout: &Layout) -> Option<PathBuf> {
    let mut candidates = candidates(layout).into_iter();
    candidates.find(|path| path.is_file())
}

/// Whether a build tree was configured anew after its image was built: the configuration that was
/// used then is in `include/config/auto.conf`, unless a later build has been started.
fn is_edited(layout: &Layout, found: &Found) -> bool {
    let changed = |path: &Path| path.metadata().and_then(|meta| meta.modified()).ok();
    let in_tree = |path: &&PathBuf| path.ends_with(".config") || path.ends_with(BUILT_WITH);
    match found.path.as_ref().filter(in_tree) {
        Some(path) => changed(path) > changed(&layout.image),
        None => false,
    }
}

/// What a build was configured with, in its tree.
const BUILT_WITH: &str = "include/config/auto.conf";

/// Names the file that a configuration was copied from, beside the copy.
pub(super) const ORIGIN: &str = "config-origin";

/// Where distributions and builds leave it.
fn candidates(layout: &Layout) -> Vec<PathBuf> {
    let named = format!("config-{}", layout.release);
    let mut candidates = Vec::new();
    match &layout.modules {
        Modules::Built { tree, .. } => candidates.extend(of_tree(tree)),
        Modules::Installed(modules) => {
            candidates.push(modules.join("config"));
            // `[usr/]lib/modules/RELEASE` of a root.
            let roots = modules.ancestors().skip(3).take(2);
            candidates.extend(roots.map(|root| root.join("boot").join(&named)));
        }
        Modules::None => {}
    }
    for (level, above) in layout.image.ancestors().skip(1).take(4).enumerate() {
        if level == 0 {
            candidates.extend([&named, "config"].map(|name| above.join(name)));
        }
        // A build tree, also one whose modules were not built.
        if above.join("include/config/kernel.release").is_file() {
            candidates.extend(of_tree(above));
        }
    }
    candidates
}

/// The files of a build tree.
fn of_tree(tree: &Path) -> [PathBuf; 2] {
    [tree.join(".config"), tree.join(BUILT_WITH)]
}

/// What is in the file at `path`, if it is a configuration that may be read.
fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut text = Vec::new();
    let file = match File::open(path) {
        Ok(file) if file.metadata()?.is_file() => file,
        _ => return Ok(None),
    };
    file.take(MAX_BYTES + 1).read_to_end(&mut text)?;
    Ok(is_configuration(&text).then_some(text))
}

fn is_configuration(text: &[u8]) -> bool {
    text.len() as u64 <= MAX_BYTES && memchr::memmem::find(text, b"CONFIG_").is_some()
}

/// The configuration that is built into an uncompressed image.
fn built_in(image: &[u8]) -> Option<Vec<u8>> {
    memchr::memmem::find_iter(image, BEGIN).find_map(|at| {
        let packed = image.get(at + BEGIN.len()..)?;
        let packed = packed.get(..memchr::memmem::find(packed, END)?)?;
        let mut text = Vec::new();
        flate2::read::GzDecoder::new(packed)
            .take(MAX_BYTES + 1)
            .read_to_end(&mut text)
            .ok()?;
        is_configuration(&text).then_some(text)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;
    use std::io::Write;

    use super::*;

    const TEXT: &[u8] = b"CONFIG_HZ=250\n";

    fn write(dir: &Path, path: &str) {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, TEXT).unwrap();
    }

    fn layout(image: PathBuf, modules: Modules) -> Layout {
        Layout {
            image,
            others: Vec::new(),
            release: "6.1".to_owned(),
            modules,
        }
    }

    #[test]
    fn a_configuration_is_found_where_distributions_have_it() {
        for (image, modules, config) in [
            ("boot/vmlinuz-6.1", "lib/modules/6.1", "boot/config-6.1"),
            ("boot/vmlinuz-6.1", "usr/lib/modules/6.1", "boot/config-6.1"),
            (
                "lib/modules/6.1/vmlinuz",
                "lib/modules/6.1",
                "lib/modules/6.1/config",
            ),
            (
                "usr/lib/modules/6.1/vmlinuz",
                "usr/lib/modules/6.1",
                "boot/config-6.1",
            ),
            ("vmlinuz", "", "config-6.1"),
            ("bzImage", "", "config"),
        ] {
            let dir = tempfile::tempdir().unwrap();
            for path in [image, config] {
                write(dir.path(), path);
            }
            let modules = if modules.is_empty() {
                Modules::None
            } else {
                Modules::Installed(dir.path().join(modules))
            };
            let image = dir.path().join(image);
            let found = of(&layout(image.clone(), modules), &image)
                .unwrap()
                .unwrap();
            assert_eq!(found.text, TEXT, "{config}");
            assert_eq!(found.path, Some(dir.path().join(config)));
        }
    }

    #[test]
    fn a_build_tree_has_it_at_its_top() {
        let dir = tempfile::tempdir().unwrap();
        for path in [
            "arch/x86/boot/bzImage",
            "include/config/kernel.release",
            ".config",
        ] {
            write(dir.path(), path);
        }
        let image = dir.path().join("arch/x86/boot/bzImage");
        let layout = layout(image.clone(), Modules::None);
        let found = |image: &Path| of(&layout, image).unwrap().unwrap();
        assert_eq!(found(&image).text, TEXT);
        assert_eq!(found(&image).path, Some(dir.path().join(".config")));
        // Edited after the build, which noted what it was built with.
        let edited = fs::File::options()
            .append(true)
            .open(dir.path().join(".config"))
            .unwrap();
        let later = fs::metadata(&image).unwrap().modified().unwrap();
        edited
            .set_modified(later + std::time::Duration::from_secs(9))
            .unwrap();
        assert_eq!(found(&image).path, Some(dir.path().join(".config")));
        let noted = dir.path().join(BUILT_WITH);
        fs::write(&noted, TEXT).unwrap();
        let file = fs::File::options().append(true).open(&noted).unwrap();
        file.set_modified(later).unwrap();
        assert_eq!(found(&image).path, Some(noted));
    }

    #[test]
    fn it_is_read_out_of_an_image_that_has_it_built_in() {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(TEXT).unwrap();
        // `kernel/configs.c` itself names the marks once more.
        let image = [
            b"IKCFG_ST code",
            BEGIN,
            &packed.finish().unwrap(),
            END,
            b"rest",
        ]
        .concat();
        assert_eq!(built_in(&image).as_deref(), Some(TEXT));
        assert_eq!(built_in(b"IKCFG_STnothingIKCFG_ED"), None);
    }
}
