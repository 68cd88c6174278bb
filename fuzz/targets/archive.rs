//! A package or an archive: deb, RPM, tar. The first byte chooses between an
//! archive and a layer of a container image.
#![no_main]

use std::fs;

use kiln::internals::fuzz::unpack_archive;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, bytes)) = bytes.split_first() else {
        return;
    };
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let file = dir.path().join("archive");
    let dest = dir.path().join("dest");
    fs::write(&file, bytes).unwrap();
    fs::create_dir(&dest).unwrap();
    let _ = unpack_archive(&file, kind & 1 == 1, &dest);
    // Nothing is anywhere else, and nothing is there but directories and files.
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    assert_plain(&dest);
});

fn assert_plain(dir: &std::path::Path) {
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        assert!(kind.is_dir() || kind.is_file());
        if kind.is_dir() {
            assert_plain(&entry.path());
        }
    }
}
