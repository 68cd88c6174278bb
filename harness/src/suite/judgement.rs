//! A verdict and why.

use super::Verdict;

/// What a kernel report does to the running test (docs/verdicts.md).
pub const KERNEL_REPORT: AppliedRule = AppliedRule {
    name: "kernel-report",
    quiet: false,
};

/// A named rule that affected a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppliedRule {
    /// Its name in docs/verdicts.md.
    pub name: &'static str,
    /// It is not worth mentioning if the test passed.
    pub quiet: bool,
}

/// A verdict and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// The verdict.
    pub verdict: Verdict,
    /// Why, in one line; empty for a plain pass.
    pub reason: String,
    /// Expected and found, for people; of more than one line.
    pub diff: Option<String>,
    /// The rules that affected it.
    pub rules: Vec<AppliedRule>,
}

impl Judgement {
    /// A verdict with only this reason.
    pub fn new(verdict: Verdict, reason: impl Into<String>) -> Self {
        Self {
            verdict,
            reason: reason.into(),
            diff: None,
            rules: Vec::new(),
        }
    }

    /// A test that does not apply.
    pub fn skip(reason: &impl ToString) -> Self {
        Self::new(Verdict::Skip, reason.to_string())
    }

    /// A test that could not be run or judged.
    pub fn error(reason: impl Into<String>) -> Self {
        Self::new(Verdict::Error, reason)
    }

    /// The reason with the names of the rules that affected it.
    pub fn full_reason(&self) -> String {
        let names: Vec<&str> = self
            .rules
            .iter()
            .filter(|rule| !rule.quiet || self.verdict != Verdict::Pass)
            .map(|rule| rule.name)
            .collect();
        match (self.reason.as_str(), names.is_empty()) {
            (reason, true) => reason.to_owned(),
            ("", false) => format!("[{}]", names.join(", ")),
            (reason, false) => format!("{reason} [{}]", names.join(", ")),
        }
    }

    /// Notes that a rule affected it.
    pub fn note_rule(&mut self, rule: impl Into<AppliedRule>) {
        let rule = rule.into();
        if !self.rules.contains(&rule) {
            self.rules.push(rule);
        }
    }
}
