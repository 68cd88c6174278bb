//! The number that a relocation gives (libbpf: `bpf_core_calc_relo`).

use super::error::RelocError;
use super::kind::RelocKind;
use super::spec::{Spec, size_of};
use crate::btf::{Kind, Type};

/// The number that one side gives.
#[derive(Debug, Clone, Copy)]
struct Side<'b> {
    value: u64,
    /// The size of the field for a load or store, and its type.
    access: Option<(u32, Type<'b>)>,
    /// The instruction must have had this value.
    certain: bool,
}

/// What a relocation does to its instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value {
    /// It gets a number.
    Number(Number),
    /// It is made invalid: the kernel has nothing for it.
    Poison,
}

/// The number that an instruction gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Number {
    /// What it has now, if the object's own types say so for certain.
    pub expected: Option<u64>,
    /// What it gets.
    pub new: u64,
    /// Bytes that a load or store reads or writes now, and those that it shall.
    pub sizes: (u32, u32),
    /// The sizes differ, and the value would be wrong: a load or store becomes invalid.
    pub misfits: bool,
}

/// What the relocation of `local` does where the kernel has `target`, or nothing.
pub(super) fn value(local: &Spec<'_>, target: Option<&Spec<'_>>) -> Result<Value, RelocError> {
    let of_local = side(local)?;
    let Some(target) = target else {
        return Ok(match local.kind {
            RelocKind::FieldExists
            | RelocKind::EnumValueExists
            | RelocKind::TypeExists
            | RelocKind::TypeMatches
            | RelocKind::TypeSize
            | RelocKind::TypeIdTarget => Value::Number(Number {
                expected: of_local.certain.then_some(of_local.value),
                new: 0,
                sizes: (0, 0),
                misfits: false,
            }),
            _ => Value::Poison,
        });
    };
    let of_target = side(target)?;
    let size = |side: Side<'_>| side.access.map_or(0, |(size, _)| size);
    let sizes = (size(of_local), size(of_target));
    let misfits = sizes.0 != sizes.1
        && match (of_local.access, of_target.access) {
            (Some((_, of_local)), Some((_, of_target))) => !adjusts(of_local, of_target),
            _ => true,
        };
    Ok(Value::Number(Number {
        expected: of_local.certain.then_some(of_local.value),
        new: of_target.value,
        sizes,
        misfits,
    }))
}

/// Whether a load of one can become a load of the other size: pointers, and integers without a
/// sign, since the upper bits of the register become zero.
fn adjusts(local: Type<'_>, target: Type<'_>) -> bool {
    let pointers = local.kind() == Kind::Ptr && target.kind() == Kind::Ptr;
    let unsigned = |ty: Type<'_>| {
        let int = ty.int();
        // libbpf compares the whole encoding.
        int.is_some_and(|int| !int.signed || int.is_char || int.is_bool)
    };
    pointers || (unsigned(local) && unsigned(target))
}

fn side<'b>(spec: &Spec<'b>) -> Result<Side<'b>, RelocError> {
    let number = |value: u64| {
        Ok(Side {
            value,
            access: None,
            certain: true,
        })
    };
    let unsized_type =
        || RelocError::Incomparable(format!("{}, whose size is unknown,", spec.path()));
    match spec.kind {
        RelocKind::FieldExists
        | RelocKind::EnumValueExists
        | RelocKind::TypeExists
        | RelocKind::TypeMatches => number(1),
        RelocKind::TypeIdLocal | RelocKind::TypeIdTarget => Ok(Side {
            value: u64::from(spec.root.id().0),
            access: None,
            // Linkers change the ids of an object.
            certain: false,
        }),
        RelocKind::TypeSize => number(size_of(spec.root).ok_or_else(unsized_type)?.into()),
        RelocKind::EnumValue => {
            let value = spec.accessors.first().and_then(|value| {
                let mut values = value.ty.enumerators();
                Some((value.ty.kind(), values.nth(value.index as usize)?.value))
            });
            // A 32-bit value is sign-extended, whatever the enum says.
            number(value.map_or(0, |(kind, value)| match kind {
                Kind::Enum => {
                    let low = u32::try_from(value.rem_euclid(1 << 32)).unwrap_or(0);
                    i64::from(low.cast_signed()).cast_unsigned()
                }
                _ => u64::try_from(value.rem_euclid(1 << 64)).unwrap_or(0),
            }))
        }
        _ => field(spec),
    }
}

