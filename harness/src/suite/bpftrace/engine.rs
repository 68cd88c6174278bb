//! The engine beside the tests: which directives and features it knows.
//!
//! bpftrace's master reports its last release although its tests are newer, so a program's version
//! does not say what its tests may contain. The engine beside them does: `runtime/engine/parser.py`
//! compares with each directive, `runner.py` has a line for each feature. Both are read as text and
//! never run.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::dialect::ArchSyntax;
use super::feature::{KnownFeature, Probe};
use super::python_tokens::{Token, tokens};
use super::{Dialect, python};

/// Upstream's largest file has 30 kB.
const MAX_SIZE: u64 = 4 << 20;
/// Upstream's engine has four.
const MAX_FILES: usize = 64;

/// Tests always need these: a file that does not name them is not a parser.
const CORE: [&str; 4] = ["NAME", "RUN", "EXPECT", "TIMEOUT"];

/// A directive that came with the first engine that waits for the marker.
const SINCE_0_14: &str = "PROG";

/// The engine beside the tests, if any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineBeside {
    /// No engine.
    Absent,
    /// One that we cannot read.
    Unreadable {
        /// Its directory.
        path: PathBuf,
        /// Why, in a few words.
        reason: String,
    },
    /// One that we can read.
    Read {
        /// Its directory.
        path: PathBuf,
        /// What it knows.
        engine: Engine,
    },
}

/// What an engine knows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Engine {
    /// The words of its directives, sorted; `None` if they cannot be read.
    pub(super) directives: Option<Vec<String>>,
    /// Its features, by name; `None` if they cannot be read.
    pub(super) features: Option<Vec<KnownFeature>>,
    /// `ARCH` accepts `le` and `be`.
    pub(super) endianness: bool,
    /// It waits for the line that bpftrace has printed since 0.14.
    pub(super) marker: bool,
}

impl EngineBeside {
    /// Reads `tests_dir/runtime/engine`.
    pub fn read(tests_dir: &Path) -> Self {
        let path = tests_dir.join("runtime/engine");
        if !path.is_dir() {
            return Self::Absent;
        }
        let read = sources(&path).and_then(|sources| {
            Engine::parse(&sources)
                .ok_or_else(|| "it names no directives and no features".to_owned())
        });
        match read {
            Ok(engine) => Self::Read { path, engine },
            Err(reason) => Self::Unreadable { path, reason },
        }
    }
}

/// The texts of an engine's modules, sorted by their names.
fn sources(directory: &Path) -> Result<Vec<String>, String> {
    let cannot = |error: io::Error| error.to_string();
    let mut names = Vec::new();
    for entry in directory.read_dir().map_err(cannot)? {
        let name = entry.map_err(cannot)?.file_name();
        let hidden = name.as_encoded_bytes().starts_with(b".");
        if !hidden && Path::new(&name).extension() == Some("py".as_ref()) {
            names.push(name);
        }
    }
    names.sort();
    if names.len() > MAX_FILES {
        return Err(format!("it has more than {MAX_FILES} modules"));
    }
    let texts = names.iter().map(|name| {
        let shown = name.to_string_lossy();
        text(&directory.join(name), &shown)
    });
    texts.collect()
}

