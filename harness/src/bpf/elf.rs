//! The ELF side of a BPF object: its sections, functions and relocations, as libbpf reads them.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use object::elf::{self, FileHeader64};
use object::read::elf::{ElfFile64, FileHeader as _};
use object::{
    Endianness, Object as _, ObjectSection as _, ObjectSymbol as _, RelocationTarget, SectionFlags,
    SymbolKind, SymbolSection,
};

use super::error::Error;
use super::insn::{self, Insn};

/// A longer object is not one that clang made.
pub const MAX_BYTES: u64 = 256 << 20;

/// The parts of the file that matter here.
#[derive(Debug)]
pub struct Elf {
    /// `.BTF`.
    pub btf: Vec<u8>,
    /// `.BTF.ext`, if it is there.
    pub ext: Option<Vec<u8>>,
    /// Sections with code, by their index in the file.
    pub code: BTreeMap<usize, Code>,
    /// Sections with data, by their index in the file.
    pub data: BTreeMap<usize, Data>,
    /// The names that the object uses and does not define.
    pub externs: Vec<Extern>,
}

/// A section with code.
#[derive(Debug, Default)]
pub struct Code {
    /// Its name.
    pub name: String,
    /// All its instructions.
    pub insns: Vec<Insn>,
    /// Its functions, by their first instruction.
    pub functions: Vec<Function>,
    /// What instructions refer to, by their index.
    pub references: HashMap<usize, Reference>,
}

/// A function in a section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// Its first instruction.
    pub start: usize,
    /// How many it has.
    pub length: usize,
    /// It can be called from elsewhere: the kernel checks it by itself.
    pub global: bool,
}

/// A section with data.
#[derive(Debug, Default)]
pub struct Data {
    /// Its name.
    pub name: String,
    /// Its bytes; empty if the file has none for it (`.bss`).
    pub bytes: Vec<u8>,
    /// The functions whose addresses are in it, by their offset there.
    pub functions: BTreeMap<u64, Reference>,
}

/// A name that the object uses and does not define.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extern {
    /// The name.
    pub name: String,
    /// The object is content if nothing has this name.
    pub weak: bool,
}

/// What an instruction or a word of data refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reference {
    /// A place in a section of the object, in bytes from its start.
    Section {
        /// The section's index.
        section: usize,
        /// Bytes from its start, before the instruction's own addend.
        offset: u64,
    },
    /// An index into [`Elf::externs`].
    Extern(usize),
}

impl Elf {
    /// Reads an object; `path` is for messages.
    pub fn parse(path: &Path, data: &[u8]) -> Result<Self, Error> {
        check_header(path, data)?;
        let damaged = |error: object::Error| Error::Damaged {
            path: path.to_owned(),
            section: "the ELF file".to_owned(),
            damage: error.to_string(),
        };
        let file = ElfFile64::<Endianness>::parse(data).map_err(damaged)?;
        let (mut btf, mut ext) = (None, None);
        let (mut code, mut sections) = (BTreeMap::new(), BTreeMap::new());
        for section in file.sections() {
            let SectionFlags::Elf { sh_type, sh_flags } = section.flags() else {
                continue;
            };
            let name = section.name().map_err(damaged)?;
            let bytes = section.data().map_err(damaged)?;
            let index = section.index().0;
            match name {
                ".BTF" => btf = Some(bytes.to_vec()),
                ".BTF.ext" => ext = Some(bytes.to_vec()),
                _ if sh_flags.0 & elf::SHF_EXECINSTR.0 != 0 && !bytes.is_empty() => {
                    let of_section = Code {
                        name: name.to_owned(),
                        insns: Insn::parse_all(bytes),
                        ..Code::default()
                    };
                    code.insert(index, of_section);
                }
                _ if sh_flags.0 & elf::SHF_ALLOC.0 != 0
                    && (sh_type == elf::SHT_PROGBITS || sh_type == elf::SHT_NOBITS) =>
                {
                    let of_section = Data {
                        name: name.to_owned(),
                        bytes: bytes.to_vec(),
                        ..Data::default()
                    };
                    sections.insert(index, of_section);
                }
                _ => {}
            }
        }
        let mut elf = Self {
            btf: btf.ok_or_else(|| Error::NoBtf {
                path: path.to_owned(),
            })?,
            ext,
            code,
            data: sections,
            externs: Vec::new(),
        };
        elf.read_symbols(&file, damaged)?;
        Ok(elf)
    }

