//! Writes BTF for tests.

use std::sync::Arc;

use super::raw::{ByteOrder, Kind};
use super::types::Btf;

/// BTF that grows type by type. Each method returns the id of the new type.
#[derive(Debug, Clone)]
pub(crate) struct Builder {
    pub(crate) order: ByteOrder,
    first_id: u32,
    first_string: u32,
    count: u32,
    pub(crate) types: Vec<u8>,
    pub(crate) strings: Vec<u8>,
}

impl Builder {
    pub(crate) fn new(order: ByteOrder) -> Self {
        Self {
            order,
            first_id: 1,
            first_string: 0,
            count: 0,
            types: Vec::new(),
            strings: vec![0],
        }
    }

    pub(crate) fn over(base: &Btf) -> Self {
        Self {
            order: base.byte_order(),
            first_id: base.end_id(),
            first_string: base.end_string(),
            count: 0,
            types: Vec::new(),
            strings: Vec::new(),
        }
    }

    pub(crate) fn name(&mut self, name: &str) -> u32 {
        if name.is_empty() {
            return 0;
        }
        let offset = self.first_string + u32::try_from(self.strings.len()).unwrap_or(0);
        self.strings.extend(name.as_bytes());
        self.strings.push(0);
        offset
    }

    pub(crate) fn raw(&mut self, name: &str, info: u32, size_or_type: u32, rest: &[u32]) -> u32 {
        let name = self.name(name);
        for number in [name, info, size_or_type].iter().chain(rest) {
            self.types.extend(self.order.bytes(*number));
        }
        self.count += 1;
        self.first_id + self.count - 1
    }

    fn kind(kind: Kind, flag: bool, count: usize) -> u32 {
        (u32::from(flag) << 31) | ((kind as u32) << 24) | u32::try_from(count).unwrap_or(0)
    }

    pub(crate) fn int(&mut self, name: &str, bytes: u32, encoding: u32) -> u32 {
        let info = Self::kind(Kind::Int, false, 0);
        self.raw(name, info, bytes, &[(encoding << 24) | (bytes * 8)])
    }

    /// A type that only refers to another: pointers, qualifiers, typedefs, tags.
    pub(crate) fn to(&mut self, kind: Kind, name: &str, target: u32) -> u32 {
        self.raw(name, Self::kind(kind, false, 0), target, &[])
    }

    pub(crate) fn array(&mut self, element: u32, index: u32, count: u32) -> u32 {
        let info = Self::kind(Kind::Array, false, 0);
        self.raw("", info, 0, &[element, index, count])
    }

    /// Members: name, type, offset in bits, bits of a bitfield.
    pub(crate) fn composite(
        &mut self,
        kind: Kind,
        name: &str,
        bytes: u32,
        members: &[(&str, u32, u32, u32)],
    ) -> u32 {
        let flag = members.iter().any(|member| member.3 != 0);
        let mut rest = Vec::new();
        for (name, ty, offset, bits) in members {
            rest.extend([self.name(name), *ty, (bits << 24) | offset]);
        }
        self.raw(name, Self::kind(kind, flag, members.len()), bytes, &rest)
    }

    pub(crate) fn enumeration(&mut self, name: &str, signed: bool, values: &[(&str, i32)]) -> u32 {
        let mut rest = Vec::new();
        for (name, value) in values {
            rest.extend([self.name(name), value.cast_unsigned()]);
        }
        let info = Self::kind(Kind::Enum, signed, values.len());
        self.raw(name, info, 4, &rest)
    }

    pub(crate) fn enumeration64(
        &mut self,
        name: &str,
        signed: bool,
        values: &[(&str, u64)],
    ) -> u32 {
        let mut rest = Vec::new();
        for (name, value) in values {
            let half = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
            rest.extend([
                self.name(name),
                half(value & 0xffff_ffff),
                half(value >> 32),
            ]);
        }
        let info = Self::kind(Kind::Enum64, signed, values.len());
        self.raw(name, info, 8, &rest)
    }

    pub(crate) fn fwd(&mut self, name: &str, union: bool) -> u32 {
        self.raw(name, Self::kind(Kind::Fwd, union, 0), 0, &[])
    }

    pub(crate) fn proto(&mut self, returns: u32, params: &[(&str, u32)]) -> u32 {
        let mut rest = Vec::new();
        for (name, ty) in params {
            rest.extend([self.name(name), *ty]);
        }
        let info = Self::kind(Kind::FuncProto, false, params.len());
        self.raw("", info, returns, &rest)
    }

    pub(crate) fn func(&mut self, name: &str, proto: u32, linkage: usize) -> u32 {
        self.raw(name, Self::kind(Kind::Func, false, linkage), proto, &[])
    }

    pub(crate) fn var(&mut self, name: &str, ty: u32, linkage: u32) -> u32 {
        self.raw(name, Self::kind(Kind::Var, false, 0), ty, &[linkage])
    }

    pub(crate) fn section(&mut self, name: &str, bytes: u32, vars: &[(u32, u32, u32)]) -> u32 {
        let rest: Vec<u32> = vars.iter().flat_map(|(a, b, c)| [*a, *b, *c]).collect();
        self.raw(
            name,
            Self::kind(Kind::Datasec, false, vars.len()),
            bytes,
            &rest,
        )
    }

    pub(crate) fn decl_tag(&mut self, name: &str, target: u32, component: i32) -> u32 {
        let info = Self::kind(Kind::DeclTag, false, 0);
        self.raw(name, info, target, &[component.cast_unsigned()])
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        super::distilled::write(self.order, &self.types, &[&self.strings]).unwrap_or_default()
    }

    #[allow(clippy::unwrap_used)]
    pub(crate) fn build(&self) -> Arc<Btf> {
        Arc::new(Btf::parse(self.bytes()).unwrap())
    }

    #[allow(clippy::unwrap_used)]
    pub(crate) fn build_over(&self, base: &Arc<Btf>) -> Arc<Btf> {
        Arc::new(Btf::parse_split(self.bytes(), Arc::clone(base)).unwrap())
    }
}
