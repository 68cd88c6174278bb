//! One case of a JUnit file.

use super::results::Case;
use super::xml_suite::{Attributes, Tally, many, value};
use crate::suite::{Location, Verdict};

/// Bytes of a path, as Linux's `PATH_MAX` has it.
const MAX_PATH: usize = 4096;
/// Bytes of a case's marks to keep: the first.
const MAX_MARKED: usize = 8 * 1024;
/// Bytes of its output to keep: the last.
const MAX_OUTPUT: usize = 7 * 1024;

/// What an element within a case says about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    Failure,
    Error,
    Skip,
    /// It failed, was run again, and passed: Surefire's and nextest's
    /// `flakyFailure` and `flakyError`.
    Flaky,
    /// It was run again and failed again: `rerunFailure`, `rerunError`.
    Rerun,
}

impl Mark {
    /// Reads an element's name in lower case.
    pub(super) fn read(element: &str) -> Option<Self> {
        Some(match element {
            "failure" | "failed" | "fail" => Self::Failure,
            "error" => Self::Error,
            "skipped" | "skip" | "disabled" | "ignored" => Self::Skip,
            "flakyfailure" | "flakyerror" => Self::Flaky,
            "rerunfailure" | "rerunerror" => Self::Rerun,
            _ => return None,
        })
    }
}

/// What a status or result means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    Good,
    /// Not run, for the reason.
    Skip(&'static str),
    Bad(Verdict),
    Unknown,
}

/// Reads a status or result. googletest: run, notrun; completed, skipped,
/// suppressed (gtest.cc, `OutputXmlTestInfo`). CTest: run, fail, notrun,
/// disabled (cmCTestTestHandler.cxx, `WriteJUnitXML`). behave: passed, failed,
/// skipped, untested, undefined. Qt: pass, fail, xfail, xpass, skip. Jenkins:
/// passed, fixed, failed, regression, skipped.
pub(super) fn word(text: &str) -> Word {
    let plain: String = text
        .chars()
        .filter(|c| c.is_alphanumeric())
        .take(40)
        .flat_map(char::to_lowercase)
        .collect();
    match plain.as_str() {
        "" | "run" | "ran" | "pass" | "passed" | "passes" | "ok" | "success" | "successful"
        | "succeeded" | "complete" | "completed" | "executed" | "done" | "finished" | "true"
        | "fixed" | "flaky" | "xfail" | "xfailed" => Word::Good,
        "notrun" | "disabled" | "notexecuted" => Word::Skip("not run"),
        "skip" | "skipped" | "ignore" | "ignored" | "pending" | "suppressed" | "filtered"
        | "untested" | "todo" | "excluded" | "deselected" | "notapplicable" => Word::Skip(""),
        "fail" | "failed" | "fails" | "failure" | "failures" | "failing" | "notok" | "nok"
        | "ko" | "false" | "xpass" | "xpassed" | "regression" | "broken" | "undefined"
        | "unsuccessful" => Word::Bad(Verdict::Fail),
        "timeout" | "timedout" => Word::Bad(Verdict::Timeout),
        "error" | "errors" | "errored" | "exception" | "crash" | "crashed" | "abort"
        | "aborted" | "killed" | "cancelled" | "canceled" | "interrupted" | "fatal" => {
            Word::Bad(Verdict::Error)
        }
        _ => Word::Unknown,
    }
}

/// What attributes say about their element's result, and the original word.
pub(super) fn status(attributes: &Attributes) -> Vec<(Word, &str)> {
    let words = ["status", "result", "success"];
    words
        .iter()
        .filter_map(|name| value(attributes, name))
        .map(|text| (word(text), text))
        .collect()
}

/// A case while it is read.
#[derive(Debug)]
pub(super) struct OpenCase {
    case: Case,
    named: bool,
    /// Whether its name says so.
    disabled: bool,
    status: Option<(Verdict, String)>,
    failures: u64,
    errors: u64,
    skips: u64,
    flaky: u64,
    reruns: u64,
    /// The first message of a mark of each kind.
    messages: Vec<(Mark, String)>,
    marked: String,
    output: String,
}

impl OpenCase {
    pub(super) fn new(attributes: &Attributes) -> Self {
        let said = |name| value(attributes, name).filter(|said| !said.is_empty());
        let name = said("name").unwrap_or("without a name");
        let name = match said("classname") {
            Some(class) => format!("{class}.{name}"),
            None => name.to_owned(),
        };
        let case = Case {
            name,
            verdict: Verdict::Pass,
            reason: String::new(),
            details: String::new(),
            seconds: said("time")
                .and_then(|time| time.trim().parse().ok())
                .filter(|time: &f64| time.is_finite() && *time >= 0.0),
            source: said("file")
                .filter(|file| file.len() <= MAX_PATH)
                .map(|file| Location {
                    file: file.to_owned(),
                    // pytest counts from 0.
                    line: said("line")
                        .and_then(|line| line.parse().ok())
                        .map_or(1, |line: u32| line.max(1) as usize),
                }),
        };
        let disabled = ["name", "classname"].iter().any(|part| {
            let mut parts = said(part).unwrap_or_default().split('/');
            parts.any(|part| part.starts_with("DISABLED_"))
        });
        let mut open = Self {
            case,
            disabled,
            named: said("name").is_some(),
            status: None,
            failures: 0,
            errors: 0,
            skips: 0,
            flaky: 0,
            reruns: 0,
            messages: Vec::new(),
            marked: String::new(),
            output: String::new(),
        };
        for (word, text) in status(attributes) {
            let shown: String = text.chars().take(40).collect();
            match word {
                Word::Good => {}
                Word::Skip(why) => open.rate(Verdict::Skip, why.to_owned()),
                Word::Bad(verdict) => open.rate(verdict, format!("its status is `{shown}`")),
                Word::Unknown => open.rate(
                    Verdict::Error,
                    format!("its status is `{shown}`, which is neither pass nor fail"),
                ),
            }
        }
        for what in ["failures", "errors", "failure", "error"] {
            // Node.js has the message there, too.
            let counted = said(what).filter(|said| !matches!(said.trim(), "0" | "false"));
            if let Some(said) = counted {
                let reason = said.lines().next().unwrap_or_default().to_owned();
                open.rate(Verdict::Fail, reason);
            }
        }
        open
    }

