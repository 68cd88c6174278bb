//! BTF of modules that were built outside their kernel's tree: over a distilled base
//! (`.BTF.base`), which has only the names and sizes of what the module refers to.
//!
//! As the kernel and libbpf do when such a module is loaded (`btf_relocate.c`), its ids are changed
//! to those of the kernel at hand.

use std::collections::HashMap;

use super::raw::{Damage, Kind};
use super::types::{Btf, Type, TypeId};

/// Split BTF over `kernel` that says what `split`, which is over a distilled base, does.
pub fn relocate(split: &Btf, kernel: &Btf) -> Result<Vec<u8>, Damage> {
    let Some(distilled) = split.base() else {
        return Err(Damage::at(0, "it has no base"));
    };
    let ids = map(distilled, kernel)?;
    let order = split.byte_order();
    if order != kernel.byte_order() {
        return Err(Damage::at(0, "its byte order is not that of its base"));
    }
    let sections = split.sections();
    let mut bytes = split.bytes().to_vec();
    let mut put = |at: usize, number: u32| {
        if let Some(place) = bytes.get_mut(at..at + 4) {
            place.copy_from_slice(&order.bytes(number));
        }
    };
    let shift = |number: u32, from: u32, to: u32| {
        let shifted = (number - from).checked_add(to);
        shifted.ok_or_else(|| Damage::at(0, "it has more types or strings than ids"))
    };
    // The strings of the distilled base go behind its own.
    let own_strings = split.end_string() - distilled.end_string();
    for ty in split.own() {
        let start = split.offset_of(ty.id());
        for (at, id) in ty.references() {
            let id = match ids.get(id.0 as usize) {
                Some(&id) => id.0,
                None => shift(id.0, distilled.end_id(), kernel.end_id())?,
            };
            put(start + at, id);
        }
        for (at, offset) in ty.string_references() {
            let offset = match offset {
                0 => 0,
                own if own >= distilled.end_string() => {
                    shift(own, distilled.end_string(), kernel.end_string())?
                }
                of_base => shift(of_base, 0, kernel.end_string())?
                    .checked_add(own_strings)
                    .ok_or_else(|| Damage::at(start + at, "it has too many strings"))?,
            };
            put(start + at, offset);
        }
    }
    let of_base = &distilled.bytes()[distilled.sections().strings.clone()];
    let types = &bytes[sections.types.clone()];
    let strings = &bytes[sections.strings.clone()];
    write(order, types, &[strings, of_base])
}

/// BTF of these sections.
pub fn write(order: super::ByteOrder, types: &[u8], strings: &[&[u8]]) -> Result<Vec<u8>, Damage> {
    let length = |length: usize| {
        u32::try_from(length).map_err(|_| Damage::at(0, "a section is larger than 4 GiB"))
    };
    let magic: [u8; 2] = match order {
        super::ByteOrder::Little => [0x9f, 0xeb],
        super::ByteOrder::Big => [0xeb, 0x9f],
    };
    let strings_length = length(strings.iter().map(|part| part.len()).sum())?;
    let types_length = length(types.len())?;
    let mut written = Vec::with_capacity(24 + types.len() + strings_length as usize);
    written.extend(magic);
    written.extend([1, 0]);
    for number in [24, 0, types_length, types_length, strings_length] {
        written.extend(order.bytes(number));
    }
    written.extend(types);
    for part in strings {
        written.extend(*part);
    }
    Ok(written)
}

/// The id in `kernel` of each type of `distilled`, by its id.
fn map(distilled: &Btf, kernel: &Btf) -> Result<Vec<TypeId>, Damage> {
    let mut by_name: HashMap<&str, Vec<Type<'_>>> = HashMap::new();
    for ty in distilled.own() {
        by_name.entry(ty.name()).or_default();
    }
    for ty in kernel.own() {
        if let Some(found) = by_name.get_mut(ty.name()) {
            found.push(ty);
        }
    }
    let mut ids = vec![TypeId::VOID];
    for wanted in distilled.own() {
        let mut fitting = by_name
            .get(wanted.name())
            .into_iter()
            .flatten()
            .filter(|ty| fits(wanted, **ty));
        let problem = match (fitting.next(), fitting.next()) {
            (Some(found), None) => {
                ids.push(found.id());
                continue;
            }
            (None, _) => "has no such type",
            (Some(_), Some(_)) => "has several such types",
        };
        let what = format!("it needs {wanted:?}, and the kernel {problem}");
        return Err(Damage::at(distilled.offset_of(wanted.id()), what));
    }
    Ok(ids)
}

/// Whether a type of the kernel is what the distilled base means.
fn fits(wanted: Type<'_>, found: Type<'_>) -> bool {
    let same_size = || wanted.raw_size() == 0 || wanted.own_size() == found.own_size();
    match wanted.kind() {
        Kind::Fwd => match found.kind() {
            Kind::Struct => !wanted.kind_flag(),
            Kind::Union => wanted.kind_flag(),
            _ => false,
        },
        Kind::Int => found.int() == wanted.int() && same_size(),
        kind if kind.is_enum() => found.kind().is_enum() && same_size(),
        kind => found.kind() == kind && same_size(),
    }
}
