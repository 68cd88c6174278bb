//! The result of checking an object against a kernel.

use std::fmt;

use serde::Serialize;

/// Whether an object works on a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// All its programs load, and what they attach to is there.
    Loads,
    /// All its programs load; something that they attach to is missing.
    Unattached,
    /// libbpf or the kernel refuses it.
    Fails,
    /// The kernel has no BTF, which the object needs.
    NoBtf,
}

impl Verdict {
    /// That of findings, the worst of which comes first.
    pub fn of(findings: &[Finding]) -> Self {
        match findings.first().map(|finding| finding.level) {
            Some(Level::Refused) => Self::Fails,
            Some(Level::Unattached) => Self::Unattached,
            _ => Self::Loads,
        }
    }

    /// Whether libbpf and the kernel would take the object.
    pub fn loads(self) -> bool {
        matches!(self, Self::Loads | Self::Unattached)
    }
}

/// How much something matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// The object, or a program of it, is refused.
    Refused,
    /// A program loads and cannot be attached.
    Unattached,
    /// It cannot be told without booting.
    Unsure,
    /// The kernel has nothing for an instruction, which it never looks at.
    Guarded,
}

/// One thing that there is to tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How much it matters.
    pub level: Level,
    /// The program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
    /// The section of the program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub section: Option<String>,
    /// The function that the program calls, if it is about an instruction of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
    /// The instruction, counted from the start of the program or function.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub insn: Option<usize>,
    /// Where that is in the source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// What it is about, such as `struct cfs_rq.nr_running`.
    pub subject: String,
    /// Why.
    pub reason: String,
}

impl fmt::Display for Finding {
    /// What, why and where, in some lines, the first of which is not indented.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.subject, self.reason)?;
        let mut place = Vec::new();
        if let Some(program) = &self.program {
            place.push(match &self.section {
                Some(section) => format!("{program} ({section})"),
                None => program.clone(),
            });
        }
        if let Some(function) = &self.function {
            place.push(format!("in {function}"));
        }
        if let Some(insn) = self.insn {
            place.push(format!("insn {insn}"));
        }
        if !place.is_empty() {
            writeln!(f, "  {}", place.join(", "))?;
        }
        if let Some(source) = &self.source {
            let Source {
                file,
                line,
                column,
                text,
            } = source;
            writeln!(f, "  {file}:{line}:{column}: {text}")?;
        }
        Ok(())
    }
}

/// A line of source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Source {
    /// The file, as the compiler was given it.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1.
    pub column: u32,
    /// The text of the line.
    pub text: String,
}

/// What became of one relocation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RelocationReport {
    /// The function that it is in.
    pub function: String,
    /// The section of that.
    pub section: String,
    /// Its number in the section, as in libbpf's log.
    pub number: usize,
    /// The instruction, counted from the start of the function.
    pub insn: usize,
    /// What it is about, as libbpf writes it.
    pub local: String,
    /// What that is in the kernel, as libbpf writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The module whose types these are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub module: Option<String>,
    /// What the instruction gets; nothing if it becomes invalid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<u64>,
    /// Where it ended.
    pub state: RelocationState,
}

/// Where a relocation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RelocationState {
    /// The instruction has its number.
    Resolved,
    /// The instruction is invalid, and never looked at.
    Guarded,
    /// The instruction is invalid, and the kernel refuses it.
    Invalid,
    /// libbpf refuses the object.
    Refused,
}

/// An object on a kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether it works.
    pub verdict: Verdict,
    /// What there is to tell, what matters most first.
    pub findings: Vec<Finding>,
    /// Its relocations.
    pub relocations: Vec<RelocationReport>,
    /// The modules whose types it uses: they have to be loaded before it is.
    pub modules: Vec<String>,
}
