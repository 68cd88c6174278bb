//! The kernel's types that a type of the object may stand for.

use std::collections::HashMap;

use super::compare::kinds_fit;
use crate::bpf::candidate::Candidate;
use crate::bpf::kernel::KernelTypes;
use crate::bpf::names::essential;
use crate::btf::{Type, TypeId};

/// The candidates for each type of the object, as far as they have been looked for.
///
/// libbpf keeps the list of a type for all its relocations, and takes off it what one of them has
/// ruled out; so does this.
#[derive(Debug, Default)]
pub(super) struct Candidates<'k> {
    lists: HashMap<TypeId, Vec<Candidate<'k>>>,
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
