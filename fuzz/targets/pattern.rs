//! Python's regular expressions, translated. Literal text, escaped like Python's `re.escape`, must
//! match itself.
#![no_main]

use kiln::internals::fuzz::pattern_matches;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &str, bool)| {
    let (pattern, text, multiline) = input;
    let _ = pattern_matches(pattern, multiline, text);
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
        let found = pattern_matches(&escaped, multiline, text);
        assert_eq!(found, Some(true), "{escaped:?} in {text:?}");
    }
});
