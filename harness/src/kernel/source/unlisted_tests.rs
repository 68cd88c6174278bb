#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::PathBuf;

use super::super::super::image::test_image::image;
use super::super::super::modules::fixture::module;
use super::super::super::{
    Cache, Error, KernelImage, NewPin, Progress, digest, packages_of, pin, provide,
};
use crate::arch::Arch;
use crate::config::{AptSource, Catalogue, PoolFile, PoolKernel, Selected, UnlistedFile};

const RELEASE: &str = "7.1.9-x";
const IMAGE: &str = "pool/main/l/linux-signed-amd64/image.deb";
const MODULES: &str = "pool/main/l/linux/modules.deb";

/// An archive that lists the image of a kernel and not its modules.
struct Lab {
    dir: tempfile::TempDir,
    cache: Cache,
}

/// A package with these files.
fn deb(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        tar.append_data(&mut header, path, *content).unwrap();
    }
    let data = tar.into_inner().unwrap();
    let mut ar = ar::Builder::new(Vec::new());
    let header = ar::Header::new(b"data.tar".to_vec(), data.len() as u64);
    ar.append(&header, data.as_slice()).unwrap();
    ar.into_inner().unwrap()
}

impl Lab {
    /// An image that knows `parameter`.
    fn new(parameter: &str) -> Self {
        // Not in TMPDIR, which may have blanks: the address of a mirror is one word.
        let dir = tempfile::tempdir_in("/tmp").unwrap();
        let cache = Cache::at(dir.path().join("cache"));
        let lab = Self { dir, cache };
        let mut image = image(RELEASE);
        image.extend_from_slice(parameter.as_bytes());
        let boot = format!("boot/vmlinuz-{RELEASE}");
        lab.publish(IMAGE, &[(&boot, &image)]);
        lab
    }

    fn mirror(&self) -> PathBuf {
        self.dir.path().join("archive")
    }

    fn publish(&self, path: &str, files: &[(&str, &[u8])]) {
        let path = self.mirror().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, deb(files)).unwrap();
    }

    fn publish_modules(&self) {
        let path = format!("usr/lib/modules/{RELEASE}/kernel/fs/fuse/fuse.ko");
        let share = "usr/share/doc/x/copyright";
        self.publish(
            MODULES,
            &[(&path, &module(&["name=fuse"])), (share, b"GPL")],
        );
    }

    fn selected(&self) -> Selected {
        let image = fs::read(self.mirror().join(IMAGE)).unwrap();
        Selected::Pooled(PoolKernel {
            name: "p:7.1.9".to_owned(),
            arch: Arch::X86_64,
            suites: vec!["s".to_owned()],
            source: AptSource {
                suite: "s".to_owned(),
                package: format!("linux-image-{RELEASE}"),
                mirror: Some(format!("file:{}", self.mirror().display())),
                keyring: None,
                trusted: true,
                component: "main".to_owned(),
            },
            upstream: "7.1.9".to_owned(),
            files: vec![PoolFile {
                package: format!("linux-image-{RELEASE}"),
                version: "7.1.9-1".to_owned(),
                path: IMAGE.to_owned(),
                size: image.len() as u64,
                sha256: digest::of_bytes(&image),
            }],
            unlisted: vec![UnlistedFile {
                package: format!("linux-modules-{RELEASE}"),
                version: "7.1.9-1".to_owned(),
                path: MODULES.to_owned(),
            }],
        })
    }

    fn provide(&self) -> Result<KernelImage, Error> {
        let catalogue = Catalogue::built_in().unwrap();
        provide(
            &catalogue,
            &self.selected(),
            &self.cache,
            &Progress::silent(),
        )
    }
}

#[test]
fn modules_that_are_not_listed_are_taken_once_and_the_kernel_checks_them() {
    let lab = Lab::new("module.sig_enforce");
    lab.publish_modules();
    let kernel = lab.provide().unwrap();
    assert_eq!(kernel.parameters(), ["module.sig_enforce=1"]);
    let modules = kernel.modules.clone().unwrap();
    assert!(modules.join("kernel/fs/fuse/fuse.ko").exists());
    let catalogue = Catalogue::built_in().unwrap();
    let packages = packages_of(&catalogue, &lab.selected(), &lab.cache).unwrap();
    let (_, pin) = packages.unwrap();
    let bytes = fs::read(lab.mirror().join(MODULES)).unwrap();
    assert_eq!(pin.files[1].sha256, digest::of_bytes(&bytes));
    assert!(pin.files.iter().all(|file| file.sha1.is_some()));

    // It is what it was when it came first, whatever the mirror has now.
    lab.publish(MODULES, &[("usr/lib/modules/x/kernel/a.ko", b"other")]);
    assert_eq!(lab.provide().unwrap().image, kernel.image);
    fs::remove_dir_all(lab.cache.root().join("kernels")).unwrap();
    let error = lab.provide().unwrap_err();
    assert!(matches!(error, Error::WrongHash { .. }), "{error}");
}

#[test]
fn a_pin_of_such_a_kernel_makes_it_check_its_modules_on_another_machine() {
    for (parameter, checks) in [("module.sig_enforce", true), ("nothing of the kind", false)] {
        let lab = Lab::new(parameter);
        lab.publish_modules();
        let Selected::Pooled(pooled) = lab.selected() else {
            unreachable!()
        };
        let quiet = Progress::silent();
        let new = NewPin::of(&pooled, "7.1", None, "linux-image-*", &lab.cache, &quiet).unwrap();
        assert!(new.files.files[1].unlisted);
        let built_in = Catalogue::built_in().unwrap();
        let path = pin(&built_in, vec![new], lab.dir.path(), &lab.cache, &quiet).unwrap();

        let catalogue = Catalogue::load(&path).unwrap();
        let selected = catalogue.select(&["7.1"], lab.dir.path()).unwrap();
        let there = Cache::at(lab.dir.path().join("there"));
        // Twice: the second time it is in the cache.
        for _ in 0..2 {
            match provide(&catalogue, &selected[0], &there, &quiet) {
                Ok(kernel) => {
                    assert!(checks, "it was taken without a check");
                    assert_eq!(kernel.parameters(), ["module.sig_enforce=1"]);
                }
                Err(error) => {
                    assert!(
                        !checks && matches!(error, Error::Unsigned { .. }),
                        "{error}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_kernel_that_checks_no_modules_is_not_trusted() {
    let lab = Lab::new("nothing of the kind");
    lab.publish_modules();
    let error = lab.provide().unwrap_err();
    assert!(matches!(error, Error::Unsigned { .. }), "{error}");
}

#[test]
fn a_package_that_is_not_listed_may_bring_no_image() {
    for path in ["boot/vmlinuz-7.1.9-x", "usr/lib/modules/7.1.9-x/vmlinuz"] {
        let lab = Lab::new("module.sig_enforce");
        lab.publish(MODULES, &[(path, &image(RELEASE))]);
        let error = lab.provide().unwrap_err().to_string();
        assert!(
            error.contains(path) && error.contains("is no module"),
            "{error}"
        );
        let kept = fs::read_dir(lab.cache.root().join("kernels"));
        assert_eq!(kept.unwrap().count(), 0);
    }
}

#[test]
fn modules_that_have_left_the_mirror_too_are_named() {
    let lab = Lab::new("module.sig_enforce");
    let error = lab.provide().unwrap_err();
    assert!(matches!(error, Error::IncompletePackage { .. }), "{error}");
    assert!(
        error.to_string().contains("linux-modules-7.1.9-x"),
        "{error}"
    );
}
