//! The format: header, byte order, kinds, and how long the record of a type is.
//!
//! Source: `include/uapi/linux/btf.h` and `Documentation/bpf/btf.rst` of Linux, up to the layout
//! section and the wider `vlen` of 7.1.

use std::fmt;
use std::ops::Range;

/// First two bytes of BTF, in its byte order.
const MAGIC: u16 = 0xeb9f;

/// The only version there is.
const VERSION: u8 = 1;

/// Bytes of the header without the layout section's fields, and with them.
const HEADER: usize = 24;
const HEADER_WITH_LAYOUT: usize = 32;

/// Bytes of `struct btf_type`, which begins each record.
pub(super) const TYPE: usize = 12;

/// Some BTF that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("byte {offset} of the BTF: {what}")]
pub struct Damage {
    /// Where, in bytes from the start of the BTF.
    pub offset: usize,
    /// What is wrong there.
    pub what: String,
}

impl Damage {
    pub(super) fn at(offset: usize, what: impl Into<String>) -> Self {
        Self {
            offset,
            what: what.into(),
        }
    }
}

/// The order of bytes in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteOrder {
    /// Least significant first.
    Little,
    /// Most significant first.
    Big,
}

impl ByteOrder {
    /// The number at `offset`; `None` if it does not lie within `data`.
    pub fn u32_at(self, data: &[u8], offset: usize) -> Option<u32> {
        let bytes = *data.get(offset..)?.first_chunk()?;
        Some(match self {
            Self::Little => u32::from_le_bytes(bytes),
            Self::Big => u32::from_be_bytes(bytes),
        })
    }

    /// `number` in this order.
    pub fn bytes(self, number: u32) -> [u8; 4] {
        match self {
            Self::Little => number.to_le_bytes(),
            Self::Big => number.to_be_bytes(),
        }
    }
}

/// What a type is: `BTF_KIND_*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[allow(missing_docs)] // The names are the kernel's.
pub enum Kind {
    /// Id 0, which has no record.
    Void = 0,
    Int = 1,
    Ptr = 2,
    Array = 3,
    Struct = 4,
    Union = 5,
    Enum = 6,
    Fwd = 7,
    Typedef = 8,
    Volatile = 9,
    Const = 10,
    Restrict = 11,
    Func = 12,
    FuncProto = 13,
    Var = 14,
    Datasec = 15,
    Float = 16,
    DeclTag = 17,
    TypeTag = 18,
    Enum64 = 19,
    /// Newer than this program; its layout section says how long it is.
    Unknown = 0x7f,
}

impl Kind {
    const ALL: [Self; 20] = [
        Self::Void,
        Self::Int,
        Self::Ptr,
        Self::Array,
        Self::Struct,
        Self::Union,
        Self::Enum,
        Self::Fwd,
        Self::Typedef,
        Self::Volatile,
        Self::Const,
        Self::Restrict,
        Self::Func,
        Self::FuncProto,
        Self::Var,
        Self::Datasec,
        Self::Float,
        Self::DeclTag,
        Self::TypeTag,
        Self::Enum64,
    ];

    /// The kind with this number.
    pub fn from_number(number: u8) -> Self {
        let known = Self::ALL.get(usize::from(number));
        known.copied().unwrap_or(Self::Unknown)
    }