fn text(path: &Path, name: &str) -> Result<String, String> {
    let cannot = |error: io::Error| format!("{name}: {error}");
    // Other kinds of files might be endless.
    if !path.metadata().map_err(cannot)?.is_file() {
        return Err(format!("{name} is not a file"));
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(cannot)?;
    file.take(MAX_SIZE + 1)
        .read_to_end(&mut bytes)
        .map_err(cannot)?;
    if bytes.len() as u64 > MAX_SIZE {
        return Err(format!("{name} is larger than {} MiB", MAX_SIZE >> 20));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

impl Engine {
    /// Reads the texts of an engine's modules. `None` if none of them names directives or features.
    pub fn parse(sources: &[impl AsRef<str>]) -> Option<Self> {
        let sources: Vec<_> = sources
            .iter()
            .map(|source| python::universal_newlines(source.as_ref()))
            .collect();
        let modules: Vec<_> = sources.iter().map(|source| tokens(source)).collect();
        let has = |module: &[Token<'_>], wanted: &str| {
            module
                .iter()
                .any(|token| matches!(token, Token::Text(text) if text == wanted))
        };
        let parser = modules
            .iter()
            .find_map(|module| Some((module, directives(module)?)));
        let endianness = parser.as_ref().is_some_and(|(module, _)| has(module, "le"));
        let engine = Self {
            directives: parser.map(|(_, words)| words),
            features: modules.iter().find_map(|module| features(module)),
            endianness,
            marker: modules
                .iter()
                .any(|module| has(module, Dialect::newest().marker)),
        };
        (engine.directives.is_some() || engine.features.is_some()).then_some(engine)
    }

    /// The dialect closest to it: first by directives, which determine how tests are read, then by
    /// features. Of several equally close ones, the `preferred` one, else the newest. `None` if it
    /// resembles none: a quarter of what any dialect has is missing, or it is older than 0.14.
    pub fn dialect(&self, preferred: Option<&'static Dialect>) -> Option<&'static Dialect> {
        if self.is_too_old() {
            return None;
        }
        let mut near: Vec<_> = Dialect::all()
            .filter_map(|dialect| Some((self.distance(dialect)?, dialect)))
            .collect();
        let least = near.iter().map(|(distance, _)| *distance).min()?;
        near.retain(|(distance, _)| *distance == least);
        let preferred = near
            .iter()
            .find(|(_, dialect)| preferred.is_some_and(|wanted| wanted.name == dialect.name));
        preferred.or(near.last()).map(|(_, dialect)| *dialect)
    }

    /// Whether it is older than the oldest dialect: it has no `PROG`, or does not wait for the
    /// marker.
    pub(super) fn is_too_old(&self) -> bool {
        let has = |words: &Vec<String>| words.iter().any(|word| word == SINCE_0_14);
        !self.directives.as_ref().is_none_or(has) || self.features.is_some() && !self.marker
    }

    /// How many directives and features only one of the two has; `None` if too much of the dialect
    /// is missing.
    fn distance(&self, dialect: &Dialect) -> Option<(usize, usize)> {
        let (mut all, mut missing) = (0, 0);
        let (mut directives, mut features) = (0, 0);
        if let Some(words) = &self.directives {
            let known: Vec<_> = dialect.directives.iter().map(|d| d.word()).collect();
            let lacks = |word: &&&str| !words.iter().any(|other| other == **word);
            let missed = known.iter().filter(lacks).count();
            let more = words.iter().filter(|word| !known.contains(&word.as_str()));
            directives = missed + more.count();
            let endianness = dialect.arch == ArchSyntax::EndianAndNegation;
            features += usize::from(endianness != self.endianness);
            all += known.len();
            missing += missed;
        }
        if let Some(found) = &self.features {
            let known: Vec<_> = dialect.features.iter().map(KnownFeature::from).collect();
            let same = |one: &KnownFeature, other: &KnownFeature| {
                let unreadable = one.probe == Probe::Unreadable || other.probe == Probe::Unreadable;
                one.name == other.name && (one.probe == other.probe || unreadable)
            };
            let lacks = |all: &[KnownFeature], one: &KnownFeature| {
                !all.iter().any(|other| same(one, other))
            };
            let missed = known.iter().filter(|one| lacks(found, one)).count();
            features += missed + found.iter().filter(|one| lacks(&known, one)).count();
            all += known.len();
            missing += missed;
        }
        (missing * 4 <= all).then_some((directives, features))
    }
}

/// Every string that looks like a directive: parsers compare with it, look it up, or have it in a
/// list.
fn directives(parser: &[Token<'_>]) -> Option<Vec<String>> {
    let mut words: Vec<String> = parser
        .iter()
        .filter_map(|token| match token {
            Token::Text(text) if is_directive(text) => Some(text.clone()),
            _ => None,
        })
        .collect();
    words.sort();
    words.dedup();
    let has = |word: &str| words.iter().any(|known| known == word);
    CORE.iter().all(|word| has(word)).then_some(words)
}

/// Whether a word looks like a directive: capitals, digits and `_`.
pub(super) fn is_directive(word: &str) -> bool {
    word.len() > 1
        && word.starts_with(|c: char| c.is_ascii_uppercase())
        && word
            .bytes()
            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}

/// `bpffeature["NAME"] = PROBE`, one per line, or all in `bpffeature = {…}`.
fn features(runner: &[Token<'_>]) -> Option<Vec<KnownFeature>> {
    let mut found: Vec<KnownFeature> = Vec::new();
    let mut add = |name: &str, probe: &[Token<'_>]| {
        found.retain(|known| known.name != name);
        found.push(KnownFeature {
            name: name.to_owned(),
            probe: read_probe(probe),
        });
    };
    let of_features = |name: &str| name.to_ascii_lowercase().contains("feature");
    for (at, token) in runner.iter().enumerate() {
        let Token::Name(variable) = token else {
            continue;
        };
        if !of_features(variable) {
            continue;
        }
        match &runner[at + 1..] {
            [
                Token::Sign('['),
                Token::Text(name),
                Token::Sign(']'),
                Token::Sign('='),
                rest @ ..,
            ] if rest.first() != Some(&Token::Sign('=')) => {
                let end = rest.iter().position(|token| *token == Token::End);
                add(name, &rest[..end.unwrap_or(rest.len())]);
            }
            [Token::Sign('='), Token::Sign('{'), rest @ ..] => {
                for entry in entries(rest) {
                    if let [Token::Text(name), Token::Sign(':'), probe @ ..] = entry {
                        add(name, probe);
                    }
                }
            }
            _ => {}
        }
    }
    (!found.is_empty()).then_some(found)
}

/// The items between the commas of a display, up to its closing bracket.
fn entries<'t, 's>(tokens: &'t [Token<'s>]) -> Vec<&'t [Token<'s>]> {
    let mut entries = Vec::new();
    let (mut depth, mut start) = (0_usize, 0);
    for (at, token) in tokens.iter().enumerate() {
        match token {
            Token::Sign('(' | '[' | '{') => depth += 1,
            Token::Sign(')' | ']' | '}') if depth == 0 => {
                entries.push(&tokens[start..at]);
                break;
            }
            Token::Sign(')' | ']' | '}') => depth -= 1,
            Token::Sign(',') if depth == 0 => {
                entries.push(&tokens[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    entries
}

/// What makes a feature true: `output.find("TEXT") != -1`, `"TEXT" in output`, or
/// a fact of the build.
fn read_probe(expression: &[Token<'_>]) -> Probe {
    use Token::{Name, Sign, Text};
    // Each way to say that `find` found something.
    let found = [
        &[Sign('!'), Sign('='), Sign('-'), Name("1")][..],
        &[Sign('>'), Sign('='), Name("0")],
        &[Sign('>'), Sign('-'), Name("1")],
    ];
    match expression {
        [
            Name(_),
            Sign('.'),
            Name("find"),
            Sign('('),
            Text(text),
            Sign(')'),
            comparison @ ..,
        ] if found.contains(&comparison) => Probe::Printed(text.clone()),
        [Text(text), Name("in"), Name(_)] => Probe::Printed(text.clone()),
        [Name("cmake_vars"), Sign('.'), Name(_)] => Probe::Build,
        _ => Probe::Unreadable,
    }
}

#[cfg(test)]
#[path = "engine_tests.rs"]
mod tests;
