//! The texts of a page: each once, and together of limited size.

use std::collections::HashMap;

use super::script_json::encoded_len;
use crate::report::escape;

/// Bytes, as JSON, of all texts about results that need attention.
const MAX_FIRST: usize = 9 << 20;
/// Bytes, as JSON, of all other texts.
const MAX_SECOND: usize = 2 << 20;
/// Characters of one line, such as a reason.
const MAX_LINE: usize = 2000;

/// How much a text matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Matters {
    /// It is about a result that needs attention.
    First,
    /// It is about another result.
    Second,
}

/// Collects texts. Equal ones, as the console of one VM under many tests, are kept once.
#[derive(Default)]
pub(super) struct Texts<'h> {
    places: HashMap<&'h str, usize>,
    list: Vec<(&'h str, Matters)>,
}

impl<'h> Texts<'h> {
    /// The number of a text, from 1; 0 stands for an empty one.
    pub(super) fn add(&mut self, text: &'h str, matters: Matters) -> usize {
        let text = text.trim_end();
        if text.is_empty() {
            return 0;
        }
        let place = *self.places.entry(text).or_insert_with(|| {
            self.list.push((text, matters));
            self.list.len()
        });
        let known = &mut self.list[place - 1].1;
        *known = (*known).min(matters);
        place
    }

    /// The texts by their numbers, escaped, and how many had to be shortened.
    pub(super) fn finish(self) -> (Vec<String>, usize) {
        let mut texts = vec![String::new()];
        texts.extend(
            self.list
                .iter()
                .map(|(text, _)| escape::block(text).into_owned()),
        );
        let mut cut = 0;
        for (of, room) in [(Matters::First, MAX_FIRST), (Matters::Second, MAX_SECOND)] {
            let own = |index: &usize| *index > 0 && self.list[index - 1].1 == of;
            let lengths: Vec<(usize, usize)> = (0..texts.len())
                .filter(own)
                .map(|index| (index, texts[index].chars().map(encoded_len).sum()))
                .collect();
            let limit = fair_limit(lengths.iter().map(|(_, length)| *length), room);
            for (index, length) in lengths {
                if length > limit {
                    texts[index] = shortened(&texts[index], limit);
                    cut += 1;
                }
            }
        }
        (texts, cut)
    }
}

/// The largest length to which all texts must be cut so that together they fit into `room`.
fn fair_limit(lengths: impl Iterator<Item = usize>, room: usize) -> usize {
    let mut lengths: Vec<usize> = lengths.collect();
    lengths.sort_unstable();
    let mut left = room;
    for (index, length) in lengths.iter().enumerate() {
        let share = left / (lengths.len() - index);
        if *length > share {
            return share;
        }
        left -= length;
    }
    usize::MAX
}

/// The beginning and the end of a text, of about `limit` bytes as JSON.
fn shortened(text: &str, limit: usize) -> String {
    let head = fitting(text.chars(), limit / 2);
    let rest = &text[head..];
    let tail = fitting(rest.chars().rev(), limit / 2);
    let (left_out, tail) = rest.split_at(rest.len() - tail);
    format!(
        "{}\n[{} characters left out here; events.jsonl has them]\n{tail}",
        &text[..head],
        left_out.chars().count()
    )
}

/// Bytes of the first characters, as many as fit into `room` bytes of JSON.
fn fitting(characters: impl Iterator<Item = char>, mut room: usize) -> usize {
    let fits = |c: &char| {
        let length = encoded_len(*c);
        let fits = length <= room;
        room = room.saturating_sub(length);
        fits
    };
    characters.take_while(fits).map(char::len_utf8).sum()
}

/// One line, escaped and of limited length.
pub(super) fn one_line(text: &str) -> String {
    escape::line(&escape::clip(text, MAX_LINE)).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn equal_texts_are_kept_once_and_empty_ones_not_at_all() {
        let mut texts = Texts::default();
        assert_eq!(texts.add("one\n", Matters::Second), 1);
        assert_eq!(texts.add(" \n", Matters::First), 0);
        assert_eq!(texts.add("two", Matters::First), 2);
        assert_eq!(texts.add("one", Matters::First), 1);
        assert_eq!(
            texts.finish(),
            (vec![String::new(), "one".into(), "two".into()], 0)
        );
    }

    #[test]
    fn what_is_longer_than_its_share_is_cut_and_the_rest_stays() {
        let long = "<".repeat(MAX_FIRST / 6);
        let other = "a".repeat(MAX_FIRST);
        let mut texts = Texts::default();
        texts.add("short", Matters::First);
        texts.add(&long, Matters::First);
        texts.add(&other, Matters::First);
        let (texts, cut) = texts.finish();
        assert_eq!((texts[1].as_str(), cut), ("short", 2));
        let length: usize = texts
            .iter()
            .flat_map(|text| text.chars())
            .map(encoded_len)
            .sum();
        assert!(
            (MAX_FIRST - 1000..MAX_FIRST + 1000).contains(&length),
            "{length}"
        );
        assert!(texts[3].contains("characters left out here"));
    }

    proptest! {
        #[test]
        fn texts_cut_to_the_limit_fit(lengths in prop::collection::vec(0_usize..2000, 0..40), room in 0_usize..20_000) {
            let limit = fair_limit(lengths.iter().copied(), room);
            let sum: usize = lengths.iter().map(|length| (*length).min(limit)).sum();
            prop_assert!(sum <= room);
            // No text is cut without need.
            let wasted = room - sum;
            prop_assert!(limit == usize::MAX || wasted < lengths.len());
        }

        #[test]
        fn a_shortened_text_is_about_as_long_as_asked(text in "\\PC{0,300}", limit in 0_usize..400) {
            let short = shortened(&text, limit);
            let length: usize = short.chars().map(encoded_len).sum();
            prop_assert!(length <= limit + 80);
        }
    }
}
