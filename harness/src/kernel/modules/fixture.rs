//! Modules and module directories for tests.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

/// An ELF64 relocatable file whose only content is a `.modinfo` section.
pub(crate) fn module(entries: &[&str]) -> Vec<u8> {
    const NAMES: &[u8] = b"\0.modinfo\0.shstrtab\0";
    let mut info = Vec::new();
    for entry in entries {
        info.extend(entry.as_bytes());
        info.push(0);
    }
    let info_at = 64 + NAMES.len() as u64;
    let headers_at = info_at + info.len() as u64;
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    elf.extend(1u16.to_le_bytes()); // ET_REL
    elf.extend(62u16.to_le_bytes()); // EM_X86_64
    elf.extend(1u32.to_le_bytes());
    for word in [0, 0, headers_at] {
        elf.extend(word.to_le_bytes());
    }
    elf.extend(0u32.to_le_bytes());
    for half in [64u16, 0, 0, 64, 3, 2] {
        elf.extend(half.to_le_bytes());
    }
    elf.extend(NAMES);
    elf.extend(&info);
    let mut header = |name: u32, kind: u32, offset: u64, size: usize| {
        elf.extend(name.to_le_bytes());
        elf.extend(kind.to_le_bytes());
        for word in [0, 0, offset, size as u64] {
            elf.extend(word.to_le_bytes());
        }
        elf.extend([0; 8]);
        for word in [1u64, 0] {
            elf.extend(word.to_le_bytes());
        }
    };
    header(0, 0, 0, 0);
    header(1, 1, info_at, info.len());
    header(10, 3, 64, NAMES.len());
    elf
}

/// Writes a file below `dir`, with the directories it needs.
pub(crate) fn put(dir: &Path, path: &str, data: &[u8]) {
    let path = dir.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, data).unwrap();
}

/// A directory with modules: path and `.modinfo` entries each.
pub(crate) fn tree(modules: &[(&str, &[&str])]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, entries) in modules {
        put(dir.path(), path, &module(entries));
    }
    dir
}
