//! Follows a path of members through a kernel's types.

use super::path::{Access, Root, Step};
use super::probe::{Target, is_pattern};
use super::read::Content;
use crate::bpf::candidate::Candidate;
use crate::bpf::kernel::KernelTypes;
use crate::bpf::relocate::{described, near};
use crate::btf::{Kind, Type};

/// The record of a tracepoint.
const RECORD: &str = "trace_event_raw_";
/// What iterators get.
const ITERATOR: &str = "bpf_iter__";
/// What the kernel writes before the name of a field whose content is elsewhere in the record
/// (Linux: `__dynamic_array`, `__rel_dynamic_array`).
const ELSEWHERE: [&str; 2] = ["__data_loc_", "__rel_loc_"];
/// Fields of every record, which are not in its struct.
const COMMON: &str = "common_";
/// Types with more fields get no near names.
const MAX_NAMES: usize = 4096;

/// A type or field that a kernel does not have.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Missing {
    /// Such as `struct cfs_rq.nr_running`.
    pub(super) subject: String,
    pub(super) reason: String,
}

/// Follows a path from types of the kernel, all of which have the same name.
pub(super) struct Walk<'k, 'v> {
    types: KernelTypes<'k>,
    content: &'v Content,
    /// Gets each type that is passed, and the member that is read of it.
    visit: &'v mut dyn FnMut(Candidate<'k>, &str),
}

