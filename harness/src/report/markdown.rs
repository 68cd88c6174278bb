//! Writes text in Markdown so that it is only text.
//!
//! Guests' texts and the names of tests may contain markup, links, HTML, and references that GitHub
//! turns into links or notifications (`@name`, `#1`).

use std::fmt::Write as _;

use super::escape;

/// One line as code, anywhere in a line of Markdown, also in a table.
///
/// Special characters are written as numbers, which Markdown treats as text (CommonMark 0.31,
/// section 2.5); inside `<code>` GitHub does not look for names and issues.
pub fn code(text: &str) -> String {
    format!("<code>{}</code>", literal(text))
}

/// Text of many lines, unchanged, as a block.
///
/// A `<pre>` continues until its end tag (CommonMark 0.31, section 4.6), which cannot occur in text
/// with an escaped `<`.
pub fn block(text: &str) -> String {
    let text = escape::block(text.trim_end());
    let text = text
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    format!("<pre>\n{text}\n</pre>\n")
}

/// A link if it is only a link to a web page, else its text.
pub fn link(words: &str, url: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~/?#=&%+:@!,;".contains(c);
    let web = url.starts_with("https://") || url.starts_with("http://");
    if web && url.chars().all(plain) {
        format!("[{}]({url})", literal(words))
    } else {
        code(url)
    }
}

/// One line as text, for places where GitHub does not look for names and issues.
pub fn literal(text: &str) -> String {
    let text = escape::line(text);
    let mut literal = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        let plain = !c.is_ascii_punctuation() || "-,=/+%?()'".contains(c);
        // `www.` makes a link, and so does `https:`; `:smile:` a picture.
        let harmless = match c {
            '.' => !literal.ends_with(['w', 'W']),
            ':' => text[at + 1..].starts_with(' '),
            _ => plain,
        };
        if harmless {
            literal.push(c);
        } else {
            // Writing to a string cannot fail.
            let _ = write!(literal, "&#{};", u32::from(c));
        }
    }
    literal
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_of_tests_stay_readable() {
        assert_eq!(code("builtin.cpu - a"), "<code>builtin.cpu - a</code>");
        assert_eq!(
            code("@[x] | <b> www.a\n"),
            "<code>&#64;&#91;x&#93; &#124; &#60;b&#62; www&#46;a&#92;x0a</code>"
        );
    }

    #[test]
    fn a_block_ends_where_it_is_ended() {
        assert_eq!(
            block("a </pre>\n\n&lt; *b*\x1b[m\n"),
            "<pre>\na &lt;/pre&gt;\n\n&amp;lt; *b*\\x1b[m\n</pre>\n"
        );
    }

    #[test]
    fn only_web_pages_are_linked_to() {
        assert_eq!(
            link("why", "https://example.org/issues/1?a=b#c"),
            "[why](https://example.org/issues/1?a=b#c)"
        );
        for other in [
            "javascript:alert(1)",
            "https://a) [b](https://c",
            "https://a\n# b",
            "/etc/passwd",
        ] {
            assert!(link("why", other).starts_with("<code>"), "{other}");
        }
    }

    /// Decodes the numbers.
    fn decoded(html: &str) -> String {
        let mut text = String::new();
        let mut rest = html;
        while let Some((before, after)) = rest.split_once("&#") {
            let (number, after) = after.split_once(';').expect("a number ends");
            text.push_str(before);
            let number = number.parse().expect("a number");
            text.push(char::from_u32(number).expect("a character"));
            rest = after;
        }
        text + rest
    }

    proptest! {
        #[test]
        fn nothing_of_a_text_is_markup(text: String) {
            let code = code(&text);
            let inner = code.strip_prefix("<code>").and_then(|code| code.strip_suffix("</code>"));
            let inner = inner.expect("it is code");
            prop_assert_eq!(decoded(inner), escape::line(&text));
            let numbers = ["&#", ";"];
            let bare = numbers.iter().fold(inner.to_owned(), |text, part| text.replace(part, ""));
            prop_assert!(!bare.contains(['<', '>', '&', '|', '`', '*', '_', '[', ']', '@', '#', '~', '!', '\\', '\n']), "{}", code);
            prop_assert!(!bare.contains("://"), "{}", code);
        }

        #[test]
        fn a_block_has_no_tag_but_its_own(text: String) {
            let block = block(&text);
            prop_assert_eq!(block.matches('<').count(), 2);
            prop_assert!(block.starts_with("<pre>\n") && block.ends_with("\n</pre>\n"));
        }
    }
}
