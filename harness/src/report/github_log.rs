//! A run's report to GitHub Actions at its end: a group for each kernel, annotations for unexpected
//! results, the step's summary.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use super::compare::{Baseline, Comparison};
use super::github::{self, Annotation, Github, Level};
use super::history::{History, Outcome};
use super::interface::{Report, ReportError, put};
use super::summary::compared;
use super::words::seconds;
use super::{escape, reproduce};
use crate::run::event::{KernelFailed, Record, VERDICTS};
use crate::run::tally::KernelTally;

/// GitHub shows this many annotations of each level per step.
const MAX_ANNOTATIONS: usize = 10;
/// Characters of one line.
const MAX_LINE: usize = 400;

/// Writes to `out`, which the runner reads.
pub struct GithubLog<W> {
    out: W,
    github: Github,
    baseline: Option<Arc<Baseline>>,
}

impl<W: Write + Send> GithubLog<W> {
    /// For a run under `github`.
    pub fn new(out: W, github: Github, baseline: Option<Arc<Baseline>>) -> Self {
        Self {
            out,
            github,
            baseline,
        }
    }
}

impl<W: Write + Send> Report for GithubLog<W> {
    fn record(&mut self, _record: &Record, _history: &History) -> Result<(), ReportError> {
        Ok(())
    }

    fn finish(&mut self, history: &History) -> Result<(), ReportError> {
        let mut lines = Vec::new();
        for kernel in &history.tally.kernels {
            group(&mut lines, history, kernel);
        }
        let baseline = self.baseline.as_deref();
        let comparison = baseline.and_then(|baseline| baseline.compare(history).ok());
        annotations(&mut lines, &self.github, history, comparison);
        let mut text = lines.join("\n");
        text.push('\n');
        put(&mut self.out, &text)?;
        self.github
            .add_summary(&compared(history, baseline, self.github.summary_room()))
            .map_err(|(path, source)| ReportError::Summary { path, source })
    }
}

/// The verdicts of a kernel, folded.
fn group(lines: &mut Vec<String>, history: &History, kernel: &KernelTally) {
    let mut counts: Vec<String> = VERDICTS
        .into_iter()
        .filter(|verdict| kernel.count(*verdict) > 0)
        .map(|verdict| format!("{} {verdict}", kernel.count(verdict)))
        .collect();
    if kernel.missing() > 0 {
        counts.push(format!("{} not run", kernel.missing()));
    }
    if counts.is_empty() {
        counts.push("no test".to_owned());
    }
    lines.push(github::group(&format!(
        "{}: {}",
        kernel.kernel,
        counts.join(", ")
    )));
    let own = |outcome: &&Outcome| outcome.result.kernel == kernel.kernel;
    for outcome in history.outcomes.iter().filter(own) {
        let result = &outcome.result;
        let mut line = format!(
            "{:7}  {}  ({})",
            result.verdict.to_string().to_uppercase(),
            result.id,
            seconds(result.duration_ms)
        );
        if let Some(reason) = &result.reason {
            line.push_str(": ");
            line.push_str(reason);
        }
        lines.push(github::marked(&escape::clip(&line, MAX_LINE)));
    }
    lines.push(github::END_GROUP.to_owned());
}

/// With a comparison, only of what did not need attention before.
fn annotations(
    lines: &mut Vec<String>,
    github: &Github,
    history: &History,
    comparison: Option<&Comparison>,
) {
    let is_new = |outcome: &&Outcome| {
        comparison.is_none_or(|comparison| !comparison.is_old(&outcome.result))
    };
    let mut errors: Vec<Note<'_>> = history.failed.iter().map(Note::of_no_kernel).collect();
    errors.extend(
        history
            .unexpected()
            .filter(is_new)
            .map(|outcome| Note::of_test(history, outcome)),
    );
    add(lines, github, Level::Error, &errors);
    let flaky: Vec<Note<'_>> = history
        .flaky()
        .filter(|outcome| !outcome.is_unexpected())
        .map(|outcome| Note::of_test(history, outcome))
        .collect();
    add(lines, github, Level::Warning, &flaky);
}

/// The contents of an annotation.
struct Note<'h> {
    title: String,
    place: Option<(&'h Path, usize)>,
    message: String,
}

impl<'h> Note<'h> {
    fn of_no_kernel(failed: &KernelFailed) -> Self {
        let mut message = failed.reason.clone();
        for hint in &failed.hints {
            message.push_str("\nhint: ");
            message.push_str(hint);
        }
        Note {
            title: format!("no kernel {}: its tests did not run", failed.kernel),
            place: None,
            message,
        }
    }

    fn of_test(history: &History, outcome: &'h Outcome) -> Self {
        let result = &outcome.result;
        let what = if outcome.is_unexpected_pass() {
            "passes, but is known to fail".to_owned()
        } else if result.flaky {
            format!("flaky: {}", result.verdict)
        } else {
            result.verdict.to_string()
        };
        let mut message = result.reason.clone().unwrap_or_default();
        if !message.is_empty() {
            message.push('\n');
        }
        message.push_str("again: ");
        message.push_str(&reproduce::line(history, outcome));
        let source = result.source.as_ref();
        Note {
            title: format!("{} on {}: {what}", result.id, result.kernel),
            place: source.map(|source| (Path::new(&source.file), source.line)),
            message,
        }
    }
}

