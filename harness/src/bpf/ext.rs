//! `.BTF.ext`: where functions begin, which source line an instruction is of, and CO-RE
//! relocations (Linux: `Documentation/bpf/btf.rst`, `llvm_reloc.rst`).

use super::error::Damage;

/// `.BTF.ext` begins with this.
const MAGIC: u16 = 0xeb9f;
/// Bytes of the header before relocations were added to it.
const OLD_HEADER: usize = 24;
/// Bytes of the header with them.
const HEADER: usize = 32;
/// An object with more records of a kind is damaged: clang's largest have thousands.
const MAX_RECORDS: usize = 1 << 20;

/// Everything in `.BTF.ext`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ext {
    /// Source lines of instructions.
    pub lines: Vec<InSection<LineInfo>>,
    /// CO-RE relocations.
    pub relocations: Vec<InSection<CoreReloc>>,
}

/// Records about one section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InSection<T> {
    /// The section's name, an offset into the strings of `.BTF`.
    pub section: u32,
    /// The records: lines by their offset, relocations in the order of the file.
    pub records: Vec<T>,
}

/// The source line of the instructions from one offset to the next record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineInfo {
    /// Bytes from the section's start.
    pub insn_off: u32,
    /// The file's name, an offset into the strings of `.BTF`.
    pub file: u32,
    /// The text of the line, an offset into the strings of `.BTF`.
    pub text: u32,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1.
    pub column: u32,
}

/// One CO-RE relocation (`struct bpf_core_relo`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CoreReloc {
    /// Bytes from the section's start.
    pub insn_off: u32,
    /// The root type, in the object's BTF.
    pub type_id: u32,
    /// The path to the field, such as `0:1:2`: an offset into the strings of `.BTF`.
    pub access: u32,
    /// What is wanted of it (`enum bpf_core_relo_kind`).
    pub kind: u32,
}

impl Ext {
    /// Reads a section of a little-endian object.
    pub fn parse(data: &[u8]) -> Result<Self, Damage> {
        let reader = Reader { data };
        if reader.u16(0)? != MAGIC {
            return Err(Damage::new(0, "it does not begin with 0xeb9f"));
        }
        let header = reader.u32(4)? as usize;
        if header < OLD_HEADER {
            return Err(Damage::new(4, "its header is shorter than any version's"));
        }
        let part = |at: usize| -> Result<Part<'_>, Damage> {
            let (from, length) = (reader.u32(at)? as usize, reader.u32(at + 4)? as usize);
            let from = header.saturating_add(from);
            let end = from.saturating_add(length);
            let data = data
                .get(from..end)
                .ok_or_else(|| Damage::new(at, "a part of it lies behind its end"))?;
            Ok(Part { data, at: from })
        };
        let mut lines = part(16)?.sections(LineInfo::new)?;
        for section in &mut lines {
            section.records.sort_by_key(|line| line.insn_off);
        }
        let relocations = if header >= HEADER {
            part(24)?.sections(CoreReloc::new)?
        } else {
            Vec::new()
        };
        Ok(Self { lines, relocations })
    }
}

/// One of the header's parts: the size of a record, then the sections.
struct Part<'a> {
    data: &'a [u8],
    /// Where it begins in `.BTF.ext`.
    at: usize,
}

