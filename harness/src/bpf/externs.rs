//! The names that an object uses and does not define: variables of the kernel's configuration,
//! kernel functions (kfuncs) and kernel variables, by libbpf's rules.

use std::collections::HashMap;

use super::elf::Extern;
use super::facts::Facts;
use super::kconfig::{KconfigType, value_of};
use super::names::essential;
use super::object::Object;
use super::reach::Known;
use super::relocate::types_fit;
use super::report::Level;
use crate::btf::{Kind, Type};

/// Linkage of a declaration without definition (`BTF_VAR_GLOBAL_EXTERN`, `BTF_FUNC_EXTERN`).
const EXTERN: u32 = 2;

/// What became of a name on one kernel.
#[derive(Debug)]
pub struct Resolved {
    /// What instructions see of it.
    pub known: Known,
    /// What there is to tell of it.
    pub finding: Option<(Level, String)>,
    /// What it is, for people: `kfunc bpf_task_acquire`.
    pub subject: String,
    /// The module that has it.
    pub module: Option<String>,
}

/// Whether a kernel needs BTF for the names of an object.
pub fn need_btf(object: &Object) -> bool {
    let declared = declarations(object);
    let mut externs = object.elf.externs.iter();
    externs.any(|name| {
        let declared = declared.get(&*name.name);
        matches!(declared, Some(Declared::Function(_) | Declared::Typed(_)))
    })
}

