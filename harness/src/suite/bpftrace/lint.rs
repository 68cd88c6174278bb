//! Finds mistakes in a directory of runtime tests, without running any.

use std::cmp::Ordering;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::arch::wrong_machine;
use super::problem::{ProblemKind, SuiteError, WarningKind};
use super::{Directive, ExpectationKind, RuntimeSuites, RuntimeTest, Vocabulary, loose_version};
use crate::arch::Arch;

/// The severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Cannot be read, or does not run as it is written.
    Error,
    /// Runs, but is probably a mistake.
    Warning,
}

/// One mistake or suspicious thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The rule's name, in kebab-case.
    pub rule: &'static str,
    /// Its severity.
    pub severity: Severity,
    /// The file.
    pub path: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// What, in one line.
    pub message: String,
}

/// The result of checking a directory.
#[derive(Debug, Default)]
pub struct Lint {
    /// In the order of files and lines.
    pub findings: Vec<Finding>,
    /// How many tests exist on this machine.
    pub tests: usize,
    /// How many never run on it, because of `ARCH`.
    pub excluded: usize,
}

impl Lint {
    /// Checks `tests_dir/runtime`.
    pub fn new(tests_dir: &Path, vocabulary: &Vocabulary, arch: Arch) -> Result<Self, SuiteError> {
        let (suites, problems) = RuntimeSuites::inspect(tests_dir, vocabulary, arch)?;
        let mut findings = Vec::new();
        for problem in problems {
            findings.push(Finding {
                rule: problem_rule(&problem.kind),
                severity: Severity::Error,
                message: problem.kind.to_string(),
                path: problem.path,
                line: problem.line,
            });
        }
        for warning in &suites.warnings {
            let (rule, severity) = warning_rule(&warning.kind);
            findings.push(Finding {
                rule,
                severity,
                path: warning.path.clone(),
                line: warning.line,
                message: warning.kind.to_string(),
            });
        }
        for test in suites.tests.iter().chain(&suites.excluded) {
            check(test, tests_dir, &mut findings);
        }
        findings.sort_by(|a, b| (&a.path, a.line, a.rule).cmp(&(&b.path, b.line, b.rule)));
        Ok(Self {
            findings,
            tests: suites.tests.len(),
            excluded: suites.excluded.len(),
        })
    }

    /// How many findings are of this severity.
    pub fn count(&self, severity: Severity) -> usize {
        let of = |finding: &&Finding| finding.severity == severity;
        self.findings.iter().filter(of).count()
    }
}

fn problem_rule(kind: &ProblemKind) -> &'static str {
    match kind {
        ProblemKind::BadPattern(_) => "bad-pattern",
        ProblemKind::UnknownFeature { .. } => "unknown-feature",
        ProblemKind::UnknownDirective { .. } => "unknown-directive",
        ProblemKind::DirectiveTooNew { .. } => "directive-too-new",
        _ => "syntax",
    }
}

fn warning_rule(kind: &WarningKind) -> (&'static str, Severity) {
    match kind {
        WarningKind::LostBlock { .. } => ("lost-test", Severity::Error),
        WarningKind::BlankSeparator | WarningKind::MissingSeparator => {
            ("merged-tests", Severity::Error)
        }
        WarningKind::BlankLine => ("blank-line", Severity::Error),
        WarningKind::LostCharacter => ("lost-character", Severity::Error),
        WarningKind::DuplicateDirective { .. } => ("duplicate-directive", Severity::Warning),
        WarningKind::ReplacedExpectation { .. } => ("replaced-expectation", Severity::Warning),
        WarningKind::Newer { .. } => ("newer-than-kiln", Severity::Warning),
        WarningKind::DuplicateId { .. } => ("duplicate-id", Severity::Warning),
    }
}

