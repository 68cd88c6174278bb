//! One runtime test, as read.

use std::path::PathBuf;
use std::time::Duration;

use super::{ArchRule, Directive, Problem, ProblemKind};
use crate::suite::{Flags, Pattern, TestId};

/// Limit of a test with `TIMEOUT 0`, which upstream lets run forever; before scaling.
pub const UNLIMITED: Duration = Duration::from_secs(60);

/// What a test runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Program {
    /// `RUN`: a shell command that holds `{{BPFTRACE}}`.
    Run(String),
    /// `PROG`: a bpftrace program, given to `bpftrace -e`.
    Prog(String),
}

/// How an expectation reads the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExpectationKind {
    /// A text that fills whole lines.
    Literal,
    /// A text that fills no lines.
    LiteralNone,
    /// A regular expression that is found.
    Regex,
    /// A regular expression that is not found.
    RegexNone,
    /// A file that must equal the output.
    File,
    /// A JSON or NDJSON file that must be equivalent to the output.
    Json,
}

impl ExpectationKind {
    /// Whether it compares the whole output after the marker.
    pub fn is_exact(self) -> bool {
        matches!(self, Self::File | Self::Json)
    }
}

/// One thing that a test expects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expectation {
    /// How it reads the output.
    pub kind: ExpectationKind,
    /// The text, the pattern, or the file's path relative to the tests'
    /// directory.
    pub value: String,
    /// Its line in the file, from 1.
    pub line: usize,
}

/// One entry of `REQUIRES_FEATURE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureRequirement {
    /// The feature's name.
    pub name: String,
    /// Must be absent (`!name`).
    pub negated: bool,
}

/// One runtime test, as read from its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeTest {
    /// Suite (the file's name) and name.
    pub id: TestId,
    /// The file that contains it.
    pub path: PathBuf,
    /// The line of its first directive, from 1.
    pub line: usize,
    /// Its directives with their lines, in the file's order.
    pub places: Vec<(Directive, usize)>,
    /// `RUN` or `PROG`.
    pub program: Program,
    /// What it expects; all must be met. Empty only beside `RETURN_CODE`.
    pub expectations: Vec<Expectation>,
    /// `TIMEOUT`, counted from the marker on; `None` is no limit.
    pub timeout: Option<Duration>,
    /// `BEFORE`: runs beside the test, started before it.
    pub befores: Vec<String>,
    /// `AFTER`: a shell command, started when the probes are attached.
    pub after: Option<String>,
    /// `SETUP`: a shell command that must succeed first.
    pub setup: Option<String>,
    /// `CLEANUP`: a shell command that must succeed last.
    pub cleanup: Option<String>,
    /// `MIN_KERNEL`.
    pub min_kernel: Option<String>,
    /// `MAX_KERNEL`.
    pub max_kernel: Option<String>,
    /// `REQUIRES`: shell commands that must succeed, or the test is skipped.
    pub requires: Vec<String>,
    /// `REQUIRES_FEATURE`.
    pub features: Vec<FeatureRequirement>,
    /// `ENV`: added to bpftrace's environment.
    pub env: Vec<(String, String)>,
    /// `ARCH`.
    pub arch: ArchRule,
    /// `WILL_FAIL`.
    pub will_fail: bool,
    /// `RETURN_CODE`; zero if the test has none.
    pub return_code: i32,
    /// `NEW_PIDNS`: everything runs in a new PID namespace.
    pub new_pidns: bool,
    /// `SKIP_IF_ENV_HAS`: a variable and the value that skips.
    pub skip_if_env_has: Option<(String, String)>,
    /// `LOCALIZE_TIMESTAMPS`: seconds since the epoch at which the expected
    /// file, read as a `strftime` format, is printed.
    pub localize_timestamps: Option<i64>,
    /// Descriptions of what it uses that is newer than this kiln; if any, it is skipped.
    pub newer: Vec<String>,
    /// A clone that compiles `PROG` ahead of time.
    pub aot: bool,
}

impl RuntimeTest {
    /// The clone that compiles the program ahead of time, in suite `aot`;
    /// only a `PROG` has one.
    #[must_use]
    pub fn aot_clone(&self) -> Option<Self> {
        matches!(self.program, Program::Prog(_)).then(|| Self {
            id: TestId::new("aot", self.id.to_string()),
            aot: true,
            ..self.clone()
        })
    }

    /// Upstream's order: by suite, name, `RUN`, then `PROG`.
    pub(super) fn sort_key(&self) -> (&TestId, &str, &str) {
        let (run, prog) = match &self.program {
            Program::Run(run) => (run.as_str(), ""),
            Program::Prog(prog) => ("", prog.as_str()),
        };
        (&self.id, run, prog)
    }

    /// The expectations with an invalid pattern, each as an error with file and line. Reading a
    /// suite does not check patterns, which would take longer than all the rest; a run first checks
    /// those of the selected tests.
    pub fn pattern_problems(&self) -> Vec<Problem> {
        self.expectations
            .iter()
            .filter(|e| matches!(e.kind, ExpectationKind::Regex | ExpectationKind::RegexNone))
            .filter_map(|e| {
                let flags = Flags { multiline: true };
                let error = Pattern::new(&e.value, flags).err()?;
                Some(Problem {
                    path: self.path.clone(),
                    line: e.line,
                    kind: ProblemKind::BadPattern(error),
                })
            })
            .collect()
    }

    /// The line of a directive that counts, the last if there are several; the test's first line if
    /// there is none.
    pub fn line_of(&self, directive: Directive) -> usize {
        self.lines_of(directive).last().unwrap_or(self.line)
    }

    /// The lines of a directive.
    pub fn lines_of(&self, directive: Directive) -> impl Iterator<Item = usize> {
        self.places
            .iter()
            .filter(move |(placed, _)| *placed == directive)
            .map(|(_, line)| *line)
    }

    /// Whether an expectation compares the whole output.
    pub fn has_exact_expectation(&self) -> bool {
        self.expectations.iter().any(|e| e.kind.is_exact())
    }
}
