//! Parses a suite's file into tests.

use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use super::block::{self, Line, LineKind};
use super::dialect::{ExpectMeaning, LineValue, Repeat};
use super::problem::{Problem, ProblemKind, Warning, WarningKind};
use super::python;
use super::test::{Expectation, ExpectationKind, FeatureRequirement, Program, RuntimeTest};
use super::vocabulary::{FeatureName, Word};
use super::{ArchRule, Dialect, Directive, Vocabulary};
use crate::suite::TestId;

/// The contents of a file.
#[derive(Debug, Default)]
pub struct Parsed {
    /// The tests without errors, in the file's order.
    pub tests: Vec<RuntimeTest>,
    /// All errors, in the file's order.
    pub problems: Vec<Problem>,
    /// Warnings.
    pub warnings: Vec<Warning>,
}

/// Reads the content of a suite's file; the base name of `path` is the suite's name. `ARCH`
/// excludes nothing here.
pub fn parse(path: &Path, bytes: &[u8], vocabulary: &Vocabulary) -> Parsed {
    let mut parsed = Parsed::default();
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let before = &bytes[..error.valid_up_to()];
            parsed.problems.push(Problem {
                path: path.to_owned(),
                line: before.split(|b| *b == b'\n').count(),
                kind: ProblemKind::NotUtf8,
            });
            return parsed;
        }
    };
    let text = python::universal_newlines(text);
    let suite = path
        .file_name()
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let (blocks, warnings) = block::split(&text, vocabulary);
    let mut warnings = warnings;
    for lines in blocks {
        let mut draft = Draft::new(vocabulary);
        draft.read(&lines);
        let start = lines[0].number;
        draft.validate(start);
        warnings.append(&mut draft.warnings);
        let flawed = !draft.problems.is_empty();
        draft.problems.sort_by_key(|(line, _)| *line);
        for (line, kind) in draft.problems.drain(..) {
            parsed.problems.push(Problem {
                path: path.to_owned(),
                line,
                kind,
            });
        }
        if !flawed {
            parsed.tests.push(draft.finish(&suite, path, start));
        }
    }
    warnings.sort_by_key(|(line, _)| *line);
    parsed.warnings = warnings
        .into_iter()
        .map(|(line, kind)| Warning {
            path: path.to_owned(),
            line,
            kind,
        })
        .collect();
    parsed
}

/// A test under construction.
struct Draft<'d> {
    vocabulary: &'d Vocabulary,
    dialect: &'static Dialect,
    newer: Vec<String>,
    problems: Vec<(usize, ProblemKind)>,
    warnings: Vec<(usize, WarningKind)>,
    places: Vec<(Directive, usize)>,
    name: String,
    run: String,
    prog: String,
    expectations: Vec<Expectation>,
    timeout: Option<u32>,
    befores: Vec<String>,
    after: String,
    setup: String,
    cleanup: String,
    min_kernel: String,
    max_kernel: String,
    requires: Vec<String>,
    features: Vec<FeatureRequirement>,
    env: Vec<(String, String)>,
    arch: ArchRule,
    will_fail: bool,
    return_code: Option<i32>,
    new_pidns: bool,
    skip_if_env_has: Option<(String, String)>,
    localize_timestamps: Option<i64>,
}

impl<'d> Draft<'d> {
    fn new(vocabulary: &'d Vocabulary) -> Self {
        Self {
            vocabulary,
            dialect: vocabulary.dialect,
            newer: Vec::new(),
            problems: Vec::new(),
            warnings: Vec::new(),
            places: Vec::new(),
            name: String::new(),
            run: String::new(),
            prog: String::new(),
            expectations: Vec::new(),
            timeout: None,
            befores: Vec::new(),
            after: String::new(),
            setup: String::new(),
            cleanup: String::new(),
            min_kernel: String::new(),
            max_kernel: String::new(),
            requires: Vec::new(),
            features: Vec::new(),
            env: Vec::new(),
            arch: ArchRule::default(),
            will_fail: false,
            return_code: None,
            new_pidns: false,
            skip_if_env_has: None,
            localize_timestamps: None,
        }
    }

