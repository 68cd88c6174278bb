//! Kernels from other distributions' packages, given as they are.

use std::fs;
use std::path::PathBuf;

use crate::support::material::{Material, sha256};
use crate::support::packages::{CONFIG, arch, bare_image, fedora, opensuse, ubuntu};
use crate::support::web::{Page, WebServer};
use crate::support::{Kiln, Output, checkout};

/// An empty cache and a catalogue.
fn kiln(catalogue: &str) -> Kiln {
    let kiln = Kiln::with_empty_cache();
    let file = kiln.file("kernels.toml", catalogue);
    kiln.config(file)
}

/// Packages of one kernel as `-k` takes them.
fn together(packages: &[PathBuf]) -> String {
    let packages: Vec<_> = packages.iter().map(|path| path.to_str().unwrap()).collect();
    packages.join(",")
}

/// `exec` with a kernel that does not come to a boot.
fn refused(kiln: &Kiln, kernel: &str) -> Output {
    let output = kiln.plain(["exec", "-k", kernel, "--", "true"]).run();
    output.assert_code(125).assert_out("");
    let kernels = kiln.cache().join("kernels");
    assert!(
        !kernels.exists() || fs::read_dir(kernels).unwrap().count() == 0,
        "something was kept"
    );
    output
}

/// A tar archive of one kernel that says only its name.
fn image(release: &str, path: &str) -> Vec<u8> {
    archive(&[(path, &bare_image(release))])
}

/// A tar archive of these files.
fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, path, *content).unwrap();
    }
    archive.into_inner().unwrap()
}

/// As every kernel was cached before kiln kept configurations.
#[test]
fn a_kernel_that_an_older_kiln_cached_gets_its_configuration_from_its_package() {
    let kiln = kiln("[kernels.k]\nfiles = [{ path = \"k.tar\" }]\n");
    let mut image = bare_image("6.1");
    let payload = b"packed in an unknown way";
    image[0x24c] = u8::try_from(payload.len()).unwrap();
    image.extend_from_slice(payload);
    let files: &[(&str, &[u8])] = &[
        ("boot/vmlinuz-6.1", &image),
        ("boot/config-6.1", CONFIG.as_bytes()),
    ];
    kiln.file("k.tar", archive(files));
    let fetch = || {
        let output = kiln.plain(["kernels", "fetch", "-k", "k"]).run();
        output.assert_code(0);
        let image = Material::listed(&output.out()).image;
        image.with_file_name("config")
    };
    let config = fetch();
    fs::remove_file(&config).unwrap();
    assert_eq!(fetch(), config);
    assert_eq!(fs::read_to_string(&config).unwrap(), CONFIG);
    let names = walkdir::WalkDir::new(kiln.cache().join("tmp")).into_iter();
    assert_eq!(names.count(), 1, "temporary files were left");
}

/// Packages that do not make one kernel together are named by their files.
#[test]
fn packages_that_are_not_one_kernel_are_told_with_what_is_missing() {
    let kiln = kiln("");
    let modules: &[(&str, &[u8])] = &[("usr/lib/modules/6.2/kernel/a.ko", b"\x7fELF")];
    let order: &[(&str, &[u8])] = &[
        ("usr/lib/modules/6.1/vmlinuz", b""),
        ("usr/lib/modules/6.1/modules.order", b"kernel/a.ko\n"),
    ];
    kiln.file("image.tar", image("6.1", "boot/vmlinuz-6.1"));
    kiln.file("other.tar", image("6.2", "boot/vmlinuz-6.2"));
    kiln.file("modules.tar", archive(modules));
    kiln.file("core.tar", archive(order));
    // Without the flag of an image for 64 bits.
    let mut old = image("6.1", "boot/vmlinuz-6.1");
    old[512 + 0x236] = 0;
    kiln.file("old.tar", old);
    for (kernel, told, way_out) in [
        (
            "./modules.tar",
            "there is no kernel image in modules.tar, only modules of 6.2",
            "kernel-core (Fedora",
        ),
        (
            "image.tar,modules.tar",
            "boot/vmlinuz-6.1 of image.tar is release 6.1, but the modules are those of 6.2",
            "packages of one version",
        ),
        (
            "./image.tar,./other.tar",
            "more than one kernel in image.tar, other.tar: \
             boot/vmlinuz-6.1 of image.tar, boot/vmlinuz-6.2 of other.tar",
            "give those of one kernel",
        ),
        (
            "./core.tar,./image.tar",
            "core.tar, image.tar have none of the modules of 6.1",
            "kernel-modules-core",
        ),
        (
            "./old.tar",
            "boot/vmlinuz-6.1 of old.tar is a kernel for 32-bit x86",
            "built for x86-64",
        ),
        (
            "./image.tar,./nowhere.rpm",
            "/nowhere.rpm: no such file",
            "several packages of one kernel are -k A,B",
        ),
    ] {
        refused(&kiln, kernel)
            .assert_err_contains(told)
            .assert_err_contains(way_out);
    }
}

