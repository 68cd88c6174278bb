//! The binary index files (`modules.dep.bin` and others) that kmod's `modprobe` uses instead of the
//! text files.
//!
//! The format is kmod's own (`libkmod/libkmod-index.c` of kmod 30), all numbers big-endian. The
//! file starts with magic, version and the root node's offset; a node is an optional NUL-terminated
//! prefix, an optional table of children for a range of next characters, and an optional list of
//! values with priorities. The upper bits of a node's offset say which of the three it has.

use std::collections::BTreeMap;

const MAGIC: u32 = 0xb007_f457;
/// Major version in the upper half, minor in the lower.
const VERSION: u32 = 0x0002_0001;
const HAS_PREFIX: u32 = 0x8000_0000;
const HAS_VALUES: u32 = 0x4000_0000;
const HAS_CHILDREN: u32 = 0x2000_0000;
/// Where the first node starts, after magic, version and root offset.
const HEADER_LENGTH: usize = 12;

/// A map from keys to values with priorities; lower numbers are preferred.
#[derive(Debug, Default)]
pub(super) struct KmodIndex {
    entries: BTreeMap<Vec<u8>, Vec<(u32, String)>>,
}

type Entry<'a> = (&'a [u8], &'a [(u32, String)]);

impl KmodIndex {
    /// Adds a value. Skips keys that the format cannot represent, with bytes beyond ASCII, as
    /// depmod does.
    pub(super) fn insert(&mut self, key: &str, value: &str, priority: u32) {
        if !key.is_ascii() || key.contains('\0') || value.contains('\0') {
            return;
        }
        let values = self.entries.entry(key.as_bytes().to_vec()).or_default();
        let at = values.partition_point(|(other, _)| *other < priority);
        values.insert(at, (priority, value.to_owned()));
    }

    /// The file. `None` if it would exceed what the format can address, 512 MiB.
    pub(super) fn to_bytes(&self) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        out.extend(MAGIC.to_be_bytes());
        out.extend(VERSION.to_be_bytes());
        out.extend([0; 4]);
        let entries: Vec<Entry<'_>> = self
            .entries
            .iter()
            .map(|(key, values)| (key.as_slice(), values.as_slice()))
            .collect();
        // The root has no prefix even if all keys have a common one.
        let root = write_node(&mut out, &entries, 0, 0)?;
        out[HEADER_LENGTH - 4..HEADER_LENGTH].copy_from_slice(&root.to_be_bytes());
        Some(out)
    }
}

