//! Kernels of this machine: unpacked packages and images, and what they lack.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::support::material::Material;
use crate::support::{Kiln, Output};

/// A file that is neither an archive nor a kernel.
const NOISE: &[u8] = b"neither an archive nor a kernel, and longer than any header";

/// An empty cache and a catalogue.
fn kiln(catalogue: &str) -> Kiln {
    let kiln = Kiln::with_empty_cache();
    let file = kiln.file("kernels.toml", catalogue);
    kiln.config(file)
}

/// Boots the kernel at `path` and asks for its release.
fn boots(kiln: &Kiln, path: &Path, release: &str) {
    let output = kiln
        .vm([OsStr::new("exec"), OsStr::new("-k"), path.as_os_str()])
        .arg("--")
        .arg("uname")
        .arg("-r")
        .run();
    output.assert_code(0).assert_out(&format!("{release}\n"));
}

#[test]
fn the_directory_of_an_unpacked_package_boots_by_path_and_by_name() {
    let own = Kiln::new();
    let material = Material::of(&own);
    let kiln = kiln("[kernels.mine]\npath = \"../tree\"\n");
    let tree = kiln.path("tree");
    material.unpack(&tree, &[]);
    boots(&kiln, &tree, &material.release);
    boots(&kiln, Path::new("../tree"), &material.release);
    boots(&kiln, Path::new("mine"), &material.release);
    let image = tree.join(format!("boot/vmlinuz-{}", material.release));
    boots(&kiln, &image, &material.release);
    assert!(
        !tree
            .join("lib/modules")
            .join(&material.release)
            .join("modules.dep")
            .exists(),
        "the user's directory was written to"
    );
}

/// `exec` with a kernel at `path`, which does not come to a boot.
fn refused_at(kiln: &Kiln, path: &Path) -> Output {
    let output = kiln
        .plain([OsStr::new("exec"), OsStr::new("-k"), path.as_os_str()])
        .arg("--")
        .arg("true")
        .run();
    output.assert_code(125).assert_out("");
    assert!(
        !output.err().contains("did not come up"),
        "{}",
        output.err()
    );
    output
}

#[test]
fn paths_without_a_kernel_get_different_errors() {
    let kiln = kiln("");
    let nothing = kiln.path("empty");
    fs::create_dir(&nothing).unwrap();
    refused_at(&kiln, &nothing)
        .assert_err_contains(&format!("there is no kernel in {}", nothing.display()))
        .assert_err_contains("boot/vmlinuz-RELEASE");
    let noise = kiln.file("vmlinuz", NOISE);
    refused_at(&kiln, &noise).assert_err_contains(&noise.display().to_string());
    let nowhere = kiln.path("nowhere");
    refused_at(&kiln, &nowhere)
        .assert_err_contains(&format!("there is no kernel at {}", nowhere.display()));
}

#[test]
fn a_kernel_for_another_architecture_is_refused_before_it_boots() {
    let kiln = kiln("");
    let mut image = vec![0; 4096];
    // Documentation/arch/arm64/booting.rst.
    image[56..60].copy_from_slice(b"ARM\x64");
    let image = kiln.file("vmlinuz-6.1-arm64", &image);
    refused_at(&kiln, &image)
        .assert_err_contains(&image.display().to_string())
        .assert_err_contains("is a kernel for arm64, but kiln only boots kernels for x86-64")
        .assert_err_contains("hint: use one that is built for x86-64");
}

#[test]
fn what_the_user_may_not_read_is_named_with_a_hint() {
    let own = Kiln::new();
    let material = Material::of(&own);
    let kiln = Kiln::as_ordinary_user();
    if nix::unistd::geteuid().as_raw() != 0 {
        // Whoever owns a file can make it readable: root's are the case.
        return;
    }
    for hidden in ["boot/vmlinuz-RELEASE", "lib/modules/RELEASE/kernel/fs"] {
        let tree = kiln.path(hidden.split('/').next().unwrap());
        material.unpack(&tree, &[]);
        let hidden = tree.join(hidden.replace("RELEASE", &material.release));
        fs::set_permissions(&hidden, fs::Permissions::from_mode(0o600)).unwrap();
        refused_at(&kiln, &tree)
            .assert_err_contains(&hidden.display().to_string())
            .assert_err_contains("sudo chmod -R a+rX");
    }
}

#[test]
fn modules_without_an_image_are_not_a_kernel() {
    let own = Kiln::new();
    let material = Material::of(&own);
    let kiln = kiln("");
    let tree = kiln.path("tree");
    material.unpack(&tree, &[]);
    fs::remove_dir_all(tree.join("boot")).unwrap();
    refused_at(&kiln, &tree).assert_err_contains("there is no kernel in ");
}

#[test]
fn what_a_kernel_lacks_to_boot_is_named_before_it_boots() {
    let own = Kiln::new();
    let material = Material::of(&own);
    let kiln = kiln("");
    for (missing, option) in [
        (
            &["virtiofs"][..],
            "CONFIG_VIRTIO_FS or CONFIG_9P_FS with CONFIG_NET_9P_VIRTIO",
        ),
        (
            &["virtio_mmio", "virtio_pci"],
            "CONFIG_VIRTIO_MMIO or CONFIG_VIRTIO_PCI",
        ),
        (&["virtio_console"], "CONFIG_VIRTIO_CONSOLE"),
    ] {
        let tree = kiln.path(format!("without-{}", missing.join("-")));
        material.unpack(&tree, missing);
        let output = refused_at(&kiln, &tree);
        let told = output.err();
        let line = told
            .lines()
            .find(|line| line.contains("the kernel has no "));
        let line = line.unwrap_or_else(|| panic!("nothing is named:\n{told}"));
        for name in missing {
            assert!(line.contains(name), "{name} is not named: {line}");
        }
        output.assert_err_contains(option);
    }
}

#[test]
fn an_image_without_modules_is_refused_or_boots_but_does_not_hang() {
    let own = Kiln::new();
    let material = Material::of(&own);
    let kiln = kiln("");
    let alone = kiln.path("alone");
    fs::create_dir(&alone).unwrap();
    let image = alone.join("vmlinuz");
    fs::copy(&material.image, &image).unwrap();
    // Whether everything is built in cannot be known beforehand.
    let output = kiln
        .vm([OsStr::new("exec"), OsStr::new("-k"), image.as_os_str()])
        .arg("--boot-timeout")
        .arg("20s")
        .arg("--")
        .arg("true")
        .run();
    output.assert_code(125);
    let told = output.err();
    assert!(
        told.contains("the kernel has no ") || told.contains("did not come up"),
        "{told}"
    );
    kiln.assert_nothing_left();
}
