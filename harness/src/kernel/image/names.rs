//! Names of images, and where a build puts them.

use std::path::{Path, PathBuf};

use crate::arch::Arch;

/// Names of images in a directory, preferred ones first: a bzImage always boots, and has a fortieth
/// of the size of a vmlinux with debug information. NixOS systems have a link `kernel`.
pub(in crate::kernel) const IMAGES: [&str; 4] = ["vmlinuz", "bzImage", "kernel", "vmlinux"];

/// Fedora's unified kernel image for VMs, which lies among its modules.
pub(in crate::kernel) const UKI: &str = "vmlinuz-virt.efi";

/// What a directory with a kernel contains, for messages.
pub(in crate::kernel) const TREES: &str =
    "boot/vmlinuz-RELEASE, bzImage, vmlinux or lib/modules/RELEASE/vmlinuz";

/// The images in a build tree for `arch`: the one that the build makes from the `vmlinux`, and the
/// `vmlinux`.
pub(in crate::kernel) fn built(arch: Arch) -> [PathBuf; 2] {
    let image = match arch {
        Arch::X86_64 => "bzImage",
    };
    let boot = Path::new("arch").join(arch.source_directory()).join("boot");
    [boot.join(image), PathBuf::from("vmlinux")]
}

/// Whether a file of a package has the name of an image.
pub(in crate::kernel) fn is_packaged(name: &str) -> bool {
    name == "bzImage" || name.starts_with("vmlinuz") || name.starts_with("vmlinux")
}

/// What follows the kind of an image in its name, such as its release.
pub(in crate::kernel) fn after_kind(name: &str) -> Option<&str> {
    ["vmlinuz", "vmlinux", "bzImage"]
        .iter()
        .find_map(|kind| name.strip_prefix(kind))
}

/// The index of an image's kind in [`IMAGES`].
pub(in crate::kernel) fn rank(image: &Path) -> usize {
    let name = image.file_name().unwrap_or_default().to_string_lossy();
    IMAGES
        .iter()
        .position(|kind| name.starts_with(kind))
        .unwrap_or(IMAGES.len())
}

/// The path that the bzImage of an image called vmlinux would have beside it.
pub(in crate::kernel) fn bootable_siblings(image: &Path) -> Vec<PathBuf> {
    let name = image.file_name().unwrap_or_default().to_string_lossy();
    let Some(rest) = name.strip_prefix("vmlinux") else {
        return Vec::new();
    };
    ["vmlinuz", "bzImage"]
        .iter()
        .map(|kind| image.with_file_name(format!("{kind}{rest}")))
        .collect()
}
