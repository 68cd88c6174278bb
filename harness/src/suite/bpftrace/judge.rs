//! Judges what the guest observed.
//!
//! The order is upstream's (`runner.py`): requirements, SETUP, BEFORE, CLEANUP, the message of a
//! program that cannot be compiled ahead of time, the exit status, the expectations. After a time
//! limit the exit status does not count: the test passes if its expectations are met. If a [`Rule`]
//! changes upstream's verdict, the judgement names it.

use std::borrow::Cow;
use std::fmt;
use std::path::Path;

use super::dialect::{AotCheck, ExitCheck, LimitLoss, WillFail};
use super::expect::{Material, Mismatch};
use super::{Dialect, Program, Rule, Rules, RuntimeTest, SkipReason, python};
use crate::suite::{Exit, Judgement, Verdict, decode};

/// Lines of a BEFORE or AFTER to show.
const MAX_BESIDE: usize = 20;
const AOT_UNSUPPORTED: &str = "__BPFTRACE_NOTIFY_AOT_PORTABILITY_DISABLED";

/// A time limit of a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// For all probes to be attached.
    Attach,
    /// `TIMEOUT`, from the marker on.
    Timeout,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Attach => "attach limit",
            Self::Timeout => "TIMEOUT",
        })
    }
}

/// How the test's command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By itself.
    Exited(Exit),
    /// We killed it at this limit.
    Killed(Limit),
}

/// The result of SETUP or CLEANUP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandOutcome {
    /// How it ended; `None` if a limit passed.
    pub exit: Option<Exit>,
    /// What it printed on both streams.
    pub output: Vec<u8>,
}

impl CommandOutcome {
    /// Whether it exited with status 0.
    pub fn succeeded(&self) -> bool {
        self.exit == Some(Exit::Code(0))
    }

    fn failure(&self, name: &str) -> Option<Judgement> {
        let how = match self.exit {
            Some(Exit::Code(0)) => return None,
            Some(exit) => exit.to_string(),
            None => "a limit passed".to_owned(),
        };
        let output = decode(&self.output);
        let diff = (!output.is_empty()).then_some(output);
        let mut judgement = Judgement::new(Verdict::Fail, format!("{name} failed: {how}"));
        judgement.diff = diff;
        Some(judgement)
    }
}

/// Everything the guest saw of one test.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observation {
    /// Why a command could not be started: it did not fail, but did not run at all.
    pub not_started: Option<String>,
    /// Index of the first REQUIRES that failed; nothing else ran.
    pub unmet: Option<usize>,
    /// The result of SETUP; after a failure nothing else ran.
    pub setup: Option<CommandOutcome>,
    /// Why BEFORE did not become ready; then the command did not run.
    pub before_failure: Option<String>,
    /// How the command ended; `None` if it did not run.
    pub end: Option<End>,
    /// What the command printed on both streams, including an unfinished last line. It contains the
    /// marker even if the command exits at once.
    pub output: Vec<u8>,
    /// How many bytes of `output` there were when a limit passed.
    pub at_limit: Option<usize>,
    /// The guest's UTC offset, in seconds east, at the time of LOCALIZE_TIMESTAMPS; without it, the
    /// host's time zone counts.
    pub utc_offset: Option<i32>,
    /// What the processes beside the command printed: BEFORE or AFTER, and the
    /// bytes.
    pub beside: Vec<(&'static str, Vec<u8>)>,
    /// The result of CLEANUP.
    pub cleanup: Option<CommandOutcome>,
}

