//! `[[kernel-log]]`: known lines of kernels' logs.

use globset::GlobMatcher;
use regex::Regex;
use serde::Deserialize;
use toml::Spanned;

use super::check::Checker;

/// The purpose of a pattern of `[[kernel-log]]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KernelLogRule {
    /// A report with a matching line is known, and fails no test.
    Allow,
    /// A matching line is a report.
    Deny,
}

/// One `[[kernel-log]]`.
#[derive(Debug, Clone)]
pub struct KernelLogPattern {
    /// Its purpose.
    pub rule: KernelLogRule,
    /// Searched for in each line, without its timestamp.
    pub regex: Regex,
    /// Why, for reports.
    pub reason: String,
    /// Names of the kernels to which it applies; `None` means all.
    kernels: Option<GlobMatcher>,
}

impl KernelLogPattern {
    /// Whether it applies to the kernel of this name.
    pub fn is_about(&self, kernel: &str) -> bool {
        let globs = self.kernels.as_ref();
        globs.is_none_or(|globs| globs.is_match(kernel))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPattern {
    allow: Option<Spanned<String>>,
    deny: Option<Spanned<String>>,
    reason: Option<Spanned<String>>,
    kernels: Option<Spanned<String>>,
}

/// For messages.
const ALLOWED: &str = "exactly one of allow = \"REGEX\" and deny = \"REGEX\", and a reason";

impl Checker<'_> {
    pub(super) fn kernel_log(&mut self, raw: Spanned<RawPattern>) -> Option<KernelLogPattern> {
        let at = raw.span();
        let raw = raw.into_inner();
        let (rule, pattern) = match (raw.allow, raw.deny) {
            (Some(pattern), None) => (KernelLogRule::Allow, pattern),
            (None, Some(pattern)) => (KernelLogRule::Deny, pattern),
            (None, None) => {
                self.problem(
                    &at,
                    format!("kernel-log has no pattern; allowed: {ALLOWED}"),
                );
                return None;
            }
            (Some(_), Some(deny)) => {
                self.problem(
                    &deny.span(),
                    format!("kernel-log has both allow and deny; allowed: {ALLOWED}"),
                );
                return None;
            }
        };
        let regex = self.pattern(&pattern);
        let reason = match raw.reason {
            Some(reason) if !reason.get_ref().trim().is_empty() => Some(reason.into_inner()),
            other => {
                let at = other.map_or(at, |reason| reason.span());
                self.problem(
                    &at,
                    "kernel-log has no reason; allowed: reason = \"why it is known\"",
                );
                None
            }
        };
        let kernels = match raw.kernels {
            None => Some(None),
            Some(glob) => match globset::Glob::new(glob.get_ref()) {
                Ok(compiled) => Some(Some(compiled.compile_matcher())),
                Err(error) => {
                    self.problem(
                        &glob.span(),
                        format!(
                            "kernel-log: kernels: {}; allowed: a glob of names, such as \"6.*\"",
                            error.kind()
                        ),
                    );
                    None
                }
            },
        };
        Some(KernelLogPattern {
            rule,
            regex: regex?,
            reason: reason?,
            kernels: kernels?,
        })
    }

    fn pattern(&mut self, pattern: &Spanned<String>) -> Option<Regex> {
        let problem = match Regex::new(pattern.get_ref()) {
            // It would allow, or deny, every line.
            Ok(regex) if regex.is_match("") => "it matches an empty line".to_owned(),
            Ok(regex) => return Some(regex),
            Err(error) => {
                let text = error.to_string();
                let last = text.lines().rev().find(|line| !line.trim().is_empty());
                last.unwrap_or_default()
                    .trim_start_matches("error: ")
                    .to_owned()
            }
        };
        self.problem(
            &pattern.span(),
            format!(
                "kernel-log: {:?} cannot be used: {problem}; allowed: a regular expression of Rust's regex crate",
                pattern.get_ref()
            ),
        );
        None
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use crate::config::{Catalogue, KernelLogRule, Origin};

    fn parsed(text: &str) -> Result<Catalogue, String> {
        Catalogue::parse(text, Origin::File("/k/kernels.toml".into()))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_pattern_is_about_the_kernels_that_it_names() {
        let catalogue = parsed(
            "[[kernel-log]]\nallow = \"trace_kprobe\"\nreason = \"known\"\nkernels = \"6.*\"\n\
             [[kernel-log]]\ndeny = \"my driver\"\nreason = \"ours\"\n",
        )
        .unwrap();
        let [allow, deny] = &catalogue.kernel_log[..] else {
            panic!("two patterns expected");
        };
        assert_eq!(allow.rule, KernelLogRule::Allow);
        assert!(allow.is_about("6.1") && !allow.is_about("5.10"));
        assert_eq!(deny.rule, KernelLogRule::Deny);
        assert!(deny.is_about("5.10") && deny.regex.is_match("my driver says"));
    }

    #[test]
    fn mistakes_in_a_pattern_are_reported_with_their_line() {
        for (text, line, words) in [
            ("[[kernel-log]]\nreason = \"r\"\n", 1, "has no pattern"),
            ("[[kernel-log]]\nallow = \"a\"\n", 1, "has no reason"),
            (
                "[[kernel-log]]\nallow = \"a\"\nreason = \" \"\n",
                3,
                "has no reason",
            ),
            (
                "[[kernel-log]]\nallow = \"a\"\ndeny = \"b\"\nreason = \"r\"\n",
                3,
                "both allow and deny",
            ),
            (
                "[[kernel-log]]\nallow = \"a(\"\nreason = \"r\"\n",
                2,
                "unclosed group",
            ),
            (
                "[[kernel-log]]\nallow = \".*\"\nreason = \"r\"\n",
                2,
                "matches an empty line",
            ),
            (
                "[[kernel-log]]\nallow = \"a\"\nreason = \"r\"\nkernels = \"[\"\n",
                4,
                "kernels: ",
            ),
            (
                "[[kernel-log]]\nallow = \"a\"\nreason = \"r\"\nkernel = \"x\"\n",
                4,
                "unknown key `kernel`",
            ),
        ] {
            let error = parsed(text).unwrap_err();
            assert!(
                error.starts_with(&format!("/k/kernels.toml:{line}: ")),
                "{error}"
            );
            assert!(error.contains(words), "{error}");
        }
    }
}