fn check(test: &RuntimeTest, tests_dir: &Path, findings: &mut Vec<Finding>) {
    let mut found = |rule, severity, line, message: String| {
        findings.push(Finding {
            rule,
            severity,
            path: test.path.clone(),
            line,
            message: format!("{}: {message}", test.id),
        });
    };
    for problem in test.pattern_problems() {
        let message = problem.kind.to_string();
        found("bad-pattern", Severity::Error, problem.line, message);
    }
    for expectation in &test.expectations {
        let line = expectation.line;
        match expectation.kind {
            ExpectationKind::Regex | ExpectationKind::RegexNone => {
                if let Some(construct) = nested_set(&expectation.value) {
                    found(
                        "ambiguous-pattern",
                        Severity::Warning,
                        line,
                        format!(
                            "`{construct}` inside a class is plain text in Python but special in \
                             Rust; write a backslash before it"
                        ),
                    );
                }
            }
            ExpectationKind::File | ExpectationKind::Json => {
                if !tests_dir.join(&expectation.value).is_file() {
                    let message = format!("there is no file {}", expectation.value);
                    found("missing-file", Severity::Error, line, message);
                }
            }
            ExpectationKind::Literal | ExpectationKind::LiteralNone => {}
        }
    }
    let lines: Vec<usize> = test.lines_of(Directive::Requires).collect();
    // If only the last one counts, it is on the last line.
    let lines = &lines[lines.len().saturating_sub(test.requires.len())..];
    for (command, line) in test.requires.iter().zip(lines) {
        match constant(command) {
            Some(true) => found(
                "requires-always",
                Severity::Warning,
                *line,
                format!("`{command}` always succeeds"),
            ),
            Some(false) => found(
                "requires-never",
                Severity::Warning,
                *line,
                format!("`{command}` never succeeds: the test never runs"),
            ),
            None => {}
        }
    }
    let contradicts = |name: &str| {
        let is = |negated| {
            let mut all = test.features.iter();
            all.any(|f| f.name == name && f.negated == negated)
        };
        is(true) && is(false)
    };
    if let Some(feature) = test.features.iter().find(|f| contradicts(&f.name)) {
        let line = test.line_of(Directive::RequiresFeature);
        let message = format!("needs {0} and !{0}: it never runs", feature.name);
        found("requires-never", Severity::Warning, line, message);
    }
    for (directive, version) in [
        (Directive::MinKernel, &test.min_kernel),
        (Directive::MaxKernel, &test.max_kernel),
    ] {
        let Some(version) = version else { continue };
        if loose_version::compare(version, "6.12.0").is_err() {
            let line = test.line_of(directive);
            let message = format!("`{version}` cannot be compared with a kernel's release");
            found("bad-kernel-version", Severity::Error, line, message);
        }
    }
    if let (Some(min), Some(max)) = (&test.min_kernel, &test.max_kernel)
        && loose_version::compare(min, max) == Ok(Ordering::Greater)
    {
        let message = format!("no kernel is from {min} to {max}");
        let line = test.line_of(Directive::MaxKernel);
        found("no-kernel", Severity::Warning, line, message);
    }
    for arch in test.arch.only.iter().chain(&test.arch.except) {
        if let Some(name) = wrong_machine(arch) {
            let message = format!("no machine is called `{arch}`; `uname -m` says {name}");
            let line = test.line_of(Directive::Arch);
            found("unknown-architecture", Severity::Warning, line, message);
        }
    }
}

/// Unescaped constructs that mean something else inside a class in Rust.
fn nested_set(pattern: &str) -> Option<&'static str> {
    let mut rest = pattern;
    while let Some(at) = rest.find(['[', '\\']) {
        if rest[at..].starts_with('\\') {
            let escaped = rest[at + 1..].chars().next().map_or(0, char::len_utf8);
            rest = &rest[at + 1 + escaped..];
            continue;
        }
        rest = rest[at + 1..].trim_start_matches('^');
        let mut first = true;
        while let Some(c) = rest.chars().next() {
            if c == ']' && !first {
                break;
            }
            if let Some(found) = ["[", "&&", "--", "~~"]
                .into_iter()
                .find(|text| rest.starts_with(text))
            {
                return Some(found);
            }
            first = false;
            rest = &rest[c.len_utf8()..];
            if c == '\\' {
                let escaped = rest.chars().next().map_or(0, char::len_utf8);
                rest = &rest[escaped..];
            }
        }
    }
    None
}

