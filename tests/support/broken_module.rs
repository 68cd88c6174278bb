//! Kernel modules that do harm when loaded: modules of the kernel itself with their first
//! instructions replaced.

use std::fs;
use std::io::Read as _;
use std::ops::Range;
use std::path::{Path, PathBuf};

use object::{Object as _, ObjectSection as _, ObjectSymbol as _};

use super::Kiln;
use super::material::Material;

/// Stops the only processor with interrupts off: `cli; jmp .`.
pub(crate) const HANG: [u8; 3] = [0xfa, 0xeb, 0xfe];
/// An invalid instruction, which causes an oops: `ud2`.
pub(crate) const OOPS: [u8; 2] = [0x0f, 0x0b];
/// Divides by zero: `xor ecx, ecx; div ecx`.
pub(crate) const DIVIDE: [u8; 4] = [0x31, 0xc9, 0xf7, 0xf1];

/// Length of the `call __fentry__` that each function begins with; the kernel
/// overwrites it.
const FENTRY: usize = 5;
/// The instruction before that if the kernel is built for IBT: `endbr64`.
const ENDBR: [u8; 4] = [0xf3, 0x0f, 0x1e, 0xfa];

/// Writes `NAME.ko` for kernel 6.1 into the tests of `kiln`; its
/// initialisation begins with `code`.
pub(crate) fn write(kiln: &Kiln, name: &str, code: &[u8]) -> PathBuf {
    let path = kiln.work().join("tests").join(format!("{name}.ko"));
    let modules = Material::of(kiln).modules;
    let module = fs::read(modules.join("kernel/drivers/net/dummy.ko")).unwrap();
    fs::write(&path, patched(module, "init_module", code)).unwrap();
    path
}

/// Writes `NAME-RELEASE.ko` for this kernel, the same.
pub(crate) fn write_for(kiln: &Kiln, kernel: &str, name: &str, code: &[u8]) {
    let Material {
        modules, release, ..
    } = Material::of_kernel(kiln, kernel);
    let plain = modules.join("kernel/drivers/net/dummy.ko");
    let module = match fs::read(&plain) {
        Ok(module) => module,
        Err(_) => unpacked(&plain.with_extension("ko.xz")),
    };
    let path = kiln.work().join(format!("tests/{name}-{release}.ko"));
    fs::write(path, patched(module, "init_module", code)).unwrap();
}

fn unpacked(path: &Path) -> Vec<u8> {
    let mut module = Vec::new();
    liblzma::read::XzDecoder::new(fs::File::open(path).unwrap())
        .read_to_end(&mut module)
        .unwrap();
    module
}

/// A module whose function `symbol` begins with `code`.
pub(crate) fn patched(mut module: Vec<u8>, symbol: &str, code: &[u8]) -> Vec<u8> {
    let place = Place::of(&module, symbol);
    module[place.at..place.at + code.len()].copy_from_slice(code);
    // The loader would overwrite the new instructions: relocations have 24 bytes each, of which the
    // first 8 give the offset in the section, the next 4 the type (0 means none).
    let new = place.offset..place.offset + code.len() as u64;
    for entry in module[place.relocations].chunks_exact_mut(24) {
        let at = u64::from_le_bytes(entry[..8].try_into().unwrap());
        if at + 4 > new.start && at < new.end {
            entry[8..12].fill(0);
        }
    }
    // The kernel refuses a wrong signature; a missing one only taints it.
    let magic = b"~Module signature appended~\n";
    if module.ends_with(magic) {
        module.truncate(module.len() - magic.len());
    }
    module
}

/// A module that cannot be unloaded: the kernel treats one without an exit function as permanent
/// (kernel/module/main.c: delete_module).
pub(crate) fn permanent(mut module: Vec<u8>) -> Vec<u8> {
    let (exit, entries) = {
        let file = object::File::parse(&*module).unwrap();
        let exit = file.symbol_by_name("cleanup_module").unwrap().index().0;
        let section = file
            .section_by_name(".rela.gnu.linkonce.this_module")
            .unwrap();
        let (at, size) = section.file_range().unwrap();
        let of_file = |at: u64| usize::try_from(at).unwrap();
        (exit, of_file(at)..of_file(at + size))
    };
    for entry in module[entries].chunks_exact_mut(24) {
        // Its symbol, in the upper half of the second word.
        let symbol = u32::from_le_bytes(entry[12..16].try_into().unwrap());
        if symbol as usize == exit {
            entry[8..12].fill(0);
        }
    }
    module
}

/// Where the first instruction of a function's own code is.
struct Place {
    /// In the file.
    at: usize,
    /// In its section.
    offset: u64,
    /// Of its section, in the file.
    relocations: Range<usize>,
}

impl Place {
    fn of(module: &[u8], symbol: &str) -> Self {
        let file = object::File::parse(module).unwrap();
        let function = file
            .symbols()
            .find(|found| found.name() == Ok(symbol))
            .unwrap();
        let section = file
            .section_by_index(function.section_index().unwrap())
            .unwrap();
        let of_file = |at: u64| usize::try_from(at).unwrap();
        let relocations = file
            .section_by_name(&format!(".rela{}", section.name().unwrap()))
            .and_then(|section| section.file_range())
            .map_or(0..0, |(at, size)| of_file(at)..of_file(at + size));
        let start = of_file(section.file_range().unwrap().0 + function.address());
        let landing = if module[start..].starts_with(&ENDBR) {
            ENDBR.len()
        } else {
            0
        };
        Self {
            at: start + landing + FENTRY,
            offset: function.address() + (landing + FENTRY) as u64,
            relocations,
        }
    }
}
