//! The user's patterns for kernel lines: which reports are known and allowed, and which lines are
//! reports although they do not look like one.

use regex::Regex;

use crate::config::{KernelLogPattern, KernelLogRule};

/// The patterns for one kernel.
#[derive(Debug, Clone, Default)]
pub struct Patterns {
    allow: Vec<Pattern>,
    deny: Vec<Pattern>,
}

#[derive(Debug, Clone)]
struct Pattern {
    regex: Regex,
    reason: String,
}

impl Patterns {
    /// Those of `all` that apply to the kernel of this name.
    pub fn for_kernel(all: &[KernelLogPattern], kernel: &str) -> Self {
        let mut patterns = Self::default();
        for pattern in all.iter().filter(|pattern| pattern.is_about(kernel)) {
            let list = match pattern.rule {
                KernelLogRule::Allow => &mut patterns.allow,
                KernelLogRule::Deny => &mut patterns.deny,
            };
            list.push(Pattern {
                regex: pattern.regex.clone(),
                reason: pattern.reason.clone(),
            });
        }
        patterns
    }

    /// Why a report with this line is allowed.
    pub(super) fn allowed(&self, line: &str) -> Option<&str> {
        reason(&self.allow, line)
    }

    /// Why this line is a report.
    pub(super) fn denied(&self, line: &str) -> Option<&str> {
        reason(&self.deny, line)
    }
}

fn reason<'p>(patterns: &'p [Pattern], line: &str) -> Option<&'p str> {
    let found = patterns.iter().find(|pattern| pattern.regex.is_match(line));
    found.map(|pattern| pattern.reason.as_str())
}