/// Adds the output of BEFORE and AFTER to the details of a failed test.
fn show_beside(judgement: &mut Judgement, beside: &[(&'static str, Vec<u8>)]) {
    if !matches!(judgement.verdict, Verdict::Fail | Verdict::Timeout) {
        return;
    }
    for (directive, printed) in beside.iter().filter(|(_, printed)| !printed.is_empty()) {
        let shown = judgement.diff.get_or_insert_default();
        if !shown.is_empty() && !shown.ends_with('\n') {
            shown.push('\n');
        }
        let printed = decode(printed);
        let lines = printed.lines().take(MAX_BESIDE);
        let lines = std::iter::once(format!("{directive} printed:"))
            .chain(lines.map(|line| format!("  {line}")));
        for line in lines {
            shown.push_str(&line);
            shown.push('\n');
        }
    }
}

/// The verdict on what was not as expected.
fn mismatch(verdict: Verdict, prefix: &str, mismatches: &[Mismatch]) -> Judgement {
    let reasons: Vec<_> = mismatches.iter().map(|m| m.reason.as_str()).collect();
    let diffs: Vec<_> = mismatches
        .iter()
        .map(|m| m.diff.as_str())
        .filter(|diff| !diff.is_empty())
        .collect();
    let mut judgement = Judgement::new(verdict, format!("{prefix}{}", reasons.join("; ")));
    judgement.diff = (!diffs.is_empty()).then(|| diffs.join("\n"));
    judgement
}

/// Judges a test. Paths of expected files are relative to `tests_dir`.
pub fn judge(
    test: &RuntimeTest,
    rules: Rules,
    tests_dir: &Path,
    observed: &Observation,
) -> Judgement {
    let mut judgement = judge_by(test, rules, tests_dir, observed);
    show_beside(&mut judgement, &observed.beside);
    // A rule affected the verdict if it would be different without the rule.
    for rule in relevant(test, observed) {
        if rules.hold(rule)
            && judge_by(test, rules.without(rule), tests_dir, observed).verdict != judgement.verdict
        {
            judgement.note_rule(rule);
        }
    }
    judgement
}

/// The rules that can affect this observation: judging again for each costs time.
fn relevant(test: &RuntimeTest, observed: &Observation) -> Vec<Rule> {
    let mut rules = Vec::new();
    if matches!(observed.end, Some(End::Killed(_))) {
        rules.extend([Rule::KeptOutput, Rule::PartialLine, Rule::SeenExit]);
    }
    if test.has_exact_expectation() {
        rules.push(Rule::JsonTypes);
    }
    if memchr::memmem::find(&observed.output, AOT_UNSUPPORTED.as_bytes()).is_some() {
        rules.push(Rule::AotSign);
    }
    rules
}

fn judge_by(
    test: &RuntimeTest,
    rules: Rules,
    tests_dir: &Path,
    observed: &Observation,
) -> Judgement {
    let dialect = rules.dialect;
    if let Some(why) = &observed.not_started {
        return Judgement::error(format!("one of its commands could not be started: {why}"));
    }
    if let Some(index) = observed.unmet {
        let command = test.requires.get(index).cloned().unwrap_or_default();
        return Judgement::skip(&SkipReason::Requires(command));
    }
    if let Some(failure) = observed.setup.as_ref().and_then(|o| o.failure("SETUP")) {
        return failure;
    }
    if let Some(why) = &observed.before_failure {
        return Judgement::new(Verdict::Fail, format!("BEFORE was not ready: {why}"));
    }
    let Some(end) = observed.end else {
        return Judgement::error("the command did not run, for an unknown reason");
    };

    let output = python::universal_newlines(&decode(&seen_output(observed, end, rules)));
    let material = Material {
        rules,
        utc_offset: observed.utc_offset,
        output: &output,
        after_marker: after_marker(&output, dialect.marker),
        timed_out: matches!(end, End::Killed(_)),
        tests_dir,
    };
    let mismatches: Vec<Mismatch> = test
        .expectations
        .iter()
        .filter_map(|expected| material.check(test, expected).err())
        .collect();

    if let End::Killed(limit) = end
        && !mismatches.is_empty()
    {
        return mismatch(Verdict::Timeout, &format!("{limit} passed; "), &mismatches);
    }
    if let Some(failure) = observed.cleanup.as_ref().and_then(|o| o.failure("CLEANUP")) {
        return failure;
    }
    let aot_unsupported = says_aot_unsupported(test, rules, &output);
    if aot_unsupported && dialect.aot_check == AotCheck::First {
        return Judgement::skip(&SkipReason::AotUnsupported);
    }
    if let End::Exited(exit) = end
        && let Some(reason) = bad_exit(test, dialect, exit)
    {
        let mut judgement = mismatch(Verdict::Fail, "", &mismatches);
        judgement.reason = reason;
        if judgement.diff.is_none() {
            judgement.diff = Some(super::diff::output(&output));
        }
        return judgement;
    }
    if !mismatches.is_empty() {
        if aot_unsupported {
            return Judgement::skip(&SkipReason::AotUnsupported);
        }
        return mismatch(Verdict::Fail, "", &mismatches);
    }
    match end {
        End::Killed(limit) if rules.hold(Rule::SeenExit) && wants_exit(test, dialect) => {
            let reason = format!(
                "{limit} passed; the command did not exit, but the test expects \
                an exit status"
            );
            Judgement::new(Verdict::Timeout, reason)
        }
        End::Killed(limit) => Judgement::new(Verdict::Pass, format!("after the {limit}")),
        End::Exited(_) => Judgement::new(Verdict::Pass, ""),
    }
}

/// The output to judge: all of it, or what upstream's engine keeps of it at a limit. The engine
/// also reads what comes after the limit.
fn seen_output(observed: &Observation, end: End, rules: Rules) -> Cow<'_, [u8]> {
    let all = observed.output.as_slice();
    let (End::Killed(limit), Some(at)) = (end, observed.at_limit) else {
        return Cow::Borrowed(all);
    };
    let (before, after) = all.split_at(at.min(all.len()));
    let marker = rules.dialect.marker.as_bytes();
    let since_marker = (rules.dialect.limit_loss == LimitLoss::SinceMarker
        && limit == Limit::Timeout
        && !rules.hold(Rule::KeptOutput))
    .then(|| marker_end(before, marker))
    .flatten();
    let kept = match since_marker {
        Some(end) => end,
        None if rules.hold(Rule::PartialLine) => return Cow::Borrowed(all),
        None => memchr::memrchr(b'\n', before).map_or(0, |at| at + 1),
    };
    Cow::Owned([&before[..kept], after].concat())
}

/// Where the first line that is the marker ends.
fn marker_end(output: &[u8], marker: &[u8]) -> Option<usize> {
    let mut at = 0;
    for line in output.split_inclusive(|&byte| byte == b'\n') {
        at += line.len();
        if line.trim_ascii_end() == marker && line.ends_with(b"\n") {
            return Some(at);
        }
    }
    None
}

/// What follows the first line that is the marker; everything without one.
fn after_marker<'o>(output: &'o str, marker: &str) -> &'o str {
    marker_end(output.as_bytes(), marker.as_bytes()).map_or(output, |at| &output[at..])
}