    fn problem(&mut self, line: usize, kind: ProblemKind) {
        self.problems.push((line, kind));
    }

    fn read(&mut self, lines: &[Line<'_>]) {
        let mut previous = "";
        for line in lines {
            match line.kind(previous, self.vocabulary) {
                LineKind::Blank => self.warnings.push((line.number, WarningKind::BlankLine)),
                LineKind::Continuation(payload) => self.continuation(previous, payload),
                LineKind::Directive(word, value) => {
                    previous = word;
                    let value = match self.dialect.value {
                        LineValue::Trimmed => value.to_owned(),
                        LineValue::Rejoined => python::words(value).collect::<Vec<_>>().join(" "),
                    };
                    match self.known(word, line.number) {
                        Ok(Some(directive)) => self.directive(directive, value, line.number),
                        Ok(None) => self.newer(format!("the directive {word}"), line.number),
                        Err(kind) => self.problem(line.number, kind),
                    }
                }
            }
        }
    }

    /// The directive of a word; `None` for one that is newer than kiln.
    fn known(&mut self, word: &str, line: usize) -> Result<Option<Directive>, ProblemKind> {
        let directive = match self.vocabulary.word(word) {
            Word::Known(directive) => directive,
            Word::Newer => return Ok(None),
            Word::TooNew(directive) => {
                return Err(ProblemKind::DirectiveTooNew {
                    directive,
                    dialect: self.dialect.name,
                    since: Dialect::first_with(directive).map_or("head", |d| d.name),
                });
            }
            Word::Unknown => {
                return Err(ProblemKind::UnknownDirective {
                    word: word.to_owned(),
                    allowed: self.vocabulary.words.clone(),
                });
            }
        };
        self.warn_of_replaced(directive, line);
        self.places.push((directive, line));
        Ok(Some(directive))
    }

    /// Something newer than kiln affects only this test.
    fn newer(&mut self, what: String, line: usize) {
        if !self.newer.contains(&what) {
            self.newer.push(what.clone());
            self.warnings.push((line, WarningKind::Newer { what }));
        }
    }

    fn has(&self, directive: Directive) -> bool {
        self.places.iter().any(|(placed, _)| *placed == directive)
    }

    fn warn_of_replaced(&mut self, directive: Directive, line: usize) {
        if self.dialect.repeat(directive) == Repeat::Accumulate {
            return;
        }
        let earlier = self.places.iter().rev().map(|(placed, _)| *placed);
        let replaced = if directive.is_expectation() {
            earlier.into_iter().find(|placed| placed.is_expectation())
        } else {
            earlier.into_iter().find(|placed| *placed == directive)
        };
        let kind = match replaced {
            None => return,
            Some(same) if same == directive => WarningKind::DuplicateDirective { directive },
            Some(replaced) => WarningKind::ReplacedExpectation {
                directive,
                replaced,
            },
        };
        self.warnings.push((line, kind));
    }

    fn continuation(&mut self, previous: &str, payload: &str) {
        let value = match Directive::from_word(previous) {
            Some(Directive::Prog) => Some(&mut self.prog),
            Some(Directive::Expect | Directive::ExpectRegex) => {
                self.expectations.last_mut().map(|e| &mut e.value)
            }
            _ => None,
        };
        if let Some(value) = value {
            value.push('\n');
            value.push_str(payload);
        }
    }

    fn directive(&mut self, directive: Directive, value: String, line: usize) {
        match directive {
            Directive::Name => self.name = value,
            Directive::Run => self.run = value,
            Directive::Prog => self.prog = value,
            Directive::Expect => {
                let kind = match self.dialect.expect {
                    ExpectMeaning::Regex => ExpectationKind::Regex,
                    ExpectMeaning::Literal => ExpectationKind::Literal,
                };
                self.expectation(kind, value, line);
            }
            Directive::ExpectNone => self.expectation(ExpectationKind::LiteralNone, value, line),
            Directive::ExpectRegex => self.expectation(ExpectationKind::Regex, value, line),
            Directive::ExpectRegexNone => self.expectation(ExpectationKind::RegexNone, value, line),
            Directive::ExpectFile => self.expectation(ExpectationKind::File, value, line),
            Directive::ExpectJson => self.expectation(ExpectationKind::Json, value, line),
            Directive::Timeout => {
                self.timeout = self.number(directive, &value, " of seconds", line);
            }
            Directive::Before => match (value.is_empty(), self.dialect.before) {
                (false, repeat) => accumulate(&mut self.befores, value, repeat),
                (true, Repeat::Last) => self.befores.clear(),
                (true, Repeat::Accumulate) => {
                    self.problem(line, ProblemKind::NoValue { directive });
                }
            },
            Directive::After => self.after = value,
            Directive::Setup => self.setup = value,
            Directive::Cleanup => self.cleanup = value,
            Directive::MinKernel => self.min_kernel = value,
            Directive::MaxKernel => self.max_kernel = value,
            Directive::Requires => accumulate(&mut self.requires, value, self.dialect.requires),
            Directive::RequiresFeature => self.feature_list(&value, line),
            Directive::Env => self.environment(&value, line),
            Directive::Arch => self.arch = ArchRule::parse(&value, self.dialect.arch),
            Directive::WillFail => self.will_fail = true,
            Directive::ReturnCode => self.return_code = self.number(directive, &value, "", line),
            Directive::NewPidns => self.new_pidns = true,
            Directive::SkipIfEnvHas => {
                let mut parts = value.split('=');
                match (parts.next(), parts.next()) {
                    (Some(name), Some(skips)) => {
                        self.skip_if_env_has = Some((name.to_owned(), skips.to_owned()));
                    }
                    _ => self.problem(line, ProblemKind::BadSkipIfEnvHas { value }),
                }
            }
            Directive::LocalizeTimestamps => {
                self.localize_timestamps = self
                    .number(directive, &value, " of seconds since the epoch", line)
                    .filter(|seconds| *seconds >= 0);
            }
        }
    }

    fn expectation(&mut self, kind: ExpectationKind, value: String, line: usize) {
        if self.dialect.expectations == Repeat::Last {
            self.expectations.clear();
        }
        self.expectations.push(Expectation { kind, value, line });
    }

    fn number<T: FromStr>(
        &mut self,
        directive: Directive,
        value: &str,
        unit: &'static str,
        line: usize,
    ) -> Option<T> {
        let number = value.parse().ok();
        if number.is_none() {
            let value = value.to_owned();
            self.problem(
                line,
                ProblemKind::BadNumber {
                    directive,
                    value,
                    unit,
                },
            );
        }
        number
    }

    fn feature_list(&mut self, value: &str, line: usize) {
        for entry in value.split(' ') {
            let entry = python::strip(entry);
            let (negated, name) = match entry.strip_prefix('!') {
                Some(name) => (true, name),
                None => (false, entry),
            };
            match self.vocabulary.feature(name) {
                FeatureName::Known => self.features.push(FeatureRequirement {
                    name: name.to_owned(),
                    negated,
                }),
                FeatureName::Newer => self.newer(format!("the feature {name}"), line),
                FeatureName::Unknown => {
                    let kind = ProblemKind::UnknownFeature {
                        name: name.to_owned(),
                        allowed: self.vocabulary.features.clone(),
                    };
                    self.problem(line, kind);
                }
            }
        }
    }

    fn environment(&mut self, value: &str, line: usize) {
        for word in python::words(value) {
            match word.split_once('=') {
                Some((name, value)) if !value.contains('=') => {
                    self.env.retain(|(known, _)| known != name);
                    self.env.push((name.to_owned(), value.to_owned()));
                }
                _ => {
                    let word = word.to_owned();
                    self.problem(line, ProblemKind::BadEnv { word });
                }
            }
        }
    }

    /// Checks what a test must and must not have; `start` is its first line.
    fn validate(&mut self, start: usize) {
        if self.name.is_empty() {
            self.problem(start, ProblemKind::MissingName);
        }
        // What it lacks may be in directives that we do not know.
        if !self.newer.is_empty() {
            return;
        }
        match (self.run.is_empty(), self.prog.is_empty()) {
            (true, true) => self.problem(start, ProblemKind::MissingProgram),
            (false, false) => self.problem(start, ProblemKind::RunAndProg),
            _ => {}
        }
        self.validate_expectations(start);
        if !self.has(Directive::Timeout) && self.dialect.default_timeout.is_none() {
            self.problem(start, ProblemKind::MissingTimeout);
        }
        if self.dialect.will_fail_excludes_return_code
            && self.will_fail
            && self.return_code.is_some_and(|code| code != 0)
        {
            self.problem(start, ProblemKind::WillFailWithReturnCode);
        }
        if self.new_pidns && self.befores.is_empty() {
            self.problem(start, ProblemKind::NewPidnsWithoutBefore);
        }
        let before_pid =
            self.run.contains("{{BEFORE_PID}}") || self.prog.contains("{{BEFORE_PID}}");
        if before_pid && !self.befores.is_empty() {
            let count = self.befores.len();
            if self.new_pidns {
                self.problem(start, ProblemKind::BeforePidInPidns);
            } else if count > 1 && self.dialect.before_pid_wants_one_before {
                self.problem(start, ProblemKind::BeforePidAmbiguous { count });
            }
        }
    }

    fn validate_expectations(&mut self, start: usize) {
        // If EXPECT is a pattern, an empty one counts as none.
        let none = match self.dialect.expectations {
            Repeat::Last => self.expectations.iter().all(|e| e.value.is_empty()),
            Repeat::Accumulate => self.expectations.is_empty(),
        };
        if none && !self.has(Directive::ReturnCode) {
            let allowed = if self.dialect.has(Directive::ReturnCode) {
                "an EXPECT or one of its variants; it needs at least one, or a RETURN_CODE"
            } else {
                "an expectation; it needs at least one"
            };
            self.problem(start, ProblemKind::MissingExpectation { allowed });
        }
        let exact = self.expectations.iter().find(|e| e.kind.is_exact());
        if let Some(exact) = exact
            && self.expectations.len() > 1
        {
            let directive = match exact.kind {
                ExpectationKind::File => Directive::ExpectFile,
                _ => Directive::ExpectJson,
            };
            self.problem(exact.line, ProblemKind::ExactNotAlone { directive });
        }
    }

    fn finish(self, suite: &str, path: &Path, line: usize) -> RuntimeTest {
        let timeout = match self.timeout {
            Some(0) => self.dialect.zero_timeout,
            Some(seconds) => Some(Duration::from_secs(seconds.into())),
            // Required, and only missing beside newer directives.
            None => self.dialect.default_timeout,
        };
        let program = if self.run.is_empty() && !self.prog.is_empty() {
            Program::Prog(self.prog)
        } else {
            Program::Run(self.run)
        };
        RuntimeTest {
            id: TestId::new(suite, self.name),
            path: path.to_owned(),
            line,
            places: self.places,
            program,
            expectations: self.expectations,
            timeout,
            befores: self.befores,
            after: set(self.after),
            setup: set(self.setup),
            cleanup: set(self.cleanup),
            min_kernel: set(self.min_kernel),
            max_kernel: set(self.max_kernel),
            requires: self.requires,
            features: self.features,
            env: self.env,
            arch: self.arch,
            will_fail: self.will_fail,
            return_code: self.return_code.unwrap_or(0),
            new_pidns: self.new_pidns,
            skip_if_env_has: self.skip_if_env_has,
            localize_timestamps: self.localize_timestamps,
            newer: self.newer,
            aot: false,
        }
    }
}

/// An empty value counts as no directive.
fn set(value: String) -> Option<String> {
    (!value.is_empty()).then_some(value)
}

fn accumulate(values: &mut Vec<String>, value: String, repeat: Repeat) {
    if repeat == Repeat::Last {
        values.clear();
    }
    values.push(value);
}

/// The only test of `text`, for the tests of this room.
#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) fn one(dialect: &str, text: &str) -> RuntimeTest {
    let dialect = Dialect::for_version(dialect).unwrap();
    let vocabulary = Vocabulary::of(dialect);
    let mut parsed = parse(Path::new("runtime/suite"), text.as_bytes(), &vocabulary);
    assert_eq!(parsed.problems, []);
    assert_eq!(parsed.tests.len(), 1);
    parsed.tests.remove(0)
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
