//! BTF in memory, and its types by id.

mod data;
mod ty;

pub use data::{Btf, TypeId};
pub use ty::{Enumerator, Member, Type};
