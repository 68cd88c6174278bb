//! `kiln btf diff`: what changed from one kernel to another, by names and structure. Ids, and what
//! depends on the compiler alone, do not count.

mod change;
mod digest;
mod parts;
mod text;

use std::collections::BTreeMap;

pub use change::{Change, Class, Happened, Step};
pub use text::{markdown, text};

use self::digest::Digests;
use super::Error;
use super::c;
use super::kernel::KernelBtf;
use super::names::Unit;
use super::query::{BadQuery, Query, Subject};
use super::raw::Kind;
use super::types::{Btf, Type};

/// Functions that each tracepoint has for itself: what changes of them changes of it.
const OF_TRACEPOINTS: [&str; 6] = [
    "__traceiter_",
    "__bpf_trace_",
    "__probestub_",
    "trace_event_raw_event_",
    "perf_trace_",
    "trace_raw_output_",
];

/// Which things are compared.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    only: Vec<Query>,
}

impl Filter {
    /// Those that one of `only` names: all without any.
    pub fn new(only: &[String]) -> Result<Self, BadQuery> {
        let only = only.iter().map(|text| Query::parse(text));
        Ok(Self {
            only: only.collect::<Result<_, _>>()?,
        })
    }

    fn covers(&self, class: Class, name: &str) -> bool {
        let of = |subject: Subject| match subject {
            Subject::Type => true,
            Subject::Function => matches!(class, Class::Function | Class::Kfunc),
            Subject::Kfunc => class == Class::Kfunc,
            Subject::Enum => matches!(class, Class::Enum | Class::Constant),
            Subject::Tracepoint => class == Class::Tracepoint,
            Subject::Variable => class == Class::Variable,
        };
        let mut only = self.only.iter();
        self.only.is_empty() || only.any(|query| of(query.subject) && query.name.matches(name))
    }
}

/// A thing of one kernel.
#[derive(Debug, Clone, Copy)]
struct Thing<'a> {
    digest: u64,
    unit: Unit,
    ty: Type<'a>,
    /// Of a constant.
    value: i128,
}

type Things<'a> = BTreeMap<(Class, &'a str), Vec<Thing<'a>>>;

/// Whether both kernels have modules with BTF: those of one alone are all added or removed, which
/// says nothing.
pub fn has_modules(before: &KernelBtf, after: &KernelBtf) -> bool {
    [before, after]
        .iter()
        .all(|kernel| kernel.units().len() > 1)
}

/// Compares two kernels; with their modules, if both have some.
pub fn compare(
    before: &KernelBtf,
    after: &KernelBtf,
    filter: &Filter,
) -> Result<Vec<Change>, Error> {
    let modules = has_modules(before, after);
    let (old, new) = std::thread::scope(|scope| {
        let old = scope.spawn(|| things(before, filter, modules));
        let new = things(after, filter, modules);
        match old.join() {
            Ok(old) => (old, new),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    });
    let (old, mut new) = (old?, new?);
    let mut changes = Vec::new();
    for ((class, name), olds) in old {
        let news = new.remove(&(class, name)).unwrap_or_default();
        let (olds, news) = different(olds, news);
        let mut news = news.into_iter();
        for was in olds {
            match news.next() {
                Some(is) => changes.push(changed(class, name, before, was, after, is)),
                None => changes.push(lone(class, name, Happened::Removed, before, was)),
            }
        }
        changes.extend(news.map(|is| lone(class, name, Happened::Added, after, is)));
    }
    for ((class, name), news) in new {
        let (_, news) = different(Vec::new(), news);
        let news = news.into_iter();
        changes.extend(news.map(|is| lone(class, name, Happened::Added, after, is)));
    }
    changes.sort_by(|a, b| (a.class, &a.name, &a.module).cmp(&(b.class, &b.name, &b.module)));
    Ok(changes)
}

/// What is not on both sides, each once.
fn different<'a, 'b>(
    olds: Vec<Thing<'a>>,
    news: Vec<Thing<'b>>,
) -> (Vec<Thing<'a>>, Vec<Thing<'b>>) {
    fn only<'x>(mut these: Vec<Thing<'x>>, others: &[u64]) -> Vec<Thing<'x>> {
        these.sort_by_key(|thing| (thing.digest, thing.unit));
        these.dedup_by_key(|thing| thing.digest);
        these.retain(|thing| !others.contains(&thing.digest));
        these.sort_by_key(|thing| (thing.unit, thing.ty.id()));
        these
    }
    let old_digests: Vec<u64> = olds.iter().map(|thing| thing.digest).collect();
    let new_digests: Vec<u64> = news.iter().map(|thing| thing.digest).collect();
    (only(olds, &new_digests), only(news, &old_digests))
}

