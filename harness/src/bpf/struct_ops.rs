//! Structs of functions that an object gives the kernel (`SEC(".struct_ops")`).

use super::elf::Reference;
use super::facts::Facts;
use super::names::essential;
use super::object::Object;
use super::report::Level;
use super::targets::Told;
use crate::btf::{Kind, Type};

/// Sections with such structs. Those that begin with `?` are created on demand only.
const SECTIONS: [&str; 2] = [".struct_ops", ".struct_ops.link"];
/// What the kernel calls the struct that has one, and more.
const WRAPPER: &str = "bpf_struct_ops_";

/// A variable in such a section.
struct Variable<'o> {
    name: &'o str,
    ty: Type<'o>,
    /// Where it is: the section's index in the file, and bytes from its start.
    place: Option<(usize, u64)>,
}

/// Whether the object has any.
pub fn has_any(object: &Object) -> bool {
    variables(object).next().is_some()
}

fn variables(object: &Object) -> impl Iterator<Item = Variable<'_>> {
    let sections = object.btf.own().filter(|ty| ty.kind() == Kind::Datasec);
    let sections = sections.filter(|section| SECTIONS.contains(&section.name()));
    sections.flat_map(move |section| {
        let mut data = object.elf.data.iter();
        let index = data.find_map(|(&index, data)| (data.name == section.name()).then_some(index));
        section.section_vars().map(move |var| {
            let variable = object.btf.ty(var.type_id);
            Variable {
                name: variable.name(),
                ty: variable.target().unwrap_or(variable).resolved(),
                place: index.map(|index| (index, var.offset.into())),
            }
        })
    })
}

/// What a kernel does not have of them.
pub fn check(object: &Object, kernel: &Facts) -> Vec<Told> {
    let mut told = Vec::new();
    let Some(types) = kernel.types() else {
        return told;
    };
    for variable in variables(object) {
        let name = essential(variable.ty.name());
        let mut tell = |level, reason| {
            told.push(Told {
                level,
                subject: format!("struct_ops {} ({name})", variable.name),
                reason,
            });
        };
        let wrapper = format!("{WRAPPER}{name}");
        let found = types.named(&wrapper, Kind::Struct, None);
        let Some(theirs) = found.and_then(|_| types.named(name, Kind::Struct, None)) else {
            tell(
                Level::Refused,
                format!("this kernel lets no program be a {name}"),
            );
            continue;
        };
        for member in variable.ty.members() {
            let mut others = theirs.ty.members();
            if others.any(|other| other.name == member.name) {
                continue;
            }
            let bytes = variable.ty.btf().ty(member.type_id).size().unwrap_or(0);
            match content(object, &variable, u64::from(member.bit_offset / 8), bytes) {
                Content::Nothing => {}
                // libbpf before 1.4 refuses the object.
                Content::Function => tell(
                    Level::Unattached,
                    format!(
                        "this kernel's {name} has no {}: its program is not loaded",
                        member.name
                    ),
                ),
                Content::Data => tell(
                    Level::Refused,
                    format!("this kernel's {name} has no {}, which is set", member.name),
                ),
            }
        }
    }
    told
}

enum Content {
    Nothing,
    Function,
    Data,
}

fn content(object: &Object, variable: &Variable<'_>, offset: u64, bytes: u64) -> Content {
    let Some((section, start)) = variable.place else {
        return Content::Nothing;
    };
    let Some(data) = object.elf.data.get(&section) else {
        return Content::Nothing;
    };
    let from = start.saturating_add(offset);
    let to = from.saturating_add(bytes);
    if let Some((_, Reference::Section { .. })) = data.functions.range(from..to.max(from)).next() {
        return Content::Function;
    }
    let range = usize::try_from(from).ok().zip(usize::try_from(to).ok());
    let set = range.and_then(|(from, to)| data.bytes.get(from..to));
    if set.is_some_and(|bytes| bytes.iter().any(|&byte| byte != 0)) {
        Content::Data
    } else {
        Content::Nothing
    }
}
