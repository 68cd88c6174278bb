//! One type: the fields of its record.

use std::fmt;

use super::super::raw::{self, Kind};
use super::data::{Btf, TypeId};

/// One type.
#[derive(Clone, Copy)]
pub struct Type<'a> {
    pub(super) btf: &'a Btf,
    pub(super) id: TypeId,
    pub(super) kind: Kind,
    pub(super) name: u32,
    pub(super) info: u32,
    /// `size` or `type`, whichever the kind has.
    pub(super) field: u32,
    /// What follows `struct btf_type`.
    pub(super) rest: &'a [u8],
}

impl fmt::Debug for Type<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} '{}'", self.id, self.kind, self.name())
    }
}

impl Btf {
    /// Its own types in the order of their ids, without those of its base.
    pub fn own(&self) -> impl Iterator<Item = Type<'_>> {
        (self.first_id..self.end_id()).filter_map(|id| self.get(TypeId(id)))
    }

    /// The type with this id, from this BTF or its base; `None` if no type has it.
    pub fn get(&self, id: TypeId) -> Option<Type<'_>> {
        let mut btf = self;
        while id.0 < btf.first_id {
            match &btf.base {
                Some(base) => btf = base,
                None => return (id == TypeId::VOID).then(|| Type::void(btf)),
            }
        }
        let offset = btf.offsets.get((id.0 - btf.first_id) as usize)? as usize;
        let number = |at: usize| btf.sections.order.u32_at(&btf.data, offset + at);
        let info = number(4)?;
        let length =
            btf.sections
                .size_of_rest(&btf.data, raw::kind_number(info), raw::vlen(info))?;
        Some(Type {
            btf,
            id,
            kind: Kind::from_number(raw::kind_number(info)),
            name: number(0)?,
            info,
            field: number(8)?,
            rest: btf.data.get(offset + raw::TYPE..)?.get(..length)?,
        })
    }

    /// The type with an id that this BTF itself mentions: those have been checked to exist.
    pub fn ty(&self, id: TypeId) -> Type<'_> {
        self.get(id).unwrap_or_else(|| Type::void(self))
    }

    /// Bytes of a pointer: those of `long`, as libbpf decides it; 8 without such a type.
    pub fn pointer_size(&self) -> u32 {
        if let Some(base) = &self.base {
            return base.pointer_size();
        }
        *self.pointer_size.get_or_init(|| {
            const LONG: [&str; 4] = ["long int", "long unsigned int", "long", "unsigned long"];
            self.own()
                .find(|ty| ty.kind() == Kind::Int && LONG.contains(&ty.name()))
                .map(|ty| ty.raw_size())
                .filter(|size| matches!(size, 4 | 8))
                .unwrap_or(8)
        })
    }
}

/// How the bits of an integer are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IntEncoding {
    /// `BTF_INT_SIGNED`.
    pub signed: bool,
    /// `BTF_INT_CHAR`.
    pub is_char: bool,
    /// `BTF_INT_BOOL`.
    pub is_bool: bool,
    /// Bit offset; 0 in practice.
    pub offset: u8,
    /// Number of bits.
    pub bits: u8,
}

/// A member of a struct or union.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member<'a> {
    /// Its index.
    pub index: usize,
    /// Its name; empty for an anonymous struct or union.
    pub name: &'a str,
    /// Its type.
    pub type_id: TypeId,
    /// Its offset in bits.
    pub bit_offset: u32,
    /// The size of a bitfield in bits; 0 for any other member.
    ///
    /// In a struct without `kind_flag`, a bitfield shows in its integer type instead.
    pub bitfield_bits: u8,
}

/// A value of an enum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enumerator<'a> {
    /// Its name.
    pub name: &'a str,
    /// The value: as it stands, sign-extended to 64 bits where the enum is signed.
    pub value: i128,
}

/// A parameter of a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Param<'a> {
    /// Its name, which may be empty.
    pub name: &'a str,
    /// Its type; void in the last one means `...`.
    pub type_id: TypeId,
}

/// A variable in a section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SectionVar {
    /// The `VAR` (in objects also a `FUNC`).
    pub type_id: TypeId,
    /// Its offset in the section, in bytes.
    pub offset: u32,
    /// Its size in bytes.
    pub size: u32,
}

impl<'a> Type<'a> {
    pub(super) fn void(btf: &'a Btf) -> Self {
        Self {
            btf,
            id: TypeId::VOID,
            kind: Kind::Void,
            name: 0,
            info: 0,
            field: 0,
            rest: &[],
        }
    }

