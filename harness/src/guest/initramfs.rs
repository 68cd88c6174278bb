//! The initramfs: init, the boot modules in load order, and the boot plan.
//!
//! A newc archive (`Documentation/driver-api/early-userspace/buffer-format.rst`
//! of Linux 6.12), not compressed: the guest is slower at unpacking than at
//! reading memory. Equal inputs give equal bytes.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use cpio::newc::{Builder, ModeFileType, trailer};
use guest_init::plan::{BootPlan, PLAN_PATH};

use crate::hint::Hint;
use crate::kernel::modules::{self, ModuleFile};
use crate::whole_file;

/// The archive is padded to a multiple of this many bytes, a page: where QEMU puts
/// it at the end of the guest's memory, the last page stays free for the tables of
/// the firmware. `vm::arch` has the whole story.
///
/// A multiple also leaves the initrd outside what SeaBIOS reserves: Linux would otherwise copy it
/// to another place. It skips zeros after the archive (`unpack_to_rootfs`, init/initramfs.c).
const PAGE: u64 = 4096;

/// Directories, each before its contents: the kernel creates none by itself.
const DIRECTORIES: [&str; 6] = ["dev", "proc", "sys", "run", "newroot", "modules"];

/// Device nodes: path, major, minor (`Documentation/admin-guide/devices.txt`).
/// The kernel opens `/dev/console` for init before init can mount anything.
const NODES: [(&str, u32, u32, u32); 3] = [
    ("dev/console", 0o600, 5, 1),
    ("dev/null", 0o666, 1, 3),
    ("dev/kmsg", 0o644, 1, 11),
];

/// Why kiln cannot build an initramfs.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A boot module cannot be read.
    #[error("cannot put a module into the initramfs")]
    Module(#[from] modules::Error),
    /// The boot plan cannot be encoded.
    #[error("cannot encode the boot plan")]
    Plan(#[source] postcard::Error),
    /// A file is larger than the archive format can hold.
    #[error("{name} is too large for the initramfs: {size} bytes, but the limit is 4 GiB")]
    TooLarge {
        /// Its path in the archive.
        name: String,
        /// Its size in bytes.
        size: usize,
    },
    /// The archive cannot be written.
    #[error("cannot write the initramfs {}", path.display())]
    Write {
        /// The archive.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl Hint for Error {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Module(error) => error.hints(),
            Self::Plan(_) | Self::TooLarge { .. } | Self::Write { .. } => Vec::new(),
        }
    }
}

/// One entry of the archive.
struct Entry<'a> {
    /// Path without the leading `/`.
    name: String,
    kind: ModeFileType,
    permissions: u32,
    device: (u32, u32),
    data: &'a [u8],
}

/// Writes the initramfs to `dest`, atomically: `init` as `/init`, `modules` unpacked and numbered
/// in the given order, and `plan` with their paths instead of its own.
pub fn build(
    dest: &Path,
    init: &[u8],
    plan: &BootPlan,
    modules: &[ModuleFile],
) -> Result<(), Error> {
    let names = archive_names(modules);
    let plan = BootPlan {
        modules: names.iter().map(|name| format!("/{name}")).collect(),
        ..plan.clone()
    };
    let plan = postcard::to_allocvec(&plan).map_err(Error::Plan)?;
    let plain: Vec<Vec<u8>> = modules
        .iter()
        .map(|module| modules::decompress(&module.path))
        .collect::<Result<_, _>>()?;

    let mut entries: Vec<Entry<'_>> = DIRECTORIES.iter().map(|name| directory(name)).collect();
    entries.extend(NODES.map(|(name, permissions, major, minor)| Entry {
        name: name.to_owned(),
        kind: ModeFileType::Char,
        permissions,
        device: (major, minor),
        data: &[],
    }));
    entries.push(regular("init", 0o755, init));
    entries.push(regular(PLAN_PATH.trim_start_matches('/'), 0o644, &plan));
    for (name, data) in names.iter().zip(&plain) {
        entries.push(regular(name, 0o644, data));
    }
    for entry in &entries {
        if u32::try_from(entry.data.len()).is_err() {
            return Err(Error::TooLarge {
                name: entry.name.clone(),
                size: entry.data.len(),
            });
        }
    }
    write(dest, entries).map_err(|source| Error::Write {
        path: dest.into(),
        source,
    })
}

