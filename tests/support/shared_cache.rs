//! The cache that all tests of this machine share.

use std::path::PathBuf;

/// `KILN_TEST_CACHE`, else `kiln-tests` in the user's cache directory.
pub(super) fn shared_cache() -> PathBuf {
    if let Some(dir) = std::env::var_os("KILN_TEST_CACHE") {
        return dir.into();
    }
    std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))
        .expect("HOME or KILN_TEST_CACHE is set")
        .join("kiln-tests")
}
