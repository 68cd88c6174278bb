//! Checks one expectation against an output.

use std::path::Path;

use serde_json::Value;

use super::dialect::JsonRule;
use super::{Expectation, ExpectationKind, Rule, Rules, RuntimeTest, diff, json, python};
use crate::suite::{Flags, Pattern, decode};

/// What an expectation is checked against.
pub(super) struct Material<'m> {
    pub(super) rules: Rules,
    /// How far local time is ahead in the guest; without it, the host's time zone.
    pub(super) utc_offset: Option<i32>,
    /// Everything printed, decoded.
    pub(super) output: &'m str,
    /// What was printed after the marker; without a marker, everything.
    pub(super) after_marker: &'m str,
    pub(super) timed_out: bool,
    /// The directory to which paths of expected files are relative.
    pub(super) tests_dir: &'m Path,
}

/// An expectation that is not met.
pub(super) struct Mismatch {
    /// One line.
    pub(super) reason: String,
    /// Expected and found, for people.
    pub(super) diff: String,
}

impl Mismatch {
    fn new(reason: impl Into<String>, diff: String) -> Self {
        Self {
            reason: reason.into(),
            diff,
        }
    }
}

impl Material<'_> {
    /// Whether the expectation is met.
    pub(super) fn check(&self, test: &RuntimeTest, expected: &Expectation) -> Result<(), Mismatch> {
        match expected.kind {
            ExpectationKind::Literal | ExpectationKind::LiteralNone => {
                let pattern = Pattern::whole_lines(&expected.value);
                self.search(expected, pattern)
            }
            ExpectationKind::Regex | ExpectationKind::RegexNone => {
                let flags = Flags {
                    multiline: !self.timed_out || self.rules.dialect.multiline_after_timeout,
                };
                self.search(expected, Pattern::new(&expected.value, flags))
            }
            ExpectationKind::File => self.file(test, expected),
            ExpectationKind::Json => self.json(expected),
        }
    }

    fn search(
        &self,
        expected: &Expectation,
        pattern: Result<Pattern, crate::suite::PatternError>,
    ) -> Result<(), Mismatch> {
        let pattern = pattern.map_err(|error| Mismatch::new(error.to_string(), String::new()))?;
        let (wanted, what) = match expected.kind {
            ExpectationKind::Literal => (true, "the text is not in the output"),
            ExpectationKind::LiteralNone => (false, "the text is in the output"),
            ExpectationKind::Regex => (true, "the pattern is not found in the output"),
            _ => (false, "the pattern is found in the output"),
        };
        let shown = || diff::searched(&expected.value, wanted, self.output);
        match pattern.search(self.output) {
            Ok(found) if found == wanted => return Ok(()),
            Ok(_) => {}
            Err(error) => return Err(Mismatch::new(error.to_string(), shown())),
        }
        Err(Mismatch::new(
            format!("{what}: {}", first_line(&expected.value)),
            shown(),
        ))
    }

    fn expected_file(&self, expected: &Expectation) -> Result<String, Mismatch> {
        let path = self.tests_dir.join(&expected.value);
        match std::fs::read(&path) {
            Ok(bytes) => Ok(python::universal_newlines(&decode(&bytes))),
            Err(error) => Err(Mismatch::new(
                format!("cannot read {}: {error}", path.display()),
                String::new(),
            )),
        }
    }

    fn file(&self, test: &RuntimeTest, expected: &Expectation) -> Result<(), Mismatch> {
        let text = self.expected_file(expected)?;
        let mut want = python::strip(&text).to_owned();
        if let Some(seconds) = test.localize_timestamps {
            want = localize(&want, seconds, self.utc_offset).ok_or_else(|| {
                Mismatch::new(
                    format!("{} is not a strftime format", expected.value),
                    String::new(),
                )
            })?;
        }
        let found = python::strip(self.after_marker);
        if want == found {
            return Ok(());
        }
        Err(Mismatch::new(
            format!("the output differs from {}", expected.value),
            diff::lines(&want, found),
        ))
    }

    fn json(&self, expected: &Expectation) -> Result<(), Mismatch> {
        let text = self.expected_file(expected)?;
        let found = python::strip(self.after_marker);
        let by_line = self.rules.dialect.json == JsonRule::Lines;
        let extension = Path::new(&expected.value).extension();
        let (want, found) = if by_line && extension.is_some_and(|e| e == "ndjson") {
            (
                python::split_lines(python::strip(&text)),
                python::split_lines(found),
            )
        } else {
            let lines = python::split_lines(found).len();
            if by_line && lines != 1 {
                return Err(Mismatch::new(
                    format!("the output has {lines} lines, not one of JSON"),
                    diff::lines(&text, found),
                ));
            }
            (vec![text.as_str()], vec![found])
        };
        if want.len() != found.len() {
            return Err(Mismatch::new(
                format!(
                    "{} lines of JSON, {} in {}",
                    found.len(),
                    want.len(),
                    expected.value
                ),
                diff::lines(&want.join("\n"), &found.join("\n")),
            ));
        }
        let bools_count = !self.rules.hold(Rule::JsonTypes);
        for (index, (want, found)) in want.iter().zip(&found).enumerate() {
            let parse = |text: &str, whose: &str| {
                serde_json::from_str::<Value>(text).map_err(|error| {
                    Mismatch::new(
                        format!("{whose} is not JSON (document {}): {error}", index + 1),
                        diff::lines(want, found),
                    )
                })
            };
            let want_value = parse(want, &expected.value)?;
            let found_value = parse(found, "the output")?;
            if !json::equal(&want_value, &found_value, bools_count) {
                return Err(Mismatch::new(
                    format!("the output does not equal {}", expected.value),
                    diff::lines(&pretty(&want_value), &pretty(&found_value)),
                ));
            }
        }
        Ok(())
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or("")
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string())
}

/// Formats a time by `strftime`, in the local time of the machine where bpftrace ran: upstream's
/// engine runs there, too.
fn localize(format: &str, seconds: i64, utc_offset: Option<i32>) -> Option<String> {
    use chrono::TimeZone as _;
    use std::fmt::Write as _;
    let mut text = String::new();
    if let Some(zone) = utc_offset.and_then(chrono::FixedOffset::east_opt) {
        let moment = zone.timestamp_opt(seconds, 0).single()?;
        write!(text, "{}", moment.format(format)).ok()?;
    } else {
        let moment = chrono::Local.timestamp_opt(seconds, 0).single()?;
        write!(text, "{}", moment.format(format)).ok()?;
    }
    Some(text)
}