/// The modules' directory in the archive, without the leading `/`; numbers show the load order.
fn archive_names(modules: &[ModuleFile]) -> Vec<String> {
    modules
        .iter()
        .zip(0..)
        .map(|(module, number): (_, usize)| format!("modules/{number:02}-{}.ko", module.name))
        .collect()
}

fn directory(name: &str) -> Entry<'static> {
    Entry {
        name: name.to_owned(),
        kind: ModeFileType::Directory,
        permissions: 0o755,
        device: (0, 0),
        data: &[],
    }
}

fn regular<'a>(name: &str, permissions: u32, data: &'a [u8]) -> Entry<'a> {
    Entry {
        name: name.to_owned(),
        kind: ModeFileType::Regular,
        permissions,
        device: (0, 0),
        data,
    }
}

fn write(dest: &Path, entries: Vec<Entry<'_>>) -> io::Result<()> {
    whole_file::write_with(dest, |file| archive(file, entries))
}

fn archive(file: &mut File, entries: Vec<Entry<'_>>) -> io::Result<()> {
    let mut out = BufWriter::new(&mut *file);
    for (entry, inode) in entries.into_iter().zip(1..) {
        let size = u32::try_from(entry.data.len()).map_err(io::Error::other)?;
        // Owned by root, with time 0 and consecutive inode numbers, so that equal inputs always
        // give equal archives.
        let mut writer = Builder::new(&entry.name)
            .ino(inode)
            .mode(entry.permissions)
            .set_mode_file_type(entry.kind)
            .rdev_major(entry.device.0)
            .rdev_minor(entry.device.1)
            .write(&mut out, size);
        writer.write_all(entry.data)?;
        writer.finish()?;
    }
    trailer(&mut out)?.flush()?;
    drop(out);
    let length = file.metadata()?.len();
    file.set_len(length.next_multiple_of(PAGE))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;
    use std::io::{Cursor, Read};

    use cpio::newc::Reader;
    use proptest::prelude::*;

    use super::*;

    struct Read1 {
        name: String,
        mode: u32,
        rdev: (u32, u32),
        mtime: u32,
        data: Vec<u8>,
    }

    fn read(archive: &[u8]) -> Vec<Read1> {
        let mut input = Cursor::new(archive);
        let mut entries = Vec::new();
        loop {
            let mut reader = Reader::new(input).unwrap();
            let entry = reader.entry().clone();
            if entry.is_trailer() {
                return entries;
            }
            let mut data = Vec::new();
            reader.read_to_end(&mut data).unwrap();
            input = reader.finish().unwrap();
            entries.push(Read1 {
                name: entry.name().to_owned(),
                mode: entry.mode(),
                rdev: (entry.rdev_major(), entry.rdev_minor()),
                mtime: entry.mtime(),
                data,
            });
        }
    }

    fn plan() -> BootPlan {
        BootPlan {
            hostname: "kiln".to_owned(),
            modules: vec!["of no use".to_owned()],
            root_tag: Some("root".to_owned()),
            ..BootPlan::default()
        }
    }

    /// Two modules, one of them compressed.
    fn modules(dir: &Path) -> Vec<ModuleFile> {
        let file = |name: &str, data: &[u8]| {
            let path = dir.join(name);
            fs::write(&path, data).unwrap();
            path
        };
        let packed = zstd::encode_all(&b"second module"[..], 1).unwrap();
        vec![
            ModuleFile {
                name: "virtio_ring".to_owned(),
                path: file("virtio_ring.ko", b"first module"),
            },
            ModuleFile {
                name: "virtio".to_owned(),
                path: file("virtio.ko.zst", &packed),
            },
        ]
    }

    #[test]
    fn the_archive_holds_init_modules_in_load_order_and_the_plan_for_them() {
        let dir = tempfile::tempdir().unwrap();
        let dest = dir.path().join("initramfs");
        build(&dest, b"the init", &plan(), &modules(dir.path())).unwrap();
        let entries = read(&fs::read(&dest).unwrap());
        let get = |name: &str| entries.iter().find(|entry| entry.name == name).unwrap();

        assert_eq!(get("init").data, b"the init");
        assert_eq!(get("init").mode, 0o100_755);
        assert_eq!(get("modules/00-virtio_ring.ko").data, b"first module");
        assert_eq!(get("modules/01-virtio.ko").data, b"second module");
        let read_plan: BootPlan = postcard::from_bytes(&get("plan").data).unwrap();
        let expected = BootPlan {
            modules: vec![
                "/modules/00-virtio_ring.ko".to_owned(),
                "/modules/01-virtio.ko".to_owned(),
            ],
            ..plan()
        };
        assert_eq!(read_plan, expected);
        assert!(entries.iter().all(|entry| entry.mtime == 0));
    }

    #[test]
    fn the_console_is_a_device_node_in_a_directory_that_comes_before_it() {
        let dir = tempfile::tempdir().unwrap();
        let dest = dir.path().join("initramfs");
        build(&dest, b"", &plan(), &[]).unwrap();
        let entries = read(&fs::read(&dest).unwrap());
        let at = |name: &str| entries.iter().position(|entry| entry.name == name).unwrap();
        assert_eq!(entries[at("dev")].mode, 0o040_755);
        assert_eq!(entries[at("dev/console")].mode, 0o020_600);
        assert_eq!(entries[at("dev/console")].rdev, (5, 1));
        assert!(at("dev") < at("dev/console"));
    }

    #[test]
    fn equal_inputs_give_equal_archives() {
        let dir = tempfile::tempdir().unwrap();
        let modules = modules(dir.path());
        let archive = |name: &str| {
            let dest = dir.path().join(name);
            build(&dest, b"init", &plan(), &modules).unwrap();
            fs::read(dest).unwrap()
        };
        assert_eq!(archive("one"), archive("two"));
    }

    proptest! {
        #[test]
        fn every_archive_fills_whole_pages_and_ends_in_zeros(
            size in 0..3 * usize::try_from(PAGE).unwrap(),
        ) {
            let dir = tempfile::tempdir().unwrap();
            let dest = dir.path().join("initramfs");
            let init = vec![7; size];
            build(&dest, &init, &plan(), &[]).unwrap();
            let archive = fs::read(&dest).unwrap();
            prop_assert_eq!(archive.len() % 4096, 0);
            let trailer = memchr::memmem::rfind(&archive, b"TRAILER!!!").unwrap();
            let padding = &archive[trailer + b"TRAILER!!!".len()..];
            prop_assert!(padding.len() < 4096 + 4, "{}", padding.len());
            prop_assert!(padding.iter().all(|&byte| byte == 0));
            let entries = read(&archive);
            let read_init = entries.iter().find(|entry| entry.name == "init").unwrap();
            prop_assert_eq!(&read_init.data, &init);
        }
    }

    #[test]
    fn a_module_that_cannot_be_read_leaves_no_archive() {
        let dir = tempfile::tempdir().unwrap();
        let dest = dir.path().join("initramfs");
        let gone = ModuleFile {
            name: "gone".to_owned(),
            path: dir.path().join("gone.ko"),
        };
        let error = build(&dest, b"init", &plan(), &[gone]).unwrap_err();
        assert!(matches!(error, Error::Module(_)), "{error}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
