//! The disk usage of the cache, and a warning if it is large.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use indicatif::HumanBytes;
use walkdir::WalkDir;

use crate::config::MemorySize;

/// Sets the size from which on kiln warns that the cache is large, such as `20G`.
const LIMIT_VARIABLE: &str = "KILN_CACHE_LIMIT";

/// The default: some hundred kernels.
const LIMIT: MemorySize = MemorySize::from_mib(10 << 10);

/// Disk usage of a directory, in bytes. A file with another link elsewhere does not count, since it
/// would exist anyway.
pub(super) fn size_on_disk(directory: &Path) -> u64 {
    let files = WalkDir::new(directory).into_iter().flatten();
    files
        .filter_map(|entry| entry.metadata().ok())
        .filter(|meta| meta.is_file() && meta.nlink() == 1)
        .map(|meta| meta.blocks() * 512)
        .sum()
}

/// The warning about the cache's size, if it is large.
pub(super) fn note_of_size(cache: &Path) -> Option<String> {
    let limit = std::env::var(LIMIT_VARIABLE)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(LIMIT);
    note_above(cache, limit.bytes())
}

fn note_above(cache: &Path, limit: u64) -> Option<String> {
    let bytes = size_on_disk(&cache.join("kernels"));
    (bytes > limit).then(|| {
        format!(
            "the cache {} has {}: `kiln kernels prune` removes what was not used for 30 days",
            cache.display(),
            HumanBytes(bytes)
        )
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;

    use super::*;

    #[test]
    fn a_cache_says_that_it_is_large_and_counts_what_is_its_own() {
        let cache = tempfile::tempdir().unwrap();
        let kernel = cache.path().join("kernels/k");
        fs::create_dir_all(&kernel).unwrap();
        fs::write(kernel.join("image"), vec![b'x'; 100_000]).unwrap();
        assert_eq!(note_above(cache.path(), 1 << 20), None);
        let note = note_above(cache.path(), 50_000).unwrap();
        assert!(note.contains("`kiln kernels prune`"), "{note}");
        let size = size_on_disk(&kernel);
        fs::write(cache.path().join("mine"), vec![b'x'; 100_000]).unwrap();
        fs::hard_link(cache.path().join("mine"), kernel.join("linked")).unwrap();
        assert_eq!(size_on_disk(&kernel), size);
    }
}