/// Writes the node of sorted `entries` whose keys are equal up to `depth`, with `prefix` more
/// common bytes; children come before it. Returns its offset with flags.
fn write_node(
    out: &mut Vec<u8>,
    entries: &[Entry<'_>],
    depth: usize,
    prefix: usize,
) -> Option<u32> {
    let split = depth + prefix;
    let (own, rest) = match entries.split_first() {
        Some(((key, values), rest)) if key.len() == split => (*values, rest),
        _ => (&[][..], entries),
    };
    let mut children = Vec::new();
    for group in rest.chunk_by(|(a, _), (b, _)| a[split] == b[split]) {
        let below = split + 1;
        let offset = write_node(out, group, below, shared_length(group, below))?;
        children.push((group[0].0[split], offset));
    }

    let mut offset = u32::try_from(out.len())
        .ok()
        .filter(|&offset| offset < HAS_CHILDREN)?;
    if prefix > 0 {
        offset |= HAS_PREFIX;
        out.extend(&entries[0].0[depth..split]);
        out.push(0);
    }
    if let (Some(&(first, _)), Some(&(last, _))) = (children.first(), children.last()) {
        offset |= HAS_CHILDREN;
        out.extend([first, last]);
        let mut table = vec![0; usize::from(last - first) + 1];
        for (character, child) in children {
            table[usize::from(character - first)] = child;
        }
        out.extend(table.into_iter().flat_map(u32::to_be_bytes));
    }
    if !own.is_empty() {
        offset |= HAS_VALUES;
        out.extend(u32::try_from(own.len()).ok()?.to_be_bytes());
        for (priority, value) in own {
            out.extend(priority.to_be_bytes());
            out.extend(value.as_bytes());
            out.push(0);
        }
    }
    Some(offset)
}

/// How many bytes from `depth` on all keys have in common: as many as the first and the last, since
/// they are sorted.
fn shared_length(entries: &[Entry<'_>], depth: usize) -> usize {
    let [(first, _), .., (last, _)] = entries else {
        return entries.first().map_or(0, |(key, _)| key.len() - depth);
    };
    first[depth..]
        .iter()
        .zip(&last[depth..])
        .take_while(|(a, b)| a == b)
        .count()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    /// Looks a key up in a file, as modprobe does.
    fn look_up(file: &[u8], key: &str) -> Vec<(u32, String)> {
        let number = |at: usize| u32::from_be_bytes(*file[at..].first_chunk().unwrap());
        let text = |at: usize| {
            let end = file[at..].iter().position(|&byte| byte == 0).unwrap();
            String::from_utf8(file[at..at + end].to_vec()).unwrap()
        };
        assert_eq!((number(0), number(4)), (0xb007_f457, 0x0002_0001));
        let mut key = key;
        let mut node = number(8);
        loop {
            let mut at = (node & 0x0fff_ffff) as usize;
            if node & HAS_PREFIX != 0 {
                let prefix = text(at);
                let Some(rest) = key.strip_prefix(&prefix) else {
                    return Vec::new();
                };
                key = rest;
                at += prefix.len() + 1;
            }
            let table = if node & HAS_CHILDREN == 0 {
                None
            } else {
                let (first, last) = (file[at], file[at + 1]);
                let start = at + 2;
                at = start + 4 * (usize::from(last - first) + 1);
                Some((first, last, start))
            };
            let Some(&character) = key.as_bytes().first() else {
                if node & HAS_VALUES == 0 {
                    return Vec::new();
                }
                let mut values = Vec::new();
                let count = number(at);
                at += 4;
                for _ in 0..count {
                    let value = text(at + 4);
                    let length = value.len();
                    values.push((number(at), value));
                    at += 4 + length + 1;
                }
                return values;
            };
            let Some((first, last, start)) = table else {
                return Vec::new();
            };
            if !(first..=last).contains(&character) {
                return Vec::new();
            }
            node = number(start + 4 * usize::from(character - first));
            if node == 0 {
                return Vec::new();
            }
            key = &key[1..];
        }
    }

    #[test]
    fn an_empty_index_finds_nothing() {
        let file = KmodIndex::default().to_bytes().unwrap();
        assert_eq!(look_up(&file, ""), []);
        assert_eq!(look_up(&file, "xfs"), []);
    }

    #[test]
    fn the_bytes_are_those_that_depmod_writes() {
        let mut index = KmodIndex::default();
        index.insert("fuse", "", 0);
        index.insert("fs", "", 0);
        let mut expected = Vec::new();
        expected.extend(0xb007_f457_u32.to_be_bytes());
        expected.extend(0x0002_0001_u32.to_be_bytes());
        expected.extend((HAS_CHILDREN | 0x2f).to_be_bytes());
        expected.extend(b"\0\0\0\x01\0\0\0\0\0"); // at 0x0c: "fs", no prefix
        expected.extend(b"se\0\0\0\0\x01\0\0\0\0\0"); // at 0x15: "fuse", prefix "se"
        // At 0x21 the node of "f" would have children s to u.
        expected.extend(b"su");
        for child in [HAS_VALUES | 0x0c, 0, HAS_PREFIX | HAS_VALUES | 0x15] {
            expected.extend(child.to_be_bytes());
        }
        expected.extend(b"ff");
        expected.extend((HAS_CHILDREN | 0x21).to_be_bytes());
        assert_eq!(index.to_bytes().unwrap(), expected);
    }

    #[test]
    fn values_of_one_key_stand_by_priority() {
        let mut index = KmodIndex::default();
        index.insert("crc32c", "intel", 7);
        index.insert("crc32c", "generic", 3);
        let file = index.to_bytes().unwrap();
        let expected = [(3, "generic".to_owned()), (7, "intel".to_owned())];
        assert_eq!(look_up(&file, "crc32c"), expected);
    }

    proptest! {
        #[test]
        fn every_key_is_found_again_and_no_other(
            keys in proptest::collection::btree_set("[a-c_]{0,6}", 0..40),
            others in proptest::collection::vec("[a-c_]{0,6}", 0..40),
        ) {
            let mut index = KmodIndex::default();
            for (key, priority) in keys.iter().zip(0..) {
                index.insert(key, &format!("value of {key}"), priority);
            }
            let file = index.to_bytes().unwrap();
            for (key, priority) in keys.iter().zip(0..) {
                prop_assert_eq!(look_up(&file, key), [(priority, format!("value of {key}"))]);
            }
            for other in others.iter().filter(|other| !keys.contains(*other)) {
                prop_assert_eq!(look_up(&file, other), []);
            }
        }
    }
}
