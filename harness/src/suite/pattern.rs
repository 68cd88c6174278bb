//! Regular expressions with the meaning of Python's `re`.
//!
//! Upstream's patterns are Python's. `fancy-regex` reads most of them in the same way, but there
//! `[`, `&&`, `--` and `~~` inside a class nest or combine, a brace that is not a count is an
//! error, `$` is stricter, and `\<` is not an escaped `<`. So patterns are parsed by Python's
//! grammar (Library reference, "re") and translated.

use std::fmt::Write as _;

use thiserror::Error;

/// Why a pattern is invalid.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{pattern}` is not a regular expression: {why}")]
pub struct PatternError {
    /// The pattern as given.
    pub pattern: String,
    /// What is wrong with it.
    pub why: String,
}

/// A search that needs more steps than it may take. Python has no such limit.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the search for `{pattern}` was aborted: {why}")]
pub struct SearchError {
    /// The pattern.
    pub pattern: String,
    /// Which limit it exceeded.
    pub why: String,
}

/// How often a search may backtrack. A pattern with a look-around starts again at each byte: this
/// is enough for the output of any test (4 MiB), and few enough to end within seconds.
const BACKTRACK_LIMIT: usize = 32_000_000;

/// Python's flags that are in use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flags {
    /// `re.MULTILINE`: `^` and `$` match at every line.
    pub multiline: bool,
}

/// A compiled pattern.
#[derive(Debug, Clone)]
pub struct Pattern {
    regex: fancy_regex::Regex,
    source: String,
}

impl Pattern {
    /// Reads a pattern.
    pub fn new(pattern: &str, flags: Flags) -> Result<Self, PatternError> {
        let error = |why: String| PatternError {
            pattern: pattern.to_owned(),
            why,
        };
        let translated = Translator::new(pattern, flags)
            .translate()
            .map_err(|why| error(why.to_owned()))?;
        let regex = fancy_regex::RegexBuilder::new(&translated)
            .multi_line(flags.multiline)
            .backtrack_limit(BACKTRACK_LIMIT)
            .build()
            .map_err(|e| error(e.to_string()))?;
        Ok(Self {
            regex,
            source: pattern.to_owned(),
        })
    }

    /// A pattern that finds `text` if it fills whole lines, ignoring white space around it.
    pub fn whole_lines(text: &str) -> Result<Self, PatternError> {
        let mut translated = String::from(r"^[\s\x1c-\x1f]*");
        for c in text.chars() {
            push_literal(&mut translated, c);
        }
        translated.push_str(r"[\s\x1c-\x1f]*$");
        let regex = fancy_regex::RegexBuilder::new(&translated)
            .multi_line(true)
            .build()
            .map_err(|e| PatternError {
                pattern: text.to_owned(),
                why: e.to_string(),
            })?;
        Ok(Self {
            regex,
            source: text.to_owned(),
        })
    }

    /// Whether it matches anywhere in `text`.
    pub fn search(&self, text: &str) -> Result<bool, SearchError> {
        self.regex.is_match(text).map_err(|error| SearchError {
            pattern: self.source.clone(),
            why: error.to_string(),
        })
    }

    /// The same in a short text, such as an id: an aborted search counts as no match.
    pub fn is_match(&self, text: &str) -> bool {
        self.search(text).unwrap_or(false)
    }
}

/// Special characters, outside or inside a class.
const META: &str = r"\.+*?()|[]{}^$#&-~";

fn push_literal(out: &mut String, c: char) {
    if META.contains(c) {
        out.push('\\');
        out.push(c);
    } else if c.is_control() {
        let _ = write!(out, r"\x{{{:x}}}", u32::from(c));
    } else {
        out.push(c);
    }
}

type Why = &'static str;

/// The meaning of an escape.
enum Escape {
    /// One character.
    Char(char),
    /// A class such as `\d`, in `fancy-regex`'s syntax, without brackets.
    Class(&'static str),
    /// `\S`: not white space; only outside a class, or alone, exact.
    NotSpace,
    /// An assertion or a reference, in `fancy-regex`'s syntax.
    Other(String),
}

struct Translator<'p> {
    rest: std::iter::Peekable<std::str::Chars<'p>>,
    text: &'p str,
    flags: Flags,
    out: String,
}

