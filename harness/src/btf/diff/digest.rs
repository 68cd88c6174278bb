//! Types as numbers: equal where two kernels have the same by names and structure.

use std::cell::{Cell, RefCell};
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use super::super::raw::Kind;
use super::super::types::{Btf, Type, TypeId};

/// The digests of one BTF.
#[derive(Debug)]
pub(super) struct Digests<'a> {
    btf: &'a Btf,
    base: Option<&'a Digests<'a>>,
    /// Of references to own types; 0 where it was not asked for yet.
    known: RefCell<Vec<u64>>,
    depth: Cell<u16>,
}

/// Anonymous types that point to anonymous types may go on for ever. Those of kernels go a few
/// levels; what is below this depth does not count.
const MAX_DEPTH: u16 = 256;

/// The digest of a constant.
pub(super) fn of_value(value: i128) -> u64 {
    of(|hash| value.hash(hash))
}

fn of(write: impl FnOnce(&mut DefaultHasher)) -> u64 {
    let mut hash = DefaultHasher::new();
    write(&mut hash);
    hash.finish().max(1)
}

impl<'a> Digests<'a> {
    pub(super) fn new(btf: &'a Btf, base: Option<&'a Digests<'a>>) -> Self {
        let own = btf.end_id() - btf.first_id();
        Self {
            btf,
            base,
            known: RefCell::new(vec![0; own as usize]),
            depth: Cell::new(0),
        }
    }

    /// Of what a named type is: its members, values or target.
    pub(super) fn definition(&self, ty: Type<'_>) -> u64 {
        of(|hash| match ty.kind() {
            Kind::Struct | Kind::Union => self.members(ty, hash),
            Kind::Enum | Kind::Enum64 => {
                ty.size().hash(hash);
                values(ty, hash);
            }
            Kind::Func => self.prototype(ty.target().unwrap_or(ty), true, hash),
            _ => self
                .reference(ty.target_id().unwrap_or_default())
                .hash(hash),
        })
    }

    /// Of a type where it is used: named types count by name.
    pub(super) fn reference(&self, id: TypeId) -> u64 {
        let Some(own) = id.0.checked_sub(self.btf.first_id()) else {
            return match self.base {
                Some(base) => base.reference(id),
                None => 1,
            };
        };
        let known = self.known.borrow().get(own as usize).copied();
        match known {
            Some(0) if self.depth.get() < MAX_DEPTH => {}
            Some(digest) => return digest,
            None => return 1,
        }
        // For those that are reached again before it is known.
        self.remember(own, 1);
        self.depth.set(self.depth.get() + 1);
        let digest = of(|hash| self.used(self.btf.ty(id), hash));
        self.depth.set(self.depth.get() - 1);
        self.remember(own, digest);
        digest
    }

    fn remember(&self, own: u32, digest: u64) {
        if let Some(place) = self.known.borrow_mut().get_mut(own as usize) {
            *place = digest;
        }
    }

    fn used(&self, ty: Type<'_>, hash: &mut DefaultHasher) {
        match ty.kind() {
            Kind::Ptr => (1, self.reference(ty.target_id().unwrap_or_default())).hash(hash),
            Kind::Array => {
                let (element, _, count) = ty.array().unwrap_or_default();
                (2, count, self.reference(element)).hash(hash);
            }
            kind if kind.is_modifier() => {
                // In any order, and without tags: only some compilers write those.
                let mut set = 0_u8;
                let mut inner = ty;
                while inner.kind().is_modifier() {
                    set |= match inner.kind() {
                        Kind::Const => 1,
                        Kind::Volatile => 2,
                        Kind::Restrict => 4,
                        _ => 0,
                    };
                    match inner.target() {
                        Some(target) => inner = target,
                        None => break,
                    }
                }
                if set == 0 {
                    // Equal to what is tagged.
                    self.used(inner, hash);
                } else {
                    (3, set, self.reference(inner.id())).hash(hash);
                }
            }
            Kind::FuncProto => self.prototype(ty, false, hash),
            Kind::Int | Kind::Float => {
                (5, ty.own_size()).hash(hash);
                canonical(ty.name()).hash(hash);
            }
            Kind::Struct | Kind::Union if ty.is_anonymous() => {
                6.hash(hash);
                self.members(ty, hash);
            }
            Kind::Enum | Kind::Enum64 if ty.is_anonymous() => {
                7.hash(hash);
                values(ty, hash);
            }
            Kind::Struct => (8, ty.name()).hash(hash),
            Kind::Union => (9, ty.name()).hash(hash),
            Kind::Fwd => (if ty.kind_flag() { 9 } else { 8 }, ty.name()).hash(hash),
            Kind::Enum | Kind::Enum64 => (10, ty.name()).hash(hash),
            _ => (11, ty.kind(), ty.name()).hash(hash),
        }
    }

    fn members(&self, ty: Type<'_>, hash: &mut DefaultHasher) {
        (ty.kind(), ty.own_size(), ty.len()).hash(hash);
        for member in ty.members() {
            let bits = ty.bitfield_of(&member);
            (member.name, member.bit_offset, bits).hash(hash);
            self.reference(member.type_id).hash(hash);
        }
    }

    fn prototype(&self, ty: Type<'_>, with_names: bool, hash: &mut DefaultHasher) {
        4.hash(hash);
        self.reference(ty.target_id().unwrap_or_default())
            .hash(hash);
        ty.len().hash(hash);
        for param in ty.params() {
            if with_names {
                param.name.hash(hash);
            }
            self.reference(param.type_id).hash(hash);
        }
    }
}

fn values(ty: Type<'_>, hash: &mut DefaultHasher) {
    for value in ty.enumerators() {
        // The same bits, whether the enum is known to be signed or not.
        let bits = match ty.own_size() {
            Some(8) => value.value & i128::from(u64::MAX),
            _ => value.value & i128::from(u32::MAX),
        };
        (value.name, bits).hash(hash);
    }
}

/// One spelling of an integer's name: GCC says `long unsigned int`, Clang `unsigned long`.
fn canonical(name: &str) -> Vec<&str> {
    let mut words: Vec<&str> = name.split(' ').filter(|word| *word != "int").collect();
    let unsigned = words.contains(&"unsigned");
    words.retain(|word| *word != "signed" || name.contains("char"));
    words.sort_unstable();
    if words.is_empty() || (unsigned && words.len() == 1) {
        words.push("int");
    }
    if words == ["bool"] {
        words = vec!["_Bool"];
    }
    words
}

#[cfg(test)]
mod tests {
    use super::canonical;

    #[test]
    fn names_of_integers_are_equal_in_each_compilers_words() {
        for (gcc, clang) in [
            ("long unsigned int", "unsigned long"),
            ("long long int", "long long"),
            ("short int", "short"),
            ("unsigned int", "unsigned int"),
            ("_Bool", "bool"),
            ("int", "int"),
        ] {
            assert_eq!(canonical(gcc), canonical(clang));
        }
        let all = [
            "char",
            "signed char",
            "unsigned char",
            "short int",
            "int",
            "unsigned int",
            "long int",
            "long unsigned int",
            "long long int",
            "__int128",
            "_Bool",
        ];
        for (index, one) in all.iter().enumerate() {
            for other in &all[index + 1..] {
                assert_ne!(canonical(one), canonical(other));
            }
        }
    }
}
