//! When a type of the object and one of the kernel go together, by libbpf's rules
//! (`relo_core.c`): three relations, from the loosest to the strictest.

use super::budget::Budget;
use super::error::RelocError;
use crate::bpf::names::essential;
use crate::btf::{Kind, Type, TypeId};

/// How deep types may nest (libbpf).
const DEPTH: u32 = 32;

/// Whether kinds go together: the same, or both enums.
pub(super) fn kinds_fit(a: Kind, b: Kind) -> bool {
    a == b || (a.is_enum() && b.is_enum())
}

fn refers(ty: Type<'_>, id: TypeId) -> Type<'_> {
    ty.btf().ty(id)
}

fn incomparable(ty: Type<'_>) -> RelocError {
    let name = ty.name();
    RelocError::Incomparable(if name.is_empty() {
        format!("a type of kind {}", ty.kind())
    } else {
        format!("the type {name}")
    })
}

/// Whether the field of type `local` can be read where the kernel has `target`
/// (`bpf_core_fields_are_compat`).
pub(super) fn fields_fit(
    mut local: Type<'_>,
    mut target: Type<'_>,
    budget: &Budget,
) -> Result<bool, RelocError> {
    loop {
        budget.step()?;
        (local, target) = (local.resolved(), target.resolved());
        if local.kind().is_composite() && target.kind().is_composite() {
            return Ok(true);
        }
        if !kinds_fit(local.kind(), target.kind()) {
            return Ok(false);
        }
        match local.kind() {
            Kind::Ptr | Kind::Float => return Ok(true),
            Kind::Fwd | Kind::Enum | Kind::Enum64 => {
                let (local, target) = (essential(local.name()), essential(target.name()));
                return Ok(local.is_empty() || target.is_empty() || local == target);
            }
            Kind::Int => return Ok(is_plain(local) && is_plain(target)),
            Kind::Array => match (local.array(), target.array()) {
                (Some((of_local, ..)), Some((of_target, ..))) => {
                    local = refers(local, of_local);
                    target = refers(target, of_target);
                }
                _ => return Ok(false),
            },
            _ => return Ok(false),
        }
    }
}

/// Whether an integer is not one of the bitfields of old.
fn is_plain(ty: Type<'_>) -> bool {
    ty.int().is_some_and(|int| int.offset == 0)
}

/// Whether types with the same name are the same kind of thing (`bpf_core_types_are_compat`).
pub(super) fn types_fit(
    local: Type<'_>,
    target: Type<'_>,
    budget: &Budget,
) -> Result<bool, RelocError> {
    fit(local, target, DEPTH, budget)
}

fn fit(
    mut local: Type<'_>,
    mut target: Type<'_>,
    level: u32,
    budget: &Budget,
) -> Result<bool, RelocError> {
    if !kinds_fit(local.kind(), target.kind()) {
        return Ok(false);
    }
    for _ in 0..DEPTH {
        budget.step()?;
        (local, target) = (local.resolved(), target.resolved());
        if !kinds_fit(local.kind(), target.kind()) {
            return Ok(false);
        }
        match local.kind() {
            Kind::Void | Kind::Struct | Kind::Union | Kind::Enum | Kind::Fwd | Kind::Enum64 => {
                return Ok(true);
            }
            Kind::Int => return Ok(is_plain(local) && is_plain(target)),
            Kind::Ptr | Kind::Array => (local, target) = (inner(local), inner(target)),
            Kind::FuncProto => {
                if local.len() != target.len() {
                    return Ok(false);
                }
                for (of_local, of_target) in local.params().zip(target.params()) {
                    let below = level.checked_sub(1).ok_or_else(|| incomparable(local))?;
                    let of_local = refers(local, of_local.type_id).resolved();
                    let of_target = refers(target, of_target.type_id).resolved();
                    if !fit(of_local, of_target, below, budget)? {
                        return Ok(false);
                    }
                }
                (local, target) = (inner(local), inner(target));
            }
            _ => return Ok(false),
        }
    }
    Err(incomparable(local))
}

/// What a pointer points to, an array has for elements, a prototype returns.
fn inner(ty: Type<'_>) -> Type<'_> {
    match ty.array() {
        Some((element, ..)) => refers(ty, element),
        None => ty.target().unwrap_or(ty),
    }
}

/// Whether the kernel's type has everything that the object's has (`bpf_core_types_match`).
pub(super) fn types_match(
    local: Type<'_>,
    target: Type<'_>,
    budget: &Budget,
) -> Result<bool, RelocError> {
    matches(local, target, false, DEPTH, budget)
}

fn matches(
    mut local: Type<'_>,
    mut target: Type<'_>,
    mut behind_pointer: bool,
    level: u32,
    budget: &Budget,
) -> Result<bool, RelocError> {
    if level == 0 {
        return Err(incomparable(local));
    }
    for _ in 0..DEPTH {
        budget.step()?;
        (local, target) = (local.resolved(), target.resolved());
        if !names_match(local.name(), target.name()) {
            return Ok(false);
        }
        let same_kind = local.kind() == target.kind();
        match local.kind() {
            Kind::Void => return Ok(same_kind),
            Kind::Fwd if same_kind => return Ok(local.kind_flag() == target.kind_flag()),
            Kind::Fwd => return Ok(behind_pointer && declares(local, target.kind())),
            Kind::Enum | Kind::Enum64 => return Ok(enums_match(local, target)),
            Kind::Struct | Kind::Union if behind_pointer => {
                let declared = target.kind() == Kind::Fwd && declares(target, local.kind());
                return Ok(same_kind || declared);
            }
            Kind::Struct | Kind::Union => {
                return Ok(same_kind && composites_match(local, target, level, budget)?);
            }
            Kind::Int => return Ok(same_kind && ints_match(local, target)),
            Kind::Ptr if same_kind => {
                behind_pointer = true;
                (local, target) = (inner(local), inner(target));
            }
            Kind::Array if same_kind && length(local) == length(target) => {
                (local, target) = (inner(local), inner(target));
            }
            Kind::FuncProto if same_kind && local.len() == target.len() => {
                for (of_local, of_target) in local.params().zip(target.params()) {
                    let of_local = refers(local, of_local.type_id);
                    let of_target = refers(target, of_target.type_id);
                    if !matches(of_local, of_target, behind_pointer, level - 1, budget)? {
                        return Ok(false);
                    }
                }
                (local, target) = (inner(local), inner(target));
            }
            _ => return Ok(false),
        }
    }
    Err(incomparable(local))
}

fn names_match(local: &str, target: &str) -> bool {
    if target.is_empty() {
        return local.is_empty();
    }
    essential(local) == essential(target)
}

/// Whether a forward declaration is one of this kind: its flag says that it is of a union.
fn declares(forward: Type<'_>, kind: Kind) -> bool {
    match kind {
        Kind::Struct => !forward.kind_flag(),
        Kind::Union => forward.kind_flag(),
        _ => false,
    }
}

fn length(ty: Type<'_>) -> Option<u32> {
    ty.array().map(|(.., count)| count)
}

fn ints_match(local: Type<'_>, target: Type<'_>) -> bool {
    let signed = |ty: Type<'_>| ty.int().map(|int| int.signed);
    local.own_size() == target.own_size() && signed(local) == signed(target)
}

fn enums_match(local: Type<'_>, target: Type<'_>) -> bool {
    if !target.kind().is_enum()
        || local.own_size() != target.own_size()
        || local.len() > target.len()
    {
        return false;
    }
    let mut names = local.enumerators().map(|value| value.name);
    names.all(|name| {
        let mut others = target.enumerators();
        others.any(|other| names_match(name, other.name))
    })
}

/// Each member of a struct or union has its match.
fn composites_match(
    local: Type<'_>,
    target: Type<'_>,
    level: u32,
    budget: &Budget,
) -> Result<bool, RelocError> {
    if local.len() > target.len() {
        return Ok(false);
    }
    for of_local in local.members() {
        let mut found = false;
        for of_target in target.members() {
            budget.step()?;
            if !names_match(of_local.name, of_target.name) {
                continue;
            }
            let of_local = refers(local, of_local.type_id);
            let of_target = refers(target, of_target.type_id);
            if matches(of_local, of_target, false, level - 1, budget)? {
                found = true;
                break;
            }
        }
        if !found {
            return Ok(false);
        }
    }
    Ok(true)
}

/// [`types_fit`] for types that no relocation is about.
pub fn types_fit_alone(local: Type<'_>, target: Type<'_>) -> Result<bool, RelocError> {
    types_fit(local, target, &Budget::default())
}