    /// The BTF it stands in. That of a base for a type of the base: its id and whatever it refers
    /// to are found in either.
    pub fn btf(&self) -> &'a Btf {
        self.btf
    }

    /// Its id.
    pub fn id(&self) -> TypeId {
        self.id
    }

    /// Its kind.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The number of its kind, also of one that is unknown here.
    pub fn kind_number(&self) -> u8 {
        raw::kind_number(self.info)
    }

    /// Its name; empty without one.
    pub fn name(&self) -> &'a str {
        self.btf.string(self.name)
    }

    /// Whether it has no name.
    pub fn is_anonymous(&self) -> bool {
        self.name().is_empty()
    }

    /// Bit 31 of `info`: bitfields in a struct, a union in a forward declaration, a signed enum, an
    /// attribute in a tag.
    pub fn kind_flag(&self) -> bool {
        self.info >> 31 == 1
    }

    /// The number of its members, values, parameters or variables.
    pub fn len(&self) -> usize {
        match self.kind {
            Kind::Func => 0,
            _ => raw::vlen(self.info),
        }
    }

    /// Whether it has none of them.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The field `size` or `type`, whichever this kind has.
    pub(in super::super) fn raw_size(&self) -> u32 {
        self.field
    }

    /// Its size in bytes as written there; only integers, floats, structs, unions, enums and
    /// sections have one. See [`Type::size`] for all others.
    pub fn own_size(&self) -> Option<u32> {
        matches!(
            self.kind,
            Kind::Int
                | Kind::Float
                | Kind::Struct
                | Kind::Union
                | Kind::Enum
                | Kind::Enum64
                | Kind::Datasec
        )
        .then_some(self.field)
    }

    /// The type that it refers to: what is pointed to, qualified, named or tagged, the prototype of
    /// a function, what a prototype returns, the type of a variable.
    pub fn target_id(&self) -> Option<TypeId> {
        matches!(
            self.kind,
            Kind::Ptr
                | Kind::Typedef
                | Kind::Volatile
                | Kind::Const
                | Kind::Restrict
                | Kind::Func
                | Kind::FuncProto
                | Kind::Var
                | Kind::DeclTag
                | Kind::TypeTag
        )
        .then_some(TypeId(self.field))
    }

    /// The same, looked up.
    pub fn target(&self) -> Option<Type<'a>> {
        Some(self.btf.ty(self.target_id()?))
    }

    fn number(&self, at: usize) -> u32 {
        // The record was measured when it was read.
        let number = self.btf.sections.order.u32_at(self.rest, at);
        number.unwrap_or_default()
    }

    /// How an integer is read.
    pub fn int(&self) -> Option<IntEncoding> {
        (self.kind == Kind::Int).then(|| {
            let value = self.number(0);
            let [bits, _, offset, encoding] = value.to_le_bytes();
            IntEncoding {
                signed: encoding & 1 != 0,
                is_char: encoding & 2 != 0,
                is_bool: encoding & 4 != 0,
                offset,
                bits,
            }
        })
    }

    /// Type of the elements, type of the index, and number of elements of an array.
    pub fn array(&self) -> Option<(TypeId, TypeId, u32)> {
        (self.kind == Kind::Array).then(|| {
            (
                TypeId(self.number(0)),
                TypeId(self.number(4)),
                self.number(8),
            )
        })
    }

    /// The members of a struct or union; none of any other type.
    pub fn members(&self) -> impl Iterator<Item = Member<'a>> + use<'a> {
        let ty = *self;
        let count = if ty.kind.is_composite() { ty.len() } else { 0 };
        (0..count).map(move |index| ty.nth_member(index))
    }

    /// The member with this index.
    pub fn member(&self, index: usize) -> Option<Member<'a>> {
        (self.kind.is_composite() && index < self.len()).then(|| self.nth_member(index))
    }

    fn nth_member(&self, index: usize) -> Member<'a> {
        let at = index * 12;
        let offset = self.number(at + 8);
        let (bit_offset, bitfield_bits) = if self.kind_flag() {
            (offset & 0x00ff_ffff, offset.to_le_bytes()[3])
        } else {
            (offset, 0)
        };
        Member {
            index,
            name: self.btf.string(self.number(at)),
            type_id: TypeId(self.number(at + 4)),
            bit_offset,
            bitfield_bits,
        }
    }

    /// The values of an enum; none of any other type.
    pub fn enumerators(&self) -> impl Iterator<Item = Enumerator<'a>> + use<'a> {
        let ty = *self;
        let count = if ty.kind.is_enum() { ty.len() } else { 0 };
        (0..count).map(move |index| ty.nth_enumerator(index))
    }

    fn nth_enumerator(&self, index: usize) -> Enumerator<'a> {
        let signed = self.is_signed_enum();
        let (at, value) = if self.kind == Kind::Enum {
            let at = index * 8;
            let low = self.number(at + 4);
            let value = if signed {
                i128::from(low.cast_signed())
            } else {
                i128::from(low)
            };
            (at, value)
        } else {
            let at = index * 12;
            let wide = (u64::from(self.number(at + 8)) << 32) | u64::from(self.number(at + 4));
            let value = if signed {
                i128::from(wide.cast_signed())
            } else {
                i128::from(wide)
            };
            (at, value)
        };
        Enumerator {
            name: self.btf.string(self.number(at)),
            value,
        }
    }

    /// Whether the values of an enum are signed: its `kind_flag`, which came with 64-bit enums
    /// (Linux 6.0, pahole 1.24). Before, every enum looks unsigned, and its values are still
    /// stored as signed 32-bit numbers.
    pub fn is_signed_enum(&self) -> bool {
        self.kind.is_enum() && self.kind_flag()
    }

    /// The parameters of a prototype; none of any other type.
    pub fn params(&self) -> impl Iterator<Item = Param<'a>> + use<'a> {
        let ty = *self;
        let count = if ty.kind == Kind::FuncProto {
            ty.len()
        } else {
            0
        };
        (0..count).map(move |index| Param {
            name: ty.btf.string(ty.number(index * 8)),
            type_id: TypeId(ty.number(index * 8 + 4)),
        })
    }

    /// Linkage of a function (`BTF_FUNC_*`) or variable (`BTF_VAR_*`): 0 static, 1 global, 2
    /// extern.
    pub fn linkage(&self) -> Option<u32> {
        match self.kind {
            Kind::Func => u32::try_from(raw::vlen(self.info)).ok(),
            Kind::Var => Some(self.number(0)),
            _ => None,
        }
    }

    /// Variables of a section; none of any other type.
    pub fn section_vars(&self) -> impl Iterator<Item = SectionVar> + use<'a> {
        let ty = *self;
        let count = if ty.kind == Kind::Datasec {
            ty.len()
        } else {
            0
        };
        (0..count).map(move |index| SectionVar {
            type_id: TypeId(ty.number(index * 12)),
            offset: ty.number(index * 12 + 4),
            size: ty.number(index * 12 + 8),
        })
    }

    /// Every id in its record, and where it stands in bytes after the start of the record: first
    /// the target, if it has one, then those of members, parameters and so on.
    pub(in super::super) fn references(&self) -> impl Iterator<Item = (usize, TypeId)> + use<'a> {
        let ty = *self;
        (0..).map_while(move |index| ty.nth_reference(index))
    }

    /// The same by index.
    pub(in super::super) fn nth_reference(&self, index: usize) -> Option<(usize, TypeId)> {
        let target = self.target_id();
        let index = match (target, index) {
            (Some(id), 0) => return Some((8, id)),
            (Some(_), index) => index - 1,
            (None, index) => index,
        };
        let (first, step, count) = match self.kind {
            Kind::Array => (0, 4, 2),
            Kind::Struct | Kind::Union => (4, 12, self.len()),
            Kind::FuncProto => (4, 8, self.len()),
            Kind::Datasec => (0, 12, self.len()),
            _ => return None,
        };
        (index < count).then(|| {
            let at = first + step * index;
            (raw::TYPE + at, TypeId(self.number(at)))
        })
    }

    /// Every string offset in its record, and where it stands in bytes after the start of the
    /// record.
    pub(in super::super) fn string_references(
        &self,
    ) -> impl Iterator<Item = (usize, u32)> + use<'a> {
        let ty = *self;
        let (step, count) = match ty.kind {
            Kind::Struct | Kind::Union | Kind::Enum64 => (12, ty.len()),
            Kind::Enum | Kind::FuncProto => (8, ty.len()),
            _ => (0, 0),
        };
        let more = (0..count).map(move |index| {
            let at = step * index;
            (raw::TYPE + at, ty.number(at))
        });
        std::iter::once((0, ty.name)).chain(more)
    }
}
