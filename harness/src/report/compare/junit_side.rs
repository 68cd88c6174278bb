//! Reads verdicts from a JUnit file: kiln's own, or somebody else's.

use std::path::Path;

use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

use super::error::CompareError;
use crate::report::class::Class;
use crate::report::results::{OneResult, RunResults};

/// Elements within elements; nobody's file has more.
const MAX_DEPTH: usize = 64;

/// A test case that has begun.
struct Case {
    result: OneResult,
    flaky: bool,
}

#[derive(Default)]
struct State {
    run: RunResults,
    /// Name of the suite, and what its properties say.
    suite: String,
    kernel: Option<String>,
    of_suite: Option<String>,
    case: Option<Case>,
    seen: bool,
}

/// The verdicts in this file.
pub(super) fn read(path: &Path, name: &str) -> Result<RunResults, CompareError> {
    let text = std::fs::read(path).map_err(|source| CompareError::Read {
        path: path.to_owned(),
        source,
    })?;
    let mut run = parse(&text).map_err(|why| CompareError::NotJunit {
        path: path.to_owned(),
        why,
    })?;
    name.clone_into(&mut run.name);
    Ok(run)
}

pub(super) fn parse(text: &[u8]) -> Result<RunResults, String> {
    let mut reader = Reader::from_reader(text);
    let mut state = State::default();
    let mut depth = 0_usize;
    loop {
        match reader.read_event().map_err(|error| error.to_string())? {
            Event::Start(element) => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err("its elements are nested too deeply".to_owned());
                }
                state.start(&element);
            }
            Event::Empty(element) => {
                state.start(&element);
                state.end(element.local_name().as_ref());
            }
            Event::End(element) => {
                depth = depth.saturating_sub(1);
                state.end(element.local_name().as_ref());
            }
            Event::Eof if depth > 0 => return Err("it ends in the middle".to_owned()),
            Event::Eof => break,
            _ => {}
        }
    }
    if !state.seen {
        return Err("it has no test suite".to_owned());
    }
    state.run.ended = true;
    Ok(state.run)
}

fn attribute(element: &BytesStart<'_>, name: &str) -> Option<String> {
    let found = element.try_get_attribute(name).ok()??;
    found
        .normalized_value(XmlVersion::Implicit1_0)
        .ok()
        .map(std::borrow::Cow::into_owned)
}

impl State {
    fn start(&mut self, element: &BytesStart<'_>) {
        match element.local_name().as_ref() {
            b"testsuites" => self.seen = true,
            b"testsuite" => {
                self.seen = true;
                self.suite = attribute(element, "name").unwrap_or_default();
                self.kernel = None;
                self.of_suite = None;
            }
            b"property" if self.case.is_none() => {
                let value = attribute(element, "value");
                match attribute(element, "name").as_deref() {
                    Some("kernel") => self.kernel = value,
                    Some("suite") => self.of_suite = value,
                    _ => {}
                }
            }
            b"testcase" => self.case = Some(self.new_case(element)),
            b"failure" => self.mark(element, Class::Fail),
            b"error" => self.mark(element, Class::Error),
            b"skipped" => self.mark(element, Class::Skip),
            b"flakyFailure" | b"flakyError" => {
                if let Some(case) = &mut self.case {
                    case.flaky = true;
                }
            }
            _ => {}
        }
    }

