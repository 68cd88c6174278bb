//! Whether what a program attaches to is there.

use super::facts::Facts;
use super::kernel::KernelTypes;
use super::relocate::near;
use super::report::Level;
use super::section::{Section, Target};
use crate::btf::Kind;
use crate::kernel::Symbols;

/// What there is to tell of a program's type and target.
#[derive(Debug)]
pub struct Told {
    /// How much it matters.
    pub level: Level,
    /// What it is about, such as `function do_unlinkat`.
    pub subject: String,
    /// Why.
    pub reason: String,
}

impl Told {
    fn new(level: Level, subject: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            level,
            subject: subject.into(),
            reason: reason.into(),
        }
    }
}

/// Typedefs of the kernel for the arguments of its tracepoints.
pub(super) const TRACEPOINTS: &str = "btf_trace_";
/// Functions that programs of the security hooks replace.
const HOOKS: &str = "bpf_lsm_";
/// Functions that stand for iterators.
const ITERATORS: &str = "bpf_iter_";

/// Symbols for the functions that nobody may probe.
const NO_PROBES: &str = "_kbl_addr_";
/// Symbols for the functions whose return value programs may change.
const ERRORS: &str = "_eil_addr_";

/// What a kernel has for the type and the target of a program; `None` if all is well.
pub fn check(section: &Section, kernel: &Facts) -> Option<Told> {
    let Some(program_type) = section.program_type else {
        return Some(Told::new(
            Level::Refused,
            "section",
            "libbpf derives no program type from its name",
        ));
    };
    kernel
        .types()
        .and_then(|types| program_types(program_type, section, types))
        .or_else(|| target(&section.target, kernel))
}

fn program_types(program_type: &str, section: &Section, types: KernelTypes<'_>) -> Option<Told> {
    let value = format!("BPF_PROG_TYPE_{program_type}");
    if types.has_value("bpf_prog_type", &value) == Some(false) {
        let why = "this kernel does not have programs of this type";
        return Some(Told::new(Level::Refused, value, why));
    }
    let attachment = section.attach_type?;
    let value = format!("BPF_{}", attachment.name);
    if types.has_value("bpf_attach_type", &value) != Some(false) {
        return None;
    }
    let why = "this kernel does not have programs that attach so";
    let level = if attachment.at_load {
        Level::Refused
    } else {
        Level::Unattached
    };
    Some(Told::new(level, value, why))
}

fn target(target: &Target, kernel: &Facts) -> Option<Told> {
    match target {
        Target::Elsewhere | Target::StructOps => None,
        Target::Missing => Some(Told::new(
            Level::Unsure,
            "section",
            "its name has no target: the loader has to set one",
        )),
        Target::Program => Some(Told::new(
            Level::Unsure,
            "section",
            "it replaces a function of a program that only the loader knows",
        )),
        Target::Kprobe { function, .. } => kprobe(function, kernel),
        Target::KprobeMulti(pattern) => pattern_of_kprobes(pattern, kernel),
        Target::Syscall(name) => syscall(name, kernel),
        Target::Function {
            module,
            name,
            modifies_return,
        } => function(module.as_deref(), name, *modifies_return, kernel),
        Target::TypedTracepoint { module, name } => {
            let found = tracepoint(module.as_deref(), name, kernel)?;
            Some(Told::new(
                Level::Refused,
                format!("tracepoint {name}"),
                found,
            ))
        }
        Target::RawTracepoint(name) => raw_tracepoint(name, kernel),
        Target::Tracepoint { system, name } => trace_event(system, name, kernel),
        Target::Lsm(name) => named(kernel, HOOKS, name, "LSM hook", "CONFIG_BPF_LSM"),
        Target::Iterator(name) => iterator(name, kernel),
    }
}

/// An iterator.
pub(super) fn iterator(name: &str, kernel: &Facts) -> Option<Told> {
    named(kernel, ITERATORS, name, "iterator", "iterators")
}