/// How an object declares a name.
#[derive(Debug, Clone, Copy)]
enum Declared<'o> {
    Config(Type<'o>),
    Function(Type<'o>),
    Typed(Type<'o>),
    Untyped,
    Unknown,
}

/// All declarations without a definition, by name.
fn declarations(object: &Object) -> HashMap<&str, Declared<'_>> {
    let mut sections = HashMap::new();
    for section in object.btf.own().filter(|ty| ty.kind() == Kind::Datasec) {
        sections.extend(
            section
                .section_vars()
                .map(|var| (var.type_id, section.name())),
        );
    }
    let mut declared = HashMap::new();
    for ty in object.btf.own().filter(|ty| ty.linkage() == Some(EXTERN)) {
        let section = sections.get(&ty.id()).copied().unwrap_or_default();
        let target = ty.target().unwrap_or(ty);
        let one = match (section, ty.kind()) {
            (".kconfig", Kind::Var) => Declared::Config(target),
            (".ksyms", Kind::Func) => Declared::Function(target),
            (".ksyms", _) if target.resolved().kind() == Kind::Void => Declared::Untyped,
            (".ksyms", _) => Declared::Typed(target.resolved()),
            _ => Declared::Unknown,
        };
        declared.entry(ty.name()).or_insert(one);
    }
    declared
}

/// Looks up all names of an object on a kernel, in the order of [`super::elf::Elf::externs`].
pub fn resolve(object: &Object, kernel: &Facts) -> Vec<Resolved> {
    let declared = declarations(object);
    let externs = object.elf.externs.iter();
    let all = externs.map(|name| {
        let declared = declared.get(&*name.name).copied();
        one(declared.unwrap_or(Declared::Unknown), name, kernel)
    });
    all.collect()
}

fn one(declared: Declared<'_>, name: &Extern, kernel: &Facts) -> Resolved {
    let (what, found) = match declared {
        Declared::Config(ty) => ("kconfig", config(ty, name, kernel)),
        Declared::Function(proto) => ("kfunc", function(proto, name, kernel)),
        Declared::Typed(ty) => ("ksym", variable(ty, name, kernel)),
        Declared::Untyped => ("ksym", symbol(name, kernel)),
        Declared::Unknown => {
            let why = "the object's BTF does not declare it".to_owned();
            ("extern", Found::refused(why))
        }
    };
    Resolved {
        known: found.known,
        finding: found.finding,
        subject: format!("{what} {}", name.name),
        module: found.module,
    }
}

/// What a look-up gives.
struct Found {
    known: Known,
    finding: Option<(Level, String)>,
    module: Option<String>,
}

impl Found {
    fn something() -> Self {
        Self {
            known: Known::Something,
            finding: None,
            module: None,
        }
    }

    fn with(level: Level, why: String) -> Self {
        Self {
            finding: Some((level, why)),
            ..Self::something()
        }
    }

    fn refused(why: String) -> Self {
        Self::with(Level::Refused, why)
    }

    /// Nothing has the name; a weak one is then 0.
    fn nothing(name: &Extern, why: String) -> Self {
        if name.weak {
            return Self {
                known: Known::Nothing,
                ..Self::something()
            };
        }
        Self::refused(why)
    }
}

fn config(ty: Type<'_>, name: &Extern, kernel: &Facts) -> Found {
    let Some(kind) = KconfigType::of(ty) else {
        return Found::refused("libbpf does not support its type".to_owned());
    };
    let bytes = |bytes: Result<Vec<u8>, _>| match bytes {
        Ok(bytes) => Found {
            known: Known::Bytes(bytes),
            ..Found::something()
        },
        Err(why) => Found::refused(format!("{why}")),
    };
    let unknown = |what: &str| Found::with(Level::Unsure, format!("{what} is not known"));
    if name.name.starts_with("CONFIG_") {
        let Some(config) = &kernel.config else {
            return unknown("this kernel's configuration");
        };
        return match value_of(config, &name.name) {
            Some(value) => bytes(kind.bytes(value)),
            None if name.weak => bytes(Ok(kind.unset())),
            None => Found::refused("it is not set in this kernel's configuration".to_owned()),
        };
    }
    match name.name.as_str() {
        "LINUX_KERNEL_VERSION" => match kernel.version_code() {
            Some(code) => bytes(kind.number(code.into())),
            None => unknown("this kernel's version"),
        },
        // Both are constants of the kernel that libbpf probes; these are where they came with.
        "LINUX_HAS_BPF_COOKIE" => match kernel.types() {
            Some(types) => {
                let cookie = types.named("bpf_trace_run_ctx", Kind::Struct, None);
                let has = cookie.is_some_and(|run| run.ty.find_member("bpf_cookie").is_some());
                bytes(kind.number(has.into()))
            }
            None => unknown("this kernel's BTF"),
        },
        "LINUX_HAS_SYSCALL_WRAPPER" => bytes(kind.number(1)),
        other if other.starts_with("LINUX_") && name.weak => bytes(Ok(kind.unset())),
        _ => Found::refused("libbpf knows no such variable".to_owned()),
    }
}

fn function(proto: Type<'_>, name: &Extern, kernel: &Facts) -> Found {
    let Some(types) = kernel.types() else {
        return Found::refused("this kernel has no BTF".to_owned());
    };
    let plain = essential(&name.name);
    let Some(found) = types.named(plain, Kind::Func, None) else {
        return Found::nothing(name, "this kernel has no such function".to_owned());
    };
    let theirs = found.ty.target().unwrap_or(found.ty);
    if !types_fit(proto, theirs).unwrap_or(false) {
        return Found::nothing(
            name,
            "its prototype is another one in this kernel".to_owned(),
        );
    }
    let is_kfunc = found.is_kfunc().or_else(|| is_listed(plain, kernel));
    if is_kfunc == Some(false) && (found.module.is_none() || found.is_kfunc().is_some()) {
        return Found::refused("this kernel has the function, but not as a kfunc".to_owned());
    }
    Found {
        module: found.module.map(str::to_owned),
        ..Found::something()
    }
}

/// Whether a function of the kernel itself is in one of its lists by BTF id, as every kfunc is;
/// `None` where its symbols do not tell of such lists.
fn is_listed(name: &str, kernel: &Facts) -> Option<bool> {
    const LISTED: &str = "__BTF_ID__func__";
    let symbols = kernel.symbols()?;
    symbols.starting_with(LISTED).next()?;
    let mut entries = symbols.starting_with(&format!("{LISTED}{name}__"));
    Some(entries.next().is_some())
}

fn variable(ty: Type<'_>, name: &Extern, kernel: &Facts) -> Found {
    let Some(types) = kernel.types() else {
        return Found::refused("this kernel has no BTF".to_owned());
    };
    let Some(found) = types.named(&name.name, Kind::Var, None) else {
        return Found::nothing(name, "this kernel's BTF has no such variable".to_owned());
    };
    let theirs = found.ty.target().unwrap_or(found.ty).resolved();
    if !types_fit(ty, theirs).unwrap_or(false) {
        return Found::refused("its type is another one in this kernel".to_owned());
    }
    Found {
        module: found.module.map(str::to_owned),
        ..Found::something()
    }
}

/// A symbol without a type, which libbpf looks for in `/proc/kallsyms`.
fn symbol(name: &Extern, kernel: &Facts) -> Found {
    match kernel.symbols() {
        Some(symbols) => match symbols.count(&name.name) {
            // Modules have symbols of their own.
            0 if name.weak => Found::something(),
            0 => Found::with(
                Level::Unsure,
                "the kernel itself has no such symbol; a module may have".to_owned(),
            ),
            1 => Found::something(),
            count => Found::refused(format!("ambiguous: {count} symbols have this name")),
        },
        None => Found::with(
            Level::Unsure,
            "this kernel's symbols are not known".to_owned(),
        ),
    }
}
