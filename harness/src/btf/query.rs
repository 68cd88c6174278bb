//! What `kiln btf show` is asked: `task_struct.mm.pgd`, `func:vfs_*`, `enum:bpf_prog_type.*`.

use globset::{GlobBuilder, GlobMatcher};

use super::names::Meaning;
use super::raw::Kind;

/// What is asked for, for messages.
const ALLOWED: &str = "NAME, NAME.MEMBER, func:NAME, enum:NAME, enum:NAME.VALUE, tp:SYSTEM:NAME, kfunc:NAME or var:NAME";

/// A question.
#[derive(Debug, Clone)]
pub struct Query {
    /// As the user wrote it.
    pub text: String,
    /// Of what kind.
    pub subject: Subject,
    /// The name.
    pub name: Pattern,
    /// Members, or a value.
    pub path: Vec<Step>,
}

/// The kind of thing that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// A struct, a union, a typedef, an enum or a basic type.
    Type,
    /// A function.
    Function,
    /// A function that BPF programs may call.
    Kfunc,
    /// An enum, or a value of one.
    Enum,
    /// A tracepoint.
    Tracepoint,
    /// A variable.
    Variable,
}

/// A step from a type to a part of it.
#[derive(Debug, Clone)]
pub enum Step {
    /// A member or value.
    Member(Pattern),
    /// An element of an array.
    Element(u32),
}

/// A name, or a glob for names.
#[derive(Debug, Clone)]
pub struct Pattern {
    /// As it was written.
    pub text: String,
    glob: Option<GlobMatcher>,
}

/// A question that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` cannot be asked for: {reason}")]
pub struct BadQuery {
    /// The question.
    pub text: String,
    /// What is wrong with it.
    pub reason: String,
}

impl crate::hint::Hint for BadQuery {
    fn hints(&self) -> Vec<String> {
        vec![format!("ask for {ALLOWED}; names may be globs")]
    }
}

impl Pattern {
    /// Reads a name or glob.
    pub fn new(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("a name is missing".to_owned());
        }
        let is_glob = text.contains(['*', '?', '[', '{']);
        let glob = is_glob
            .then(|| GlobBuilder::new(text).build())
            .transpose()
            .map_err(|error| error.kind().to_string())?
            .map(|glob| glob.compile_matcher());
        Ok(Self {
            text: text.to_owned(),
            glob,
        })
    }

    /// The name, if it is one.
    pub fn exact(&self) -> Option<&str> {
        self.glob.is_none().then_some(&self.text)
    }

    /// What every matching name begins with.
    pub fn prefix(&self) -> &str {
        let end = match self.glob {
            Some(_) => self.text.find(['*', '?', '[', '{', '\\']),
            None => None,
        };
        &self.text[..end.unwrap_or(self.text.len())]
    }

    /// Whether `name` is meant.
    pub fn matches(&self, name: &str) -> bool {
        match &self.glob {
            Some(glob) => glob.is_match(name),
            None => self.text == name,
        }
    }
}

impl Query {
    /// Reads a question.
    pub fn parse(text: &str) -> Result<Self, BadQuery> {
        Self::read(text).map_err(|reason| BadQuery {
            text: text.to_owned(),
            reason,
        })
    }

    fn read(text: &str) -> Result<Self, String> {
        let (subject, rest) = match text.split_once(':') {
            Some(("func" | "function", rest)) => (Subject::Function, rest),
            Some(("kfunc", rest)) => (Subject::Kfunc, rest),
            Some(("enum", rest)) => (Subject::Enum, rest),
            Some(("var", rest)) => (Subject::Variable, rest),
            Some(("tp" | "tracepoint", rest)) => {
                // BTF does not say of which system an event is.
                let name = rest.split_once(':').map_or(rest, |(_, name)| name);
                (Subject::Tracepoint, name)
            }
            Some((other, _)) => return Err(format!("there is no `{other}:`")),
            None => {
                let words = ["struct ", "union "];
                let bare = words.iter().find_map(|word| text.strip_prefix(word));
                (Subject::Type, bare.unwrap_or(text).trim())
            }
        };
        let has_path = matches!(subject, Subject::Type | Subject::Enum);
        let rest = rest.replace("->", ".");
        let (name, path) = match rest.find(['.', '[']) {
            Some(at) if has_path && !is_class(&rest, at) => rest.split_at(at),
            _ => (rest.as_str(), ""),
        };
        Ok(Self {
            text: text.to_owned(),
            subject,
            name: Pattern::new(name)?,
            path: steps(path)?,
        })
    }
}

/// Whether a bracket opens a class of characters and not an index.
fn is_class(text: &str, at: usize) -> bool {
    text[at..].starts_with('[') && index(&text[at..]).is_none()
}

/// The index in `[3]…`, and what follows.
fn index(text: &str) -> Option<(u32, &str)> {
    let (number, rest) = text.strip_prefix('[')?.split_once(']')?;
    Some((number.parse().ok()?, rest))
}

fn steps(mut text: &str) -> Result<Vec<Step>, String> {
    let mut steps = Vec::new();
    while !text.is_empty() {
        if let Some((number, rest)) = index(text) {
            steps.push(Step::Element(number));
            text = rest;
            continue;
        }
        let name = text
            .strip_prefix('.')
            .ok_or_else(|| format!("`{text}` is no member"))?;
        let end = end_of_name(name);
        steps.push(Step::Member(Pattern::new(&name[..end])?));
        text = &name[end..];
    }
    Ok(steps)
}

/// Where a member's name ends.
fn end_of_name(name: &str) -> usize {
    name.char_indices()
        .find(|&(at, c)| c == '.' || (c == '[' && !is_class(name, at)))
        .map_or(name.len(), |(at, _)| at)
}

impl Subject {
    /// Whether something with a name may be what is asked for.
    pub fn covers(self, meaning: Meaning) -> bool {
        match (self, meaning) {
            (Self::Function | Self::Kfunc, Meaning::Type(kind)) => kind == Kind::Func,
            (Self::Enum, Meaning::Type(kind)) => kind.is_enum(),
            (Self::Enum, Meaning::Enumerator) => true,
            (Self::Variable, Meaning::Type(kind)) => kind == Kind::Var,
            (Self::Tracepoint, Meaning::Type(kind)) => kind == Kind::Typedef,
            (Self::Type, Meaning::Type(kind)) => matches!(
                kind,
                Kind::Struct
                    | Kind::Union
                    | Kind::Typedef
                    | Kind::Enum
                    | Kind::Enum64
                    | Kind::Int
                    | Kind::Float
                    | Kind::Fwd
            ),
            (_, Meaning::Enumerator) => false,
        }
    }

    /// The name that the thing called `name` has in BTF.
    pub fn in_btf(self, name: &str) -> String {
        match self {
            Self::Tracepoint => format!("{TRACEPOINT}{name}"),
            _ => name.to_owned(),
        }
    }

    /// The name that is shown for a thing called `name` in BTF; `None` if it is not of this kind.
    pub fn shown(self, name: &str) -> Option<&str> {
        match self {
            Self::Tracepoint => name.strip_prefix(TRACEPOINT),
            _ => Some(name),
        }
    }

    /// What comes before the name in a question.
    pub fn word(self) -> &'static str {
        match self {
            Self::Type => "",
            Self::Function => "func:",
            Self::Kfunc => "kfunc:",
            Self::Enum => "enum:",
            Self::Tracepoint => "tp:",
            Self::Variable => "var:",
        }
    }
}

/// The kernel has a typedef for the probes of each tracepoint (`include/trace/bpf_probe.h`).
const TRACEPOINT: &str = "btf_trace_";
