//! BTF in memory, and its types by id.

use std::fmt;
use std::sync::{Arc, OnceLock};

mod ty;

pub use ty::{Enumerator, Member, Type};

use super::check;
use super::raw::{self, ByteOrder, Damage, Kind, Sections};

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
    data: Vec<u8>,
    sections: Sections,
    base: Option<Arc<Btf>>,
    /// Where the records begin, as byte offsets in `data`.
    offsets: Vec<u32>,
    first_id: u32,
    first_string: u32,
    pointer_size: OnceLock<u32>,
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
    /// Reads BTF that stands for itself: that of a kernel or an object, or a distilled base.
    pub fn parse(data: Vec<u8>) -> Result<Self, Damage> {
        Self::read(data, None)
    }

    /// Reads split BTF: that of a module, over the BTF of its kernel.
    pub fn parse_split(data: Vec<u8>, base: Arc<Btf>) -> Result<Self, Damage> {
        Self::read(data, Some(base))
    }

    fn read(data: Vec<u8>, base: Option<Arc<Btf>>) -> Result<Self, Damage> {
        let btf = Self::trust(data, base)?;
        check::all(&btf)?;
        Ok(btf)
    }

    /// Reads what was checked before it was stored: that takes most of the time.
    pub(super) fn trust(data: Vec<u8>, base: Option<Arc<Btf>>) -> Result<Self, Damage> {
        let sections = Sections::parse(&data)?;
        let (first_id, first_string) = match &base {
            Some(base) if base.sections.order != sections.order => {
                return Err(Damage::at(0, "its byte order is not that of its base"));
            }
            Some(base) => (base.end_id(), base.end_string()),
            None => (1, 0),
        };
        let offsets = sections.records(&data)?;
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
    pub(super) fn end_string(&self) -> u32 {
        self.first_string + u32::try_from(self.sections.strings.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn sections(&self) -> &Sections {
        &self.sections
    }

    /// Its own types in the order of their ids, without those of its base.
    pub fn own(&self) -> impl Iterator<Item = Type<'_>> {
        (self.first_id..self.end_id()).filter_map(|id| self.get(TypeId(id)))
    }

    /// The type with this id, from this BTF or its base; `None` if no type has it.
    pub fn get(&self, id: TypeId) -> Option<Type<'_>> {
        let mut btf = self;
        while id.0 < btf.first_id {
            match &btf.base {
                Some(base) => btf = base,
                None => return (id == TypeId::VOID).then(|| Type::void(btf)),
            }
        }
        let offset = *btf.offsets.get((id.0 - btf.first_id) as usize)? as usize;
        let number = |at: usize| btf.sections.order.u32_at(&btf.data, offset + at);
        let info = number(4)?;
        let length =
            btf.sections
                .size_of_rest(&btf.data, raw::kind_number(info), raw::vlen(info))?;
        Some(Type {
            btf,
            id,
            kind: Kind::from_number(raw::kind_number(info)),
            name: number(0)?,
            info,
            field: number(8)?,
            rest: btf.data.get(offset + raw::TYPE..)?.get(..length)?,
        })
    }

    /// The type with an id that this BTF itself mentions: those have been checked to exist.
    pub fn ty(&self, id: TypeId) -> Type<'_> {
        self.get(id).unwrap_or_else(|| Type::void(self))
    }

    /// The string at `offset`, from this BTF or its base; empty if no string starts there.
    pub fn string(&self, offset: u32) -> &str {
        self.string_at(offset).unwrap_or_default()
    }

    pub(super) fn string_at(&self, offset: u32) -> Option<&str> {
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
    pub(super) fn begins_string(&self, offset: u32) -> bool {
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

    /// Bytes of a pointer: those of `long`, as libbpf decides it; 8 without such a type.
    pub fn pointer_size(&self) -> u32 {
        if let Some(base) = &self.base {
            return base.pointer_size();
        }
        *self.pointer_size.get_or_init(|| {
            const LONG: [&str; 4] = ["long int", "long unsigned int", "long", "unsigned long"];
            self.own()
                .find(|ty| ty.kind() == Kind::Int && LONG.contains(&ty.name()))
                .map(|ty| ty.raw_size())
                .filter(|size| matches!(size, 4 | 8))
                .unwrap_or(8)
        })
    }

    /// Where the record of one of its own types begins, in bytes from the start.
    pub(super) fn offset_of(&self, id: TypeId) -> usize {
        let own = id.0.checked_sub(self.first_id);
        let offset = own.and_then(|index| self.offsets.get(index as usize));
        offset.map_or(0, |&offset| offset as usize)
    }
}