fn add(lines: &mut Vec<String>, github: &Github, level: Level, notes: &[Note<'_>]) {
    // The last one says how many are left.
    let shown = if notes.len() > MAX_ANNOTATIONS {
        MAX_ANNOTATIONS - 1
    } else {
        notes.len()
    };
    for note in &notes[..shown] {
        lines.push(github.annotation(&Annotation {
            level,
            title: &note.title,
            place: note.place,
            message: &note.message,
        }));
    }
    let left = notes.len() - shown;
    if left > 0 {
        lines.push(github.annotation(&Annotation {
            level,
            title: "kiln",
            place: None,
            message: &format!("{left} more: see the step's summary"),
        }));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;
    use crate::report::samples::{at, finished, history, result, started};
    use crate::run::event::{Event, TestResult, Verdict, Warning};
    use crate::suite::Location;

    fn said(records: &[Record]) -> (String, String) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("summary");
        let github = Github::of("/w/repo".into(), path.clone());
        let mut out = Vec::new();
        let mut log = GithubLog::new(&mut out, github, None);
        log.finish(&history(records)).unwrap();
        drop(log);
        let summary = std::fs::read_to_string(path).unwrap();
        (String::from_utf8(out).unwrap(), summary)
    }

    fn at_line(id: &str, file: &str, line: usize) -> Record {
        let result = TestResult {
            source: Some(Location {
                file: file.into(),
                line,
            }),
            ..result("6.1", id, Verdict::Fail, "exit status 1")
        };
        at(9, Event::TestFinished(result))
    }

    #[test]
    fn each_kernel_has_a_group_and_each_failure_its_line() {
        let (log, summary) = said(&[
            started(&["5.10", "6.1"], 2),
            finished("5.10", "call.str", Verdict::Pass, ""),
            at_line("call.str", "/w/repo/tests/runtime/call", 12),
        ]);
        let lines: Vec<&str> = log.lines().collect();
        assert_eq!(
            lines,
            [
                "::group::5.10: 1 pass, 1 not run",
                "| PASS     call.str  (3.1 s)",
                "::endgroup::",
                "::group::6.1: 1 fail, 1 not run",
                "| FAIL     call.str  (3.1 s): exit status 1",
                "::endgroup::",
                r"::error title=call.str on 6.1%3A fail,file=tests/runtime/call,line=12::exit status 1%0Aagain: kiln run -k 6.1 -t '^call\.str$' bpftrace",
            ]
        );
        assert!(summary.contains("call.str"), "{summary}");
    }

    /// A kernel that could not be provided, with this text everywhere.
    fn no_kernel(text: &str) -> Event {
        Event::KernelFailed(KernelFailed {
            kernel: text.to_owned(),
            reason: text.to_owned(),
            hints: vec![text.to_owned()],
        })
    }

    #[test]
    fn a_kernel_that_could_not_be_provided_is_annotated_and_in_the_summary() {
        let (log, summary) = said(&[started(&["7.3"], 2), at(9, no_kernel("7.3"))]);
        let told: Vec<&str> = log
            .lines()
            .filter(|line| line.starts_with("::error"))
            .collect();
        assert_eq!(
            told,
            ["::error title=no kernel 7.3%3A its tests did not run::7.3%0Ahint: 7.3"]
        );
        assert!(summary.contains("could not be provided"), "{summary}");
    }

    #[test]
    fn there_are_no_more_annotations_than_are_shown() {
        let mut records = vec![started(&["6.1"], 30)];
        records.extend((0..30).map(|n| at_line(&format!("a.{n}"), "/x", n + 1)));
        let (log, _) = said(&records);
        let errors: Vec<&str> = log
            .lines()
            .filter(|line| line.starts_with("::error"))
            .collect();
        assert_eq!(errors.len(), MAX_ANNOTATIONS);
        assert!(errors[9].ends_with("::21 more: see the step's summary"));
    }

    proptest! {
        #[test]
        fn whatever_a_guest_prints_only_kiln_commands(text: String, other in ".*\n(::|##\\[|##vso\\[).*") {
            for hostile in [&text, &other] {
                let record = |verdict| {
                    let result = TestResult {
                        output: hostile.clone(),
                        details: hostile.clone(),
                        source: Some(Location { file: hostile.clone(), line: 1 }),
                        ..result(hostile, hostile, verdict, hostile)
                    };
                    at(9, Event::TestFinished(result))
                };
                let warning = Event::Warning(Warning { kernel: Some(hostile.clone()), message: hostile.clone() });
                let (log, summary) = said(&[
                    started(&[hostile], 3),
                    record(Verdict::Pass),
                    record(Verdict::Fail),
                    at(9, warning),
                    at(9, no_kernel(hostile)),
                ]);
                let lines: Vec<&str> = log.split(['\n', '\r']).collect();
                // Group, two verdicts, end, annotations.
                let begins = ["::group::", "| ", "| ", "::endgroup::", "::error title=", "::error title=", ""];
                prop_assert_eq!(lines.len(), begins.len(), "{:?}", log);
                for (line, begin) in lines.iter().zip(begins) {
                    prop_assert!(line.starts_with(begin), "{:?}", log);
                    prop_assert!(!line.contains("##[") && !line.contains("##vso["), "{:?}", log);
                    prop_assert!(!line.chars().any(|c| c.is_control() && c != '\t'), "{:?}", log);
                }
                prop_assert!(!summary.chars().any(|c| c.is_control() && c != '\n' && c != '\t'));
            }
        }
    }
}