impl<'p> Translator<'p> {
    fn new(pattern: &'p str, flags: Flags) -> Self {
        Self {
            rest: pattern.chars().peekable(),
            text: pattern,
            flags,
            out: String::with_capacity(pattern.len() + 16),
        }
    }

    /// The rest.
    fn unread(&self) -> &'p str {
        let left: usize = self.rest.clone().map(char::len_utf8).sum();
        &self.text[self.text.len() - left..]
    }

    fn skip(&mut self, chars: usize) {
        for _ in 0..chars {
            self.rest.next();
        }
    }

    fn translate(mut self) -> Result<String, Why> {
        while let Some(c) = self.rest.next() {
            match c {
                '\\' => match self.escape(false)? {
                    Escape::Char(c) => push_literal(&mut self.out, c),
                    Escape::Class(class) => {
                        self.out.push('[');
                        self.out.push_str(class);
                        self.out.push(']');
                    }
                    Escape::NotSpace => self.out.push_str(r"[^\s\x1c-\x1f]"),
                    Escape::Other(text) => self.out.push_str(&text),
                },
                '[' => self.class()?,
                '{' => self.brace(),
                '(' => self.group()?,
                // At the end, and before a final newline.
                '$' if !self.flags.multiline => self.out.push_str(r"(?=\n?\z)"),
                '.' | '^' | '$' | '*' | '+' | '?' | '|' | ')' => self.out.push(c),
                literal => push_literal(&mut self.out, literal),
            }
        }
        Ok(self.out)
    }

    /// After `{`: a count, or just a brace.
    fn brace(&mut self) {
        let unread = self.unread();
        let count = unread.find('}').map(|end| &unread[..end]);
        let digits = |s: &str| s.chars().all(|c| c.is_ascii_digit());
        let bounds = match count {
            Some(count) if !count.is_empty() && digits(count) => Some((count, None)),
            Some(count) => count
                .split_once(',')
                .filter(|(low, high)| digits(low) && digits(high))
                .map(|(low, high)| (low, Some(high))),
            None => None,
        };
        let Some((low, high)) = bounds else {
            self.out.push_str(r"\{");
            return;
        };
        self.out.push('{');
        self.out.push_str(if low.is_empty() { "0" } else { low });
        if let Some(high) = high {
            self.out.push(',');
            self.out.push_str(high);
        }
        self.out.push('}');
        self.skip(count.map_or(0, str::len) + 1);
    }

    /// After `(`: a group; its extension is copied, because both use the same syntax.
    fn group(&mut self) -> Result<(), Why> {
        self.out.push('(');
        if self.rest.peek() != Some(&'?') {
            return Ok(());
        }
        let unread = self.unread();
        if unread.starts_with("?#") {
            let end = unread.find(')').ok_or("a comment without its end")?;
            // An empty group matches nothing, like the comment.
            self.out.push_str("?:)");
            self.skip(unread[..=end].chars().count());
            return Ok(());
        }
        let named = ["?P<", "?P="].iter().any(|start| unread.starts_with(start));
        let end = if named {
            unread
                .find(['>', ')'])
                .ok_or("a group name without its end")?
        } else {
            match unread[1..].find(|c: char| !matches!(c, 'a'..='z' | 'A'..='Z' | '-')) {
                Some(flags)
                    if unread[1..].starts_with(|c: char| c.is_ascii_alphabetic() || c == '-') =>
                {
                    let letters = &unread[1..=flags];
                    if letters.contains('x') || letters.contains('a') || letters.contains('L') {
                        return Err("the flags a, L and x are not supported");
                    }
                    flags
                }
                // `?=`, `?!`, `?:`, `?>`, and `?<=`, `?<!`.
                _ if unread.starts_with("?<") => 2,
                _ => 1,
            }
        };
        let head: String = unread.chars().take(end + 1).collect();
        self.out.push_str(&head);
        self.skip(end + 1);
        Ok(())
    }

    /// After `[`: a class up to its first `]`.
    fn class(&mut self) -> Result<(), Why> {
        self.out.push('[');
        if self.rest.next_if_eq(&'^').is_some() {
            self.out.push('^');
        }
        let mut first = true;
        loop {
            let c = self.rest.next().ok_or("a class without its `]`")?;
            if c == ']' && !first {
                self.out.push(']');
                return Ok(());
            }
            first = false;
            let Some(low) = self.member(c)? else {
                continue;
            };
            // A dash between two members makes a range; otherwise it is a dash.
            let mut ahead = self.rest.clone();
            let range = ahead.next() == Some('-') && ahead.next().is_some_and(|c| c != ']');
            if !range {
                push_literal(&mut self.out, low);
                continue;
            }
            self.rest.next();
            let high = self.rest.next().ok_or("a class without its `]`")?;
            let high = match high {
                '\\' => match self.escape(true)? {
                    Escape::Char(c) => c,
                    _ => return Err("a range that ends in a class"),
                },
                c => c,
            };
            push_literal(&mut self.out, low);
            self.out.push('-');
            push_literal(&mut self.out, high);
        }
    }

    /// One member of a class; one that is not a single character is written at once and gives
    /// `None`.
    fn member(&mut self, c: char) -> Result<Option<char>, Why> {
        if c != '\\' {
            return Ok(Some(c));
        }
        match self.escape(true)? {
            Escape::Char(c) => return Ok(Some(c)),
            Escape::Class(class) => self.out.push_str(class),
            Escape::NotSpace => self.out.push_str(r"\S"),
            Escape::Other(_) => return Err("an assertion inside a class"),
        }
        Ok(None)
    }

    /// After a backslash.
    fn escape(&mut self, in_class: bool) -> Result<Escape, Why> {
        let c = self.rest.next().ok_or("a backslash at the end")?;
        Ok(match c {
            'd' => Escape::Class(r"\d"),
            'D' => Escape::Class(r"\D"),
            'w' => Escape::Class(r"\w"),
            'W' => Escape::Class(r"\W"),
            // Python's white space has four more separators than Unicode's.
            's' => Escape::Class(r"\s\x1c-\x1f"),
            'S' => Escape::NotSpace,
            'n' => Escape::Char('\n'),
            't' => Escape::Char('\t'),
            'r' => Escape::Char('\r'),
            'a' => Escape::Char('\u{7}'),
            'f' => Escape::Char('\u{c}'),
            'v' => Escape::Char('\u{b}'),
            'b' if in_class => Escape::Char('\u{8}'),
            'b' | 'B' if !in_class => Escape::Other(format!("\\{c}")),
            'A' if !in_class => Escape::Other(r"\A".to_owned()),
            'Z' if !in_class => Escape::Other(r"\z".to_owned()),
            'x' => self.code(2)?,
            'u' => self.code(4)?,
            'U' => self.code(8)?,
            '0'..='9' => self.number(c, in_class)?,
            c if c.is_ascii_alphabetic() => return Err("a bad escape"),
            c => Escape::Char(c),
        })
    }

    fn code(&mut self, digits: usize) -> Result<Escape, Why> {
        let mut code = 0;
        for _ in 0..digits {
            let digit = self.rest.next().and_then(|c| c.to_digit(16));
            code = code * 16 + digit.ok_or("an incomplete escape")?;
        }
        char::from_u32(code)
            .map(Escape::Char)
            .ok_or("an escape that is not a character")
    }

    /// `\0`, `\07`, `\101` are octal, `\1` and `\12` refer to groups.
    fn number(&mut self, first: char, in_class: bool) -> Result<Escape, Why> {
        let mut digits = String::from(first);
        while digits.len() < 3
            && let Some(digit) = self.rest.peek().filter(|c| c.is_digit(8))
        {
            // A reference has two digits at most; a third makes it octal.
            digits.push(*digit);
            self.rest.next();
        }
        let octal = first == '0' || (digits.len() == 3 && first < '4') || in_class;
        if octal {
            return u32::from_str_radix(&digits, 8)
                .ok()
                .and_then(char::from_u32)
                .map(Escape::Char)
                .ok_or("a bad escape");
        }
        if digits.len() == 3 {
            return Err("an octal escape above \\377");
        }
        Ok(Escape::Other(format!(r"(?:\{digits})")))
    }
}

#[cfg(test)]
#[path = "pattern_tests.rs"]
mod tests;
