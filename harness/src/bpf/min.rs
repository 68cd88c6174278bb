//! BTF with only what objects need of a kernel's, as `bpftool gen min_core_btf` makes it.
//!
//! libbpf takes it in place of the kernel's own (`btf_custom_path`), which kernels without BTF
//! need.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::kernel::KernelTypes;
use super::object::Object;
use super::relocate::{RelocKind, Spec, relocate};
use crate::btf::{Btf, Kind, Type, TypeId};

/// Bytes of the header.
const HEADER: u32 = 24;

/// What is needed.
#[derive(Debug, Default)]
struct Marks {
    types: BTreeSet<TypeId>,
    /// The members of structs and unions, by their index.
    members: BTreeMap<TypeId, BTreeSet<usize>>,
}

/// The BTF of `vmlinux`, less all that no relocation of `objects` asks for. What only modules have
/// is not in it: libbpf does not look at them beside such a file.
pub fn minimal(objects: &[Object], kernel: KernelTypes<'_>, vmlinux: &Btf) -> Vec<u8> {
    let mut marks = Marks::default();
    for object in objects {
        for relocation in relocate(object, kernel).relocations {
            let Ok(answer) = &relocation.answer else {
                continue;
            };
            if let (Some(target), None) = (&answer.target, answer.module) {
                marks.take(target);
            }
        }
    }
    Writer::new(&marks).write(vmlinux)
}

impl Marks {
    fn take(&mut self, target: &Spec<'_>) {
        match target.kind {
            RelocKind::TypeMatches => self.whole(target.root, false, &mut BTreeSet::new()),
            kind if kind.is_type() => self.ty(target.root, true),
            kind if kind.is_enum_value() => self.ty(target.root, false),
            _ => self.path(target),
        }
    }

    /// Everything on the way to a field.
    fn path(&mut self, target: &Spec<'_>) {
        let mut ty = target.root;
        self.ty(ty, false);
        // The first step is to the root itself.
        for &step in target.raw.iter().skip(1) {
            ty = ty.resolved();
            self.ty(ty, false);
            let next = if let Some(member) = ty.member(step as usize) {
                self.members
                    .entry(ty.id())
                    .or_default()
                    .insert(step as usize);
                member.type_id
            } else if let Some((element, ..)) = ty.array() {
                element
            } else {
                return;
            };
            ty = ty.btf().ty(next);
            self.ty(ty, false);
        }
    }

    /// A type and what its declaration consists of, but no members. What pointers point to only
    /// with `pointers`.
    fn ty(&mut self, ty: Type<'_>, pointers: bool) {
        if ty.id() == TypeId::VOID || !self.types.insert(ty.id()) {
            return;
        }
        let mut next = Vec::new();
        match ty.kind() {
            Kind::Ptr if !pointers => {}
            Kind::Ptr
            | Kind::Const
            | Kind::Volatile
            | Kind::Restrict
            | Kind::Typedef
            | Kind::TypeTag => next.extend(ty.target_id()),
            Kind::Array => {
                if let Some((element, index, _)) = ty.array() {
                    next.extend([element, index]);
                }
            }
            Kind::FuncProto => {
                next.extend(ty.target_id());
                next.extend(ty.params().map(|param| param.type_id));
            }
            _ => {}
        }
        for id in next {
            self.ty(ty.btf().ty(id), pointers);
        }
    }

    /// A type with all its members, and theirs, down to pointers.
    fn whole(&mut self, ty: Type<'_>, behind_pointer: bool, seen: &mut BTreeSet<TypeId>) {
        self.ty(ty, false);
        if !seen.insert(ty.id()) {
            return;
        }
        match ty.kind() {
            Kind::Struct | Kind::Union if !behind_pointer => {
                for member in ty.members() {
                    self.members
                        .entry(ty.id())
                        .or_default()
                        .insert(member.index);
                    self.whole(ty.btf().ty(member.type_id), false, seen);
                }
            }
            Kind::Array => {
                if let Some((element, ..)) = ty.array() {
                    self.whole(ty.btf().ty(element), behind_pointer, seen);
                }
            }
            Kind::FuncProto => {
                for param in ty.params() {
                    self.whole(ty.btf().ty(param.type_id), behind_pointer, seen);
                }
                if let Some(target) = ty.target() {
                    self.whole(target, behind_pointer, seen);
                }
            }
            kind => {
                if let Some(target) = ty.target() {
                    self.whole(target, behind_pointer || kind == Kind::Ptr, seen);
                }
            }
        }
    }
}

