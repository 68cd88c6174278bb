//! Python's regular expressions, translated. Literal text, escaped like Python's `re.escape`, must
//! match itself.
#![no_main]

use kiln::suite::{Flags, Pattern};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &str, bool)| {
    let (pattern, text, multiline) = input;
    if let Ok(pattern) = Pattern::new(pattern, Flags { multiline }) {
        let _ = pattern.is_match(text);
    }
    let escaped: String = text
        .chars()
        .flat_map(|c| {
            (!c.is_alphanumeric() && c.is_ascii())
                .then_some('\\')
                .into_iter()
                .chain([c])
        })
        .collect();
    if text.len() < 4096 {
        let literal = Pattern::new(&escaped, Flags { multiline }).unwrap();
        assert!(literal.is_match(text), "{escaped:?} does not find {text:?}");
    }
});
