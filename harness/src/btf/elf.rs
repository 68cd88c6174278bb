//! The BTF in ELF files: kernels, modules and BPF objects.

use std::fs::File;
use std::path::Path;

use object::read::{ReadCache, ReadRef};
use object::{Object, ObjectSection};

use super::Error;

/// The sections with BTF of an ELF file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ElfBtf {
    /// `.BTF`.
    pub btf: Option<Vec<u8>>,
    /// `.BTF.base`: the part of the kernel's BTF that a module built outside its tree refers to.
    pub base: Option<Vec<u8>>,
}

/// Reads the BTF in the ELF file `data`, such as an unpacked module; the error says what is wrong
/// with it. Of any architecture and byte order.
pub fn of_bytes(data: &[u8]) -> Result<ElfBtf, String> {
    read(data)
}

/// Reads the BTF in the ELF file at `path`, and no more of it than that takes: a kernel with its
/// debug information has a gigabyte.
pub fn of_file(path: &Path) -> Result<ElfBtf, Error> {
    let file = File::open(path).map_err(Error::io("open", path))?;
    let cache = ReadCache::new(file);
    read(&cache).map_err(|reason| Error::Elf {
        path: path.to_path_buf(),
        reason,
    })
}

fn read<'data>(data: impl ReadRef<'data>) -> Result<ElfBtf, String> {
    let file = object::File::parse(data).map_err(|error| error.to_string())?;
    let section = |name: &str| {
        let Some(section) = file.section_by_name(name) else {
            return Ok(None);
        };
        let data = section.data().map_err(|error| format!("{name}: {error}"))?;
        // pahole leaves an empty section where there was nothing to write.
        Ok::<_, String>((!data.is_empty()).then(|| data.to_vec()))
    };
    Ok(ElfBtf {
        btf: section(".BTF")?,
        base: section(".BTF.base")?,
    })
}
