//! Kernels made from the shared cache's 6.1: a directory like an unpacked package, with the modules
//! that a test needs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest as _, Sha256};

use super::Kiln;

/// Directories of the modules that a guest boots with, below `kernel/`.
const BOOT: [&str; 10] = [
    "drivers/virtio",
    "drivers/char/virtio_console.ko",
    "drivers/char/hw_random",
    "fs/fuse",
    "fs/overlayfs",
    "drivers/dax",
    "fs/9p",
    "fs/fscache",
    "fs/netfs",
    "net/9p",
];

/// The image and the release of the cached 6.1, and its module directory.
#[derive(Debug)]
pub(crate) struct Material {
    pub(crate) image: PathBuf,
    pub(crate) release: String,
    pub(crate) modules: PathBuf,
}

impl Material {
    /// Asks `kiln` for it.
    pub(crate) fn of(kiln: &Kiln) -> Self {
        Self::of_kernel(kiln, "6.1")
    }

    /// The same of another kernel of the cache.
    pub(crate) fn of_kernel(kiln: &Kiln, kernel: &str) -> Self {
        let output = kiln.plain(["kernels", "fetch", "-k", kernel]).run();
        output.assert_code(0);
        Self::listed(&output.out())
    }

    /// What `kiln kernels fetch` says of one kernel.
    pub(crate) fn listed(out: &str) -> Self {
        let fields: Vec<&str> = out.trim_end().split('\t').collect();
        let [_, release, image] = fields[..] else {
            panic!("name, release and image expected: {out:?}");
        };
        let image = PathBuf::from(image);
        Self {
            modules: image.parent().unwrap().join("modules").join(release),
            release: release.to_owned(),
            image,
        }
    }

    /// Makes `boot/vmlinuz-RELEASE` and `lib/modules/RELEASE` below `tree`,
    /// with the modules that a boot needs, but none of a name that `without`
    /// lists.
    pub(crate) fn unpack(&self, tree: &Path, without: &[&str]) {
        let boot = tree.join("boot");
        fs::create_dir_all(&boot).unwrap();
        let image = boot.join(format!("vmlinuz-{}", self.release));
        // Not a link: tar reports a file as changed when another test links it.
        fs::copy(&self.image, &image).unwrap();
        let to = tree.join("lib/modules").join(&self.release);
        fs::create_dir_all(&to).unwrap();
        for name in [
            "modules.order",
            "modules.builtin",
            "modules.builtin.modinfo",
        ] {
            let from = self.modules.join(name);
            if from.is_file() {
                fs::copy(from, to.join(name)).unwrap();
            }
        }
        let order = to.join("modules.order");
        if let Ok(text) = fs::read_to_string(&order) {
            let kept = text.lines().filter(|line| {
                let name = line.rsplit('/').next().unwrap().replace('-', "_");
                !without.contains(&name.split('.').next().unwrap())
            });
            fs::write(order, kept.collect::<Vec<_>>().join("\n") + "\n").unwrap();
        }
        for part in BOOT {
            let from = self.modules.join("kernel").join(part);
            for entry in walkdir::WalkDir::new(&from).into_iter().flatten() {
                let name = entry.file_name().to_string_lossy().replace('-', "_");
                let name = name.split('.').next().unwrap();
                if !entry.file_type().is_file() || without.contains(&name) {
                    continue;
                }
                let to = to.join(entry.path().strip_prefix(&self.modules).unwrap());
                fs::create_dir_all(to.parent().unwrap()).unwrap();
                fs::copy(entry.path(), to).unwrap();
            }
        }
    }
}

/// A gzipped tar archive of a directory, by the system's tar.
pub(crate) fn tarball(tree: &Path, to: &Path) -> Vec<u8> {
    run(Command::new("tar")
        .args(["--create", "--use-compress-program=gzip -1", "--file"])
        .arg(to)
        .arg("--directory")
        .args([tree, Path::new(".")]));
    fs::read(to).unwrap()
}

/// A Debian package of a directory, by the system's dpkg.
pub(crate) fn package(tree: &Path, name: &str, version: &str, to: &Path) {
    let control = tree.join("DEBIAN");
    fs::create_dir_all(&control).unwrap();
    fs::write(
        control.join("control"),
        format!(
            "Package: {name}\nVersion: {version}\nArchitecture: amd64\n\
             Maintainer: Nobody <nobody@example.org>\nDescription: a kernel for a test\n"
        ),
    )
    .unwrap();
    run(Command::new("dpkg-deb")
        .args(["--root-owner-group", "-Zgzip", "-z1", "--build"])
        .args([tree, to]));
}

/// Runs a tool that has to do its work.
pub(crate) fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
}

/// SHA-256 in hexadecimal digits.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut hex = String::new();
    for byte in bytes {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}
