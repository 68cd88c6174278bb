//! What a type is behind its typedefs and qualifiers, how large it is, and where its members are.

use std::collections::HashSet;

use super::check::MAX_DEPTH;
use super::raw::Kind;
use super::types::{Member, Type, TypeId};

/// A member, found by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundMember<'a> {
    /// The member.
    pub member: Member<'a>,
    /// The offset in bits from the start of the type that was searched, through anonymous
    /// members.
    pub bit_offset: u64,
    /// Id of the struct or union that has it: the searched one, or an anonymous one in it.
    pub within: TypeId,
}

impl<'a> Type<'a> {
    /// What is behind `const`, `volatile`, `restrict` and type tags.
    #[must_use]
    pub fn unqualified(self) -> Self {
        self.behind(Kind::is_modifier)
    }

    /// What is behind those and typedefs.
    #[must_use]
    pub fn resolved(self) -> Self {
        self.behind(|kind| kind.is_modifier() || kind == Kind::Typedef)
    }

    fn behind(mut self, of_name_only: impl Fn(Kind) -> bool) -> Self {
        // Own types and those of the base are each at most so deep.
        for _ in 0..2 * MAX_DEPTH {
            match self.target() {
                Some(target) if of_name_only(self.kind()) => self = target,
                _ => break,
            }
        }
        self
    }

    /// Its size in bytes; `None` for void, functions and forward declarations, and for an array
    /// that is larger than numbers are.
    pub fn size(self) -> Option<u64> {
        let mut elements: u64 = 1;
        let mut ty = self;
        for _ in 0..2 * MAX_DEPTH {
            match ty.kind() {
                Kind::Ptr => return elements.checked_mul(u64::from(ty.btf().pointer_size())),
                Kind::Array => {
                    let (element, _, count) = ty.array()?;
                    elements = elements.checked_mul(u64::from(count))?;
                    ty = ty.btf().ty(element);
                }
                Kind::Var => ty = ty.target()?,
                kind if kind.is_modifier() || kind == Kind::Typedef => ty = ty.target()?,
                _ => return elements.checked_mul(u64::from(ty.own_size()?)),
            }
        }
        None
    }

    /// The member called `name`, of itself or of an anonymous struct or union in it, as C finds
    /// it. Typedefs and qualifiers are looked through, pointers are not.
    pub fn find_member(self, name: &str) -> Option<FoundMember<'a>> {
        if name.is_empty() {
            return None;
        }
        let mut found = None;
        self.each_member(&mut |member| {
            if member.member.name == name {
                found = Some(member);
            }
            found.is_none()
        });
        found
    }

    /// All members with a name, in order, those of anonymous structs and unions among them, until
    /// `visit` returns `false`. An anonymous type that occurs twice is walked once.
    pub fn each_member(self, visit: &mut dyn FnMut(FoundMember<'a>) -> bool) {
        self.walk(0, &mut HashSet::new(), visit);
    }

    fn walk(
        self,
        bit_offset: u64,
        walked: &mut HashSet<TypeId>,
        visit: &mut dyn FnMut(FoundMember<'a>) -> bool,
    ) -> bool {
        let ty = self.resolved();
        for member in ty.members() {
            let bit_offset = bit_offset + u64::from(member.bit_offset);
            if member.name.is_empty() {
                let inner = ty.btf().ty(member.type_id).unqualified();
                // The depth is limited by what was checked when the BTF was read.
                if inner.kind().is_composite()
                    && walked.insert(inner.id())
                    && !inner.walk(bit_offset, walked, visit)
                {
                    return false;
                }
                continue;
            }
            let found = FoundMember {
                member,
                bit_offset,
                within: ty.id(),
            };
            if !visit(found) {
                return false;
            }
        }
        true
    }

    /// The bits of a member that is a bitfield: its own `bitfield_bits`, or, in the older encoding
    /// without `kind_flag`, those of an integer type of fewer bits than its bytes have. `None` if
    /// it is no bitfield.
    pub fn bitfield_of(self, member: &Member<'_>) -> Option<u8> {
        if self.kind_flag() {
            return (member.bitfield_bits != 0).then_some(member.bitfield_bits);
        }
        let ty = self.btf().ty(member.type_id).resolved();
        let int = ty.int()?;
        (u32::from(int.bits) != ty.raw_size().saturating_mul(8)).then_some(int.bits)
    }
}
