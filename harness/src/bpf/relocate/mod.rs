//! CO-RE relocations of an object against the types of one kernel, by libbpf's rules.
//!
//! Sources: Linux `Documentation/bpf/llvm_reloc.rst`, libbpf 1.7 (`relo_core.c`).

mod budget;
mod candidates;
mod compare;
mod error;
mod explain;
mod kind;
mod patch;
mod spec;
mod target;
#[cfg(test)]
mod tests;
mod value;

pub use compare::types_fit_alone as types_fit;
pub use error::RelocError;
pub use explain::{described, near};
pub use kind::RelocKind;
pub use spec::Spec;
pub use value::{Number, Value};

use std::collections::BTreeMap;

use self::budget::Budget;
use self::candidates::Candidates;
use super::candidate::Candidate;
use super::ext::CoreReloc;
use super::insn::{self, Insn};
use super::kernel::KernelTypes;
use super::object::Object;
use crate::btf::{Type, TypeId};

/// An object whose relocations have been done for one kernel.
#[derive(Debug)]
pub struct Relocated<'o, 'k> {
    /// The instructions of each code section as libbpf would load them.
    pub code: BTreeMap<usize, Vec<Insn>>,
    /// What became of each relocation, in the order of the file.
    pub relocations: Vec<Relocation<'o, 'k>>,
}

/// What became of one relocation.
#[derive(Debug)]
pub struct Relocation<'o, 'k> {
    /// The index of its section in the object.
    pub section: usize,
    /// The instruction, counted from the section's start.
    pub insn: usize,
    /// Its number in its section, as in libbpf's log.
    pub number: usize,
    /// What it asks; `None` for a kind that is newer than kiln.
    pub kind: Option<RelocKind>,
    /// What it is about, in the object's types.
    pub local: Option<Spec<'o>>,
    /// The answer.
    pub answer: Result<Answer<'k>, RelocError>,
}

/// What a kernel answers.
#[derive(Debug)]
pub struct Answer<'k> {
    /// The same in the kernel's types; `None` if it has nothing of the kind.
    pub target: Option<Spec<'k>>,
    /// The module whose types these are.
    pub module: Option<&'k str>,
    /// The number for the instruction.
    pub value: Value,
    /// The instruction is still one: it has been given its number.
    pub valid: bool,
    /// Why the kernel has nothing for it, for people.
    pub missing: Option<String>,
}

/// Does all relocations of the programs and functions that libbpf would load.
pub fn relocate<'o, 'k>(object: &'o Object, kernel: KernelTypes<'k>) -> Relocated<'o, 'k> {
    let code = object.elf.code.iter();
    let mut code: BTreeMap<usize, Vec<Insn>> = code
        .map(|(&index, code)| (index, code.insns.clone()))
        .collect();
    let (budget, mut candidates) = (Budget::default(), Candidates::default());
    let mut relocations = Vec::new();
    for of_section in &object.ext.relocations {
        let Some(section) = object.section(object.btf.string(of_section.section)) else {
            continue;
        };
        for (number, record) in of_section.records.iter().enumerate() {
            let insn = record.insn_off as usize / insn::SIZE;
            if !object.is_loaded(section, insn) {
                continue;
            }
            let mut one = resolve(object, record, kernel, &mut candidates, &budget);
            if let (Ok(answer), Some(insns)) = (&mut one.answer, code.get_mut(&section)) {
                match patch::patch(insns, insn, answer.value) {
                    Ok(valid) => answer.valid = valid,
                    Err(error) => one.answer = Err(error),
                }
            }
            relocations.push(Relocation {
                section,
                insn,
                number,
                ..one
            });
        }
    }
    Relocated { code, relocations }
}

fn resolve<'o, 'k>(
    object: &'o Object,
    record: &CoreReloc,
    kernel: KernelTypes<'k>,
    candidates: &mut Candidates<'k>,
    budget: &Budget,
) -> Relocation<'o, 'k> {
    let mut one = Relocation {
        section: 0,
        insn: 0,
        number: 0,
        kind: RelocKind::from_number(record.kind),
        local: None,
        answer: Err(RelocError::UnknownKind(record.kind)),
    };
    let Some(kind) = one.kind else {
        return one;
    };
    let root = object.btf.get(TypeId(record.type_id));
    let Some(root) = root.filter(|root| root.id() != TypeId::VOID) else {
        let why = format!("it has no type [{}]", record.type_id);
        one.answer = Err(RelocError::BadSpec(why));
        return one;
    };
    let access = object.btf.string(record.access);
    one.answer = match Spec::parse(root, kind, access) {
        Ok(local) => {
            let answer = answer(&local, root, kernel, candidates, budget);
            one.local = Some(local);
            answer
        }
        Err(error) => Err(error),
    };
    one
}

fn answer<'k>(
    local: &Spec<'_>,
    root: Type<'_>,
    kernel: KernelTypes<'k>,
    candidates: &mut Candidates<'k>,
    budget: &Budget,
) -> Result<Answer<'k>, RelocError> {
    if local.kind == RelocKind::TypeIdLocal {
        return Ok(Answer {
            target: None,
            module: None,
            value: Value::Number(Number {
                expected: None,
                new: u64::from(root.id().0),
                sizes: (0, 0),
                misfits: false,
            }),
            valid: true,
            missing: None,
        });
    }
    if root.is_anonymous() {
        return Err(RelocError::Anonymous);
    }
    let list = candidates.of(root, kernel);
    let mut found: Vec<(Candidate<'k>, Spec<'k>, Value)> = Vec::new();
    for candidate in list.iter() {
        let Some(target) = target::find(local, candidate.ty, budget)? else {
            continue;
        };
        let value = value::value(local, Some(&target))?;
        if let Some((_, first, of_first)) = found.first() {
            agree((first, *of_first), (&target, value))?;
        }
        found.push((*candidate, target, value));
    }
    if found.is_empty() {
        return Ok(Answer {
            target: None,
            module: None,
            value: value::value(local, None)?,
            valid: true,
            missing: Some(explain::missing(local, list, budget)),
        });
    }
    *list = found.iter().map(|(candidate, ..)| *candidate).collect();
    let (candidate, target, value) = found.swap_remove(0);
    Ok(Answer {
        target: Some(target),
        module: candidate.module,
        value,
        valid: true,
        missing: None,
    })
}

/// All candidates must give the same answer, otherwise any of them may be wrong.
fn agree(
    (first, of_first): (&Spec<'_>, Value),
    (other, of_other): (&Spec<'_>, Value),
) -> Result<(), RelocError> {
    let ids = |a: &Spec<'_>, b: &Spec<'_>| (a.root.id(), b.root.id());
    let (a, b) = ids(first, other);
    if first.bit_offset != other.bit_offset {
        return Err(RelocError::Ambiguous(format!(
            "types {a} and {b} have {} at different offsets",
            first.path()
        )));
    }
    let number = |value: Value| match value {
        Value::Number(number) => Some(number.new),
        Value::Poison => None,
    };
    if number(of_first) != number(of_other) {
        return Err(RelocError::Ambiguous(format!(
            "types {a} and {b} give different answers for {}",
            first.path()
        )));
    }
    Ok(())
}