/// The properties of a field that loads and stores need.
fn field<'b>(spec: &Spec<'b>) -> Result<Side<'b>, RelocError> {
    let unsized_type =
        || RelocError::Incomparable(format!("{}, whose size is unknown,", spec.path()));
    let Some(last) = spec.accessors.last() else {
        return Err(RelocError::BadSpec("no path".to_owned()));
    };
    let Some(member) = last.name.and_then(|_| last.ty.member(last.index as usize)) else {
        let (value, access) = match spec.kind {
            RelocKind::FieldOffset => {
                let size = size_of(element(last.ty)).ok_or_else(unsized_type)?;
                (spec.bit_offset / 8, Some((size, last.ty)))
            }
            RelocKind::FieldSize => (size_of(last.ty).ok_or_else(unsized_type)?, None),
            kind => return Err(RelocError::OfElement(kind.name())),
        };
        return Ok(Side {
            value: value.into(),
            access,
            certain: true,
        });
    };
    let ty = last.ty.btf().ty(member.type_id).resolved();
    let bits = u32::from(member.bitfield_bits);
    let (byte_size, byte_offset, bits) = if bits > 0 {
        let (size, offset) = load_of(spec.bit_offset, bits, ty.own_size().unwrap_or(0))?;
        (size, offset, bits)
    } else {
        let size = size_of(ty).ok_or_else(unsized_type)?;
        (size, spec.bit_offset / 8, size.wrapping_mul(8))
    };
    let bitfield = member.bitfield_bits > 0;
    let mut side = Side {
        value: 0,
        access: None,
        // The compiler may load a bitfield otherwise.
        certain: !bitfield,
    };
    side.value = match spec.kind {
        RelocKind::FieldOffset => {
            if !bitfield {
                let size = size_of(element(ty)).ok_or_else(unsized_type)?;
                side.access = Some((size, ty));
            }
            byte_offset.into()
        }
        RelocKind::FieldSize => byte_size.into(),
        RelocKind::FieldSigned => {
            side.certain = true;
            let signed = ty.is_signed_enum() || ty.int().is_some_and(|int| int.signed);
            signed.into()
        }
        RelocKind::FieldLeftShift => {
            let end = spec.bit_offset.wrapping_add(bits);
            let end = end.wrapping_sub(byte_offset.wrapping_mul(8));
            64u32.wrapping_sub(end).into()
        }
        _ => {
            side.certain = true;
            64u32.wrapping_sub(bits).into()
        }
    };
    Ok(side)
}

/// Size and offset in bytes of the smallest load that has all bits of a bitfield.
fn load_of(bit_offset: u32, bits: u32, of_type: u32) -> Result<(u32, u32), RelocError> {
    if of_type == 0 {
        return Err(RelocError::WideBitfield);
    }
    let end = u64::from(bit_offset) + u64::from(bits);
    let mut size = of_type;
    loop {
        let offset = bit_offset / 8 / size * size;
        if end - u64::from(offset) * 8 <= u64::from(size) * 8 {
            return Ok((size, offset));
        }
        if size >= 8 {
            return Err(RelocError::WideBitfield);
        }
        size *= 2;
    }
}

/// The elements of an array of arrays.
fn element(mut ty: Type<'_>) -> Type<'_> {
    ty = ty.resolved();
    while let Some((of_array, ..)) = ty.array() {
        ty = ty.btf().ty(of_array).resolved();
    }
    ty
}