/// Everything that a kernel is compared by.
fn things<'a>(kernel: &'a KernelBtf, filter: &Filter, modules: bool) -> Result<Things<'a>, Error> {
    let mut things = Things::new();
    let image = Digests::new(kernel.vmlinux(), None);
    collect(kernel.vmlinux(), 0, &image, filter, &mut things);
    for unit in kernel.units().skip(1).filter(|_| modules) {
        let btf = kernel.unit(unit)?;
        let digests = Digests::new(btf, Some(&image));
        collect(btf, unit, &digests, filter, &mut things);
    }
    Ok(things)
}

fn collect<'a>(
    btf: &'a Btf,
    unit: Unit,
    digests: &Digests<'_>,
    filter: &Filter,
    things: &mut Things<'a>,
) {
    let mut add = |class: Class, name: &'a str, ty: Type<'a>, value: i128| {
        // Digests take the most time.
        if !filter.covers(class, name) {
            return;
        }
        let digest = match class {
            Class::Constant => digest::of_value(value),
            // That it is one is all there is to it: it is a function, too.
            Class::Kfunc => 1,
            Class::Tracepoint => {
                let proto = ty.resolved().target_id();
                digests.reference(proto.unwrap_or_default())
            }
            _ => digests.definition(ty),
        };
        things.entry((class, name)).or_default().push(Thing {
            digest,
            unit,
            ty,
            value,
        });
    };
    for ty in btf.own() {
        match ty.kind() {
            Kind::Enum | Kind::Enum64 if ty.is_anonymous() => {
                for value in ty.enumerators() {
                    add(Class::Constant, value.name, ty, value.value);
                }
            }
            Kind::DeclTag if ty.name() == "bpf_kfunc" => {
                if let Some(function) = ty.target() {
                    add(Class::Kfunc, function.name(), function, 0);
                }
            }
            _ if ty.is_anonymous() => {}
            Kind::Struct => add(Class::Struct, ty.name(), ty, 0),
            Kind::Union => add(Class::Union, ty.name(), ty, 0),
            Kind::Enum | Kind::Enum64 => add(Class::Enum, ty.name(), ty, 0),
            Kind::Var => add(Class::Variable, ty.name(), ty, 0),
            Kind::Typedef => match Subject::Tracepoint.shown(ty.name()) {
                Some(name) => add(Class::Tracepoint, name, ty, 0),
                None => add(Class::Typedef, ty.name(), ty, 0),
            },
            Kind::Func if OF_TRACEPOINTS.iter().any(|of| ty.name().starts_with(of)) => {}
            Kind::Func => add(Class::Function, ty.name(), ty, 0),
            _ => {}
        }
    }
}

/// A thing that one of both has.
fn lone(
    class: Class,
    name: &str,
    happened: Happened,
    kernel: &KernelBtf,
    thing: Thing<'_>,
) -> Change {
    let line = Some(line(class, name, thing));
    let (before, after) = match happened {
        Happened::Removed => (line, None),
        Happened::Added | Happened::Changed => (None, line),
    };
    Change {
        class,
        name: name.to_owned(),
        module: kernel.module(thing.unit).map(str::to_owned),
        happened,
        before,
        after,
        parts: Vec::new(),
    }
}

/// A thing that both have.
fn changed(
    class: Class,
    name: &str,
    before: &KernelBtf,
    was: Thing<'_>,
    after: &KernelBtf,
    is: Thing<'_>,
) -> Change {
    let parts = match class {
        Class::Struct | Class::Union => parts::of_members(was.ty, is.ty),
        Class::Enum => parts::of_values(was.ty, is.ty),
        _ => Vec::new(),
    };
    let module = after.module(is.unit).or(before.module(was.unit));
    Change {
        class,
        name: name.to_owned(),
        module: module.map(str::to_owned),
        happened: Happened::Changed,
        before: Some(line(class, name, was)),
        after: Some(line(class, name, is)),
        parts,
    }
}

/// A thing in a line.
fn line(class: Class, name: &str, thing: Thing<'_>) -> String {
    let ty = thing.ty;
    let of_target = |name: &str| {
        ty.target()
            .map_or_else(String::new, |ty| c::declaration(ty, name))
    };
    match class {
        Class::Struct | Class::Union | Class::Enum => {
            format!(
                "{}, {}",
                c::type_name(ty),
                text::bytes(ty.size().unwrap_or_default())
            )
        }
        Class::Constant => format!("{name} = {}", thing.value),
        Class::Typedef => format!("typedef {}", of_target(name)),
        Class::Function | Class::Kfunc | Class::Variable => of_target(name),
        Class::Tracepoint => {
            let proto = ty.resolved().target().unwrap_or(ty);
            let params: Vec<String> = proto
                .params()
                .skip(1)
                .map(|param| c::declaration(proto.btf().ty(param.type_id), param.name))
                .collect();
            format!("{name}({})", params.join(", "))
        }
    }
}