struct Writer<'m> {
    marks: &'m Marks,
    ids: HashMap<TypeId, u32>,
    types: Vec<u8>,
    strings: Vec<u8>,
    names: HashMap<String, u32>,
}

impl<'m> Writer<'m> {
    fn new(marks: &'m Marks) -> Self {
        let ids = marks.types.iter().copied().zip(1..).collect();
        Self {
            marks,
            ids,
            types: Vec::new(),
            strings: vec![0],
            names: HashMap::new(),
        }
    }

    fn write(mut self, vmlinux: &Btf) -> Vec<u8> {
        for &id in &self.marks.types {
            self.ty(vmlinux.ty(id));
        }
        let size = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let (types, strings) = (size(&self.types), size(&self.strings));
        let mut bytes = vec![0x9f, 0xeb, 1, 0];
        for word in [HEADER, 0, types, types, strings] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(self.types);
        bytes.extend(self.strings);
        bytes
    }

    /// One type; what it refers to and nobody needs becomes void.
    fn ty(&mut self, ty: Type<'_>) {
        let marked = self.marks.members.get(&ty.id());
        let mut rest = Vec::new();
        let mut count = ty.len();
        match ty.kind() {
            Kind::Int => {
                let word = ty.int().map_or(0, |int| {
                    let flag = |set: bool, bit: u32| u32::from(set) << bit;
                    let encoding =
                        flag(int.signed, 24) | flag(int.is_char, 25) | flag(int.is_bool, 26);
                    encoding | u32::from(int.offset) << 16 | u32::from(int.bits)
                });
                rest.push(word);
            }
            Kind::Array => {
                if let Some((element, index, length)) = ty.array() {
                    rest.extend([self.id(element), self.id(index), length]);
                }
            }
            Kind::Struct | Kind::Union => {
                let members = ty.members();
                let members: Vec<_> = members
                    .filter(|member| marked.is_some_and(|marked| marked.contains(&member.index)))
                    .collect();
                count = members.len();
                for member in members {
                    let bits = u32::from(member.bitfield_bits) << 24;
                    rest.extend([
                        self.name(member.name),
                        self.id(member.type_id),
                        bits | member.bit_offset,
                    ]);
                }
            }
            Kind::Enum | Kind::Enum64 => {
                for value in ty.enumerators() {
                    let number = u64::try_from(value.value.rem_euclid(1 << 64)).unwrap_or(0);
                    let [low, high] = [number, number >> 32].map(low_half);
                    rest.extend([self.name(value.name), low]);
                    if ty.kind() == Kind::Enum64 {
                        rest.push(high);
                    }
                }
            }
            Kind::FuncProto => {
                for param in ty.params() {
                    rest.extend([self.name(param.name), self.id(param.type_id)]);
                }
            }
            _ => {}
        }
        let info = u32::from(ty.kind_flag()) << 31
            | u32::from(ty.kind_number()) << 24
            | u32::try_from(count).unwrap_or(0);
        let size_or_type = match ty.target_id() {
            Some(target) => self.id(target),
            None => ty.own_size().unwrap_or(0),
        };
        let name = self.name(ty.name());
        for word in [name, info, size_or_type].into_iter().chain(rest) {
            self.types.extend(word.to_le_bytes());
        }
    }

    fn id(&self, id: TypeId) -> u32 {
        self.ids.get(&id).copied().unwrap_or(0)
    }

    fn name(&mut self, name: &str) -> u32 {
        if name.is_empty() {
            return 0;
        }
        if let Some(&offset) = self.names.get(name) {
            return offset;
        }
        let offset = u32::try_from(self.strings.len()).unwrap_or(0);
        self.strings.extend(name.as_bytes());
        self.strings.push(0);
        self.names.insert(name.to_owned(), offset);
        offset
    }
}

fn low_half(number: u64) -> u32 {
    u32::try_from(number & 0xffff_ffff).unwrap_or(0)
}
