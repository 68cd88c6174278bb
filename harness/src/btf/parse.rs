//! Reads BTF that nobody has checked yet.

use std::sync::Arc;

use super::check;
use super::raw::Damage;
use super::types::Btf;

impl Btf {
    /// Reads BTF that stands for itself: that of a kernel or an object, or a distilled base.
    pub fn parse(data: Vec<u8>) -> Result<Self, Damage> {
        Self::read(data, None)
    }

    /// Reads split BTF: that of a module, over the BTF of its kernel.
    pub fn parse_split(data: Vec<u8>, base: Arc<Btf>) -> Result<Self, Damage> {
        Self::read(data, Some(base))
    }

    fn read(data: Vec<u8>, base: Option<Arc<Btf>>) -> Result<Self, Damage> {
        let btf = Self::trust(data.into(), base)?;
        check::all(&btf)?;
        Ok(btf)
    }
}
