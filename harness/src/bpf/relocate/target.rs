//! Finds in a type of the kernel what a relocation is about in a type of the object
//! (libbpf: `bpf_core_spec_match`).

use super::budget::Budget;
use super::compare::{fields_fit, types_fit, types_match};
use super::error::RelocError;
use super::kind::RelocKind;
use super::spec::{Accessor, MAX_LENGTH, Spec};
use crate::bpf::names::essential;
use crate::btf::Type;

/// The same path from `target`; `None` if it has none.
pub(super) fn find<'t>(
    local: &Spec<'_>,
    target: Type<'t>,
    budget: &Budget,
) -> Result<Option<Spec<'t>>, RelocError> {
    let mut spec = Spec::new(target, local.kind);
    if local.kind.is_type() {
        let fits = if local.kind == RelocKind::TypeMatches {
            types_match(local.root, target, budget)?
        } else {
            types_fit(local.root, target, budget)?
        };
        return Ok(fits.then_some(spec));
    }
    if local.kind.is_enum_value() {
        return Ok(enum_value(local, target).map(|value| {
            spec.raw.push(value.index);
            spec.accessors.push(value);
            spec
        }));
    }
    let mut ty = target;
    for (number, accessor) in local.accessors.iter().enumerate() {
        ty = ty.resolved();
        if accessor.name.is_some() {
            match field(accessor, ty, &mut spec, budget)? {
                Some(of_field) => ty = of_field,
                None => return Ok(None),
            }
            continue;
        }
        // The root is already the type of the element.
        if number > 0 {
            let Some((element, _, count)) = ty.array() else {
                return Ok(None);
            };
            if accessor.index >= count && !spec.ends_in_flexible(count) {
                return Ok(None);
            }
            ty = ty.btf().ty(element).resolved();
        }
        room(&spec)?;
        let sized = spec.element(ty, accessor.index);
        sized.ok_or_else(|| {
            RelocError::Incomparable(format!("{}, whose size is unknown,", spec.path()))
        })?;
    }
    Ok(Some(spec))
}

fn room(spec: &Spec<'_>) -> Result<(), RelocError> {
    if spec.raw.len() < MAX_LENGTH {
        Ok(())
    } else {
        Err(RelocError::Incomparable(
            "a type that nests too deep".to_owned(),
        ))
    }
}

/// The value with the same name.
fn enum_value<'t>(local: &Spec<'_>, target: Type<'t>) -> Option<Accessor<'t>> {
    let wanted = essential(local.accessors.first()?.name?);
    let ty = target.resolved();
    let mut values = ty.enumerators().zip(0..);
    let (value, index) = values.find(|(value, _)| essential(value.name) == wanted)?;
    Some(Accessor {
        ty,
        index,
        name: Some(value.name),
    })
}

/// Steps to the field of `target` that has the name of `local`, also through members without a
/// name; returns its type.
fn field<'t>(
    local: &Accessor<'_>,
    target: Type<'t>,
    spec: &mut Spec<'t>,
    budget: &Budget,
) -> Result<Option<Type<'t>>, RelocError> {
    let target = target.resolved();
    if !target.kind().is_composite() {
        return Ok(None);
    }
    let Some(wanted) = local.ty.member(local.index as usize) else {
        return Ok(None);
    };
    for member in target.members() {
        budget.step()?;
        room(spec)?;
        let index = u32::try_from(member.index).unwrap_or(u32::MAX);
        let before = spec.bit_offset;
        spec.bit_offset = before.wrapping_add(member.bit_offset);
        spec.raw.push(index);
        let ty = target.btf().ty(member.type_id);
        if member.name.is_empty() {
            if let Some(found) = field(local, ty, spec, budget)? {
                return Ok(Some(found));
            }
        } else if member.name == wanted.name {
            let of_local = local.ty.btf().ty(wanted.type_id);
            // The first of this name decides, as in C.
            if !fields_fit(of_local, ty, budget)? {
                spec.bit_offset = before;
                spec.raw.pop();
                return Ok(None);
            }
            spec.accessors.push(Accessor {
                ty: target,
                index,
                name: Some(member.name),
            });
            return Ok(Some(ty));
        }
        spec.bit_offset = before;
        spec.raw.pop();
    }
    Ok(None)
}
