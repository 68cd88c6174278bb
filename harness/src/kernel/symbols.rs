//! The functions and variables of a kernel, from the table that its image has of them for
//! `/proc/kallsyms`.
//!
//! The image says nowhere where the table is. It is found by its parts, which lie one behind the
//! other in all versions (Linux: `scripts/kallsyms.c`): the number of symbols, their compressed
//! names, a marker for each 256th of them, and 256 tokens that names are made of.

use memchr::memmem;

/// A marker for so many symbols.
const PER_MARKER: usize = 256;
/// Parts are aligned to this, in newer kernels; to twice as much in older ones.
const ALIGNMENT: usize = 4;
/// No kernel has more symbols.
const MAX_SYMBOLS: usize = 1 << 21;
/// The names of all symbols have no more bytes: those of 7.3 have some 10 MB.
const MAX_BYTES: usize = 128 << 20;
/// Bytes of a symbol in the table of their order, which some kernels have between markers and
/// tokens (Linux 6.2 to 6.3, and 6.1 of today).
const ORDER: usize = 3;
/// Bytes between two markers: names have 1 to 255 tokens.
const STEPS: std::ops::RangeInclusive<usize> = PER_MARKER..=PER_MARKER * 257;

/// The names of a kernel's functions and variables.
#[derive(Debug)]
pub struct Symbols {
    /// A line for each: its type as in nm(1), a blank, its name. Begins with a line end.
    lines: Vec<u8>,
}

impl Symbols {
    /// The table in an uncompressed image; `None` if none is found.
    pub fn parse(vmlinux: &[u8]) -> Option<Self> {
        // Digits are tokens of their own, next to each other.
        const DIGITS: &[u8] = b"0\x001\x002\x003\x004\x005\x006\x007\x008\x009\x00";
        memmem::find_iter(vmlinux, DIGITS).find_map(|digits| Self::around(vmlinux, digits))
    }

    /// The table whose tokens for digits are at `digits`.
    fn around(vmlinux: &[u8], digits: usize) -> Option<Self> {
        let (start, tokens) = tokens(vmlinux, digits)?;
        let markers = markers(vmlinux, start)?;
        let names = names(vmlinux, &markers)?;
        let mut lines = vec![b'\n'];
        let mut at = names.start;
        for _ in 0..names.count {
            let (length, from) = entry(vmlinux, at)?;
            let of_name = vmlinux.get(from..from + length)?;
            at = from + length;
            let mut text = Vec::with_capacity(32);
            for &token in of_name {
                text.extend_from_slice(tokens[usize::from(token)]);
            }
            let (kind, name) = text.split_first()?;
            lines.push(*kind);
            lines.push(b' ');
            lines.extend_from_slice(name);
            lines.push(b'\n');
            if lines.len() > MAX_BYTES {
                return None;
            }
        }
        Some(Self { lines })
    }

    /// How many functions and variables have exactly this name.
    pub fn count(&self, name: &str) -> usize {
        let needle = [b" ", name.as_bytes(), b"\n"].concat();
        memmem::find_iter(&self.lines, &needle).count()
    }

    /// The names that begin with `prefix`.
    pub fn starting_with<'s>(&'s self, prefix: &str) -> impl Iterator<Item = &'s str> + use<'s> {
        let needle = [b" ", prefix.as_bytes()].concat();
        let found: Vec<usize> = memmem::find_iter(&self.lines, &needle).collect();
        found.into_iter().filter_map(|at| {
            let name = self.lines.get(at + 1..)?;
            std::str::from_utf8(&name[..memchr::memchr(b'\n', name)?]).ok()
        })
    }
}

/// The 256 tokens, and where they begin.
fn tokens(vmlinux: &[u8], digits: usize) -> Option<(usize, Vec<&[u8]>)> {
    // The token with a number is that character, if it is one of a symbol: `0` has its code.
    let mut start = digits;
    for number in (0..b'0').rev() {
        // The NUL byte that ends the token.
        let end = start.checked_sub(1)?;
        // A token has at most as many characters as a name.
        let from = end.saturating_sub(512);
        let before = memchr::memrchr(0, &vmlinux[from..end]);
        start = match before {
            // What lies before the first one need not end with such a byte.
            _ if number == 0 && before.is_none_or(|before| from + before + 16 < end) => {
                end - end % ALIGNMENT
            }
            Some(before) => from + before + 1,
            None => return None,
        };
    }
    let mut tokens = Vec::with_capacity(256);
    let mut at = start;
    for _ in 0..256 {
        let rest = vmlinux.get(at..)?;
        let length = memchr::memchr(0, &rest[..rest.len().min(512)])?;
        tokens.push(&rest[..length]);
        at += length + 1;
    }
    let is_digit = |digit: u8| tokens[usize::from(digit)] == [digit];
    (b'0'..=b'9').all(is_digit).then_some((start, tokens))
}

/// Where the markers begin, and each.
struct Markers {
    start: usize,
    each: Vec<usize>,
}

fn word(vmlinux: &[u8], at: usize) -> Option<usize> {
    let bytes = vmlinux.get(at..)?.first_chunk::<4>()?;
    usize::try_from(u32::from_le_bytes(*bytes)).ok()
}