impl Part<'_> {
    /// All its records, each made of its first four words: newer compilers may append more.
    fn sections<T>(&self, record: fn([u32; 4]) -> T) -> Result<Vec<InSection<T>>, Damage> {
        let damage = |at: usize, what| Damage::new(self.at + at, what);
        if self.data.is_empty() {
            return Ok(Vec::new());
        }
        let reader = Reader { data: self.data };
        let word = |at| reader.u32(at).map_err(|damage| damage.after(self.at));
        let size = word(0)? as usize;
        if size < 16 || !size.is_multiple_of(4) {
            return Err(damage(0, "no version has records of this size"));
        }
        let (mut at, mut sections, mut count) = (4, Vec::new(), 0);
        while at < self.data.len() {
            let (section, number) = (word(at)?, word(at + 4)? as usize);
            count += number;
            if count > MAX_RECORDS {
                return Err(damage(at + 4, "it has more than a million records"));
            }
            at += 8;
            let end = at + number * size;
            let records = self
                .data
                .get(at..end)
                .ok_or_else(|| damage(at - 4, "it has fewer records than it says"))?;
            let words = |record: &[u8]| {
                let mut words = [0; 4];
                for (word, bytes) in words.iter_mut().zip(record.as_chunks::<4>().0) {
                    *word = u32::from_le_bytes(*bytes);
                }
                words
            };
            let records = records.chunks_exact(size);
            sections.push(InSection {
                section,
                records: records.map(|bytes| record(words(bytes))).collect(),
            });
            at = end;
        }
        Ok(sections)
    }
}

impl LineInfo {
    fn new([insn_off, file, text, place]: [u32; 4]) -> Self {
        Self {
            insn_off,
            file,
            text,
            line: place >> 10,
            column: place & 0x3ff,
        }
    }
}

impl CoreReloc {
    fn new([insn_off, type_id, access, kind]: [u32; 4]) -> Self {
        Self {
            insn_off,
            type_id,
            access,
            kind,
        }
    }
}

struct Reader<'a> {
    data: &'a [u8],
}

impl Reader<'_> {
    fn bytes<const N: usize>(&self, at: usize) -> Result<[u8; N], Damage> {
        self.data
            .get(at..)
            .and_then(|rest| rest.first_chunk::<N>())
            .copied()
            .ok_or_else(|| Damage::new(at, "it is cut short"))
    }

    fn u16(&self, at: usize) -> Result<u16, Damage> {
        self.bytes(at).map(u16::from_le_bytes)
    }

    fn u32(&self, at: usize) -> Result<u32, Damage> {
        self.bytes(at).map(u32::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A section with one line and one relocation; records are `extra` bytes longer than known.
    fn section(extra: usize) -> Vec<u8> {
        let size = 16 + u32::try_from(extra).unwrap();
        let part = |words: [u32; 4]| {
            let head = [size, 7, 1];
            let mut bytes: Vec<u8> = head
                .iter()
                .chain(&words)
                .flat_map(|w| w.to_le_bytes())
                .collect();
            bytes.extend(vec![0xff; extra]);
            bytes
        };
        let lines = part([8, 1, 2, 40 << 10 | 3]);
        let relocations = part([8, 5, 9, 0]);
        let length = u32::try_from(lines.len()).unwrap();
        let mut bytes = vec![0x9f, 0xeb, 1, 0];
        for word in [32, 0, 0, 0, length, length, length] {
            bytes.extend(u32::to_le_bytes(word));
        }
        [bytes, lines, relocations].concat()
    }

    #[test]
    fn lines_and_relocations_are_read_also_where_a_newer_compiler_wrote_longer_records() {
        for extra in [0, 8] {
            let ext = Ext::parse(&section(extra)).unwrap();
            let line = ext.lines[0].records[0];
            assert_eq!((ext.lines[0].section, line.insn_off), (7, 8));
            assert_eq!((line.line, line.column), (40, 3));
            assert_eq!(ext.relocations[0].records[0].type_id, 5);
        }
    }

    #[test]
    fn what_is_damaged_is_refused_with_its_offset() {
        let whole = section(0);
        for length in 0..whole.len() {
            assert!(Ext::parse(&whole[..length]).is_err(), "{length}");
        }
        let mut liar = whole.clone();
        liar[40] = 9;
        let error = Ext::parse(&liar).unwrap_err();
        assert_eq!(
            error.to_string(),
            "at offset 40: it has fewer records than it says"
        );
        let mut liar = whole;
        liar[32] = 3;
        assert!(
            Ext::parse(&liar)
                .unwrap_err()
                .to_string()
                .contains("records of this size")
        );
    }
}
