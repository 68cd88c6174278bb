//! BTF in memory: its sections, and where its types and strings are.

use std::fmt;
use std::sync::{Arc, OnceLock};

use super::super::bytes::{Bytes, Numbers};
use super::super::raw::{ByteOrder, Damage, Sections};

/// The id of a type. In split BTF, ids begin after the last one of the base.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TypeId(pub u32);

impl TypeId {
    /// The type without a record, `void`.
    pub const VOID: Self = Self(0);
}

impl fmt::Display for TypeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}]", self.0)
    }
}

/// BTF of a kernel, a module or an object: its bytes, and where each type begins.
///
/// What it holds has been checked: every record and string lies within its section, every id that
/// is referred to exists, and no type contains or only renames itself.
pub struct Btf {
    pub(super) data: Bytes,
    pub(super) sections: Sections,
    pub(super) base: Option<Arc<Btf>>,
    /// Where the records begin, as byte offsets in `data`.
    pub(super) offsets: Numbers,
    pub(super) first_id: u32,
    pub(super) first_string: u32,
    pub(super) pointer_size: OnceLock<u32>,
}

impl fmt::Debug for Btf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Btf")
            .field("bytes", &self.data.len())
            .field("first_id", &self.first_id)
            .field("types", &self.offsets.len())
            .finish_non_exhaustive()
    }
}

impl Btf {
    /// Reads what was checked before it was stored: that takes most of the time.
    pub(in crate::btf) fn trust(data: Bytes, base: Option<Arc<Btf>>) -> Result<Self, Damage> {
        let sections = Sections::parse(&data)?;
        let offsets = sections.records(&data)?.into_iter().collect();
        Self::new(data, sections, offsets, base)
    }

    /// Takes what was stored with [`Btf::offsets`].
    pub(in crate::btf) fn stored(data: Bytes, offsets: Numbers) -> Result<Self, Damage> {
        let sections = Sections::parse(&data)?;
        Self::new(data, sections, offsets, None)
    }

    fn new(
        data: Bytes,
        sections: Sections,
        offsets: Numbers,
        base: Option<Arc<Btf>>,
    ) -> Result<Self, Damage> {
        let (first_id, first_string) = match &base {
            Some(base) if base.sections.order != sections.order => {
                return Err(Damage::at(0, "its byte order is not that of its base"));
            }
            Some(base) => (base.end_id(), base.end_string()),
            None => (1, 0),
        };
        let end_id = u32::try_from(offsets.len())
            .ok()
            .and_then(|count| first_id.checked_add(count));
        let end_string = u32::try_from(sections.strings.len())
            .ok()
            .and_then(|length| first_string.checked_add(length));
        if end_id.is_none() || end_string.is_none() {
            return Err(Damage::at(0, "it has more types or strings than ids"));
        }
        Ok(Self {
            data,
            sections,
            base,
            offsets,
            first_id,
            first_string,
            pointer_size: OnceLock::new(),
        })
    }

    /// All bytes, as in a file of `/sys/kernel/btf`.
    pub fn bytes(&self) -> &[u8] {
        &self.data
    }

    /// The byte order of its numbers.
    pub fn byte_order(&self) -> ByteOrder {
        self.sections.order
    }

    /// What it is split from.
    pub fn base(&self) -> Option<&Arc<Btf>> {
        self.base.as_ref()
    }

    /// The first id that is its own: 1 without a base.
    pub fn first_id(&self) -> u32 {
        self.first_id
    }

    /// The id after the last.
    pub fn end_id(&self) -> u32 {
        // `read` has checked that they fit.
        self.first_id + u32::try_from(self.offsets.len()).unwrap_or(u32::MAX)
    }

    /// The string offset after the last.
    pub(in crate::btf) fn end_string(&self) -> u32 {
        self.first_string + u32::try_from(self.sections.strings.len()).unwrap_or(u32::MAX)
    }

    pub(in crate::btf) fn sections(&self) -> &Sections {
        &self.sections
    }

    /// The string at `offset`, from this BTF or its base; empty if no string starts there.
    pub fn string(&self, offset: u32) -> &str {
        self.string_at(offset).unwrap_or_default()
    }

    pub(in crate::btf) fn string_at(&self, offset: u32) -> Option<&str> {
        let mut btf = self;
        while offset < btf.first_string {
            btf = btf.base.as_deref()?;
        }
        let strings = btf.data.get(btf.sections.strings.clone())?;
        let text = strings.get((offset - btf.first_string) as usize..)?;
        let end = memchr::memchr(0, text)?;
        std::str::from_utf8(&text[..end]).ok()
    }

    /// Whether a string begins at `offset`, and not within another one: in BTF that pahole wrote
    /// for a kernel, every name does.
    pub(in crate::btf) fn begins_string(&self, offset: u32) -> bool {
        let mut btf = self;
        while offset < btf.first_string {
            match btf.base.as_deref() {
                Some(base) => btf = base,
                None => return false,
            }
        }
        let at = (offset - btf.first_string) as usize;
        let strings = btf.data.get(btf.sections.strings.clone());
        at == 0 || strings.and_then(|strings| strings.get(at - 1)) == Some(&0)
    }

    /// Where its own records begin, to be stored.
    pub(in crate::btf) fn offsets(&self) -> &Numbers {
        &self.offsets
    }

    /// Where the record of one of its own types begins, in bytes from the start.
    pub(in crate::btf) fn offset_of(&self, id: TypeId) -> usize {
        let own = id.0.checked_sub(self.first_id);
        let offset = own.and_then(|index| self.offsets.get(index as usize));
        offset.map_or(0, |offset| offset as usize)
    }
}
