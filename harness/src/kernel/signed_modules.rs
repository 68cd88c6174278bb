//! Kernels whose modules came without a signed hash. Their image is listed and signed, and has the
//! key that its modules are signed with: the kernel itself checks each
//! (Documentation/admin-guide/module-signing.rst).

use std::fs;
use std::path::{Path, PathBuf};

use super::Error;

/// The parameter that makes a kernel refuse modules that are not signed with one of its keys.
const PARAMETER: &str = "module.sig_enforce";

/// A file beside the image of such a kernel.
const MARK: &str = "signed-modules-only";

fn mark(image: &Path) -> PathBuf {
    image.with_file_name(MARK)
}

/// Makes the kernel of `image`, an unpacked image in the cache, check its modules whenever it
/// boots; `false` if it cannot.
pub(super) fn enforce(image: &Path) -> Result<bool, Error> {
    let mark = mark(image);
    if mark.exists() {
        return Ok(true);
    }
    let bytes = fs::read(image).map_err(Error::io("read", image))?;
    if memchr::memmem::find(&bytes, PARAMETER.as_bytes()).is_none() {
        return Ok(false);
    }
    fs::write(&mark, "").map_err(Error::io("write", &mark))?;
    Ok(true)
}

/// The argument that the kernel of `image` needs for that.
pub(super) fn parameters(image: &Path) -> Vec<String> {
    let enforced = mark(image).exists();
    enforced
        .then(|| format!("{PARAMETER}=1"))
        .into_iter()
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_kernel_that_can_check_its_modules_is_told_to_and_another_is_not_taken() {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("image");
        fs::write(&image, "a kernel without signatures").unwrap();
        assert!(!enforce(&image).unwrap());
        assert_eq!(parameters(&image), [""; 0]);
        fs::write(&image, b"\0module.sig_enforce\0").unwrap();
        assert!(enforce(&image).unwrap() && enforce(&image).unwrap());
        assert_eq!(parameters(&image), ["module.sig_enforce=1"]);
    }
}
