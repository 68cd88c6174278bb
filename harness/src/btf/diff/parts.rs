//! What changed of the members of a struct, or the values of an enum.

use std::collections::HashMap;

use serde::Serialize;

use super::super::c;
use super::super::types::Type;

/// A member or value that changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// What happened to it.
    #[serde(flatten)]
    pub change: PartChange,
}

/// What happened to a member or value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "change", rename_all = "lowercase")]
pub enum PartChange {
    /// It is new.
    Added {
        /// What it is.
        after: State,
    },
    /// It is gone.
    Removed {
        /// What it was.
        before: State,
    },
    /// It has another type, size or value.
    Changed {
        /// What it was.
        before: State,
        /// What it is.
        after: State,
    },
    /// Only its offset is another.
    Moved {
        /// In bits.
        before: u64,
        /// In bits.
        after: u64,
    },
}

/// A member or value in one kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct State {
    /// The offset of a member, in bits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bit_offset: Option<u64>,
    /// In C: a declaration, or name and value.
    pub text: String,
    /// The size in bits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bits: Option<u64>,
}

/// Members, those of anonymous structs among them, in the order of the newer kernel; what it has
/// not comes first.
pub(super) fn of_members(before: Type<'_>, after: Type<'_>) -> Vec<Part> {
    compare(&members(before), members(after))
}

/// Values, likewise.
pub(super) fn of_values(before: Type<'_>, after: Type<'_>) -> Vec<Part> {
    let values = |ty: Type<'_>| -> Vec<(String, State)> {
        let value = |value: super::super::types::Enumerator<'_>| {
            let state = State {
                bit_offset: None,
                text: format!("{} = {}", value.name, value.value),
                bits: None,
            };
            (value.name.to_owned(), state)
        };
        ty.enumerators().map(value).collect()
    };
    compare(&values(before), values(after))
}

fn members(ty: Type<'_>) -> Vec<(String, State)> {
    let mut members = Vec::new();
    ty.each_member(&mut |found| {
        let name = found.member.name;
        let within = ty.btf().ty(found.within);
        let member = ty.btf().ty(found.member.type_id);
        let bitfield = within.bitfield_of(&found.member).map(u64::from);
        let mut text = c::declaration(member, name);
        if let Some(bits) = bitfield {
            text = format!("{text}: {bits}");
        }
        let size = || member.size().and_then(|size| size.checked_mul(8));
        let state = State {
            bit_offset: Some(found.bit_offset),
            text,
            bits: bitfield.or_else(size),
        };
        members.push((name.to_owned(), state));
        true
    });
    members
}

fn compare(before: &[(String, State)], after: Vec<(String, State)>) -> Vec<Part> {
    let mut old: HashMap<&str, &State> = HashMap::new();
    for (name, state) in before {
        old.insert(name, state);
    }
    let new: HashMap<&str, &State> = after.iter().map(|(n, s)| (n.as_str(), s)).collect();
    let mut parts = Vec::new();
    for (name, state) in before {
        if !new.contains_key(name.as_str()) {
            parts.push(Part {
                name: name.clone(),
                change: PartChange::Removed {
                    before: state.clone(),
                },
            });
        }
    }
    for (name, is) in after {
        let change = match old.get(name.as_str()) {
            None => PartChange::Added { after: is },
            Some(was) if (&was.text, was.bits) != (&is.text, is.bits) => PartChange::Changed {
                before: (*was).clone(),
                after: is,
            },
            Some(was) if was.bit_offset != is.bit_offset => PartChange::Moved {
                before: was.bit_offset.unwrap_or_default(),
                after: is.bit_offset.unwrap_or_default(),
            },
            Some(_) => continue,
        };
        parts.push(Part { name, change });
    }
    parts
}
