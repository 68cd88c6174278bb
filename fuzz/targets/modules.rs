//! A directory of modules: the ELF and `.modinfo` of one, `modules.builtin` and
//! `modules.builtin.modinfo`.
#![no_main]

use std::fs;

use kiln::internals::fuzz::plan_modules;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&[u8], &[u8], &[u8])| {
    let (module, builtin, modinfo) = input;
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    fs::write(dir.path().join("one.ko"), module).unwrap();
    fs::write(dir.path().join("modules.builtin"), builtin).unwrap();
    fs::write(dir.path().join("modules.builtin.modinfo"), modinfo).unwrap();
    let _ = plan_modules(dir.path());
});
