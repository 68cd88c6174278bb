//! What images are called, and where a build leaves them.

use std::path::{Path, PathBuf};

/// Names of images in a directory, the ones to prefer first: a bzImage can always
/// be booted, and is a fortieth of a vmlinux with debug information. NixOS'
/// systems have a link `kernel`.
pub(in crate::kernel) const IMAGES: [&str; 4] = ["vmlinuz", "bzImage", "kernel", "vmlinux"];

/// What a build tree has: the image that the build makes of the `vmlinux`, and
/// the `vmlinux`.
pub(in crate::kernel) const BUILT: [&str; 2] = ["arch/x86/boot/bzImage", "vmlinux"];

/// Whether a file of a package is an image by its name.
pub(in crate::kernel) fn is_packaged(name: &str) -> bool {
    name == "bzImage" || name.starts_with("vmlinuz") || name.starts_with("vmlinux")
}

/// The place of an image's kind in [`IMAGES`].
pub(in crate::kernel) fn rank(image: &Path) -> usize {
    let name = image.file_name().unwrap_or_default().to_string_lossy();
    IMAGES
        .iter()
        .position(|kind| name.starts_with(kind))
        .unwrap_or(IMAGES.len())
}

/// Where the bzImage of an image that is called vmlinux would be beside it.
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
