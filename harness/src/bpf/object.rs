//! A BPF object: its programs, types, relocations and source lines.

use std::path::Path;

use super::elf::{self, Elf, Function};
use super::error::Error;
use super::ext::Ext;
use super::insn;
use super::section::Section;
use crate::btf::Btf;

/// The section with functions that programs call.
const TEXT: &str = ".text";

/// A BPF object.
#[derive(Debug)]
pub struct Object {
    /// Its ELF side.
    pub elf: Elf,
    /// Its types.
    pub btf: Btf,
    /// Its relocations and source lines.
    pub ext: Ext,
    /// Its programs, in the order of the file.
    pub programs: Vec<Program>,
}

/// A program: a function that a kernel loads by itself.
#[derive(Debug)]
pub struct Program {
    /// Its name.
    pub name: String,
    /// The index of its section.
    pub section: usize,
    /// What the name of the section says.
    pub kind: Section,
    /// Its instructions.
    pub function: Function,
}

/// A line of source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceLine<'o> {
    /// The file, as the compiler was given it.
    pub file: &'o str,
    /// From 1.
    pub number: u32,
    /// Column, from 1.
    pub column: u32,
    /// The text of the line.
    pub text: &'o str,
}

impl Object {
    /// Reads the object at `path`.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Read {
            path: path.to_owned(),
            source,
        };
        let meta = std::fs::metadata(path).map_err(failed)?;
        if meta.len() > elf::MAX_BYTES {
            return Err(Error::NotBpf {
                path: path.to_owned(),
                why: format!("it has {} bytes", meta.len()),
            });
        }
        Self::parse(path, &std::fs::read(path).map_err(failed)?)
    }

    /// Reads an object from memory; `path` is for messages.
    pub fn parse(path: &Path, data: &[u8]) -> Result<Self, Error> {
        let mut elf = Elf::parse(path, data)?;
        let damaged = |section: &str, damage: String| Error::Damaged {
            path: path.to_owned(),
            section: section.to_owned(),
            damage,
        };
        let mut types = std::mem::take(&mut elf.btf);
        make_text(&mut types);
        let btf = Btf::parse(types).map_err(|damage| damaged(".BTF", damage.to_string()))?;
        let ext = elf.ext.take().map(|ext| Ext::parse(&ext)).transpose();
        let ext = ext.map_err(|damage| damaged(".BTF.ext", damage.to_string()))?;
        let mut programs = Vec::new();
        for (&section, code) in &elf.code {
            if code.name == TEXT {
                continue;
            }
            let kind = Section::of(&code.name);
            programs.extend(code.functions.iter().map(|function| Program {
                name: function.name.clone(),
                section,
                kind: kind.clone(),
                function: function.clone(),
            }));
        }
        if programs.is_empty() {
            return Err(Error::NoProgram {
                path: path.to_owned(),
            });
        }
        Ok(Self {
            elf,
            btf,
            ext: ext.unwrap_or_default(),
            programs,
        })
    }

    /// The index of the code section with this name.
    pub fn section(&self, name: &str) -> Option<usize> {
        let mut code = self.elf.code.iter();
        code.find_map(|(&index, code)| (code.name == name).then_some(index))
    }

    /// Whether libbpf would load the instruction `insn` of a section: it is in a function, and not
    /// in a program that is loaded on demand only.
    pub fn is_loaded(&self, section: usize, insn: usize) -> bool {
        let code = self.elf.code.get(&section);
        let optional = code.is_some_and(|code| Section::of(&code.name).optional);
        !optional && code.is_some_and(|code| code.function_at(insn).is_some())
    }

    /// The source line of an instruction.
    pub fn line(&self, section: usize, insn: usize) -> Option<SourceLine<'_>> {
        let code = self.elf.code.get(&section)?;
        let mut sections = self.ext.lines.iter();
        let of_section = sections.find(|lines| self.btf.string(lines.section) == code.name)?;
        let offset = u32::try_from(insn * insn::SIZE).ok()?;
        let start = code.function_at(insn).map_or(0, |function| function.start);
        let start = u32::try_from(start * insn::SIZE).ok()?;
        let records = &of_section.records;
        let after = records.partition_point(|record| record.insn_off <= offset);
        let record = records.get(after.checked_sub(1)?)?;
        if record.insn_off < start {
            return None;
        }
        // The first instruction of a function has the line of its head, whatever it does.
        let head = record.insn_off == start && record.column == 0;
        let next = of_section
            .records
            .iter()
            .find(|other| other.insn_off > start);
        let record = if head { next.unwrap_or(record) } else { record };
        Some(SourceLine {
            file: self.btf.string(record.file),
            number: record.line,
            column: record.column,
            text: self.btf.string(record.text).trim(),
        })
    }
}

/// Source lines are among the strings, in whatever encoding the source has: bytes that are not
/// UTF-8 become `?`.
fn make_text(btf: &mut [u8]) {
    let word = |at: usize| {
        let bytes = btf.get(at..)?.first_chunk::<4>()?;
        usize::try_from(u32::from_le_bytes(*bytes)).ok()
    };
    let range = || {
        let start = word(4)?.checked_add(word(16)?)?;
        Some(start..start.checked_add(word(20)?)?)
    };
    let Some(strings) = range().and_then(|range| btf.get_mut(range)) else {
        return;
    };
    let mut from = 0;
    while let Err(error) = std::str::from_utf8(&strings[from..]) {
        let bad = from + error.valid_up_to();
        strings[bad] = b'?';
        from = bad;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn source_lines_in_another_encoding_are_kept_as_far_as_they_are_text() {
        let mut btf = vec![
            0x9f, 0xeb, 1, 0, 24, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0,
        ];
        btf.extend(b"\0caf\xe9 \xff\xfe\0");
        make_text(&mut btf);
        assert_eq!(&btf[24..], b"\0caf? ??\0");
        for length in 0..24 {
            make_text(&mut btf[..length].to_vec());
        }
    }
}
