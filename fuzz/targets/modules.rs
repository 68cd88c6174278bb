//! A directory of modules: the ELF and `.modinfo` of one, `modules.builtin` and
//! `modules.builtin.modinfo`.
#![no_main]

use std::fs;

use kiln::kernel::modules::Index;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&[u8], &[u8], &[u8])| {
    let (module, builtin, modinfo) = input;
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    fs::write(dir.path().join("one.ko"), module).unwrap();
    fs::write(dir.path().join("modules.builtin"), builtin).unwrap();
    fs::write(dir.path().join("modules.builtin.modinfo"), modinfo).unwrap();
    if let Ok(index) = Index::open(dir.path()) {
        let _ = index.provides("one");
        let _ = index.closure(&["one", "virtiofs"]);
        let _ = index.cannot_boot(&["one".to_owned()]);
    }
});
