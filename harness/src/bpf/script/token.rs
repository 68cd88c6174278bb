//! The words of a script.

/// A word and where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token<'s> {
    /// The word; of a string also its quotes.
    pub(super) text: &'s str,
    /// Bytes from the start of the script.
    pub(super) at: usize,
}

impl<'s> Token<'s> {
    /// Where it ends.
    pub(super) fn end(self) -> usize {
        self.at + self.text.len()
    }

    /// Whether it is an identifier.
    pub(super) fn is_name(self) -> bool {
        self.text.starts_with(is_name_start)
    }

    /// The name of a variable, without the `$`.
    pub(super) fn variable(self) -> Option<&'s str> {
        self.text.strip_prefix('$').filter(|name| !name.is_empty())
    }
}

/// Operators of several characters that a single one must not be taken from.
const OPERATORS: [&str; 13] = [
    "->", "==", "!=", "<=", ">=", "&&", "||", "<<", ">>", "++", "--", "+=", "-=",
];

fn is_name_start(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_'
}

/// Whether a name goes on with it.
pub(super) fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// The words of a script whose comments are blank.
pub(super) fn tokens(script: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = script;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' => string(rest),
            '$' | '@' => 1 + rest[1..].find(|c| !is_name(c)).unwrap_or(rest.len() - 1),
            c if is_name(c) => rest.find(|c| !is_name(c)).unwrap_or(rest.len()),
            _ => match OPERATORS.iter().find(|text| rest.starts_with(**text)) {
                Some(operator) => operator.len(),
                None => first.len_utf8(),
            },
        };
        if !first.is_whitespace() {
            tokens.push(Token {
                text: &rest[..length],
                at: script.len() - rest.len(),
            });
        }
        rest = &rest[length..];
    }
    tokens
}

/// The length of the string that `text` begins with: to its end, else to that of the line.
pub(super) fn string(text: &str) -> usize {
    let mut is_escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            '\n' => return at,
            '"' if !is_escaped => return at + 1,
            _ => is_escaped = c == '\\' && !is_escaped,
        }
    }
    text.len()
}

/// For each bracket that opens, the index of the one that closes it; 0 for everything else.
pub(super) fn closings(tokens: &[Token<'_>]) -> Vec<usize> {
    let mut closings = vec![0; tokens.len()];
    let mut open = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        match token.text {
            "(" | "[" | "{" => open.push(index),
            ")" | "]" | "}" => {
                if let Some(place) = open.pop().and_then(|open: usize| closings.get_mut(open)) {
                    *place = index;
                }
            }
            _ => {}
        }
    }
    closings
}
