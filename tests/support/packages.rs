//! Kernels of the cache as other distributions pack them: with the tools that
//! they use, in the layouts that they have.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::material::{Material, run, tarball};

// It needs a part of this.
#[allow(dead_code)]
#[path = "../../harness/src/kernel/image/test_image.rs"]
mod test_image;

pub(crate) use test_image::bare_image;

/// What every configuration of a test has, so that it is known again. bpftool
/// wants the comment.
pub(crate) const CONFIG: &str = "#\n# Automatically generated file; DO NOT EDIT.\n\
    # Linux/x86 Kernel Configuration\n#\nCONFIG_X86_64=y\nCONFIG_HZ=250\nCONFIG_BPF_SYSCALL=y\n";

/// A package tree with `image` and `config` where a distribution has them.
struct Tree<'a> {
    material: &'a Material,
    root: PathBuf,
}

impl<'a> Tree<'a> {
    fn new(material: &'a Material, root: PathBuf) -> Self {
        material.unpack(&root, &[]);
        Self { material, root }
    }

    /// `RELEASE` stands for the kernel's release.
    fn path(&self, path: &str) -> PathBuf {
        self.root
            .join(path.replace("RELEASE", &self.material.release))
    }

    /// Moves a file or a directory, and makes the directories above it.
    fn rename(&self, from: &str, to: &str) {
        let to = self.path(to);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::rename(self.path(from), to).unwrap();
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn link(&self, target: &str, path: &str) {
        let target = target.replace("RELEASE", &self.material.release);
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(target, path).unwrap();
    }

    /// Compresses each module by a command that leaves it with `suffix`.
    fn compress_modules(&self, command: &[&str], modules: &str) {
        let modules = walkdir::WalkDir::new(self.path(modules)).into_iter();
        for module in modules.map(Result::unwrap) {
            if module.path().extension().is_some_and(|end| end == "ko") {
                run(Command::new(command[0])
                    .args(&command[1..])
                    .arg(module.path()));
            }
        }
    }
}

/// Fedora's packages, as CentOS Stream and AlmaLinux have them too: the image
/// among the modules, which are in packages of their own.
pub(crate) fn fedora(material: &Material, dir: &Path) -> Vec<PathBuf> {
    let tree = Tree::new(material, dir.join("fedora"));
    tree.rename("boot/vmlinuz-RELEASE", "lib/modules/RELEASE/vmlinuz");
    fs::remove_dir(tree.path("boot")).unwrap();
    tree.write("lib/modules/RELEASE/config", CONFIG);
    tree.link("/usr/src/kernels/RELEASE", "lib/modules/RELEASE/build");
    tree.compress_modules(&["xz", "-0", "--check=crc32"], "lib/modules/RELEASE/kernel");
    rpmbuild(
        &tree,
        "w1.zstdio",
        &[
            (
                "core",
                "%ghost /boot/vmlinuz-RELEASE\n%dir /lib/modules/RELEASE\n\
                 /lib/modules/RELEASE/vmlinuz\n/lib/modules/RELEASE/config\n\
                 /lib/modules/RELEASE/modules.*\n",
            ),
            (
                "modules-core",
                "/lib/modules/RELEASE/kernel/drivers\n/lib/modules/RELEASE/build\n",
            ),
            ("modules", "/lib/modules/RELEASE/kernel/fs\n"),
        ],
    )
}

/// openSUSE's one package, with links from `/boot` into merged `/usr`.
pub(crate) fn opensuse(material: &Material, dir: &Path) -> Vec<PathBuf> {
    let tree = Tree::new(material, dir.join("opensuse"));
    tree.rename("boot/vmlinuz-RELEASE", "usr/lib/modules/RELEASE/vmlinuz");
    for entry in fs::read_dir(tree.path("lib/modules/RELEASE")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        tree.rename(
            &format!("lib/modules/RELEASE/{name}"),
            &format!("usr/lib/modules/RELEASE/{name}"),
        );
    }
    fs::remove_dir_all(tree.path("lib")).unwrap();
    tree.write("usr/lib/modules/RELEASE/config", CONFIG);
    tree.link("../usr/lib/modules/RELEASE/vmlinuz", "boot/vmlinuz-RELEASE");
    tree.link("../usr/lib/modules/RELEASE/config", "boot/config-RELEASE");
    tree.compress_modules(
        &["zstd", "-1", "-q", "--rm"],
        "usr/lib/modules/RELEASE/kernel",
    );
    rpmbuild(
        &tree,
        "w0.xzdio",
        &[("default", "/boot\n/usr/lib/modules/RELEASE\n")],
    )
}

/// Ubuntu's packages: a bare image, its modules, and those that few need.
pub(crate) fn ubuntu(material: &Material, dir: &Path) -> Vec<PathBuf> {
    let whole = Tree::new(material, dir.join("ubuntu"));
    whole.write("boot/config-RELEASE", CONFIG);
    let parts: [(&str, &[&str]); 3] = [
        ("linux-image-unsigned", &["boot/vmlinuz-RELEASE"]),
        (
            "linux-modules",
            &[
                "boot/config-RELEASE",
                "lib/modules/RELEASE/kernel/drivers",
                "lib/modules/RELEASE/modules.order",
                "lib/modules/RELEASE/modules.builtin",
                "lib/modules/RELEASE/modules.builtin.modinfo",
            ],
        ),
        ("linux-modules-extra", &["lib/modules/RELEASE/kernel/fs"]),
    ];
    let mut packages = Vec::new();
    for (name, files) in parts {
        let part = dir.join(name);
        for file in files {
            let to = part.join(file.replace("RELEASE", &material.release));
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::rename(whole.path(file), to).unwrap();
        }
        let name = format!("{name}-{}", material.release);
        let control = part.join("DEBIAN");
        fs::create_dir(&control).unwrap();
        let text = format!(
            "Package: {}\nVersion: 1\nArchitecture: amd64\n\
             Maintainer: Nobody <nobody@example.org>\nDescription: a kernel for a test\n",
            name.replace('+', "-")
        );
        fs::write(control.join("control"), text).unwrap();
        let package = dir.join(format!("{name}_1_amd64.deb"));
        run(Command::new("dpkg-deb")
            .args(["--root-owner-group", "-Zzstd", "-z1", "--build"])
            .args([&part, &package]));
        packages.push(package);
    }
    packages
}

/// Arch's package, in merged `/usr`.
pub(crate) fn arch(material: &Material, dir: &Path) -> Vec<PathBuf> {
    let tree = Tree::new(material, dir.join("arch"));
    tree.rename("lib/modules/RELEASE", "usr/lib/modules/RELEASE");
    tree.rename("boot/vmlinuz-RELEASE", "usr/lib/modules/RELEASE/vmlinuz");
    for directory in ["boot", "lib/modules", "lib"] {
        fs::remove_dir(tree.path(directory)).unwrap();
    }
    tree.write("usr/lib/modules/RELEASE/pkgbase", "linux\n");
    tree.write(".PKGINFO", "pkgname = linux\n");
    let package = dir.join("linux-1-x86_64.pkg.tar.zst");
    run(Command::new("tar")
        .args(["--create", "--use-compress-program=zstd -1 -q", "--file"])
        .arg(&package)
        .arg("--directory")
        .arg(&tree.root)
        .args([".PKGINFO", "usr"]));
    vec![package]
}

/// Packages `kernel-NAME` with these files each.
fn rpmbuild(tree: &Tree<'_>, payload: &str, packages: &[(&str, &str)]) -> Vec<PathBuf> {
    use std::fmt::Write as _;
    let top = tree.root.with_extension("rpmbuild");
    fs::create_dir_all(&top).unwrap();
    let mut spec = format!(
        "%global debug_package %{{nil}}\n%global __os_install_post %{{nil}}\n\
         %global _build_id_links none\n%global _binary_payload {payload}\n\
         Name: kernel\nVersion: 1\nRelease: 1\nSummary: a kernel for a test\nLicense: GPL-2.0\n\
         AutoReqProv: no\n%description\nA kernel.\n\
         %install\ncp -a {}/. %{{buildroot}}/\n",
        tree.root.display()
    );
    for (name, files) in packages {
        let files = files.replace("RELEASE", &tree.material.release);
        let _ = write!(
            spec,
            "%package {name}\nSummary: a part of it\n%description {name}\nA part.\n%files {name}\n{files}"
        );
    }
    let file = top.join("kernel.spec");
    fs::write(&file, spec).unwrap();
    run(Command::new("rpmbuild")
        .args(["-bb", "--quiet", "--target", "x86_64", "--define"])
        .arg(format!("_topdir {}", top.display()))
        .arg(&file)
        .env("HOME", &top));
    let built = top.join("RPMS/x86_64");
    packages
        .iter()
        .map(|(name, _)| built.join(format!("kernel-{name}-1-1.x86_64.rpm")))
        .collect()
}

/// Gzipped.
pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A kernel in the layout of `quay.io/lvh-images/kernel-images`
/// (`make tar-pkg` below a directory, over busybox), as layers.
pub(crate) fn little_vm_helper(material: &Material, dir: &Path) -> Vec<Vec<u8>> {
    let busybox = dir.join("busybox");
    fs::create_dir_all(busybox.join("bin")).unwrap();
    fs::write(busybox.join("bin/busybox"), "no kernel").unwrap();
    symlink("/bin/busybox", busybox.join("bin/sh")).unwrap();
    let layer = dir.join("lvh");
    let tree = Tree::new(material, layer.join("data/kernels/6.12"));
    tree.write("boot/config-RELEASE", CONFIG);
    tree.write("boot/System.map-RELEASE", "");
    tree.link("/usr/src/linux", "lib/modules/RELEASE/build");
    [busybox, layer]
        .map(|root| tarball(&root, &root.with_extension("tar.gz")))
        .to_vec()
}

/// The same of `ghcr.io/cilium/ci-kernels`: everything is built in but the modules
/// of tests, and `/lib` is a link. Here the modules that a boot needs take their
/// place; a layer between has what the next one removes.
pub(crate) fn ci_kernels(material: &Material, dir: &Path) -> Vec<Vec<u8>> {
    let layer = dir.join("ci-kernels");
    let tree = Tree::new(material, layer.clone());
    tree.rename("boot/vmlinuz-RELEASE", "boot/vmlinuz");
    tree.rename("lib/modules/RELEASE", "usr/lib/modules/RELEASE");
    tree.rename(
        "usr/lib/modules/RELEASE/kernel",
        "usr/lib/modules/RELEASE/updates",
    );
    fs::remove_dir_all(tree.path("lib")).unwrap();
    symlink("usr/lib", tree.path("lib")).unwrap();
    let old = dir.join("old");
    for path in ["boot/vmlinuz-1.0", "usr/lib/modules/1.0/kernel/a.ko"] {
        let path = old.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "old").unwrap();
    }
    let gone = dir.join("gone");
    for path in ["boot/.wh.vmlinuz-1.0", "usr/lib/modules/.wh.1.0"] {
        let path = gone.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
    [old, gone, layer]
        .map(|root| tarball(&root, &root.with_extension("tar.gz")))
        .to_vec()
}
