//! JSON that can stand inside a `<script>` element of an HTML page.

use std::io;

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, Serializer};

/// Escapes in strings what an HTML parser could take for markup: neither `</script` nor `<!--` can
/// occur (HTML Living Standard, 4.12.1.3), and no line separator.
struct ScriptSafe(CompactFormatter);

impl Formatter for ScriptSafe {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut from = 0;
        for (at, c) in fragment.char_indices() {
            if let Some(escaped) = escaped(c) {
                writer.write_all(&fragment.as_bytes()[from..at])?;
                writer.write_all(escaped.as_bytes())?;
                from = at + c.len_utf8();
            }
        }
        writer.write_all(&fragment.as_bytes()[from..])
    }

    fn begin_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_array(writer)
    }
}

fn escaped(c: char) -> Option<&'static str> {
    Some(match c {
        '<' => "\\u003c",
        '>' => "\\u003e",
        '&' => "\\u0026",
        '\u{2028}' => "\\u2028",
        '\u{2029}' => "\\u2029",
        _ => return None,
    })
}

/// `value` as JSON, safe in a script element of type `application/json`.
pub(super) fn script_json<T: Serialize>(value: &T) -> Result<String, serde_json::Error> {
    let mut json = Vec::new();
    let formatter = ScriptSafe(CompactFormatter);
    value.serialize(&mut Serializer::with_formatter(&mut json, formatter))?;
    String::from_utf8(json).map_err(serde::ser::Error::custom)
}

/// Bytes that a character takes in [`script_json`].
pub(super) fn encoded_len(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\t' => 2,
        _ => escaped(c).map_or_else(|| c.len_utf8(), str::len),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn no_markup_is_left_and_the_text_is_the_same() {
        let text = "</script><!--<script>&amp;\u{2028}\u{2029}\u{0}\"\\";
        let json = script_json(&[text]).unwrap();
        assert!(
            !json.contains(['<', '>', '&', '\u{2028}', '\u{2029}']),
            "{json}"
        );
        assert_eq!(serde_json::from_str::<[String; 1]>(&json).unwrap(), [text]);
    }

    proptest! {
        #[test]
        fn every_text_comes_back(text in "\\PC{0,60}|.{0,60}") {
            let json = script_json(&text).unwrap();
            prop_assert!(!json.contains(['<', '>', '&']));
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }

        #[test]
        fn the_length_of_printable_text_is_known(text in "[^\\p{C}]{0,60}") {
            let length: usize = text.chars().map(encoded_len).sum();
            prop_assert_eq!(script_json(&text).unwrap().len(), length + 2);
        }
    }
}