/// A tracepoint without its record.
pub(super) fn raw_tracepoint(name: &str, kernel: &Facts) -> Option<Told> {
    let (level, why) = absent(kernel, tracepoint(None, name, kernel)?);
    Some(Told::new(level, format!("tracepoint {name}"), why))
}

/// What it means that the image does not have a function or tracepoint: one of its modules may have
/// it, if their types are not known.
fn absent(kernel: &Facts, why: String) -> (Level, String) {
    match kernel.types() {
        Some(types) if types.has_modules() => (Level::Unattached, why),
        _ => {
            let why = "the image does not have it, and the types of its modules are not known";
            (Level::Unsure, why.to_owned())
        }
    }
}

/// A function that stands for a hook or an iterator.
fn named(kernel: &Facts, prefix: &str, name: &str, what: &str, feature: &str) -> Option<Told> {
    let types = kernel.types()?;
    let wanted = format!("{prefix}{name}");
    if types.named(&wanted, Kind::Func, None).is_some() {
        return None;
    }
    let all = types.names_behind(prefix, Kind::Func);
    let reason = if all.is_empty() {
        format!("this kernel is built without {feature}")
    } else {
        format!("this kernel has no such {what}{}", near(name, &all))
    };
    Some(Told::new(Level::Refused, format!("{what} {name}"), reason))
}

/// Why a function that is not there by its name may still be there, or not; `None` if it is.
fn in_symbols(name: &str, symbols: &Symbols) -> Option<String> {
    if symbols.count(name) > 0 {
        return None;
    }
    let prefix = format!("{name}.");
    let mut changed = symbols.starting_with(&prefix);
    Some(match changed.next() {
        Some(other) => format!("the compiler has made {other} of it"),
        None => "this kernel has no such function, or it is inlined".to_owned(),
    })
}

/// A function for a kprobe.
pub(super) fn kprobe(name: &str, kernel: &Facts) -> Option<Told> {
    let told = |level, reason: String| Some(Told::new(level, format!("function {name}"), reason));
    let types = kernel.types();
    let in_btf = types.and_then(|types| types.named(name, Kind::Func, None));
    let of_module = in_btf.is_some_and(|function| function.module.is_some());
    match kernel.symbols() {
        Some(symbols) if !of_module => match symbols.count(name) {
            // Linux: NOKPROBE_SYMBOL.
            _ if symbols.count(&format!("{NO_PROBES}{name}")) > 0 => told(
                Level::Unattached,
                "this kernel lets nobody probe it".to_owned(),
            ),
            0 => {
                let why = in_symbols(name, symbols)?;
                let mut changed = symbols.starting_with(&format!("{name}."));
                let (level, why) = match changed.next() {
                    Some(_) => (Level::Unattached, why),
                    None => absent(kernel, why),
                };
                told(level, why)
            }
            1 => None,
            count => told(
                Level::Unattached,
                format!("ambiguous: {count} functions have this name"),
            ),
        },
        _ if in_btf.is_some() => None,
        _ => told(
            Level::Unsure,
            "this kernel's BTF does not have it, and its symbols are not known".to_owned(),
        ),
    }
}

/// Functions for kprobes, by a pattern.
pub(super) fn pattern_of_kprobes(pattern: &str, kernel: &Facts) -> Option<Told> {
    let types = kernel.types()?;
    let subject = format!("functions {pattern}");
    let fixed = pattern.split(['*', '?']).next().unwrap_or_default();
    let glob = globset::Glob::new(pattern).ok()?.compile_matcher();
    let names = types.names_behind(fixed, Kind::Func);
    let mut names = names.iter().map(|rest| format!("{fixed}{rest}"));
    if names.any(|name| glob.is_match(name)) {
        return None;
    }
    let in_symbols = kernel.symbols().is_some_and(|symbols| {
        let mut names = symbols.starting_with(fixed);
        names.any(|name| glob.is_match(name))
    });
    let why = "this kernel has no function whose name matches".to_owned();
    (!in_symbols).then(|| {
        let (level, why) = absent(kernel, why);
        Told::new(level, subject, why)
    })
}