impl<'k, 'v> Walk<'k, 'v> {
    /// Through `types`.
    pub(super) fn new(
        types: KernelTypes<'k>,
        content: &'v Content,
        visit: &'v mut dyn FnMut(Candidate<'k>, &str),
    ) -> Self {
        Self {
            types,
            content,
            visit,
        }
    }

    /// What is missing of a path that is read at `target`. `None` if it is all there, or if that
    /// cannot be told, or if it was told where a variable got its value.
    pub(super) fn access(&mut self, access: &Access, target: &Target) -> Option<Missing> {
        let steps = access.path.steps.as_slice();
        match (&access.path.root, target) {
            (Root::Cast { keyword, name }, _) => {
                let is_own = self.content.is_opaque || self.content.structs.contains(name);
                let found = self.types.all(name, Kind::is_composite);
                if is_own {
                    return None;
                }
                if found.is_empty() {
                    let other = self.types.all(name, |_| true);
                    return (access.from == 0 && other.is_empty()).then(|| Missing {
                        subject: format!("{keyword} {name}"),
                        reason: format!("this kernel has no {keyword} {name}"),
                    });
                }
                // It is a pointer to that.
                let first = usize::from(steps.first() == Some(&Step::Element));
                self.follow(found, steps, first, access.from)
            }
            (Root::Args, Target::Tracepoint { system, event })
                if system != "syscalls" && !is_pattern(system) && !is_pattern(event) =>
            {
                self.record(system, event, steps, access.from)
            }
            (Root::Args, Target::Function { module, name }) if !is_pattern(name) => {
                self.parameter(module.as_deref(), name, steps, access.from)
            }
            (Root::ReturnValue, Target::Function { module, name }) if !is_pattern(name) => {
                let found = self.functions(module.as_deref(), name);
                let returned = found.into_iter().filter_map(|function| {
                    let ty = function.ty.target()?.target()?;
                    Some(Candidate { ty, ..function })
                });
                self.follow(returned.collect(), steps, 0, access.from)
            }
            (Root::Context, Target::Iterator(name)) => {
                let found = self
                    .types
                    .all(&format!("{ITERATOR}{name}"), Kind::is_composite);
                self.follow(found, steps, 0, access.from)
            }
            _ => None,
        }
    }

    /// A field of a tracepoint. One of a class without a record of its own name is not known.
    fn record(
        &mut self,
        system: &str,
        event: &str,
        steps: &[Step],
        from: usize,
    ) -> Option<Missing> {
        let Some(Step::Member(field)) = steps.first() else {
            return None;
        };
        let records = self
            .types
            .all(&format!("{RECORD}{event}"), Kind::is_composite);
        let is_elsewhere = |record: &Candidate<'_>| {
            let mut names = ELSEWHERE.iter().map(|prefix| format!("{prefix}{field}"));
            names.any(|name| record.ty.find_member(&name).is_some())
        };
        if field.starts_with(COMMON) || records.iter().any(is_elsewhere) {
            return None;
        }
        let names = || {
            let mut names = Vec::new();
            for record in &records {
                record.ty.each_member(&mut |member| {
                    let name = member.member.name;
                    let shown = ELSEWHERE
                        .iter()
                        .find_map(|prefix| name.strip_prefix(prefix));
                    names.push(shown.unwrap_or(name));
                    names.len() < MAX_NAMES
                });
            }
            near(field, &names)
        };
        let has_it = records
            .iter()
            .any(|record| record.ty.find_member(field).is_some());
        if !records.is_empty() && !has_it {
            return (from == 0).then(|| Missing {
                subject: format!("tracepoint {system}:{event}"),
                reason: format!("it has no field {field}{}", names()),
            });
        }
        self.follow(records, steps, 0, from)
    }

    fn functions(&self, module: Option<&str>, name: &str) -> Vec<Candidate<'k>> {
        let mut found = self.types.all(name, |kind| kind == Kind::Func);
        found.retain(|one| module.is_none() || one.module == module);
        found
    }

    fn parameter(
        &mut self,
        module: Option<&str>,
        name: &str,
        steps: &[Step],
        from: usize,
    ) -> Option<Missing> {
        let Some(Step::Member(wanted)) = steps.first() else {
            return None;
        };
        let functions = self.functions(module, name);
        let (mut found, mut names) = (Vec::new(), Vec::new());
        for function in functions {
            let prototype = function.ty.target()?;
            for param in prototype.params() {
                // Not all are known.
                if param.name.is_empty() {
                    return None;
                }
                names.push(param.name);
                if param.name == wanted {
                    let ty = prototype.btf().ty(param.type_id);
                    found.push(Candidate { ty, ..function });
                }
            }
        }
        if found.is_empty() && !names.is_empty() {
            return (from == 0).then(|| Missing {
                subject: format!("function {name}"),
                reason: format!("it has no parameter {wanted}{}", near(wanted, &names)),
            });
        }
        self.follow(found, steps, 1, from)
    }

    /// Follows `steps` from the one at `first` on.
    fn follow(
        &mut self,
        mut at: Vec<Candidate<'k>>,
        steps: &[Step],
        first: usize,
        from: usize,
    ) -> Option<Missing> {
        for (index, step) in steps.iter().enumerate().skip(first) {
            let mut next = Vec::new();
            match step {
                Step::Element => {
                    for one in &at {
                        let ty = one.ty.resolved();
                        let element = match ty.array() {
                            Some((element, ..)) => ty.btf().ty(element),
                            None => ty.target()?,
                        };
                        next.push(Candidate {
                            ty: element,
                            ..*one
                        });
                    }
                }
                Step::Member(name) => {
                    at = self.composites(&at)?;
                    for one in &at {
                        (self.visit)(*one, name);
                        if let Some(found) = one.ty.find_member(name) {
                            let ty = one.ty.btf().ty(found.member.type_id);
                            next.push(Candidate { ty, ..*one });
                        }
                    }
                    if next.is_empty() {
                        return (index >= from).then(|| missing(&at, name)).flatten();
                    }
                }
            }
            at = next;
        }
        None
    }

    /// The structs and unions of which members are read: themselves, or what pointers point to.
    fn composites(&self, at: &[Candidate<'k>]) -> Option<Vec<Candidate<'k>>> {
        let mut found = Vec::new();
        for one in at {
            let mut ty = one.ty.resolved();
            if ty.kind() == Kind::Ptr {
                ty = ty.target()?.resolved();
            }
            match ty.kind() {
                Kind::Fwd => {
                    let whole = self.types.all(ty.name(), Kind::is_composite);
                    if whole.is_empty() {
                        return None;
                    }
                    found.extend(whole);
                }
                kind if kind.is_composite() => found.push(Candidate { ty, ..*one }),
                _ => return None,
            }
        }
        (!found.is_empty()).then_some(found)
    }
}

fn missing(types: &[Candidate<'_>], name: &str) -> Option<Missing> {
    let ty: Type<'_> = types.first()?.ty;
    let mut names = Vec::new();
    ty.each_member(&mut |member| {
        names.push(member.member.name);
        names.len() < MAX_NAMES
    });
    let of = described(ty);
    Some(Missing {
        reason: format!("{of} has no field {name}{}", near(name, &names)),
        subject: format!("{of}.{name}"),
    })
}
