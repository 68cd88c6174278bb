//! What the name of a program's section says: its type, and what it attaches to.
//!
//! The names are libbpf's (`section_defs` of libbpf 1.7), the types those of `enum bpf_prog_type`
//! and `enum bpf_attach_type` without their prefixes.

mod kinds;

use kinds::{CHECKED_AT_LOAD, KINDS, Kind, Rest};

/// What a section's name says about its programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// Programs in it are loaded only if somebody asks for it (`SEC("?…")`).
    pub optional: bool,
    /// The program type, such as `TRACING`; `None` for a name that libbpf does not know.
    pub program_type: Option<&'static str>,
    /// The attach type that the kernel checks when it loads the program, such as `TRACE_FENTRY`.
    pub attach_type: Option<Attachment>,
    /// What it attaches to.
    pub target: Target,
}

/// An attach type, and when a kernel that does not know it says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attachment {
    /// Without `BPF_`.
    pub name: &'static str,
    /// When the program is loaded; else when it is attached.
    pub at_load: bool,
}

/// What a program attaches to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A kernel function, by its symbol; the kernel looks it up when the program is attached.
    Kprobe {
        /// Its name.
        function: String,
        /// The probe is at its return.
        at_return: bool,
    },
    /// Kernel functions that match a pattern.
    KprobeMulti(String),
    /// A system call.
    Syscall(String),
    /// A function in the BTF of the kernel or a module; the kernel looks it up when the program is
    /// loaded.
    Function {
        /// The module, if the section names one.
        module: Option<String>,
        /// Its name.
        name: String,
        /// The program changes what it returns, which few functions allow.
        modifies_return: bool,
    },
    /// A raw tracepoint whose arguments have types.
    TypedTracepoint {
        /// The module, if the section names one.
        module: Option<String>,
        /// Its name.
        name: String,
    },
    /// A raw tracepoint.
    RawTracepoint(String),
    /// A trace event.
    Tracepoint {
        /// Such as `sched`.
        system: String,
        /// Such as `sched_switch`.
        name: String,
    },
    /// A hook of the Linux security modules.
    Lsm(String),
    /// An iterator.
    Iterator(String),
    /// A member of a struct of functions.
    StructOps,
    /// A function of another BPF program, which only the loader knows.
    Program,
    /// The section should name a target and does not; the loader has to.
    Missing,
    /// Something outside of the kernel's symbols: a device, a control group, a program's function.
    Elsewhere,
}

impl Section {
    /// What the name of a section says.
    pub fn of(name: &str) -> Self {
        let (optional, name) = match name.strip_prefix('?') {
            Some(rest) => (true, rest),
            None => (false, name),
        };
        let matching = KINDS
            .iter()
            .find_map(|kind| Some((kind, rest(kind, name)?)));
        let Some((&(_, program_type, attach_type, kind), rest)) = matching else {
            return Self {
                optional,
                program_type: None,
                attach_type: None,
                target: Target::Elsewhere,
            };
        };
        Self {
            optional,
            program_type: Some(program_type),
            attach_type: (!attach_type.is_empty()).then(|| Attachment {
                name: attach_type,
                at_load: CHECKED_AT_LOAD.contains(&program_type),
            }),
            target: target(kind, rest),
        }
    }
}

/// What follows the kind of a section, `None` if it is of another kind.
fn rest<'n>((kind, _, _, rest): &Kind, name: &'n str) -> Option<&'n str> {
    let after = name.strip_prefix(kind)?;
    match rest {
        Rest::Nothing => after.is_empty().then_some(""),
        _ if after.is_empty() => Some(""),
        _ => after.strip_prefix('/'),
    }
}

fn target(kind: Rest, rest: &str) -> Target {
    let of_module = || match rest.split_once(':') {
        Some((module, name)) if module != "vmlinux" => (Some(module.to_owned()), name.to_owned()),
        Some((_, name)) => (None, name.to_owned()),
        None => (None, rest.to_owned()),
    };
    match kind {
        Rest::Any | Rest::Nothing => Target::Elsewhere,
        Rest::StructOps => Target::StructOps,
        Rest::Program => Target::Program,
        _ if rest.is_empty() => Target::Missing,
        Rest::Kprobe | Rest::Kretprobe => Target::Kprobe {
            function: rest.split('+').next().unwrap_or(rest).to_owned(),
            at_return: kind == Rest::Kretprobe,
        },
        Rest::KprobeMulti => Target::KprobeMulti(rest.to_owned()),
        Rest::Syscall => Target::Syscall(rest.to_owned()),
        Rest::Function | Rest::ModifiesReturn => {
            let (module, name) = of_module();
            Target::Function {
                module,
                name,
                modifies_return: kind == Rest::ModifiesReturn,
            }
        }
        Rest::TypedTracepoint => {
            let (module, name) = of_module();
            Target::TypedTracepoint { module, name }
        }
        Rest::RawTracepoint => Target::RawTracepoint(rest.to_owned()),
        Rest::Tracepoint => match rest.split_once('/') {
            Some((system, name)) => Target::Tracepoint {
                system: system.to_owned(),
                name: name.to_owned(),
            },
            None => Target::Missing,
        },
        Rest::Lsm => Target::Lsm(rest.to_owned()),
        Rest::Iterator => Target::Iterator(rest.to_owned()),
    }
}

#[cfg(test)]
mod tests;
