//! Reads a script: its probes, and what their bodies read.
//!
//! This is not bpftrace's grammar. What is not understood is passed over, so that nothing is said of
//! it.

use std::collections::BTreeSet;
use std::path::Path as File;

use super::body;
use super::path::Access;
use super::preprocess::{Preprocessed, preprocess};
use super::probe::{AttachPoint, Target, has_path};
use super::token::{Token, closings, tokens};
use crate::bpf::Error;

/// Longer files are no scripts.
const MAX_BYTES: u64 = 1 << 20;

/// A bpftrace script.
#[derive(Debug)]
pub struct Script {
    /// The file, as it was named.
    pub name: String,
    text: String,
    /// As a kernel with BTF gets it.
    pub(super) with_btf: Content,
    /// As one without gets it.
    pub(super) without_btf: Content,
}

/// What is in a script.
#[derive(Debug, Default)]
pub struct Content {
    /// Its probes.
    pub probes: Vec<Probe>,
    /// Structs and unions that it, or a header, defines.
    pub structs: BTreeSet<String>,
    /// Whether its types may come from elsewhere than the kernel.
    pub is_opaque: bool,
    /// Whether it does without probes that are missing (`missing_probes`).
    pub may_miss: bool,
}

/// A probe.
#[derive(Debug)]
pub struct Probe {
    /// What it attaches to.
    pub points: Vec<AttachPoint>,
    /// What its predicate and body read.
    pub accesses: Vec<Access>,
}

impl Script {
    /// Whether a file is named as scripts are.
    pub fn is_one(path: &File) -> bool {
        path.extension().is_some_and(|extension| extension == "bt")
    }

    /// Reads the script at `path`.
    pub fn read(path: &File) -> Result<Self, Error> {
        let failed = |source| Error::Read {
            path: path.to_owned(),
            source,
        };
        let not_script = |why| Error::NotScript {
            path: path.to_owned(),
            why,
        };
        let length = std::fs::metadata(path).map_err(failed)?.len();
        if length > MAX_BYTES {
            return Err(not_script(format!("it has {length} bytes")));
        }
        let text = String::from_utf8(std::fs::read(path).map_err(failed)?)
            .map_err(|error| not_script(error.to_string()))?;
        let script = Self::parse(&path.to_string_lossy(), text);
        if script.with_btf.probes.is_empty() && script.without_btf.probes.is_empty() {
            return Err(not_script("it has no probe".to_owned()));
        }
        Ok(script)
    }

    /// Reads a script from memory; `name` is for messages.
    pub fn parse(name: &str, text: String) -> Self {
        Self {
            name: name.to_owned(),
            with_btf: Content::parse(&preprocess(&text, true)),
            without_btf: Content::parse(&preprocess(&text, false)),
            text,
        }
    }

    /// Its lists of probes, as they are written.
    pub fn probes(&self) -> Vec<Vec<String>> {
        let probes = self.with_btf.probes.iter();
        let points = probes.map(|probe| probe.points.iter().map(|point| point.text.clone()));
        points.map(Iterator::collect).collect()
    }

    /// The line and column of a byte, both from 1, and the text of the line.
    pub fn place(&self, at: usize) -> (usize, usize, &str) {
        let at = at.min(self.text.len());
        let before = &self.text.as_bytes()[..at];
        let start = memchr::memrchr(b'\n', before).map_or(0, |end| end + 1);
        let line = self.text.get(start..).unwrap_or_default().lines().next();
        let number = 1 + memchr::memchr_iter(b'\n', before).count();
        (number, at - start + 1, line.unwrap_or_default())
    }
}

impl Content {
    fn parse(done: &Preprocessed) -> Self {
        let tokens = tokens(&done.text);
        let mut reader = Reader {
            done,
            closings: closings(&tokens),
            tokens: &tokens,
            content: Self {
                structs: done.structs.clone(),
                // bpftrace leaves out what depends on a condition that it knows.
                is_opaque: done.is_opaque || tokens.iter().any(|token| token.text == "comptime"),
                ..Self::default()
            },
        };
        let mut at = 0;
        while at < tokens.len() {
            match reader.item(at) {
                Some(end) => at = end,
                None => break,
            }
        }
        reader.content
    }
}

