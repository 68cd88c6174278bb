//! A type of a kernel for one of an object.

use crate::btf::{Kind, Type};

/// A type of the kernel or a module.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'k> {
    /// The type.
    pub ty: Type<'k>,
    /// The module that it is of; `None` for the kernel itself.
    pub module: Option<&'k str>,
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
