//! Makes untrusted text safe to show.
//!
//! A guest's text may contain terminal controls, direction marks that make a line look different,
//! characters that XML cannot represent, and commands that CI services obey when they appear in a
//! log. All of that becomes visible text (`\x1b`, `\u{202e}`); the rest stays unchanged.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Text for one line: newlines and tabs are escaped too.
pub fn line(text: &str) -> Cow<'_, str> {
    escape(text, |_| false)
}

/// Text of many lines: newlines and tabs stay.
pub fn block(text: &str) -> Cow<'_, str> {
    escape(text, |c| matches!(c, '\n' | '\t'))
}

/// Text of many lines for XML: like [`block`], with spaces for tabs, which quick-junit removes like
/// all other control characters.
pub fn xml(text: &str) -> Cow<'_, str> {
    let text = block(text);
    if text.contains('\t') {
        Cow::Owned(text.replace('\t', "    "))
    } else {
        text
    }
}

/// The first `limit` characters, and how many are missing.
pub fn clip(text: &str, limit: usize) -> Cow<'_, str> {
    match text.char_indices().nth(limit) {
        None => Cow::Borrowed(text),
        Some((end, _)) => {
            let missing = text[end..].chars().count();
            Cow::Owned(format!("{} [{missing} more characters]", &text[..end]))
        }
    }
}

/// Log lines that start like this are commands of GitHub Actions (the older form), Azure Pipelines
/// and TeamCity. GitHub's `::command::` only counts at the start of a line, where reports put their
/// own mark.
const CI_COMMANDS: [&str; 3] = ["##[", "##vso[", "##teamcity["];

fn escape(text: &str, keep: impl Fn(char) -> bool) -> Cow<'_, str> {
    let commands = CI_COMMANDS.iter().any(|command| text.contains(command));
    if !commands && !text.chars().any(|c| is_unsafe(c) && !keep(c)) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + text.len() / 8);
    for (at, c) in text.char_indices() {
        let starts_command = c == '#'
            && CI_COMMANDS
                .iter()
                .any(|command| text[at..].starts_with(command));
        if keep(c) || !(is_unsafe(c) || starts_command) {
            safe.push(c);
            continue;
        }
        // Writing to a string cannot fail.
        let _ = if u32::from(c) < 0x100 {
            write!(safe, "\\x{:02x}", u32::from(c))
        } else {
            write!(safe, "\\u{{{:x}}}", u32::from(c))
        };
    }
    Cow::Owned(safe)
}

/// Controls (Unicode category Cc), invisible characters that reorder or hide text (Cf, Zl, Zp), and
/// noncharacters.
pub(super) fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{600}'..='\u{605}'
                | '\u{61c}'
                | '\u{6dd}'
                | '\u{70f}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{fdd0}'..='\u{fdef}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{fffe}'
                | '\u{ffff}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn plain_text_is_not_copied() {
        let text = "plain: \u{e4} \u{4e2d} \u{1f600} # [x] ::notice";
        assert!(matches!(line(text), Cow::Borrowed(same) if same == text));
    }

    #[test]
    fn controls_become_visible() {
        assert_eq!(
            line("a\x1b[31mb\r\n\tc\x7f\u{9b}d"),
            "a\\x1b[31mb\\x0d\\x0a\\x09c\\x7f\\x9bd"
        );
        assert_eq!(block("a\n\tb\r\n\x00"), "a\n\tb\\x0d\n\\x00");
        assert_eq!(xml("a\tb"), "a    b");
    }

    #[test]
    fn text_cannot_be_turned_around() {
        assert_eq!(line("abc\u{202e}def\u{2066}"), "abc\\u{202e}def\\u{2066}");
    }

    #[test]
    fn commands_to_a_ci_service_are_broken() {
        assert_eq!(line("##[error]x"), "\\x23#[error]x");
        assert_eq!(line("a ##vso[task]"), "a \\x23#vso[task]");
        assert_eq!(line("###[x"), "#\\x23#[x");
    }

    #[test]
    fn a_long_line_says_how_much_is_missing() {
        assert_eq!(clip("\u{e4}bc", 3), "\u{e4}bc");
        assert_eq!(
            clip(&"\u{e4}".repeat(5), 3),
            "\u{e4}\u{e4}\u{e4} [2 more characters]"
        );
    }

    proptest! {
        #[test]
        fn nothing_unsafe_is_left(text in any::<String>()) {
            prop_assert!(!line(&text).chars().any(is_unsafe));
            prop_assert!(!block(&text).chars().any(|c| is_unsafe(c) && c != '\n' && c != '\t'));
            for command in CI_COMMANDS {
                prop_assert!(!line(&text).contains(command));
            }
        }

        #[test]
        fn escaping_twice_changes_nothing_more(text in any::<String>()) {
            let once = line(&text).into_owned();
            prop_assert_eq!(line(&once), once.as_str());
        }
    }
}
