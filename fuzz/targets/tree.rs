//! A directory for what an archive has. Most inputs leave it empty, so that it is made only once.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

static DIR: LazyLock<tempfile::TempDir> =
    LazyLock::new(|| tempfile::tempdir_in("/dev/shm").unwrap());

/// Calls `unpack` with an empty directory. Afterwards only directories and regular files are in it,
/// and nothing is beside it.
pub fn with(unpack: impl FnOnce(&Path)) {
    let dest = DIR.path().join("dest");
    if !dest.exists() {
        fs::create_dir(&dest).unwrap();
    }
    unpack(&dest);
    assert_eq!(fs::read_dir(DIR.path()).unwrap().count(), 1);
    if fs::read_dir(&dest).unwrap().next().is_some() {
        assert_plain(&dest);
        fs::remove_dir_all(&dest).unwrap();
    }
}

fn assert_plain(dir: &Path) {
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        assert!(kind.is_dir() || kind.is_file());
        if kind.is_dir() {
            assert_plain(&entry.path());
        }
    }
}