#[test]
fn a_package_that_would_write_outside_is_refused_by_the_name_of_its_file() {
    let kiln = kiln("");
    let mut evil = archive(&[("boot/vmlinuz-evilxxxxxxxxx", b"x")]);
    evil[..26].copy_from_slice(b"../../../../tmp/evil/vmlin");
    let sum: u32 = (0..512)
        .map(|at| {
            u32::from(if (148..156).contains(&at) {
                b' '
            } else {
                evil[at]
            })
        })
        .sum();
    evil[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    kiln.file("evil.tar", evil);
    refused(&kiln, "./evil.tar")
        .assert_err_contains("evil.tar: ../../../../tmp/evil/vmlin")
        .assert_err_contains("its path leads out of the archive")
        .assert_err_contains("kiln kept nothing");
}

/// A file of `kernels.toml` with a hash, from a server and from this machine.
#[test]
fn files_of_a_catalogue_are_fetched_checked_and_put_together() {
    let own = Kiln::new();
    let material = Material::of(&own);
    let packages = ubuntu(&material, &own.path("work"));
    let bytes = fs::read(&packages[0]).unwrap();
    let hash = sha256(&bytes);
    let server = WebServer::start([("/image.deb", Page::new(bytes))]);
    let catalogue = |hash: &str| {
        let url = server.url("/image.deb");
        let [modules, extra] = [1, 2].map(|index| packages[index].display());
        kiln(&format!(
            "[kernels.k]\nfiles = [\n  {{ url = \"{url}\", sha256 = \"{hash}\" }},\n\
             \x20 {{ path = \"{modules}\" }},\n  {{ path = \"{extra}\" }},\n]\n"
        ))
    };
    let fetch = |kiln: &Kiln| {
        kiln.plain(["kernels", "fetch", "-k", "k"])
            .env("no_proxy", "127.0.0.1")
            .run()
    };
    let wrong = "0123456789abcdef".repeat(4);
    fetch(&catalogue(&wrong))
        .assert_code(96)
        .assert_err_contains(&wrong)
        .assert_err_contains(&hash)
        .assert_err_contains("kiln kept nothing");
    let right = catalogue(&hash);
    let output = fetch(&right);
    output.assert_code(0);
    assert!(output.out().contains(&material.release), "{}", output.out());
    let asked = server.requests();
    drop(server);
    fetch(&right).assert_code(0).assert_out(&output.out());
    assert_eq!(asked, 2, "the second time from the cache");
    let listed = right.plain(["kernels"]).run().out();
    assert!(listed.contains("files http"), "{listed}");
}

#[test]
fn a_kernel_of_each_distribution_boots_from_its_packages_with_its_configuration() {
    let own = Kiln::new();
    let (old, new) = (Material::of(&own), Material::of_kernel(&own, "6.12"));
    let kiln = kiln("");
    let dir = kiln.path("packages");
    fs::create_dir(&dir).unwrap();
    let fedora = together(&fedora(&new, &dir));
    let opensuse = together(&opensuse(&old, &dir));
    let ubuntu = ubuntu(&new, &dir.join("debs"));
    let arch = together(&arch(&old, &dir));
    let debs = ubuntu[0].parent().unwrap().to_str().unwrap().to_owned();
    let script = "uname -r; cat /boot/config-$(uname -r) || true";
    for (kernel, release, config) in [
        (&opensuse, &old.release, CONFIG),
        // All of a directory.
        (&debs, &new.release, CONFIG),
        (&arch, &old.release, ""),
    ] {
        let output = kiln.sh(kernel, script).run();
        output
            .assert_code(0)
            .assert_out(&format!("{release}\n{config}"));
    }
    let object = checkout().join("tests/data/kconfig/kconfig.bpf.o");
    fs::copy(object, kiln.work().join("kconfig.bpf.o")).unwrap();
    let output = kiln.sh(&fedora, BPFTOOL).run();
    output.assert_code(0);
    let told = output.out();
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines[..2], [new.release.as_str(), "loaded"], "{told}");
    assert!(told.contains("CONFIG_HZ is set to 250"), "{told}");
    assert!(!told.contains("skipping kernel config"), "{told}");
    kiln.assert_nothing_left();
}

/// Two of Fedora's three packages.
#[test]
fn a_kernel_without_the_package_that_has_its_file_systems_is_told_that_there_is_one() {
    let own = Kiln::new();
    let material = Material::of_kernel(&own, "6.12");
    let kiln = kiln("");
    let dir = kiln.path("packages");
    fs::create_dir(&dir).unwrap();
    let packages = fedora(&material, &dir);
    refused(&kiln, packages[0].to_str().unwrap())
        .assert_err_contains("kernel-core-1-1.x86_64.rpm have none of the modules of ")
        .assert_err_contains("kernel-modules-core and kernel-modules");
    let output = kiln
        .plain(["exec", "-k", &together(&packages[..2]), "--", "true"])
        .run();
    output
        .assert_code(125)
        .assert_err_contains("the kernel has no overlay, neither as a module nor built in")
        .assert_err_contains("another package of this kernel");
}

/// Loads an object with kconfig externs, and asks for what the configuration has.
const BPFTOOL: &str = "uname -r
bpftool prog load ./kconfig.bpf.o /sys/fs/bpf/k && echo loaded
bpftool feature probe kernel 2>&1 | grep -i config";
