//! What a kernel is asked: its types, those of its modules, its configuration and its symbols.

use super::candidate::Candidate;
use super::names::essential;
use crate::btf::{Entry, KernelBtf, Kind, Meaning};

/// The types of a kernel and its modules, by name.
#[derive(Debug, Clone, Copy)]
pub struct KernelTypes<'k> {
    btf: &'k KernelBtf,
}

impl<'k> KernelTypes<'k> {
    /// Of this kernel.
    pub fn new(btf: &'k KernelBtf) -> Self {
        Self { btf }
    }

    /// The types with this name, whatever their flavour: first those of the kernel itself.
    pub fn flavours(self, name: &str) -> Vec<Candidate<'k>> {
        let names = self.btf.names();
        let flavoured = names.starting_with(&format!("{name}___"));
        let flavoured = flavoured.filter(|(other, _)| essential(other) == name);
        let mut entries: Vec<Entry> = names
            .get(name)
            .chain(flavoured.flat_map(|(_, entries)| entries))
            .filter(|entry| entry.meaning != Meaning::Enumerator)
            .collect();
        entries.sort_by_key(|entry| (entry.unit, entry.id));
        let candidates = entries
            .into_iter()
            .filter_map(|entry| self.candidate(entry));
        candidates.collect()
    }

    /// What has exactly this name and kind: in the kernel itself, else in its modules. A `module`
    /// is asked alone.
    pub fn named(self, name: &str, kind: Kind, module: Option<&str>) -> Option<Candidate<'k>> {
        let mut entries = self.btf.names().get(name);
        let entry = entries.find(|entry| {
            let of_module = module.is_none_or(|module| self.btf.module(entry.unit) == Some(module));
            entry.meaning == Meaning::Type(kind) && of_module
        });
        self.candidate(entry?)
    }

    /// What has exactly this name and one of these kinds: in the kernel itself, and in its modules.
    pub fn all(self, name: &str, is: impl Fn(Kind) -> bool) -> Vec<Candidate<'k>> {
        let entries = self.btf.names().get(name);
        let entries = entries.filter(|entry| match entry.meaning {
            Meaning::Type(kind) => is(kind),
            Meaning::Enumerator => false,
        });
        entries.filter_map(|entry| self.candidate(entry)).collect()
    }

    /// Whether the types of modules are known, or only those of the image.
    pub fn has_modules(self) -> bool {
        self.btf.units().len() > 1
    }

    /// Whether the running kernel lists its BTF among its BPF objects, as from 5.11 on. bpftrace
    /// looks for it only there (`load_kernel_btfs`, src/btf.cpp, 0.17 to 0.26).
    pub fn are_listed(self) -> bool {
        let info = self.named("bpf_btf_info", Kind::Struct, None);
        info.is_some_and(|info| info.ty.members().any(|member| member.name == "kernel_btf"))
    }

    /// The names of this kind that begin with `prefix`, without it.
    pub fn names_behind(self, prefix: &str, kind: Kind) -> Vec<&'k str> {
        let found = self.btf.names().starting_with(prefix);
        let of_kind = found.filter_map(|(name, mut entries)| {
            let fits = entries.any(|entry| entry.meaning == Meaning::Type(kind));
            fits.then(|| name.strip_prefix(prefix)).flatten()
        });
        of_kind.collect()
    }

    /// Whether the kernel itself has this enum, and in it this value; `None` without the enum.
    pub fn has_value(self, of_enum: &str, value: &str) -> Option<bool> {
        let found = self.named(of_enum, Kind::Enum, None)?;
        let mut values = found.ty.enumerators();
        Some(values.any(|other| other.name == value))
    }

    /// The number of the newest helper function (`enum bpf_func_id`).
    pub fn last_helper(self) -> Option<i32> {
        let helpers = self.named("bpf_func_id", Kind::Enum, None)?;
        let mut values = helpers.ty.enumerators();
        let end = values.find(|value| value.name == "__BPF_FUNC_MAX_ID")?;
        i32::try_from(end.value - 1).ok()
    }

    fn candidate(self, entry: Entry) -> Option<Candidate<'k>> {
        match self.btf.ty(entry) {
            Ok(ty) => Some(Candidate {
                ty,
                module: self.btf.module(entry.unit),
            }),
            Err(error) => {
                tracing::warn!(%error, "cannot read the BTF of a module");
                None
            }
        }
    }
}
