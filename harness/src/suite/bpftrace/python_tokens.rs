//! The tokens of a Python source, just enough to find names and strings: nothing here runs or
//! understands Python.
//!
//! Follows "Lexical analysis" in Python's language reference: newlines in comments and brackets do
//! not end a line, and adjacent strings are one string.

/// A token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token<'s> {
    /// A name, a keyword or a number.
    Name(&'s str),
    /// A string without its quotes, with escapes resolved.
    Text(String),
    /// An f-string, whose value is only known when it runs.
    Formatted,
    /// Any other character.
    Sign(char),
    /// The end of a logical line.
    End,
}

/// Reads a source; text that is not Python also gives tokens.
pub(super) fn tokens(source: &str) -> Vec<Token<'_>> {
    let mut reader = Reader {
        source,
        at: 0,
        depth: 0,
        tokens: Vec::new(),
    };
    while let Some(c) = reader.peek() {
        reader.token(c);
    }
    reader.tokens.push(Token::End);
    reader.tokens
}

struct Reader<'s> {
    source: &'s str,
    at: usize,
    /// Brackets that are open.
    depth: usize,
    tokens: Vec<Token<'s>>,
}

impl<'s> Reader<'s> {
    fn rest(&self) -> &'s str {
        &self.source[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn token(&mut self, c: char) {
        match c {
            '#' => self.at += self.rest().find('\n').unwrap_or(self.rest().len()),
            '\\' if self.rest().starts_with("\\\n") => self.at += 2,
            '\n' => {
                self.at += 1;
                if self.depth == 0 {
                    self.tokens.push(Token::End);
                }
            }
            '"' | '\'' => self.text(""),
            _ if c.is_whitespace() => self.at += c.len_utf8(),
            _ if c == '_' || c.is_alphanumeric() => self.name(),
            _ => {
                match c {
                    '(' | '[' | '{' => self.depth += 1,
                    ')' | ']' | '}' => self.depth = self.depth.saturating_sub(1),
                    _ => {}
                }
                self.at += c.len_utf8();
                self.tokens.push(Token::Sign(c));
            }
        }
    }

    fn name(&mut self) {
        let rest = self.rest();
        let end = rest
            .find(|c: char| c != '_' && !c.is_alphanumeric())
            .unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        self.at += end;
        let prefixes = name.len() <= 2 && name.chars().all(|c| "rRbBuUfF".contains(c));
        if prefixes && after.starts_with(['"', '\'']) {
            self.text(name);
        } else {
            self.tokens.push(Token::Name(name));
        }
    }

    /// Reads a string from its first quote on.
    fn text(&mut self, prefix: &str) {
        let rest = self.rest();
        let long = rest.starts_with("\"\"\"") || rest.starts_with("'''");
        let quotes = &rest[..if long { 3 } else { 1 }];
        let raw = prefix.contains(['r', 'R']);
        let body = &rest[quotes.len()..];
        let mut text = String::new();
        let mut at = 0;
        while let Some(c) = body[at..].chars().next() {
            if body[at..].starts_with(quotes) {
                at += quotes.len();
                break;
            }
            // An unterminated string ends with its line.
            if c == '\n' && !long {
                break;
            }
            at += c.len_utf8();
            if c != '\\' {
                text.push(c);
                continue;
            }
            let Some(escaped) = body[at..].chars().next() else {
                break;
            };
            at += escaped.len_utf8();
            match escaped {
                _ if raw => text.extend([c, escaped]),
                '\n' => {}
                '\\' | '\'' | '"' => text.push(escaped),
                'n' => text.push('\n'),
                't' => text.push('\t'),
                _ => text.extend([c, escaped]),
            }
        }
        self.at += quotes.len() + at;
        if prefix.contains(['f', 'F']) {
            self.tokens.push(Token::Formatted);
        } else if let Some(Token::Text(before)) = self.tokens.last_mut() {
            before.push_str(&text);
        } else {
            self.tokens.push(Token::Text(text));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Token::{End, Formatted, Name, Sign};
    use super::*;

    fn text(text: &str) -> Token<'static> {
        Token::Text(text.to_owned())
    }

    #[test]
    fn texts_are_read_without_their_quotes_and_joined() {
        let source = "a = 'it''s' \\\n  \"\\\"x\\\"\" # 'no'\nb('''c\n'd''', r'\\d', f'{e}')\n";
        let expected = [
            Name("a"),
            Sign('='),
            text("its\"x\""),
            End,
            Name("b"),
            Sign('('),
            text("c\n'd"),
            Sign(','),
            text("\\d"),
            Sign(','),
            Formatted,
            Sign(')'),
            End,
            End,
        ];
        assert_eq!(tokens(source), expected);
    }

    #[test]
    fn brackets_hold_a_line_together_and_an_open_text_does_not_go_on() {
        let ends = |source| tokens(source).iter().filter(|token| **token == End).count();
        assert_eq!(ends("a(\n1,\n2)\nb\n"), 3);
        assert_eq!(ends(")\na\n"), 3);
        assert_eq!(tokens("'a\nb"), [text("a"), End, Name("b"), End]);
    }

    proptest! {
        #[test]
        fn any_source_has_an_end(source in "\\PC*|[a-b'\"\\\\\\n#()rf]*") {
            let found = tokens(&source);
            prop_assert_eq!(found.last(), Some(&End));
        }
    }
}