/// The markers before the tokens, which begin at `tokens`: offsets that grow, from 0.
fn markers(vmlinux: &[u8], tokens: usize) -> Option<Markers> {
    let last = tokens - tokens % ALIGNMENT;
    let first = tokens.saturating_sub(MAX_SYMBOLS * ORDER);
    let mut start = last;
    while start > first {
        start = start.checked_sub(ALIGNMENT)?;
        if word(vmlinux, start) != Some(0) {
            continue;
        }
        let mut each = vec![0];
        let mut at = start + 4;
        while at < tokens
            && let (Some(marker), Some(before)) = (word(vmlinux, at), each.last())
            && marker
                .checked_sub(*before)
                .is_some_and(|step| STEPS.contains(&step))
        {
            each.push(marker);
            at += 4;
        }
        let gap = tokens.saturating_sub(at);
        let most = each.len() * PER_MARKER * ORDER;
        let ordered = most - PER_MARKER * ORDER..=most + 16;
        if each.len() > 1 && (gap < 16 || ordered.contains(&gap)) {
            return Some(Markers { start, each });
        }
    }
    None
}

/// Where the names begin, and how many there are.
struct NameTable {
    start: usize,
    count: usize,
}

/// The names before the markers: their number stands before them, and fits the markers.
fn names(vmlinux: &[u8], markers: &Markers) -> Option<NameTable> {
    let newest = markers.start.checked_sub(*markers.each.last()?)?;
    // Behind the last marker there are at most as many names as one is for.
    let oldest = newest.saturating_sub(PER_MARKER * 512);
    let mut start = newest - newest % ALIGNMENT;
    while start > oldest {
        let close = word(vmlinux, start.checked_sub(4)?)?;
        let count = if close == 0 {
            word(vmlinux, start.checked_sub(8)?)?
        } else {
            close
        };
        if count.div_ceil(PER_MARKER) == markers.each.len()
            && is_marked(vmlinux, start, &markers.each)
        {
            return Some(NameTable { start, count });
        }
        start -= ALIGNMENT;
    }
    None
}

/// Whether names that begin at `start` are where the first markers say.
fn is_marked(vmlinux: &[u8], start: usize, markers: &[usize]) -> bool {
    let mut at = start;
    for (number, marker) in markers.iter().take(4).enumerate() {
        // The last marker may be for fewer.
        let names = if number > 0 { PER_MARKER } else { 0 };
        for _ in 0..names {
            match entry(vmlinux, at) {
                Some((length, from)) => at = from + length,
                None => return false,
            }
        }
        if at - start != *marker {
            return false;
        }
    }
    true
}

/// The length of the compressed name at `at`, and where its tokens begin. A length of 128 and more
/// takes two bytes (since Linux 6.1).
fn entry(vmlinux: &[u8], at: usize) -> Option<(usize, usize)> {
    let first = usize::from(*vmlinux.get(at)?);
    if first < 0x80 {
        return Some((first, at + 1));
    }
    let second = usize::from(*vmlinux.get(at + 1)?);
    Some(((first & 0x7f) | second << 7, at + 2))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// An image with this many symbols, whose parts are aligned to `alignment`. With `ordered` the
    /// table of their order lies before the tokens.
    fn image(count: usize, alignment: usize, ordered: bool) -> Vec<u8> {
        let mut image = b"some code, 1234567\0".to_vec();
        let align = |image: &mut Vec<u8>| image.resize(image.len().next_multiple_of(alignment), 0);
        align(&mut image);
        image.extend(u32::try_from(count).unwrap().to_le_bytes());
        align(&mut image);
        let (start, mut markers) = (image.len(), Vec::new());
        for number in 0..count {
            if number % PER_MARKER == 0 {
                markers.push(image.len() - start);
            }
            // Token 1 is `Tdo_`.
            let mut name = format!("\u{1}{number:05}");
            if number == 7 {
                name = format!("\u{1}{}", "x".repeat(200));
            }
            match name.len() {
                short @ ..0x80 => image.push(u8::try_from(short).unwrap()),
                long => image.extend([0x80 | u8::try_from(long & 0x7f).unwrap(), 1]),
            }
            image.extend(name.bytes());
        }
        align(&mut image);
        for marker in markers {
            image.extend(u32::try_from(marker).unwrap().to_le_bytes());
        }
        align(&mut image);
        if ordered {
            image.extend(vec![0x5a; count * ORDER]);
            align(&mut image);
        }
        for token in 0..=255u8 {
            match token {
                1 => image.extend(b"Tdo_"),
                b'0'..=b'9' | b'a'..=b'z' => image.push(token),
                _ => {}
            }
            image.push(0);
        }
        image.extend(b"more");
        image
    }

    #[test]
    fn the_symbols_of_an_image_are_found_in_all_layouts() {
        for (count, alignment, ordered) in [(1000, 8, false), (1000, 8, true), (513, 4, false)] {
            let image = image(count, alignment, ordered);
            let symbols = Symbols::parse(&image).unwrap();
            assert_eq!(
                symbols.count("do_00512"),
                1,
                "{count} {alignment} {ordered}"
            );
            assert_eq!(symbols.count("do_0051"), 0);
            assert_eq!(symbols.starting_with("do_0050").count(), 10);
            assert_eq!(symbols.count(&format!("do_{}", "x".repeat(200))), 1);
            assert_eq!(symbols.starting_with("").count(), count);
        }
    }

    #[test]
    fn an_image_without_symbols_or_cut_short_has_none() {
        let whole = image(600, 8, false);
        for length in (0..whole.len()).step_by(61) {
            assert!(Symbols::parse(&whole[..length]).is_none(), "{length}");
        }
    }
}