    /// As bpftool prints it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Void => "VOID",
            Self::Int => "INT",
            Self::Ptr => "PTR",
            Self::Array => "ARRAY",
            Self::Struct => "STRUCT",
            Self::Union => "UNION",
            Self::Enum => "ENUM",
            Self::Fwd => "FWD",
            Self::Typedef => "TYPEDEF",
            Self::Volatile => "VOLATILE",
            Self::Const => "CONST",
            Self::Restrict => "RESTRICT",
            Self::Func => "FUNC",
            Self::FuncProto => "FUNC_PROTO",
            Self::Var => "VAR",
            Self::Datasec => "DATASEC",
            Self::Float => "FLOAT",
            Self::DeclTag => "DECL_TAG",
            Self::TypeTag => "TYPE_TAG",
            Self::Enum64 => "ENUM64",
            Self::Unknown => "UNKNOWN",
        }
    }

    /// Whether it is a struct or a union.
    pub fn is_composite(self) -> bool {
        matches!(self, Self::Struct | Self::Union)
    }

    /// Whether it is an enum, of any size.
    pub fn is_enum(self) -> bool {
        matches!(self, Self::Enum | Self::Enum64)
    }

    /// Whether it only qualifies another type: `const`, `volatile`, `restrict`, type tags.
    pub fn is_modifier(self) -> bool {
        matches!(
            self,
            Self::Const | Self::Volatile | Self::Restrict | Self::TypeTag
        )
    }

    /// Bytes after `struct btf_type`: once, and for each of `vlen`. `None` if unknown here.
    fn sizes(self) -> Option<(usize, usize)> {
        Some(match self {
            Self::Int | Self::Var | Self::DeclTag => (4, 0),
            Self::Array => (12, 0),
            Self::Struct | Self::Union | Self::Datasec | Self::Enum64 => (0, 12),
            Self::Enum | Self::FuncProto => (0, 8),
            Self::Ptr
            | Self::Fwd
            | Self::Typedef
            | Self::Volatile
            | Self::Const
            | Self::Restrict
            | Self::Func
            | Self::Float
            | Self::TypeTag => (0, 0),
            Self::Void | Self::Unknown => return None,
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The number of a kind in `info`. Before 7.1 it had five bits and two unused ones above.
pub(super) fn kind_number(info: u32) -> u8 {
    (info >> 24) as u8 & 0x7f
}

/// The number of members, parameters or values in `info`. Before 7.1 it had 16 bits and eight
/// unused ones above.
pub(super) fn vlen(info: u32) -> usize {
    (info & 0x00ff_ffff) as usize
}

/// The sections of some BTF.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sections {
    pub(super) order: ByteOrder,
    /// Byte ranges in the whole.
    pub(super) types: Range<usize>,
    pub(super) strings: Range<usize>,
    layout: Range<usize>,
}

impl Sections {
    /// Reads the header.
    pub(super) fn parse(data: &[u8]) -> Result<Self, Damage> {
        let Some(&[a, b]) = data.first_chunk() else {
            return Err(Damage::at(0, "it is too short for a header"));
        };
        let order = match u16::from_le_bytes([a, b]) {
            MAGIC => ByteOrder::Little,
            magic if magic.swap_bytes() == MAGIC => ByteOrder::Big,
            magic => {
                let what = format!("the magic number is {magic:#06x} and not {MAGIC:#06x}");
                return Err(Damage::at(0, what));
            }
        };
        let number = |offset: usize| {
            let number = order.u32_at(data, offset);
            let number = number.and_then(|number| usize::try_from(number).ok());
            number.ok_or_else(|| {
                Damage::at(
                    offset,
                    format!("the header is cut short after {} bytes", data.len()),
                )
            })
        };
        let header = number(4)?;
        if data[2] != VERSION {
            let what = format!("version {} is unknown, only {VERSION} is known", data[2]);
            return Err(Damage::at(2, what));
        }
        if header < HEADER {
            let what = format!("the header claims {header} bytes, and {HEADER} is the least");
            return Err(Damage::at(4, what));
        }
        if header > data.len() {
            let what = format!("the header is cut short after {} bytes", data.len());
            return Err(Damage::at(data.len(), what));
        }
        let section = |what: &str, field: usize| {
            let start = header.checked_add(number(field)?);
            let end = start.zip(Some(number(field + 4)?));
            let end = end.and_then(|(start, len)| start.checked_add(len));
            match (start, end) {
                (Some(start), Some(end)) if end <= data.len() => Ok(start..end),
                _ => Err(Damage::at(
                    field,
                    format!(
                        "the {what} section ends behind the last byte, {}: it is cut short",
                        data.len()
                    ),
                )),
            }
        };
        let types = section("type", 8)?;
        let strings = section("string", 16)?;
        let layout = if header >= HEADER_WITH_LAYOUT {
            section("layout", 24)?
        } else {
            0..0
        };
        if types.start < strings.end && strings.start < types.end {
            return Err(Damage::at(
                strings.start,
                "the string section overlaps the type section",
            ));
        }
        Ok(Self {
            order,
            types,
            strings,
            layout,
        })
    }

    /// Bytes of a record of `kind_number` after `struct btf_type`; `None` if nobody knows.
    pub(super) fn size_of_rest(&self, data: &[u8], kind_number: u8, vlen: usize) -> Option<usize> {
        let (once, each) = match Kind::from_number(kind_number) {
            Kind::Unknown => {
                let at = self.layout.start + 4 * usize::from(kind_number);
                let entry = data.get(at..at + 4)?;
                if at + 4 > self.layout.end {
                    return None;
                }
                (usize::from(entry[0]), usize::from(entry[1]))
            }
            kind => kind.sizes()?,
        };
        let each = each.checked_mul(vlen_of(kind_number, vlen))?;
        once.checked_add(each)
    }

    /// Where the records of the type section begin, in bytes from the start of the BTF.
    pub(super) fn records(&self, data: &[u8]) -> Result<Vec<u32>, Damage> {
        let mut at = self.types.start;
        let end = self.types.end;
        let mut offsets = Vec::with_capacity(self.types.len() / 24);
        while at < end {
            let header = data.get(at..end).and_then(|rest| rest.get(..TYPE));
            let info = header.and_then(|header| self.order.u32_at(header, 4));
            let Some(info) = info else {
                return Err(Damage::at(
                    at,
                    "the type section ends within a type: it is cut short",
                ));
            };
            let kind = kind_number(info);
            let rest = self.size_of_rest(data, kind, vlen(info));
            let Some(rest) = rest else {
                return Err(Damage::at(
                    at + 4,
                    format!(
                        "a type has kind {kind}, which is unknown here, and no layout section says how long it is"
                    ),
                ));
            };
            let next = at.checked_add(TYPE + rest).filter(|next| *next <= end);
            let Some(next) = next else {
                return Err(Damage::at(
                    at,
                    format!(
                        "a {} of {} entries reaches over the end of the type section",
                        Kind::from_number(kind),
                        vlen(info)
                    ),
                ));
            };
            let offset = u32::try_from(at)
                .map_err(|_| Damage::at(at, "the type section is larger than 4 GiB"))?;
            offsets.push(offset);
            at = next;
        }
        Ok(offsets)
    }
}

/// `vlen` where it counts elements: in a function it is the linkage.
fn vlen_of(kind_number: u8, vlen: usize) -> usize {
    if kind_number == Kind::Func as u8 {
        0
    } else {
        vlen
    }
}
