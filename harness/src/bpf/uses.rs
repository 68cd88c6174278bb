//! What of kernels an object uses, by name.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::ext::CoreReloc;
use super::names::essential;
use super::object::Object;
use super::relocate::{RelocKind, Spec};
use super::section::Target;
use crate::btf::{Kind, TypeId};

/// What of kernels an object uses, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Uses {
    /// Structs, unions, enums and typedefs, without their flavours, and which of their members or
    /// values; none for a type as a whole.
    pub types: BTreeMap<String, BTreeSet<String>>,
    /// Functions: what programs attach to, and kfuncs.
    pub functions: BTreeSet<String>,
    /// Tracepoints.
    pub tracepoints: BTreeSet<String>,
    /// Variables.
    pub variables: BTreeSet<String>,
}

/// What an object uses.
pub fn uses(object: &Object) -> Uses {
    let mut uses = Uses::default();
    let relocations = object.ext.relocations.iter();
    for record in relocations.flat_map(|section| &section.records) {
        if let Some(spec) = parse(object, record) {
            uses.take(&spec);
        }
    }
    for program in &object.programs {
        match &program.kind.target {
            Target::Kprobe { function, .. } => drop(uses.functions.insert(function.clone())),
            Target::Function { name, .. } => drop(uses.functions.insert(name.clone())),
            Target::Lsm(hook) => drop(uses.functions.insert(format!("bpf_lsm_{hook}"))),
            Target::Iterator(name) => drop(uses.functions.insert(format!("bpf_iter_{name}"))),
            Target::TypedTracepoint { name, .. }
            | Target::RawTracepoint(name)
            | Target::Tracepoint { name, .. } => drop(uses.tracepoints.insert(name.clone())),
            _ => {}
        }
    }
    let declared = object.btf.own();
    let declared = declared.filter(|ty| matches!(ty.kind(), Kind::Func | Kind::Var));
    let kinds: HashMap<&str, Kind> = declared.map(|ty| (ty.name(), ty.kind())).collect();
    for name in &object.elf.externs {
        match kinds.get(&*name.name) {
            Some(Kind::Func) => drop(uses.functions.insert(essential(&name.name).to_owned())),
            Some(_) if !name.name.starts_with("CONFIG_") && !name.name.starts_with("LINUX_") => {
                uses.variables.insert(name.name.clone());
            }
            _ => {}
        }
    }
    uses
}

fn parse<'o>(object: &'o Object, record: &CoreReloc) -> Option<Spec<'o>> {
    let kind = RelocKind::from_number(record.kind)?;
    let root = object.btf.get(TypeId(record.type_id))?;
    let of_object = kind == RelocKind::TypeIdLocal || root.is_anonymous();
    if of_object {
        return None;
    }
    Spec::parse(root, kind, object.btf.string(record.access)).ok()
}

impl Uses {
    /// Adds what somebody else uses.
    pub fn extend(&mut self, other: Self) {
        for (name, members) in other.types {
            match self.types.get_mut(&name) {
                // A type as a whole has all its members.
                Some(mine) if mine.is_empty() || members.is_empty() => mine.clear(),
                Some(mine) => mine.extend(members),
                None => drop(self.types.insert(name, members)),
            }
        }
        self.functions.extend(other.functions);
        self.tracepoints.extend(other.tracepoints);
        self.variables.extend(other.variables);
    }

    /// The names as `kiln btf show` and `--only` take them.
    pub fn queries(&self) -> impl Iterator<Item = String> + '_ {
        let of = |kind: &'static str, names: &'_ BTreeSet<String>| {
            let names: Vec<String> = names.iter().map(|name| format!("{kind}{name}")).collect();
            names
        };
        let others = [
            of("func:", &self.functions),
            of("tp:", &self.tracepoints),
            of("var:", &self.variables),
        ];
        self.types
            .keys()
            .cloned()
            .chain(others.into_iter().flatten())
    }

    fn take(&mut self, spec: &Spec<'_>) {
        let root = essential(spec.root.name()).to_owned();
        self.types.entry(root).or_default();
        for accessor in &spec.accessors {
            let (Some(name), ty) = (accessor.name, essential(accessor.ty.name())) else {
                continue;
            };
            if !ty.is_empty() {
                let members = self.types.entry(ty.to_owned()).or_default();
                members.insert(essential(name).to_owned());
            }
        }
    }
}
