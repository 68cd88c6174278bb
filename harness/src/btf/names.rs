//! The index by name of one kernel's BTF, its modules' included.
//!
//! It is stored beside the BTF, so that a question about one name reads no module but those that
//! have it.

use super::bytes::Bytes;
use super::raw::{ByteOrder, Kind};
use super::types::{Btf, TypeId};

/// Which BTF of a kernel: 0 is that of the image, the others those of its modules.
pub type Unit = u16;

/// The unit of the image.
pub const VMLINUX: Unit = 0;

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Meaning {
    /// A type of this kind, a function, a variable or a section.
    Type(Kind),
    /// A value of the enum with the id.
    Enumerator,
}

/// One thing with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Where it is.
    pub unit: Unit,
    /// What it is.
    pub meaning: Meaning,
    /// Its id there.
    pub id: TypeId,
}

/// Stands for [`Meaning::Enumerator`].
const ENUMERATOR: u8 = 0x80;

/// Bytes of the two counts, of a name's record and of an entry.
const COUNTS: usize = 8;
const NAME: usize = 8;
const ENTRY: usize = 8;

/// All names, sorted.
///
/// Little-endian: the number of names and of entries; for each name, where its text begins and its
/// first entry; the entries (id, unit, kind, 0); the texts, each with a NUL byte behind.
#[derive(Debug, Clone, Default)]
pub struct Names {
    bytes: Bytes,
    count: usize,
    entries: usize,
}

impl Names {
    /// Indexes the units of a kernel, in order.
    pub fn index<'a>(units: impl Iterator<Item = &'a Btf>) -> Self {
        let mut all: Vec<(&str, Unit, u32, u8)> = Vec::new();
        for (unit, btf) in (0..=Unit::MAX).zip(units) {
            for ty in btf.own() {
                // Tags name nothing that anybody looks for; attributes of members have no place.
                if !ty.is_anonymous() && !matches!(ty.kind(), Kind::DeclTag | Kind::TypeTag) {
                    all.push((ty.name(), unit, ty.id().0, ty.kind() as u8));
                }
                let values = ty.enumerators().filter(|value| !value.name.is_empty());
                all.extend(values.map(|value| (value.name, unit, ty.id().0, ENUMERATOR)));
            }
        }
        all.sort_unstable();
        all.dedup();
        let (mut names, mut entries, mut texts) = (Vec::new(), Vec::new(), Vec::new());
        let mut last = None;
        for (name, unit, id, kind) in all {
            if last != Some(name) {
                last = Some(name);
                names.extend(number(texts.len()));
                names.extend(number(entries.len() / ENTRY));
                texts.extend(name.as_bytes());
                texts.push(0);
            }
            entries.extend(id.to_le_bytes());
            entries.extend(unit.to_le_bytes());
            entries.extend([kind, 0]);
        }
        let mut bytes = Vec::with_capacity(COUNTS + names.len() + entries.len() + texts.len());
        bytes.extend(number(names.len() / NAME));
        bytes.extend(number(entries.len() / ENTRY));
        bytes.extend(&names);
        bytes.extend(&entries);
        bytes.extend(&texts);
        Self::from_bytes(bytes.into()).unwrap_or_default()
    }

    /// Takes what [`Names::bytes`] gave; `None` if it is something else.
    pub fn from_bytes(bytes: Bytes) -> Option<Self> {
        let count = |at| usize::try_from(ByteOrder::Little.u32_at(&bytes, at)?).ok();
        let (names, entries) = (count(0)?, count(4)?);
        let fixed = COUNTS + names.checked_mul(NAME)? + entries.checked_mul(ENTRY)?;
        (fixed <= bytes.len()).then_some(Self {
            bytes,
            count: names,
            entries,
        })
    }

    /// To be stored.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What is called `name`: first in the image, then in each module; in the order of ids.
    pub fn get(&self, name: &str) -> impl Iterator<Item = Entry> + use<'_> {
        let index = self.partition(|other| other < name);
        let found = (self.text(index) == Some(name)).then(|| self.entries_of(index));
        found.into_iter().flatten()
    }

    /// The names that begin with `prefix`, sorted, with what they stand for.
    pub fn starting_with<'a>(
        &'a self,
        prefix: &str,
    ) -> impl Iterator<Item = (&'a str, impl Iterator<Item = Entry> + use<'a>)> + use<'a> {
        let first = self.partition(|name| name < prefix);
        let behind = self.partition(|name| name < prefix || name.starts_with(prefix));
        (first..behind).filter_map(move |index| Some((self.text(index)?, self.entries_of(index))))
    }

    /// All names, sorted, with what they stand for.
    pub fn all(&self) -> impl Iterator<Item = (&str, impl Iterator<Item = Entry> + use<'_>)> {
        self.starting_with("")
    }

    /// The number of names for which `is_before` holds; it holds for the first ones.
    fn partition(&self, is_before: impl Fn(&str) -> bool) -> usize {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.text(middle).is_some_and(&is_before) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    fn number(&self, at: usize) -> usize {
        let number = ByteOrder::Little.u32_at(&self.bytes, at);
        number.map_or(0, |number| number as usize)
    }

    fn text(&self, index: usize) -> Option<&str> {
        if index >= self.count {
            return None;
        }
        let start = self.number(COUNTS + NAME * index);
        let texts = COUNTS + NAME * self.count + ENTRY * self.entries;
        let text = self.bytes.get(texts..)?.get(start..)?;
        std::str::from_utf8(&text[..memchr::memchr(0, text)?]).ok()
    }

    fn entries_of(&self, index: usize) -> impl Iterator<Item = Entry> + use<'_> {
        let first = |index: usize| {
            if index < self.count {
                self.number(COUNTS + NAME * index + 4).min(self.entries)
            } else {
                self.entries
            }
        };
        (first(index)..first(index + 1)).filter_map(|entry| {
            let at = COUNTS + NAME * self.count + ENTRY * entry;
            let &[a, b, c, d, unit_low, unit_high, kind, _] =
                self.bytes.get(at..)?.first_chunk::<ENTRY>()?;
            Some(Entry {
                unit: Unit::from_le_bytes([unit_low, unit_high]),
                meaning: if kind == ENUMERATOR {
                    Meaning::Enumerator
                } else {
                    Meaning::Type(Kind::from_number(kind))
                },
                id: TypeId(u32::from_le_bytes([a, b, c, d])),
            })
        })
    }
}

/// Texts and entries of a kernel are some megabytes.
fn number(value: usize) -> [u8; 4] {
    u32::try_from(value).unwrap_or(u32::MAX).to_le_bytes()
}
