//! Why a file cannot be checked.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::hint::Hint;

/// What is wrong with a section, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Bytes from the section's start.
    at: usize,
    what: String,
}

impl Damage {
    /// At the offset `at`.
    pub fn new(at: usize, what: impl Into<String>) -> Self {
        Self {
            at,
            what: what.into(),
        }
    }

    /// The same in a part that begins at `start`.
    pub fn after(mut self, start: usize) -> Self {
        self.at += start;
        self
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at offset {}: {}", self.at, self.what)
    }
}

/// Why an object cannot be checked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is something else.
    #[error("{} is not a BPF object: {why}", path.display())]
    NotBpf {
        /// The file.
        path: PathBuf,
        /// What it is.
        why: String,
    },
    /// It has the name of a script, and is not one.
    #[error("{} is not a bpftrace script: {why}", path.display())]
    NotScript {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// It was compiled without BTF.
    #[error("{} has no BTF", path.display())]
    NoBtf {
        /// The file.
        path: PathBuf,
    },
    /// It is for machines of the other byte order.
    #[error("{} is big-endian, and the kernels that kiln checks are little-endian", path.display())]
    BigEndian {
        /// The file.
        path: PathBuf,
    },
    /// It is damaged.
    #[error("{}: {section} is damaged: {damage}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The section.
        section: String,
        /// What is wrong.
        damage: String,
    },
    /// No program is in it.
    #[error("{} has no BPF program", path.display())]
    NoProgram {
        /// The file.
        path: PathBuf,
    },
}

/// How an object is made from this file, or from its source.
fn compiled(path: &Path) -> String {
    let name = path.to_string_lossy();
    let stem = name.strip_suffix(".o").or_else(|| name.strip_suffix(".c"));
    let stem = stem.unwrap_or("prog.bpf");
    format!("compile it with `clang -g -O2 -target bpf -c {stem}.c -o {stem}.o`")
}

impl Hint for Error {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::NotBpf { path, .. } | Self::NoBtf { path } | Self::BigEndian { path } => {
                vec![compiled(path)]
            }
            Self::NoProgram { .. } => vec![
                "programs are the functions in sections such as SEC(\"kprobe/do_unlinkat\")"
                    .to_owned(),
            ],
            Self::Read { .. } | Self::NotScript { .. } | Self::Damaged { .. } => Vec::new(),
        }
    }
}
