#![allow(clippy::unwrap_used)]
use super::*;

const LINES: Flags = Flags { multiline: true };

fn finds(pattern: &str, text: &str) -> bool {
    Pattern::new(pattern, LINES).unwrap().is_match(text)
}

#[test]
fn a_class_ends_at_its_first_bracket() {
    let pattern = r"@m[{ .x = 0x[0-9a-f]+, .y = 7 }]: 1";
    // The class is `{ .x = 0x[0-9a-f`, once or more; a literal text follows.
    assert!(finds(pattern, "@m0x, .y = 7 }]: 1"));
    assert!(finds(pattern, "@m[{ .x = 0xff, .y = 7 }]: 1"));
    // Nested, the whole would be one class before `: 1`.
    assert!(!finds(pattern, "@m7: 1"));
    assert!(finds("[]a]+$", "]"));
    assert!(finds("[^]]", "["));
    assert!(!finds("[^]]", "]"));
}

#[test]
fn class_operators_are_plain_characters() {
    assert!(finds("^[a&&b]$", "&"));
    assert!(finds("^[+--]$", ","));
    assert!(finds("^[a~~b]$", "~"));
    assert!(finds("^[-a]$", "-"));
    assert!(finds("^[a-]$", "-"));
    assert!(finds(r"^[\w-]$", "-"));
    assert!(finds(r"^[a\]b]$", "]"));
    assert!(finds(r"^[\x41-\x43]$", "B"));
}

#[test]
fn a_brace_that_is_not_a_count_is_literal() {
    assert!(finds("^{ a }$", "{ a }"));
    assert!(finds("^a{2}$", "aa"));
    assert!(finds("^a{,2}b$", "b"));
    assert!(finds("^a{1,}$", "aaa"));
    assert!(finds("^a{}$", "a{}"));
    assert!(finds("^a{x,1}$", "a{x,1}"));
    assert!(finds("x}", "x}"));
}

#[test]
fn an_escaped_punctuation_is_itself() {
    assert!(finds(r"\<a\>", "<a>"));
    assert!(finds(r"\@\[\]\ \/\'", "@[] /'"));
    assert!(finds(r"^\a$", "\u{7}"));
    assert!(finds(r"^\101\x42\u0043$", "ABC"));
}

#[test]
fn a_dollar_allows_one_last_newline() {
    let pattern = Pattern::new("b$", Flags::default()).unwrap();
    assert!(pattern.is_match("a\nb\n"));
    assert!(!pattern.is_match("b\n\n"));
    assert!(!pattern.is_match("b\na"));
    assert!(
        !Pattern::new(r"b\Z", Flags::default())
            .unwrap()
            .is_match("b\n")
    );
}

#[test]
fn groups_are_pythons() {
    assert!(finds("^(?s:a.b)$", "a\nb"));
    assert!(!finds("a.b", "a\nb"));
    assert!(finds(r"^(?P<x>a|b)(?P=x)$", "bb"));
    assert!(finds(r"^(a|b)\1$", "aa"));
    assert!(finds("a(?!b)", "ac"));
    assert!(finds("(?<=a)b", "ab"));
    assert!(finds("a(?#comment)b", "ab"));
    assert!(finds("(?i)ab", "AB"));
    assert!(Pattern::new("(?x)a", LINES).is_err());
}

#[test]
fn white_space_has_pythons_separators() {
    assert!(finds(r"^\s$", "\u{1c}"));
    assert!(!finds(r"^\S$", "\u{1c}"));
    assert!(finds(r"^[\s]$", "\u{1f}"));
}

#[test]
fn what_python_refuses_is_refused() {
    for pattern in ["(", "[a", "*", "a)", r"\q", r"\", "[z-a]", r"\x4", "[a--b]"] {
        assert!(Pattern::new(pattern, LINES).is_err(), "{pattern}");
    }
}

#[test]
fn a_text_fills_whole_lines() {
    let pattern = Pattern::whole_lines("a [b]{c}\nd").unwrap();
    assert!(pattern.is_match("x\n \n a [b]{c}\nd\t\n\ny"));
    assert!(!pattern.is_match("a [b]{c}\nd e"));
    assert!(Pattern::whole_lines("").unwrap().is_match("anything\n"));
}

/// Set `KILN_REGEX_DATA` to a JSON list of objects with a `pattern` to try
/// patterns from elsewhere.
#[test]
#[ignore = "wants KILN_REGEX_DATA"]
fn every_pattern_of_a_list_compiles() {
    let path = std::env::var("KILN_REGEX_DATA").unwrap();
    let list: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let patterns: std::collections::BTreeSet<&str> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["pattern"].as_str().unwrap())
        .collect();
    let errors: Vec<_> = patterns
        .iter()
        .filter_map(|pattern| Pattern::new(pattern, LINES).err())
        .collect();
    println!(
        "{} of {} compile",
        patterns.len() - errors.len(),
        patterns.len()
    );
    assert_eq!(errors, []);
}

proptest::proptest! {
    #[test]
    fn no_pattern_panics(pattern in r"[\[\](){}\\\-^$.*+?|&~a-z0-9,:<>=!# ]{0,24}") {
        let _ = Pattern::new(&pattern, LINES);
        let _ = Pattern::new(&pattern, Flags::default());
    }

    #[test]
    fn an_escaped_text_finds_itself(text in "\\PC{0,24}") {
        let escaped: String = text
            .chars()
            .flat_map(|c| {
                let escape = c.is_ascii_punctuation() || c == ' ';
                escape.then_some('\\').into_iter().chain([c])
            })
            .collect();
        proptest::prop_assert!(Pattern::new(&escaped, LINES).unwrap().is_match(&text));
        proptest::prop_assert!(Pattern::whole_lines(&text).unwrap().is_match(&text));
    }
}

#[test]
fn a_look_ahead_matches_after_much_text_and_an_endless_search_is_an_error() {
    let pattern = Pattern::new("ERROR(?!: ignored)", LINES).unwrap();
    let text = format!("{}ERROR: real\n", "0123456789\n".repeat(200_000));
    assert_eq!(pattern.search(&text), Ok(true));
    let endless = Pattern::new("^(a|a)*(?!a)$(?!b)c", LINES).unwrap();
    let error = endless.search(&"a".repeat(64)).unwrap_err();
    assert!(error.to_string().contains("was aborted"), "{error}");
}
