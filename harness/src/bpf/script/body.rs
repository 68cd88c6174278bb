//! What a predicate or a body reads.

use std::collections::{BTreeSet, HashMap};

use super::path::{Access, Path, Root, Step};
use super::token::{Token, closings};

/// Parentheses and casts within each other.
const MAX_DEPTH: usize = 64;

/// The paths that some statements read, in order.
pub(super) fn accesses(tokens: &[Token<'_>], macros: &BTreeSet<String>) -> Vec<Access> {
    let mut body = Body {
        tokens,
        closings: closings(tokens),
        macros,
        scopes: vec![HashMap::new()],
        accesses: Vec::new(),
    };
    body.statements(0, tokens.len(), 0);
    body.accesses
}

struct Body<'t, 's> {
    tokens: &'t [Token<'s>],
    closings: Vec<usize>,
    macros: &'t BTreeSet<String>,
    /// The variables of each block that is open, with what they are; `None` where that is not
    /// known.
    scopes: Vec<HashMap<&'s str, Option<Path>>>,
    accesses: Vec<Access>,
}

/// An expression that was read.
struct Read {
    /// What it is, where the kernel knows it.
    path: Option<Path>,
    /// The index behind it.
    end: usize,
}

/// A type that something is cast to.
struct Cast {
    /// Where paths begin that go on from there; `None` if that is not known.
    path: Option<Path>,
}

