//! Kiln with an empty cache, and what it keeps there.

use std::fs;

use super::{Kiln, Output};

/// An empty cache and a catalogue.
pub(crate) fn kiln(catalogue: &str) -> Kiln {
    let kiln = Kiln::with_empty_cache();
    let file = kiln.file("kernels.toml", catalogue);
    kiln.config(file)
}

/// Fetches the kernel `k`. Loopback servers are reached without the machine's proxy.
pub(crate) fn fetch(kiln: &Kiln) -> Output {
    kiln.plain(["kernels", "fetch", "-k", "k"])
        .env("no_proxy", "127.0.0.1")
        .run()
}

/// The names in a directory of the cache; none if it is not there.
pub(crate) fn cached(kiln: &Kiln, directory: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(kiln.cache().join(directory)) else {
        return Vec::new();
    };
    entries
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect()
}

/// The cache contains no kernel, complete or not.
#[track_caller]
pub(crate) fn assert_nothing_kept(kiln: &Kiln) {
    assert_eq!(cached(kiln, "kernels"), [""; 0]);
    assert_eq!(cached(kiln, "tmp"), [""; 0]);
    for entry in walkdir::WalkDir::new(kiln.cache()) {
        let entry = entry.unwrap();
        let empty = !entry.file_type().is_file() || entry.metadata().unwrap().len() == 0;
        assert!(empty, "{} was left", entry.path().display());
    }
}