    fn new_case(&self, element: &BytesStart<'_>) -> Case {
        let name = attribute(element, "name").unwrap_or_default();
        let id = match (&self.kernel, attribute(element, "classname")) {
            // kiln's own: the class is kernel and suite.
            (Some(_), _) | (None, None) => name,
            (None, Some(class)) if class.is_empty() => name,
            (None, Some(class)) => format!("{class}.{name}"),
        };
        let seconds = attribute(element, "time").and_then(|time| time.trim().parse::<f64>().ok());
        let ms = seconds.unwrap_or_default().clamp(0.0, 1e12) * 1000.0;
        Case {
            result: OneResult {
                kernel: self.kernel.clone().unwrap_or_default(),
                suite: self.of_suite.clone().unwrap_or_else(|| self.suite.clone()),
                id,
                class: Class::Pass,
                #[allow(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "clamped"
                )]
                ms: ms as u64,
                reason: String::new(),
                source: None,
            },
            flaky: false,
        }
    }

    /// The worst of several counts.
    fn mark(&mut self, element: &BytesStart<'_>, class: Class) {
        let Some(case) = &mut self.case else {
            return;
        };
        let kind = attribute(element, "type").unwrap_or_default();
        let class = match (class, kind.as_str()) {
            (Class::Fail, "timeout") => Class::Timeout,
            (Class::Fail, "unexpected-pass") => Class::XPass,
            (Class::Error, "lost") => Class::Lost,
            (Class::Skip, kind) if kind.starts_with("known-") => Class::XFail,
            _ => class,
        };
        if case.result.class == Class::Pass || class.is_unexpected() {
            case.result.class = class;
            case.result.reason = attribute(element, "message").unwrap_or_default();
        }
    }

    fn end(&mut self, name: &[u8]) {
        if name == b"testcase"
            && let Some(Case { mut result, flaky }) = self.case.take()
        {
            if flaky && result.class == Class::Pass {
                result.class = Class::Flaky;
            }
            if !self.run.kernels.contains(&result.kernel) {
                self.run.kernels.push(result.kernel.clone());
            }
            self.run.results.push(result);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;
    use crate::report::junit;
    use crate::report::samples::{finished, history, started};
    use crate::run::event::Verdict;

    #[test]
    fn what_kiln_writes_has_its_verdicts_kernels_and_suites() {
        let history = history(&[
            started(&["5.10", "6.1"], 3),
            finished("5.10", "a.b <c>", Verdict::Pass, ""),
            finished("6.1", "a.b <c>", Verdict::Lost, "hung"),
            finished("6.1", "a.t", Verdict::Timeout, "slow"),
        ]);
        let run = parse(junit::text(&history).unwrap().as_bytes()).unwrap();
        let told: Vec<_> = run
            .results
            .iter()
            .map(|one| {
                (
                    one.kernel.as_str(),
                    one.suite.as_str(),
                    one.id.as_str(),
                    one.class,
                    one.ms,
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                ("5.10", "bpftrace", "a.b <c>", Class::Pass, 3100),
                ("6.1", "bpftrace", "a.b <c>", Class::Lost, 3100),
                ("6.1", "bpftrace", "a.t", Class::Timeout, 3100),
            ]
        );
        assert_eq!(run.results[1].reason, "hung");
    }

    #[test]
    fn another_tool_s_file_has_its_verdicts_under_no_kernel() {
        let text = r#"<?xml version="1.0"?><testsuites><testsuite name="unit">
            <testcase classname="m.T" name="a" time="0.5"/>
            <testcase classname="m.T" name="b" time="x"><failure message="no &lt;b&gt;">x</failure></testcase>
            <testcase name="c"><skipped/></testcase>
            <testcase name="d"><flakyFailure/></testcase>
            </testsuite></testsuites>"#;
        let run = parse(text.as_bytes()).unwrap();
        let told: Vec<_> = run
            .results
            .iter()
            .map(|one| (one.id.as_str(), one.class, one.ms))
            .collect();
        let expected = [
            ("m.T.a", Class::Pass, 500),
            ("m.T.b", Class::Fail, 0),
            ("c", Class::Skip, 0),
            ("d", Class::Flaky, 0),
        ];
        assert_eq!(told, expected);
        assert_eq!(run.results[1].reason, "no <b>");
    }

    #[test]
    fn what_is_no_junit_file_has_a_cause() {
        for (text, why) in [
            ("", "no test suite"),
            ("<html></html>", "no test suite"),
            ("<testsuite><testcase>", "in the middle"),
            ("not xml at all", "no test suite"),
        ] {
            let error = parse(text.as_bytes()).err().unwrap();
            assert!(error.contains(why), "{text:?}: {error}");
        }
        let deep = "<a>".repeat(100);
        assert!(parse(deep.as_bytes()).err().unwrap().contains("deeply"));
    }

    proptest! {
        #[test]
        fn any_file_is_read_or_refused(text in "(<(testsuite|testcase|failure|/testcase|/testsuite)( name=\"[a&;<]{0,3}\")?/?>|[a-z&<]){0,12}") {
            let _ = parse(text.as_bytes());
        }
    }
}
