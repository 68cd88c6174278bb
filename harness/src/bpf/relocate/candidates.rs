//! The kernel's types that a type of the object may stand for.

use std::collections::HashMap;

use super::compare::kinds_fit;
use super::names::essential;
use crate::bpf::kernel::KernelTypes;
use crate::btf::{Kind, Type, TypeId};

/// The candidates for each type of the object, as far as they have been looked for.
///
/// libbpf keeps the list of a type for all its relocations, and takes off it what one of them has
/// ruled out; so does this.
#[derive(Debug, Default)]
pub(super) struct Candidates<'k> {
    lists: HashMap<TypeId, Vec<Candidate<'k>>>,
}

/// A type of the kernel or a module.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'k> {
    /// The type.
    pub ty: Type<'k>,
    /// The module that it is of; `None` for the kernel itself.
    pub module: Option<&'k str>,
}

impl<'k> Candidates<'k> {
    /// The candidates for `local`, those of modules only where the kernel itself has none.
    pub(super) fn of(
        &mut self,
        local: Type<'_>,
        kernel: KernelTypes<'k>,
    ) -> &mut Vec<Candidate<'k>> {
        self.lists.entry(local.id()).or_insert_with(|| {
            let fits = |candidate: &Candidate<'_>| kinds_fit(candidate.ty.kind(), local.kind());
            let named = kernel.flavours(essential(local.name()));
            let of_kernel = named.iter().filter(|candidate| candidate.module.is_none());
            let list: Vec<_> = of_kernel.copied().filter(fits).collect();
            if list.is_empty() {
                named.iter().copied().filter(fits).collect()
            } else {
                list
            }
        })
    }
}

impl Candidate<'_> {
    /// Whether a function is marked as one that programs may call; `None` where the BTF marks none,
    /// since that came with pahole 1.26 (Linux 6.9).
    pub fn is_kfunc(self) -> Option<bool> {
        let mut marked = None;
        for ty in self.ty.btf().own() {
            if ty.kind() == Kind::DeclTag && ty.name() == "bpf_kfunc" {
                marked = Some(marked == Some(true) || ty.target_id() == Some(self.ty.id()));
            }
        }
        marked
    }
}