/// Whether the output says that the program cannot be compiled ahead of time. Upstream's engine
/// looks for the text anywhere, and so also finds it if a test prints its environment.
fn says_aot_unsupported(test: &RuntimeTest, rules: Rules, output: &str) -> bool {
    if !rules.hold(Rule::AotSign) {
        return output.contains(AOT_UNSUPPORTED);
    }
    let compiles = match &test.program {
        Program::Run(run) => run.contains("--aot"),
        Program::Prog(_) => test.aot,
    };
    compiles && output.lines().any(|line| line.trim() == AOT_UNSUPPORTED)
}

/// Whether the test expects an exit status other than success.
fn wants_exit(test: &RuntimeTest, dialect: &Dialect) -> bool {
    test.will_fail && dialect.will_fail == WillFail::NonZero
        || dialect.exit_check == ExitCheck::ReturnCode
            && (test.return_code != 0 || test.expectations.is_empty())
}

/// Why an exit status is a failure.
fn bad_exit(test: &RuntimeTest, dialect: &Dialect, exit: Exit) -> Option<String> {
    if test.will_fail {
        let clean = exit == Exit::Code(0) && dialect.will_fail == WillFail::NonZero;
        return clean.then(|| "exit status 0, but WILL_FAIL".to_owned());
    }
    let wanted = match dialect.exit_check {
        ExitCheck::None => return None,
        ExitCheck::Zero => 0,
        ExitCheck::ReturnCode => test.return_code,
    };
    (returncode(exit) != wanted).then(|| format!("{exit}, not {wanted}"))
}

/// As Python's `Popen.returncode`: a signal is its negative number.
fn returncode(exit: Exit) -> i32 {
    match exit {
        Exit::Code(code) => code,
        Exit::Signal(signal) => -signal,
    }
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
