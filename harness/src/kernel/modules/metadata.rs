//! The files beside the modules that `modprobe` uses.
//!
//! Packages leave them to depmod at install time. kmod's modprobe reads only the binary indexes,
//! BusyBox' only the text files, so both are written. Symbols (`modules.symbols`) are for
//! `symbol_request()` in the kernel, whose modules are loaded by their users anyway; they are left
//! out.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use super::closure::Walk;
use super::error::Error;
use super::index::{Index, normalise};
use super::kmod_index::KmodIndex;
use super::scan;
use crate::whole_file;

/// Writes `modules.dep`, `modules.alias`, `modules.softdep`, their binary forms and what
/// [`Index::open`] takes instead of reading every module again, into `dir`, which is
/// `/lib/modules/<release>` or a copy of it. Each file is written atomically.
pub fn write_metadata(dir: &Path) -> Result<(), Error> {
    let index = Index::open(dir)?;
    let dependencies = index.dependency_lines()?;

    let mut dep = String::new();
    let mut dep_bin = KmodIndex::default();
    let mut alias = "# Aliases of the modules.\n".to_owned();
    let mut alias_bin = KmodIndex::default();
    let mut softdep = "# Soft dependencies of the modules.\n".to_owned();
    for ((module, line), priority) in index.modules.iter().zip(&dependencies).zip(0..) {
        dep.push_str(line);
        dep.push('\n');
        dep_bin.insert(&module.name, line, priority);
        for pattern in &module.aliases {
            // Writing to a string cannot fail.
            let _ = writeln!(alias, "alias {pattern} {}", module.name);
            if let Some(pattern) = normalise_alias(pattern) {
                alias_bin.insert(&pattern, &module.name, priority);
            }
        }
        for text in &module.softdeps {
            let _ = writeln!(softdep, "softdep {} {text}", module.name);
        }
    }
    let mut builtin_bin = KmodIndex::default();
    for name in &index.builtins {
        builtin_bin.insert(name, "", 0);
    }
    let mut builtin_alias_bin = KmodIndex::default();
    for (pattern, name) in &index.builtin_aliases {
        if let Some(pattern) = normalise_alias(pattern) {
            builtin_alias_bin.insert(&pattern, name, 0);
        }
    }

    for (name, text) in [
        ("modules.dep", &dep),
        ("modules.alias", &alias),
        ("modules.softdep", &softdep),
    ] {
        write(dir, name, text.as_bytes())?;
    }
    for (name, binary) in [
        ("modules.dep.bin", &dep_bin),
        ("modules.alias.bin", &alias_bin),
        ("modules.builtin.bin", &builtin_bin),
        ("modules.builtin.alias.bin", &builtin_alias_bin),
    ] {
        let bytes = binary.to_bytes().ok_or_else(|| Error::Write {
            path: dir.join(name),
            source: io::Error::from(io::ErrorKind::FileTooLarge),
        })?;
        write(dir, name, &bytes)?;
    }
    write(dir, scan::CACHE, &scan::to_bytes(&index)?)
}

impl Index {
    /// A line of `modules.dep` for each module: its path and those of everything it needs, each
    /// before its own dependencies, since modprobe loads from the end. Skips missing ones, as
    /// depmod does: they may be built in.
    fn dependency_lines(&self) -> Result<Vec<String>, Error> {
        (0..self.modules.len())
            .map(|number| {
                let mut walk = Walk::default();
                self.visit_hard(number, &mut walk)?;
                let paths = walk
                    .order
                    .iter()
                    .rev()
                    .map(|&n| self.modules[n].path.as_str());
                let mut line = String::new();
                for (at, path) in paths.enumerate() {
                    match at {
                        0 => line.extend([path, ":"]),
                        _ => line.extend([" ", path]),
                    }
                }
                Ok(line)
            })
            .collect()
    }
}

/// An alias as modprobe looks it up: `_` for `-`, except within brackets. `None` for unmatched
/// brackets, which modprobe refuses.
fn normalise_alias(alias: &str) -> Option<String> {
    let mut parts = alias.split('[');
    let mut normalised = normalise(parts.next()?);
    if normalised.contains(']') {
        return None;
    }
    for part in parts {
        let (class, rest) = part.split_once(']')?;
        if rest.contains(']') {
            return None;
        }
        normalised.push('[');
        normalised.push_str(class);
        normalised.push(']');
        normalised.push_str(&normalise(rest));
    }
    Some(normalised)
}

fn write(dir: &Path, name: &str, data: &[u8]) -> Result<(), Error> {
    let path = dir.join(name);
    whole_file::write(&path, data).map_err(|source| Error::Write { path, source })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;

    use super::super::fixture::{put, tree};
    use super::*;

    #[test]
    fn dependencies_are_listed_whole_and_the_deepest_last() {
        let dir = tree(&[
            ("kernel/b.ko", &["depends=c,d"]),
            ("kernel/a.ko", &["depends=b"]),
            ("kernel/d.ko", &["depends=c,builtin"]),
            ("kernel/c.ko", &[]),
        ]);
        write_metadata(dir.path()).unwrap();
        assert_eq!(
            fs::read_to_string(dir.path().join("modules.dep")).unwrap(),
            "kernel/a.ko: kernel/b.ko kernel/d.ko kernel/c.ko\n\
             kernel/b.ko: kernel/d.ko kernel/c.ko\n\
             kernel/c.ko:\n\
             kernel/d.ko: kernel/c.ko\n"
        );
    }

    #[test]
    fn aliases_and_soft_dependencies_are_written_as_the_modules_say_them() {
        let dir = tree(&[("kernel/a-b.ko", &["alias=fs-a", "softdep=pre: crc32c"])]);
        put(dir.path(), "modules.builtin", b"kernel/fs/fuse/fuse.ko\n");
        write_metadata(dir.path()).unwrap();
        let read = |name| fs::read_to_string(dir.path().join(name)).unwrap();
        assert!(read("modules.alias").ends_with("\nalias fs-a a_b\n"));
        assert!(read("modules.softdep").ends_with("\nsoftdep a_b pre: crc32c\n"));
        assert_eq!(read("modules.builtin"), "kernel/fs/fuse/fuse.ko\n");
    }

    #[test]
    fn a_cycle_is_refused() {
        let dir = tree(&[
            ("kernel/a.ko", &["depends=b"]),
            ("kernel/b.ko", &["depends=a"]),
        ]);
        let error = write_metadata(dir.path()).unwrap_err();
        assert!(matches!(error, Error::Cycle { .. }), "{error}");
    }

    #[test]
    fn dashes_within_brackets_stay() {
        assert_eq!(normalise_alias("a-b[0-9]c-d").unwrap(), "a_b[0-9]c_d");
        assert_eq!(normalise_alias("fs-xfs").unwrap(), "fs_xfs");
        assert_eq!(normalise_alias("a]b"), None);
        assert_eq!(normalise_alias("a[b"), None);
    }
}
