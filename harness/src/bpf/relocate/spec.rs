//! The path that a relocation is about, in the object's types or in the kernel's.

use std::fmt::Write as _;

use super::error::RelocError;
use super::kind::RelocKind;
use crate::btf::{Kind, Type};

/// No path is longer (libbpf: `BPF_CORE_SPEC_MAX_LEN`).
pub(super) const MAX_LENGTH: usize = 64;

/// One step that the source names: a field, or an element of an array.
#[derive(Debug, Clone, Copy)]
pub(in crate::bpf) struct Accessor<'b> {
    /// The struct or union, or the type of the element.
    pub(in crate::bpf) ty: Type<'b>,
    /// Which field or element.
    pub(in crate::bpf) index: u32,
    /// The field's name, or the enum value's; `None` for an element.
    pub(in crate::bpf) name: Option<&'b str>,
}

/// A path from a root type to a field, or an enum value, or only the root.
#[derive(Debug, Clone)]
pub struct Spec<'b> {
    /// The type as it was named, typedefs and all.
    pub(in crate::bpf) root: Type<'b>,
    pub(in crate::bpf) kind: RelocKind,
    pub(in crate::bpf) accessors: Vec<Accessor<'b>>,
    /// Every step, also through what has no name.
    pub(in crate::bpf) raw: Vec<u32>,
    /// Where it leads, in bits from the start of the root.
    pub(super) bit_offset: u32,
}

impl<'b> Spec<'b> {
    pub(super) fn new(root: Type<'b>, kind: RelocKind) -> Self {
        Self {
            root,
            kind,
            accessors: Vec::new(),
            raw: Vec::new(),
            bit_offset: 0,
        }
    }

    /// The path `access` (such as `0:1:2`) from `root`, a type of the object.
    pub(in crate::bpf) fn parse(
        root: Type<'b>,
        kind: RelocKind,
        access: &str,
    ) -> Result<Self, RelocError> {
        let bad = |why: &str| RelocError::BadSpec(format!("{access:?}: {why}"));
        let mut spec = Self::new(root, kind);
        if kind.is_type() {
            let only = if access == "0" {
                Ok(spec)
            } else {
                Err(bad("a type has no path"))
            };
            return only;
        }
        let steps = access.split(':').map(|step| step.parse::<u32>().ok());
        let steps: Option<Vec<u32>> = steps.collect();
        let steps = steps.ok_or_else(|| bad("not numbers with colons between"))?;
        if steps.len() > MAX_LENGTH || steps.iter().any(|&step| i32::try_from(step).is_err()) {
            return Err(bad("too long"));
        }
        let ty = root.resolved();
        let first = steps[0];
        if kind.is_enum_value() {
            let value = ty.enumerators().nth(first as usize);
            let value = value.filter(|_| steps.len() == 1);
            let value = value.ok_or_else(|| bad("no such enum value"))?;
            spec.raw.push(first);
            spec.accessors.push(Accessor {
                ty,
                index: first,
                name: Some(value.name),
            });
            return Ok(spec);
        }
        spec.element(ty, first)
            .ok_or_else(|| bad("a type of unknown size"))?;
        let mut ty = ty;
        for &step in &steps[1..] {
            ty = ty.resolved();
            if ty.kind().is_composite() {
                let member = ty
                    .member(step as usize)
                    .ok_or_else(|| bad("no such field"))?;
                spec.bit_offset = spec.bit_offset.wrapping_add(member.bit_offset);
                spec.raw.push(step);
                if !member.name.is_empty() {
                    spec.accessors.push(Accessor {
                        ty,
                        index: step,
                        name: Some(member.name),
                    });
                }
                ty = ty.btf().ty(member.type_id);
            } else if let Some((element, _, count)) = ty.array() {
                if step >= count && !spec.ends_in_flexible(count) {
                    return Err(bad("behind the end of an array"));
                }
                ty = ty.btf().ty(element).resolved();
                spec.element(ty, step)
                    .ok_or_else(|| bad("elements of unknown size"))?;
            } else {
                return Err(bad(&format!("{} has no fields", ty.kind())));
            }
        }
        Ok(spec)
    }

