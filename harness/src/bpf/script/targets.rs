//! Whether what a probe attaches to is there.

use super::probe::{Target, is_pattern};
use crate::bpf::facts::Facts;
use crate::bpf::report::Level;
use crate::bpf::targets::{self, Told};
use crate::btf::Kind;

/// What there is to tell of a target; `None` if it is there, or if nothing is known of it.
pub(super) fn check(target: &Target, kernel: &Facts) -> Option<Told> {
    let mut told = found(target, kernel)?;
    // Whatever bpftrace does first, it is the target that is not there.
    if told.level == Level::Refused {
        told.level = Level::Unattached;
    }
    Some(told)
}

fn found(target: &Target, kernel: &Facts) -> Option<Told> {
    match target {
        Target::Kprobe { module, function } => kprobe(module.as_deref(), function, kernel),
        Target::Function { name, .. } if is_pattern(name) => None,
        Target::Function { module, name } => {
            targets::function(module.as_deref(), name, false, kernel)
        }
        Target::Tracepoint { system, event } if is_pattern(system) || is_pattern(event) => None,
        Target::Tracepoint { system, event } => targets::trace_event(system, event, kernel),
        Target::RawTracepoint(name) if is_pattern(name) => None,
        Target::RawTracepoint(name) => targets::raw_tracepoint(name, kernel),
        Target::Iterator(name) => targets::iterator(name, kernel),
        Target::Elsewhere => None,
    }
}

fn kprobe(module: Option<&str>, name: &str, kernel: &Facts) -> Option<Told> {
    if is_pattern(name) {
        return targets::pattern_of_kprobes(name, kernel);
    }
    let types = kernel.types();
    if let Some(module) = module {
        let found = types.and_then(|types| types.named(name, Kind::Func, Some(module)));
        return found.is_none().then(|| Told {
            level: Level::Unsure,
            subject: format!("function {name}"),
            reason: format!("the BTF of the module {module} does not have it"),
        });
    }
    let mut told = targets::kprobe(name, kernel)?;
    // Which of several functions is meant depends on how bpftrace attaches.
    if kernel
        .symbols()
        .is_some_and(|symbols| symbols.count(name) > 1)
    {
        told.level = Level::Unsure;
    }
    Some(told)
}

/// The module that has the target, if the kernel itself does not.
pub(super) fn module(target: &Target, kernel: &Facts) -> Option<String> {
    let types = kernel.types()?;
    let (name, kind) = match target {
        Target::Kprobe { module, function }
        | Target::Function {
            module,
            name: function,
        } => {
            if module.is_some() {
                return module.clone();
            }
            (function.clone(), Kind::Func)
        }
        Target::Tracepoint { event, .. } | Target::RawTracepoint(event) => {
            (format!("{}{event}", targets::TRACEPOINTS), Kind::Typedef)
        }
        Target::Iterator(_) | Target::Elsewhere => return None,
    };
    let found = types.named(&name, kind, None)?;
    found.module.map(str::to_owned)
}