struct Reader<'t> {
    done: &'t Preprocessed,
    tokens: &'t [Token<'t>],
    closings: Vec<usize>,
    content: Content,
}

impl<'t> Reader<'t> {
    fn text(&self, at: usize) -> &'t str {
        self.tokens.get(at).map_or("", |token| token.text)
    }

    /// Where the bracket at `at` is closed.
    fn closing(&self, at: usize) -> Option<usize> {
        self.closings.get(at).copied().filter(|close| *close > at)
    }

    /// The first `{` from `at` on.
    fn block(&self, at: usize) -> Option<usize> {
        (at..self.tokens.len()).find(|&index| self.text(index) == "{")
    }

    /// Reads what begins at `at`; returns the index behind it. `None` if it does not end.
    fn item(&mut self, at: usize) -> Option<usize> {
        let next = self.text(at + 1);
        match self.text(at) {
            ";" => Some(at + 1),
            "struct" | "union" | "enum" => {
                self.content.structs.insert(next.to_owned());
                self.declaration(at)
            }
            "typedef" | "import" => {
                self.content.is_opaque = true;
                self.declaration(at)
            }
            "let" => self.declaration(at),
            "config" if next == "=" => {
                let end = self.closing(at + 2)?;
                let key = (at..end).find(|&index| self.text(index) == "missing_probes");
                let value = key.map_or("", |key| self.text(key + 2));
                self.content.may_miss = matches!(value.trim_matches('"'), "warn" | "ignore");
                Some(end + 1)
            }
            "macro" | "fn" => Some(self.closing(self.block(at)?)? + 1),
            _ => self.probe(at),
        }
    }

    /// Up to the `;` behind a declaration.
    fn declaration(&self, mut at: usize) -> Option<usize> {
        while at < self.tokens.len() {
            match self.text(at) {
                ";" => return Some(at + 1),
                "{" => at = self.closing(at)? + 1,
                _ => at += 1,
            }
        }
        None
    }

    fn probe(&mut self, at: usize) -> Option<usize> {
        let open = self.block(at)?;
        let close = self.closing(open)?;
        let (points, predicate) = attach_points(&self.done.text, &self.tokens[at..open]);
        let mut accesses = Vec::new();
        for part in [at + predicate..open, open + 1..close] {
            accesses.extend(body::accesses(&self.tokens[part], &self.done.macros));
        }
        self.content.probes.push(Probe { points, accesses });
        Some(close + 1)
    }
}

/// The attach points before a body, and the index of the word with which their predicate begins.
fn attach_points(text: &str, tokens: &[Token<'_>]) -> (Vec<AttachPoint>, usize) {
    let mut points = Vec::new();
    let Some(mut start) = tokens.first().map(|token| token.at) else {
        return (points, 0);
    };
    let mut add = |start: usize, end: usize| {
        let point = text.get(start..end).unwrap_or_default();
        let at = start + (point.len() - point.trim_start().len());
        let point = point.trim();
        if !point.is_empty() {
            points.push(AttachPoint {
                text: point.to_owned(),
                at,
                target: Target::parse(point),
            });
        }
    };
    let end = tokens.last().map_or(start, |token| token.end());
    for (index, token) in tokens.iter().enumerate() {
        match token.text {
            "," => {
                add(start, token.at);
                start = token.end();
            }
            "/" => {
                let point = text.get(start..token.at).unwrap_or_default();
                let kind = point.trim_start().split(':').next().unwrap_or_default();
                let is_apart = point.ends_with(char::is_whitespace);
                if is_apart || !has_path(kind) {
                    add(start, token.at);
                    return (points, index);
                }
            }
            _ => {}
        }
    }
    add(start, end);
    (points, tokens.len())
}