/// Whether a command of `REQUIRES` has the same result everywhere.
fn constant(command: &str) -> Option<bool> {
    // As upstream writes it: a shell comment may follow.
    let command = command.split(" #").next().unwrap_or(command).trim();
    match command {
        "" | "true" | ":" | "/bin/true" | "exit 0" => return Some(true),
        "false" | "/bin/false" | "exit 1" | "bash -c \"exit 1\"" | "sh -c \"exit 1\"" => {
            return Some(false);
        }
        _ => {}
    }
    if command.ends_with("|| true") || command.ends_with("; true") {
        return Some(true);
    }
    // awk's END in lower case is a variable that is not set: no rule fires.
    let only_awk = command.starts_with("awk ") && !command.contains('|');
    (only_awk && command.contains("} end {")).then_some(true)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::Dialect;
    use super::*;

    fn rules(dialect: &str, text: &str) -> Vec<(&'static str, usize)> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("runtime")).unwrap();
        std::fs::write(dir.path().join("runtime/suite"), text).unwrap();
        let dialect = Dialect::for_version(dialect).unwrap();
        Lint::new(dir.path(), &Vocabulary::of(dialect), Arch::X86_64)
            .unwrap()
            .findings
            .iter()
            .map(|finding| (finding.rule, finding.line))
            .collect()
    }

    #[test]
    fn every_rule_is_found_with_its_line() {
        let base = "NAME a\nRUN b\nEXPECT c\nTIMEOUT 1\n";
        let cases = [
            ("", "", 0),
            ("FOO x\n", "unknown-directive", 5),
            ("REQUIRES_FEATURE warp\n", "unknown-feature", 5),
            ("TIMEOUT soon\n", "syntax", 5),
            ("# end\n", "lost-test", 1),
            ("  \nNAME d\nRUN b\nEXPECT c\n", "merged-tests", 5),
            ("AFTER x\nAFTER y\n", "duplicate-directive", 6),
            ("EXPECT_REGEX (\n", "bad-pattern", 5),
            ("EXPECT_REGEX @[{ .n = [0-9]+ }]\n", "ambiguous-pattern", 5),
            ("EXPECT_REGEX [a&&b]\n", "ambiguous-pattern", 5),
            ("REQUIRES true\n", "requires-always", 5),
            (
                "REQUIRES a\nREQUIRES bash -c \"exit 1\" # b\n",
                "requires-never",
                6,
            ),
            ("REQUIRES_FEATURE btf !btf\n", "requires-never", 5),
            ("MIN_KERNEL v5.4\n", "bad-kernel-version", 5),
            ("MIN_KERNEL 6.1\nMAX_KERNEL 5.4\n", "no-kernel", 6),
            ("ARCH !s390\n", "unknown-architecture", 5),
        ];
        for (more, rule, line) in cases {
            let mut found = rules("head", &format!("{base}{more}"));
            // Doubled on purpose in the second: the base already has TIMEOUT.
            found.retain(|(found, _)| {
                rule == "duplicate-directive" || *found != "duplicate-directive"
            });
            let expected = if rule.is_empty() {
                vec![]
            } else {
                vec![(rule, line)]
            };
            assert_eq!(found, expected, "{more:?}");
        }
    }

    #[test]
    fn a_file_that_is_expected_must_be_there() {
        let text = "NAME a\nRUN b\nEXPECT_FILE runtime/outputs/x\n";
        assert_eq!(rules("head", text), [("missing-file", 3)]);
        let text = text.replace("outputs/x", "suite");
        assert_eq!(rules("head", &text), []);
    }

    #[test]
    fn escaped_brackets_are_not_a_nested_set() {
        for pattern in [r"\[[a]", r"[\[]", "[]a]", r"a\\[b]", "[a-]", "[^]]"] {
            assert_eq!(nested_set(pattern), None, "{pattern}");
        }
        assert_eq!(nested_set(r"\\[[a]"), Some("["));
    }
}
