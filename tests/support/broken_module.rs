//! Kernel modules that do harm when they are loaded: made of a module of the
//! kernel itself, whose first instructions are replaced.

use std::fs;
use std::path::PathBuf;

use object::{Object as _, ObjectSection as _, ObjectSymbol as _};

use super::Kiln;
use super::material::Material;

/// Stops the only processor with interrupts off: `cli; jmp .`.
pub(crate) const HANG: [u8; 3] = [0xfa, 0xeb, 0xfe];
/// An instruction that is none, which is an oops: `ud2`.
pub(crate) const OOPS: [u8; 2] = [0x0f, 0x0b];

/// Length of the `call __fentry__` that each function begins with; the kernel
/// overwrites it.
const FENTRY: u64 = 5;

/// Writes `NAME.ko` for kernel 6.1 into the tests of `kiln`; its
/// initialisation begins with `code`.
pub(crate) fn write(kiln: &Kiln, name: &str, code: &[u8]) -> PathBuf {
    let module = Material::of(kiln)
        .modules
        .join("kernel/drivers/net/dummy.ko");
    let mut bytes = fs::read(module).unwrap();
    let at = usize::try_from(first_instruction(&bytes, code.len() as u64)).unwrap();
    bytes[at..at + code.len()].copy_from_slice(code);
    // A signature that does not fit is refused; none taints the kernel.
    let magic = b"~Module signature appended~\n";
    if bytes.ends_with(magic) {
        bytes.truncate(bytes.len() - magic.len());
    }
    let path = kiln.work().join("tests").join(format!("{name}.ko"));
    fs::write(&path, bytes).unwrap();
    path
}

/// Where the file holds the first instruction of `init_module` of its own.
fn first_instruction(module: &[u8], length: u64) -> u64 {
    let file = object::File::parse(module).unwrap();
    let init = file
        .symbols()
        .find(|symbol| symbol.name() == Ok("init_module"))
        .unwrap();
    let section = file
        .section_by_index(init.section_index().unwrap())
        .unwrap();
    let at = init.address() + FENTRY;
    let overwritten = |offset: u64| offset + 4 > at && offset < at + length;
    assert!(
        !section.relocations().any(|(offset, _)| overwritten(offset)),
        "the loader would write over the new instructions"
    );
    section.file_range().unwrap().0 + at
}