impl<'s> Body<'_, 's> {
    fn text(&self, at: usize) -> &'s str {
        self.tokens.get(at).map_or("", |token| token.text)
    }

    /// Where the bracket at `at` is closed, if that is before `end`.
    fn closing(&self, at: usize, end: usize) -> Option<usize> {
        let close = self.closings.get(at).copied();
        close.filter(|close| (at + 1..end).contains(close))
    }

    /// Reads everything from `at` to `end`.
    fn statements(&mut self, mut at: usize, end: usize, depth: usize) {
        while at < end {
            match self.text(at) {
                "{" => self.scopes.push(HashMap::new()),
                // The outermost one stays.
                "}" if self.scopes.len() > 1 => drop(self.scopes.pop()),
                _ => {
                    at = self.expression(at, end, depth);
                    continue;
                }
            }
            at += 1;
        }
    }

    /// Reads an assignment or an expression, or passes over a word; returns the index behind it.
    fn expression(&mut self, at: usize, end: usize, depth: usize) -> usize {
        let variable = self.tokens.get(at).and_then(|token| token.variable());
        let Some(name) = variable else {
            return self.operand(at, end, depth).end;
        };
        match self.text(at + 1) {
            "=" => {
                let read = self.operand(at + 2, end, depth);
                let is_all = matches!(self.text(read.end), ";" | "}" | "");
                self.define(name, read.path.filter(|_| is_all));
                read.end
            }
            // A type is declared.
            ":" if at > 0 && self.text(at - 1) == "let" => {
                self.define(name, None);
                at + 2
            }
            _ => self.operand(at, end, depth).end,
        }
    }

    /// A variable keeps the type that it got first, as long as its block is open.
    fn define(&mut self, name: &'s str, path: Option<Path>) {
        if self.scopes.iter().any(|scope| scope.contains_key(name)) {
            return;
        }
        if let Some(scope) = self.scopes.last_mut() {
            scope.insert(name, path);
        }
    }

    fn variable(&self, name: &str) -> Option<Path> {
        let mut scopes = self.scopes.iter().rev();
        scopes.find_map(|scope| scope.get(name)).cloned().flatten()
    }

    /// Reads an operand with its members; at least one word.
    fn operand(&mut self, at: usize, end: usize, depth: usize) -> Read {
        let next = Read {
            path: None,
            end: at + 1,
        };
        let Some(token) = self.tokens.get(at).filter(|_| at < end) else {
            return next;
        };
        if depth > MAX_DEPTH {
            return next;
        }
        match token.text {
            "(" => self.parenthesis(at, end, depth),
            "*" if self.begins_operand(at) => {
                let read = self.operand(at + 1, end, depth + 1);
                let path = read.path.and_then(|path| path.then(Step::Element));
                Read { path, ..read }
            }
            "sizeof" | "offsetof" if self.text(at + 1) == "(" => self.size(at, end),
            text if token.variable().is_some() => {
                let path = self.variable(&text[1..]);
                let from = path.as_ref().map_or(0, |path| path.steps.len());
                self.members(path, from, at, at + 1, end, depth)
            }
            text if token.is_name() && self.macros.contains(text) => next,
            "args" => self.root(Root::Args, at, end, depth),
            "ctx" => self.root(Root::Context, at, end, depth),
            "retval" => self.root(Root::ReturnValue, at, end, depth),
            "curtask" => {
                let root = Root::Cast {
                    keyword: "struct",
                    name: "task_struct".to_owned(),
                };
                self.root(root, at, end, depth)
            }
            _ if token.is_name() && self.text(at + 1) == "(" => {
                // A call: what it returns is not known, its arguments are read.
                let Some(close) = self.closing(at + 1, end) else {
                    return next;
                };
                self.statements(at + 2, close, depth + 1);
                self.members(None, 0, at, close + 1, end, depth)
            }
            text if token.is_name() || text.starts_with('@') => {
                self.members(None, 0, at, at + 1, end, depth)
            }
            _ => next,
        }
    }

    /// Whether the `*` at `at` is no multiplication.
    fn begins_operand(&self, at: usize) -> bool {
        let before = at.checked_sub(1).map_or("", |before| self.text(before));
        matches!(
            before,
            "" | "(" | "," | "=" | ";" | "{" | "}" | "return" | "*" | "!" | "?" | "["
        )
    }

    fn root(&mut self, root: Root, at: usize, end: usize, depth: usize) -> Read {
        self.members(Some(Path::new(root)), 0, at, at + 1, end, depth)
    }

    /// `( … )`: a cast and what it is applied to, or an expression in parentheses.
    fn parenthesis(&mut self, at: usize, end: usize, depth: usize) -> Read {
        let Some(close) = self.closing(at, end) else {
            return Read {
                path: None,
                end: at + 1,
            };
        };
        if let Some(Cast { path }) = self.cast(at + 1, close) {
            let read = self.operand(close + 1, end, depth + 1);
            return Read {
                path,
                end: read.end.max(close + 1),
            };
        }
        let inner = self.operand(at + 1, close, depth + 1);
        let mut path = inner.path;
        if inner.end < close {
            path = None;
            self.statements(inner.end, close, depth + 1);
        }
        let from = path.as_ref().map_or(0, |path| path.steps.len());
        self.members(path, from, at, close + 1, end, depth)
    }

    /// The type that the words up to `close` are.
    fn cast(&self, mut at: usize, close: usize) -> Option<Cast> {
        if self.text(at) == "const" {
            at += 1;
        }
        let keyword = match self.text(at) {
            "struct" => "struct",
            "union" => "union",
            "enum" => return Some(Cast { path: None }),
            _ => return None,
        };
        let name = self.tokens.get(at + 1).filter(|token| token.is_name())?;
        let pointers = &self.tokens[(at + 2).min(close)..close];
        if self.macros.contains(name.text) || pointers.iter().any(|token| token.text != "*") {
            return Some(Cast { path: None });
        }
        // Several pointers: what a member is of is not what is named.
        let is_plain = pointers.len() < 2;
        let root = Root::Cast {
            keyword,
            name: name.text.to_owned(),
        };
        let path = is_plain.then(|| Path::new(root));
        Some(Cast { path })
    }

    /// `offsetof(struct x, a.b)` reads a path; what `sizeof` has in it is passed over.
    fn size(&mut self, at: usize, end: usize) -> Read {
        let Some(close) = self.closing(at + 1, end) else {
            return Read {
                path: None,
                end: at + 1,
            };
        };
        let comma = (at + 2..close).find(|&index| self.text(index) == ",");
        if let Some(comma) = comma
            && self.text(at) == "offsetof"
            && let Some(Cast {
                path: Some(mut path),
            }) = self.cast(at + 2, comma)
        {
            let names = self.tokens[comma + 1..close].iter();
            let mut is_path = true;
            for token in names {
                match token.text {
                    "." => {}
                    name if token.is_name() => path.steps.push(Step::Member(name.to_owned())),
                    _ => is_path = false,
                }
            }
            if is_path {
                self.add(path, 0, at);
            }
        }
        Read {
            path: None,
            end: close + 1,
        }
    }

    fn add(&mut self, path: Path, from: usize, token: usize) {
        let mut own = path.steps.iter().skip(from);
        if own.any(|step| matches!(step, Step::Member(_))) {
            let at = self.tokens.get(token).map_or(0, |token| token.at);
            self.accesses.push(Access { path, from, at });
        }
    }

    /// The members and elements behind an operand that ends before `at`. Its steps up to `from`
    /// were read before; `start` is where it begins.
    fn members(
        &mut self,
        mut path: Option<Path>,
        from: usize,
        start: usize,
        mut at: usize,
        end: usize,
        depth: usize,
    ) -> Read {
        while at < end {
            match self.text(at) {
                "." | "->" => {
                    let Some(member) = self.tokens.get(at + 1).filter(|_| at + 1 < end) else {
                        break;
                    };
                    let step = (member.is_name() && !self.macros.contains(member.text))
                        .then(|| Step::Member(member.text.to_owned()));
                    let before = path.take();
                    path = match (before.clone(), step) {
                        (Some(path), Some(step)) => path.then(step),
                        _ => None,
                    };
                    if path.is_none()
                        && let Some(before) = before
                    {
                        self.add(before, from, start);
                    }
                    at += 2;
                }
                "[" => {
                    let Some(close) = self.closing(at, end) else {
                        break;
                    };
                    self.statements(at + 1, close, depth + 1);
                    path = path.and_then(|path| path.then(Step::Element));
                    at = close + 1;
                }
                _ => break,
            }
        }
        if let Some(path) = &path {
            self.add(path.clone(), from, start);
        }
        Read { path, end: at }
    }
}