/// The function of a system call has a prefix for the architecture.
fn syscall(name: &str, kernel: &Facts) -> Option<Told> {
    let prefixes = ["__x64_sys_", "__arm64_sys_", "__se_sys_", "sys_"];
    let mut names = prefixes.iter().map(|prefix| format!("{prefix}{name}"));
    let has = |name: String| {
        let in_btf = kernel
            .types()
            .and_then(|types| types.named(&name, Kind::Func, None));
        in_btf.is_some()
            || kernel
                .symbols()
                .is_some_and(|symbols| symbols.count(&name) > 0)
    };
    if names.any(has) || (kernel.types().is_none() && kernel.symbols().is_none()) {
        return None;
    }
    let why = "this kernel has no such system call";
    Some(Told::new(
        Level::Unattached,
        format!("system call {name}"),
        why,
    ))
}

/// A function that is attached to by BTF.
pub(super) fn function(
    module: Option<&str>,
    name: &str,
    modifies_return: bool,
    kernel: &Facts,
) -> Option<Told> {
    let types = kernel.types()?;
    let told = |level, reason: String| Some(Told::new(level, format!("function {name}"), reason));
    let Some(found) = types.named(name, Kind::Func, module) else {
        let reason = match (module, kernel.symbols()) {
            (Some(module), _) => format!("the BTF of the module {module} does not have it"),
            (None, Some(symbols)) => match in_symbols(name, symbols) {
                Some(reason) => reason,
                None => "this kernel has it, but not in its BTF".to_owned(),
            },
            (None, None) => "this kernel's BTF does not have it".to_owned(),
        };
        return told(Level::Refused, reason);
    };
    if !modifies_return || name.starts_with("security_") || found.module.is_some() {
        return None;
    }
    // Linux: `check_attach_modify_return`. Functions say so with ALLOW_ERROR_INJECTION. A kernel
    // that has such symbols at all has all of them.
    let has_any = |symbols: &&Symbols| symbols.starting_with(NO_PROBES).next().is_some();
    match kernel.symbols().filter(has_any) {
        Some(symbols) if symbols.count(&format!("{ERRORS}{name}")) > 0 => None,
        Some(_) => told(
            Level::Refused,
            "this kernel does not let programs change what it returns".to_owned(),
        ),
        None => told(
            Level::Unsure,
            "whether programs may change what it returns is not known".to_owned(),
        ),
    }
}

/// Why a tracepoint is not there; `None` if it is, or if that is not known.
fn tracepoint(module: Option<&str>, name: &str, kernel: &Facts) -> Option<String> {
    let types = kernel.types()?;
    let wanted = format!("{TRACEPOINTS}{name}");
    if types.named(&wanted, Kind::Typedef, module).is_some() {
        return None;
    }
    let all = types.names_behind(TRACEPOINTS, Kind::Typedef);
    Some(match module {
        Some(module) => format!("the module {module} has no such tracepoint"),
        None => format!("this kernel has no such tracepoint{}", near(name, &all)),
    })
}

/// A tracepoint with its record.
pub(super) fn trace_event(system: &str, name: &str, kernel: &Facts) -> Option<Told> {
    let told = |level, reason| {
        Some(Told::new(
            level,
            format!("tracepoint {system}:{name}"),
            reason,
        ))
    };
    let of_call = name
        .strip_prefix("sys_enter_")
        .or_else(|| name.strip_prefix("sys_exit_"));
    match (system, of_call) {
        ("syscalls", Some(call)) => match syscall(call, kernel) {
            Some(missing) => told(Level::Unattached, missing.reason),
            None => None,
        },
        // Made at run time.
        ("ftrace" | "synthetic" | "kprobes" | "uprobes", _) => told(
            Level::Unsure,
            "the kernel's BTF does not tell of events of this system".to_owned(),
        ),
        _ => {
            let (level, why) = absent(kernel, tracepoint(None, name, kernel)?);
            told(level, why)
        }
    }
}
