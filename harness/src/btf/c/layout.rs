//! Where a compiler puts members, and what a declaration must say so that they are where they were.

use std::fmt::Write as _;

use super::super::raw::Kind;
use super::super::types::{Type, TypeId};
use super::{NotC, Writer};

/// A gap in a struct, in bits, that is still filled with declarations. Those of kernels are smaller
/// than their largest page.
const MAX_GAP: u64 = (256 << 10) * 8;

impl<'a> Writer<'a> {
    /// Fills a gap with unnamed bitfields, so that a compiler lays out the rest as it was.
    pub(super) fn padding(
        &mut self,
        from: u64,
        to: u64,
        align: u32,
        in_bitfield: bool,
        level: usize,
    ) -> Result<(), NotC> {
        if from >= to {
            return Ok(());
        }
        if to - from > MAX_GAP {
            return Err(NotC::Gap((to - from) / 8));
        }
        let word = u64::from(self.btf.pointer_size()) * 8;
        let pads = [("long", word), ("int", 32), ("short", 16), ("char", 8)];
        // The largest type that reaches a boundary of its own within the gap.
        let (name, unit, boundary) = pads
            .iter()
            .map(|&(name, bits)| (name, bits, from.next_multiple_of(bits)))
            .find(|(_, _, boundary)| *boundary <= to)
            .unwrap_or(("char", 8, u64::MAX));
        let mut at = from;
        if boundary > from && boundary <= to {
            let natural = from.next_multiple_of(u64::from(align.max(1)) * 8);
            let is_needed = in_bitfield
                || (boundary == to && natural != boundary)
                || (boundary != to && to - boundary <= boundary - from);
            if is_needed {
                let bits = if in_bitfield { boundary - from } else { 0 };
                self.line(level);
                let _ = write!(self.text, "{name}: {bits};");
            }
            at = boundary;
        }
        while at < to {
            let bits = (to - at).min(unit);
            let name = if bits == unit {
                name
            } else {
                let smallest = pads.iter().rev().find(|(_, size)| *size >= bits);
                smallest.map_or(name, |(name, _)| name)
            };
            self.line(level);
            let _ = write!(self.text, "{name}: {bits};");
            at += bits;
        }
        Ok(())
    }

    /// Whether the members of a struct are not where a compiler would put them.
    pub(super) fn is_packed(&mut self, ty: Type<'a>) -> bool {
        let mut largest = 1;
        for member in ty.members() {
            let align = self.align(member.type_id);
            if align != 0
                && member.bitfield_bits == 0
                && !member.bit_offset.is_multiple_of(8 * align)
            {
                return true;
            }
            largest = largest.max(align);
        }
        !ty.own_size().unwrap_or_default().is_multiple_of(largest)
    }

    /// The alignment of a type in bytes, by its members: BTF does not have that of attributes. 0
    /// for void and functions.
    pub(super) fn align(&mut self, id: TypeId) -> u32 {
        if let Some(&align) = self.alignments.get(&id) {
            return align;
        }
        let pointer = self.btf.pointer_size();
        let ty = self.btf.ty(id);
        // As deep as was checked when the BTF was read.
        let align = match ty.kind() {
            Kind::Int | Kind::Float | Kind::Enum | Kind::Enum64 => {
                pointer.min(ty.own_size().unwrap_or_default())
            }
            Kind::Ptr => pointer,
            Kind::Array => ty.array().map_or(0, |(element, ..)| self.align(element)),
            Kind::Typedef | Kind::Const | Kind::Volatile | Kind::Restrict | Kind::TypeTag => {
                ty.target_id().map_or(0, |id| self.align(id))
            }
            Kind::Struct | Kind::Union => {
                if self.is_packed(ty) {
                    1
                } else {
                    let members = ty.members();
                    members.map(|m| self.align(m.type_id)).max().unwrap_or(1)
                }
            }
            _ => 0,
        };
        self.alignments.insert(id, align);
        align
    }
}