    fn read_symbols(
        &mut self,
        file: &ElfFile64<'_, Endianness>,
        damaged: impl Fn(object::Error) -> Error,
    ) -> Result<(), Error> {
        let mut references = HashMap::new();
        for symbol in file.symbols() {
            let name = symbol.name().map_err(&damaged)?;
            let reference = match symbol.section() {
                SymbolSection::Undefined if !name.is_empty() => {
                    self.externs.push(Extern {
                        name: name.to_owned(),
                        weak: symbol.is_weak(),
                    });
                    Reference::Extern(self.externs.len() - 1)
                }
                SymbolSection::Section(section) => Reference::Section {
                    section: section.0,
                    offset: symbol.address(),
                },
                _ => continue,
            };
            references.insert(symbol.index(), reference);
            if symbol.kind() == SymbolKind::Text
                && let Reference::Section { section, offset } = reference
                && let Some(code) = self.code.get_mut(&section)
                && let Some((start, length)) = slots(offset, symbol.size(), code.insns.len())
            {
                code.functions.push(Function {
                    name: name.to_owned(),
                    start,
                    length,
                    global: symbol.is_global(),
                });
            }
        }
        for code in self.code.values_mut() {
            code.functions.sort_by_key(|function| function.start);
            code.functions.dedup_by_key(|function| function.start);
        }
        for section in file.sections() {
            let index = section.index().0;
            for (offset, relocation) in section.relocations() {
                let RelocationTarget::Symbol(symbol) = relocation.target() else {
                    continue;
                };
                let Some(&reference) = references.get(&symbol) else {
                    continue;
                };
                if let Some(code) = self.code.get_mut(&index) {
                    let slot = usize::try_from(offset).unwrap_or(usize::MAX) / insn::SIZE;
                    code.references.insert(slot, reference);
                } else if let Some(data) = self.data.get_mut(&index) {
                    data.functions.insert(offset, reference);
                }
            }
        }
        Ok(())
    }
}

impl Code {
    /// The function that the instruction `slot` is in.
    pub fn function_at(&self, slot: usize) -> Option<&Function> {
        let after = self
            .functions
            .partition_point(|function| function.start <= slot);
        let function = self.functions.get(after.checked_sub(1)?)?;
        (slot < function.start + function.length).then_some(function)
    }
}

/// First instruction and number of instructions of a function, if it lies in a section of `slots`
/// instructions.
fn slots(offset: u64, size: u64, slots: usize) -> Option<(usize, usize)> {
    let (offset, size) = (usize::try_from(offset).ok()?, usize::try_from(size).ok()?);
    let whole = offset % insn::SIZE == 0 && size % insn::SIZE == 0 && size > 0;
    let (start, length) = (offset / insn::SIZE, size / insn::SIZE);
    (whole && start.checked_add(length)? <= slots).then_some((start, length))
}

/// Refuses what is not a BPF object before anything else is read.
fn check_header(path: &Path, data: &[u8]) -> Result<(), Error> {
    let not_bpf = |why: String| Error::NotBpf {
        path: path.to_owned(),
        why,
    };
    if !data.starts_with(&elf::ELFMAG) {
        return Err(not_bpf(what_it_is(data).to_owned()));
    }
    let Ok(header) = FileHeader64::<Endianness>::parse(data) else {
        return Err(not_bpf(match object::FileKind::parse(data) {
            Ok(object::FileKind::Elf32) => "it is for 32-bit machines".to_owned(),
            _ => "its ELF header is cut short or damaged".to_owned(),
        }));
    };
    let Ok(endian) = header.endian() else {
        return Err(not_bpf("its ELF header is cut short or damaged".to_owned()));
    };
    let machine = header.e_machine(endian);
    if machine != elf::EM_BPF {
        let name = object::File::parse(data).map_or_else(
            |_| format!("ELF machine {}", machine.0),
            |file| format!("{:?}", file.architecture()).to_lowercase(),
        );
        return Err(not_bpf(format!("it is for {name}")));
    }
    if header.e_type(endian) != elf::ET_REL {
        return Err(not_bpf("it is linked, not relocatable".to_owned()));
    }
    if endian == Endianness::Big {
        return Err(Error::BigEndian {
            path: path.to_owned(),
        });
    }
    Ok(())
}

/// What a file that is not ELF is.
fn what_it_is(data: &[u8]) -> &'static str {
    let is_text = |bytes: &[u8]| !bytes.contains(&0) && std::str::from_utf8(bytes).is_ok();
    if data.is_empty() {
        "it is empty"
    } else if data.starts_with(b"BC\xc0\xde") {
        "it is LLVM bitcode"
    } else if is_text(&data[..data.len().min(4096)]) {
        "it is text"
    } else if object::FileKind::parse(data).is_ok() {
        "it is an object file of another format"
    } else {
        "it is not ELF"
    }
}
