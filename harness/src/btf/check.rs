//! Refuses BTF that would lead a reader astray: references to nothing, and types without end.

use super::raw::{Damage, Kind};
use super::types::{Btf, Type, TypeId};

/// How deep types may nest, in C declarations and in structs. The kernel allows 32 levels in the
/// BTF of programs (`MAX_RESOLVE_DEPTH`); whoever walks types recursively relies on a limit.
pub(super) const MAX_DEPTH: u16 = 128;

/// Checks everything that readers rely on.
pub(super) fn all(btf: &Btf) -> Result<(), Damage> {
    strings(btf)?;
    for ty in btf.own() {
        references(btf, ty)?;
    }
    finite(
        btf,
        "refers to itself without a struct between",
        |ty, index| match ty.kind() {
            Kind::Ptr
            | Kind::Typedef
            | Kind::Volatile
            | Kind::Const
            | Kind::Restrict
            | Kind::Func
            | Kind::FuncProto
            | Kind::Var
            | Kind::TypeTag => ty.nth_reference(index),
            Kind::Array if index == 0 => ty.nth_reference(0),
            _ => None,
        },
    )?;
    finite(btf, "contains itself", |ty, index| match ty.kind() {
        Kind::Struct | Kind::Union => ty.nth_reference(index),
        Kind::Array
        | Kind::Typedef
        | Kind::Volatile
        | Kind::Const
        | Kind::Restrict
        | Kind::TypeTag
            if index == 0 =>
        {
            ty.nth_reference(0)
        }
        _ => None,
    })
}

fn strings(btf: &Btf) -> Result<(), Damage> {
    let range = btf.sections().strings.clone();
    let strings = btf.bytes().get(range.clone()).unwrap_or_default();
    if strings.is_empty() {
        return match btf.base() {
            Some(_) => Ok(()),
            None => Err(Damage::at(range.start, "the string section is empty")),
        };
    }
    if btf.base().is_none() && strings.first() != Some(&0) {
        let what = "the string section does not begin with the empty string";
        return Err(Damage::at(range.start, what));
    }
    if strings.last() != Some(&0) {
        let what = "the string section does not end with a NUL byte: it is cut short";
        return Err(Damage::at(range.end - 1, what));
    }
    match std::str::from_utf8(strings) {
        Ok(_) => Ok(()),
        Err(error) => Err(Damage::at(
            range.start + error.valid_up_to(),
            "a string is not UTF-8",
        )),
    }
}

/// All ids and strings of one type exist.
fn references(btf: &Btf, ty: Type<'_>) -> Result<(), Damage> {
    let start = btf.offset_of(ty.id());
    let end = btf.end_string();
    for (at, offset) in ty.string_references() {
        if offset >= end {
            let what = format!(
                "a name of {} {} is at byte {offset} of the strings, which end at byte {end}",
                ty.kind(),
                ty.id()
            );
            return Err(Damage::at(start + at, what));
        }
    }
    let end = btf.end_id();
    for (at, id) in ty.references() {
        if id.0 >= end {
            let what = format!(
                "{ty:?} refers to type {id}, and the last one is [{}]",
                end - 1
            );
            return Err(Damage::at(start + at, what));
        }
    }
    if ty.kind() == Kind::Func
        && let Some(target) = ty.target()
        && target.kind() != Kind::FuncProto
    {
        let what = format!("{ty:?} has {target:?} for its prototype");
        return Err(Damage::at(start + 8, what));
    }
    Ok(())
}

/// What is known of a type in the search for loops.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    No,
    /// The search is below it.
    Above,
    /// It ends after this many levels.
    Ends(u16),
}

/// The edges that `edge` gives lead from no type back to itself, and not too deep. Only own types
/// are looked at: those of a base know nothing of what is split from it.
fn finite(
    btf: &Btf,
    loops: &str,
    edge: impl Fn(Type<'_>, usize) -> Option<(usize, TypeId)>,
) -> Result<(), Damage> {
    let first = btf.first_id();
    let mut seen = vec![Seen::No; (btf.end_id() - first) as usize];
    // A type, its next edge, and the depth below it so far.
    let mut path: Vec<(Type<'_>, usize, u16)> = Vec::new();
    for ty in btf.own() {
        if seen[(ty.id().0 - first) as usize] != Seen::No || edge(ty, 0).is_none() {
            continue;
        }
        seen[(ty.id().0 - first) as usize] = Seen::Above;
        path.push((ty, 0, 0));
        while let Some((ty, index, depth)) = path.last_mut() {
            let ty = *ty;
            let Some((at, id)) = edge(ty, *index) else {
                let ends = depth.saturating_add(1);
                let damage = |what| Err(Damage::at(btf.offset_of(ty.id()), what));
                if ends > MAX_DEPTH {
                    return damage(format!("{ty:?} nests deeper than {MAX_DEPTH} levels"));
                }
                seen[(ty.id().0 - first) as usize] = Seen::Ends(ends);
                path.pop();
                if let Some((_, _, above)) = path.last_mut() {
                    *above = (*above).max(ends);
                }
                continue;
            };
            *index += 1;
            let Some(own) = id.0.checked_sub(first) else {
                continue;
            };
            match seen[own as usize] {
                Seen::Ends(ends) => *depth = (*depth).max(ends),
                Seen::Above => {
                    let what = format!("{:?} {loops}", btf.ty(id));
                    return Err(Damage::at(btf.offset_of(ty.id()) + at, what));
                }
                Seen::No => {
                    let next = btf.ty(id);
                    if edge(next, 0).is_none() {
                        seen[own as usize] = Seen::Ends(0);
                        continue;
                    }
                    if path.len() > usize::from(MAX_DEPTH) {
                        let what = format!("{next:?} lies deeper than {MAX_DEPTH} levels");
                        return Err(Damage::at(btf.offset_of(id), what));
                    }
                    seen[own as usize] = Seen::Above;
                    path.push((next, 0, 0));
                }
            }
        }
    }
    Ok(())
}