    /// Reads its attributes; the worst counts.
    fn rate(&mut self, verdict: Verdict, reason: String) {
        let weight = |verdict| match verdict {
            Verdict::Pass => 0,
            Verdict::Skip => 1,
            _ => 2,
        };
        let has = self.status.as_ref().map_or(0, |(has, _)| weight(*has));
        if weight(verdict) > has {
            self.status = Some((verdict, reason));
        }
    }

    /// Adds a mark.
    pub(super) fn mark(&mut self, mark: Mark, attributes: &Attributes) {
        match mark {
            Mark::Failure => self.failures += 1,
            Mark::Error => self.errors += 1,
            Mark::Skip => self.skips += 1,
            Mark::Flaky => self.flaky += 1,
            Mark::Rerun => self.reruns += 1,
        }
        let message = value(attributes, "message").unwrap_or_default();
        let line = message.lines().next().unwrap_or_default();
        let known = self.messages.iter().any(|(known, _)| *known == mark);
        if !line.is_empty() && !known {
            self.messages.push((mark, line.to_owned()));
        }
    }

    /// Adds a text, of a mark or any other element.
    pub(super) fn say(&mut self, text: &str, marked: bool) {
        let kept = if marked {
            &mut self.marked
        } else {
            &mut self.output
        };
        if kept.is_empty() && text.trim().is_empty() {
            return;
        }
        if !marked {
            kept.push_str(text);
            if kept.len() > 4 * MAX_OUTPUT {
                keep_last(kept);
            }
        } else if kept.len() < MAX_MARKED {
            kept.push_str(text);
            super::results::clip(kept, MAX_MARKED);
        }
    }

    fn message(&self, mark: Mark) -> String {
        let found = self.messages.iter().find(|(known, _)| *known == mark);
        found
            .map(|(_, message)| message.clone())
            .unwrap_or_default()
    }

    /// The case, and how it counts.
    pub(super) fn close(mut self) -> (Case, Tally) {
        let (verdict, reason) = match self.status.take() {
            _ if self.errors > 0 => (Verdict::Error, self.message(Mark::Error)),
            _ if self.failures > 0 => (Verdict::Fail, self.message(Mark::Failure)),
            Some((verdict, reason)) if !matches!(verdict, Verdict::Pass | Verdict::Skip) => {
                (verdict, reason)
            }
            _ if self.reruns > 0 => (Verdict::Fail, self.message(Mark::Rerun)),
            // Its own reason, if it has one, says more than the status.
            Some((_, reason)) if self.message(Mark::Skip).is_empty() => (Verdict::Skip, reason),
            _ if self.skips > 0 => (Verdict::Skip, self.message(Mark::Skip)),
            _ if self.flaky > 0 => {
                let reason = format!(
                    "flaky: failed {} before it passed",
                    many(self.flaky, "time")
                );
                (Verdict::Pass, reason)
            }
            _ => (Verdict::Pass, String::new()),
        };
        let reason = if reason.is_empty() && verdict != Verdict::Pass {
            let mut lines = self.marked.lines().map(str::trim);
            let first = lines.find(|line| !line.is_empty());
            first.unwrap_or_default().to_owned()
        } else {
            reason
        };
        let bad = !matches!(verdict, Verdict::Pass | Verdict::Skip);
        let marks = self.failures + self.errors;
        let counted = u64::from(bad && self.named && self.skips == 0);
        let tally = Tally {
            cases: 1,
            nameless: u64::from(!self.named),
            failed: counted,
            errors: if self.errors > 0 { counted } else { 0 },
            marks: if bad { marks.max(1) } else { 0 },
            skipped: u64::from(verdict == Verdict::Skip),
            skip_marks: self.skips.max(u64::from(verdict == Verdict::Skip)),
            ran_anyway: u64::from(self.disabled && verdict != Verdict::Skip),
        };
        keep_last(&mut self.output);
        let mut details = self.marked;
        if !details.is_empty() && !self.output.is_empty() {
            details.push('\n');
        }
        details.push_str(&self.output);
        let case = Case {
            verdict,
            reason,
            details,
            ..self.case
        };
        (case, tally)
    }
}

/// Cuts a text to the last part to keep.
fn keep_last(text: &mut String) {
    if text.len() > MAX_OUTPUT {
        let at = text.len() - MAX_OUTPUT;
        let at = (at..=text.len()).find(|&at| text.is_char_boundary(at));
        text.replace_range(..at.unwrap_or_default(), "…");
    }
}