    /// Steps to the element `index` of type `ty`; `None` if its size is unknown.
    pub(super) fn element(&mut self, ty: Type<'b>, index: u32) -> Option<()> {
        let bits = size_of(ty)?.wrapping_mul(8);
        self.bit_offset = self.bit_offset.wrapping_add(index.wrapping_mul(bits));
        self.raw.push(index);
        self.accessors.push(Accessor {
            ty,
            index,
            name: None,
        });
        Some(())
    }

    /// Whether an array of `count` elements, the last step so far, is one of no fixed length at
    /// the end of its struct.
    pub(super) fn ends_in_flexible(&self, count: u32) -> bool {
        self.accessors.last().is_some_and(|last| {
            count == 0 && last.name.is_some() && last.index as usize + 1 == last.ty.len()
        })
    }

    /// In C: `struct task_struct.pid`, `enum bpf_func_id::BPF_FUNC_loop`.
    pub fn path(&self) -> String {
        let mut text = declared(self.root);
        if self.kind.is_enum_value() {
            if let Some(name) = self.accessors.first().and_then(|value| value.name) {
                let _ = write!(text, "::{name}");
            }
            return text;
        }
        for (number, accessor) in self.accessors.iter().enumerate() {
            match accessor.name {
                Some(name) => {
                    let _ = write!(text, ".{name}");
                }
                None if number > 0 || accessor.index > 0 => {
                    let _ = write!(text, "[{}]", accessor.index);
                }
                None => {}
            }
        }
        text
    }

    /// As libbpf's log has it (`bpf_core_format_spec`).
    pub fn in_log(&self) -> String {
        let mut text = format!("<{}> {} {}", self.kind, self.root.id(), self.path());
        if self.kind.is_enum_value()
            && let Some(value) = self.accessors.first()
            && let Some(value) = value.ty.enumerators().nth(value.index as usize)
        {
            let _ = write!(text, " = {}", value.value);
        }
        if self.kind.is_field() {
            let raw: Vec<String> = self.raw.iter().map(u32::to_string).collect();
            let (bytes, bits) = (self.bit_offset / 8, self.bit_offset % 8);
            let _ = write!(text, " ({} @ offset {bytes}", raw.join(":"));
            if bits != 0 {
                let _ = write!(text, ".{bits}");
            }
            text.push(')');
        }
        text
    }
}

/// `struct task_struct`, as libbpf writes it.
fn declared(ty: Type<'_>) -> String {
    let name = ty.name();
    let name = if name.is_empty() { "<anon>" } else { name };
    format!("{} {name}", kind_word(ty.kind()))
}

/// libbpf's word for a kind (`btf_kind_str`).
pub(super) fn kind_word(kind: Kind) -> &'static str {
    match kind {
        Kind::Void => "void",
        Kind::Int => "int",
        Kind::Ptr => "ptr",
        Kind::Array => "array",
        Kind::Struct => "struct",
        Kind::Union => "union",
        Kind::Enum => "enum",
        Kind::Fwd => "fwd",
        Kind::Typedef => "typedef",
        Kind::Volatile => "volatile",
        Kind::Const => "const",
        Kind::Restrict => "restrict",
        Kind::Func => "func",
        Kind::FuncProto => "func_proto",
        Kind::Var => "var",
        Kind::Datasec => "datasec",
        Kind::Float => "float",
        Kind::DeclTag => "decl_tag",
        Kind::TypeTag => "type_tag",
        Kind::Enum64 => "enum64",
        Kind::Unknown => "unknown",
    }
}

/// Bytes of a type, where libbpf can tell (`btf__resolve_size`).
pub(super) fn size_of(ty: Type<'_>) -> Option<u32> {
    u32::try_from(ty.size()?).ok()
}
