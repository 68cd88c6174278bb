//! Why a kernel has nothing for a relocation, for people.

use super::budget::Budget;
use super::compare::fields_fit;
use super::kind::RelocKind;
use super::spec::{Spec, kind_word};
use crate::bpf::candidate::Candidate;
use crate::bpf::names::essential;
use crate::btf::Type;

/// A name is near if it is at least this much alike.
const NEAR: f64 = 0.8;
/// More near names help nobody.
const NEAR_NAMES: usize = 3;

/// Why none of the `candidates` has what `local` is about.
pub(super) fn missing(local: &Spec<'_>, candidates: &[Candidate<'_>], budget: &Budget) -> String {
    let (kind, name) = (kind_word(local.root.kind()), essential(local.root.name()));
    let Some(candidate) = candidates.first() else {
        return format!("no {kind} {name}");
    };
    if local.kind == RelocKind::TypeMatches {
        return format!("{kind} {name} is another one");
    }
    if local.kind.is_type() {
        return format!("{kind} {name} is of another kind");
    }
    if local.kind.is_enum_value() {
        let wanted = local.accessors.first().and_then(|value| value.name);
        let wanted = essential(wanted.unwrap_or_default());
        let values = candidate.ty.resolved();
        let names: Vec<&str> = values.enumerators().map(|value| value.name).collect();
        return format!(
            "{kind} {name} has no value {wanted}{}",
            nearest(wanted, &names, budget)
        );
    }
    field(local, candidate.ty, budget)
}

/// The first field on the path that the kernel's type does not have.
fn field(local: &Spec<'_>, target: Type<'_>, budget: &Budget) -> String {
    let mut ty = target;
    for (number, accessor) in local.accessors.iter().enumerate() {
        ty = ty.resolved();
        let Some(wanted) = accessor.name else {
            if number == 0 {
                continue;
            }
            let Some((element, _, count)) = ty.array() else {
                return format!("{} is no array", described(ty));
            };
            if accessor.index >= count && count > 0 {
                return format!("the array has {count} elements");
            }
            ty = ty.btf().ty(element);
            continue;
        };
        let Some(found) = ty.find_member(wanted) else {
            if !ty.kind().is_composite() {
                return format!("{} has no fields", described(ty));
            }
            let mut names = Vec::new();
            ty.each_member(&mut |member| {
                names.push(member.member.name);
                names.len() < 4096
            });
            return format!(
                "{} has no field {wanted}{}",
                described(ty),
                nearest(wanted, &names, budget)
            );
        };
        let of_target = ty.btf().ty(found.member.type_id);
        let of_local = accessor.ty.member(accessor.index as usize);
        let of_local = of_local.map(|member| accessor.ty.btf().ty(member.type_id));
        let fits = of_local.map(|of_local| (of_local, fields_fit(of_local, of_target, budget)));
        if let Some((of_local, Ok(false))) = fits {
            return format!(
                "{wanted} in {} is {}, not {}",
                described(ty),
                described(of_target.resolved()),
                described(of_local.resolved())
            );
        }
        ty = of_target;
    }
    format!("{} is another one", described(target))
}

/// `struct cfs_rq`, `a pointer`.
pub fn described(ty: Type<'_>) -> String {
    let name = ty.name();
    match kind_word(ty.kind()) {
        "ptr" => "a pointer".to_owned(),
        "array" => "an array".to_owned(),
        "int" | "float" => name.to_owned(),
        kind @ ("enum" | "enum64") if name.is_empty() => format!("an {kind} without a name"),
        kind if name.is_empty() => format!("a {kind} without a name"),
        kind => format!("{kind} {name}"),
    }
}

/// The same as [`near`], as long as there is budget for it.
fn nearest(wanted: &str, names: &[&str], budget: &Budget) -> String {
    if budget.compares(names.len()) {
        near(wanted, names)
    } else {
        String::new()
    }
}

/// ` (near: …)`, the names that somebody may have meant, best first.
pub fn near(wanted: &str, names: &[&str]) -> String {
    let mut alike: Vec<(f64, &str)> = names
        .iter()
        .map(|name| (strsim::jaro_winkler(wanted, name), *name))
        .filter(|(likeness, name)| *likeness >= NEAR || contains(name, wanted))
        .collect();
    alike.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    alike.dedup();
    let names: Vec<&str> = alike
        .iter()
        .take(NEAR_NAMES)
        .map(|(_, name)| *name)
        .collect();
    if names.is_empty() {
        String::new()
    } else {
        format!(" (near: {})", names.join(", "))
    }
}

fn contains(name: &str, wanted: &str) -> bool {
    wanted.len() >= 3 && name.contains(wanted)
}
