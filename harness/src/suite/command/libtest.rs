//! What Rust's test programs print: lines for people, or JSON.
//!
//! Source: library/test/src/formatters/pretty.rs and json.rs of Rust 1.95. Programs of libtest-mimic
//! print the same.

use std::collections::HashMap;

use serde::Deserialize;

use super::results::{Case, Results, clip_line, without_colours};
use super::tail::Tail;
use crate::suite::{Location, Verdict};

/// The counts of one `test result:` line, or of one suite's last event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Counts {
    passed: usize,
    failed: usize,
    ignored: usize,
    measured: usize,
}

/// One event of JSON.
#[derive(Debug, Deserialize)]
struct Event {
    #[serde(rename = "type")]
    about: String,
    #[serde(default, rename = "event")]
    what: String,
    #[serde(default)]
    name: String,
    /// Why it is ignored, or has failed.
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    stdout: Option<String>,
    #[serde(default)]
    exec_time: Option<f64>,
    #[serde(default)]
    test_count: Option<usize>,
    #[serde(flatten)]
    counts: Counts,
}

/// One program's tests, from `running N tests` to `test result:`.
struct Section {
    /// How many it says it runs.
    expected: usize,
    /// Index of its first case.
    first: usize,
    counts: Counts,
    /// A test that has started, while its output comes between its name and its result.
    pending: Option<String>,
    /// Whose output follows, after the results.
    details_of: Option<String>,
    details: Tail,
}

/// Reads what a command printed.
pub fn read_libtest(output: &[u8]) -> Results {
    let mut reader = Reader {
        results: Results::default(),
        section: None,
        sections: 0,
        ran: false,
    };
    for line in output.split(|&byte| byte == b'\n') {
        let mut line = without_colours(line);
        clip_line(&mut line);
        reader.line(line.trim_end());
    }
    reader.finish()
}

struct Reader {
    results: Results,
    section: Option<Section>,
    sections: usize,
    /// Whether any program said that it runs a test.
    ran: bool,
}

impl Reader {
    fn line(&mut self, line: &str) {
        // A test may have printed something without a newline before it.
        if let Some(at) = line.find("{ \"type\": \"")
            && let Ok(event) = serde_json::from_str::<Event>(&line[at..])
        {
            self.event(event);
            return;
        }
        if let Some(expected) = running(line) {
            self.begin(expected);
            return;
        }
        let Some(section) = &mut self.section else {
            return;
        };
        if let Some(counts) = summary(line) {
            self.end(counts);
        } else if let Some(name) = section.pending.take() {
            // Its own output ends where its result begins.
            match result_at_end(line) {
                Some(outcome) => self.case(&name, outcome),
                None => section.pending = Some(name),
            }
        } else if let Some((name, rest)) = test_line(line) {
            match Outcome::read(rest) {
                Some(outcome) => self.case(name, outcome),
                None => match result_at_end(rest) {
                    Some(outcome) => self.case(name, outcome),
                    None => section.pending = Some(name.to_owned()),
                },
            }
        } else if let Some(name) = details_of(line) {
            let name = name.to_owned();
            self.keep_details();
            if let Some(section) = &mut self.section {
                section.details_of = Some(name);
            }
        } else if line == "failures:" || line == "successes:" {
            self.keep_details();
        } else if section.details_of.is_some() {
            section.details.push(line);
        } else if let Some(name) = line.strip_prefix("    ") {
            let name = name.to_owned();
            self.failed(&name);
        }
    }

    /// A test of the list of failures. What it printed may have looked like another result.
    fn failed(&mut self, name: &str) {
        let Some(section) = &mut self.section else {
            return;
        };
        let own = self.results.cases.iter_mut().skip(section.first);
        let mut passed = own.filter(|case| case.name == name && case.verdict == Verdict::Pass);
        if let Some(case) = passed.next() {
            case.verdict = Verdict::Fail;
            section.counts.passed -= 1;
            section.counts.failed += 1;
        }
    }

    fn begin(&mut self, expected: usize) {
        self.cut_off();
        self.sections += 1;
        self.ran |= expected > 0;
        self.section = Some(Section {
            expected,
            first: self.results.cases.len(),
            counts: Counts::default(),
            pending: None,
            details_of: None,
            details: Tail::default(),
        });
    }

    fn case(&mut self, name: &str, outcome: Outcome) {
        let Some(section) = &mut self.section else {
            return;
        };
        match outcome.kind {
            Kind::Passed => section.counts.passed += 1,
            Kind::Failed => section.counts.failed += 1,
            Kind::Ignored => section.counts.ignored += 1,
            Kind::Measured => section.counts.measured += 1,
        }
        self.results.add(Case {
            name: name.to_owned(),
            verdict: match outcome.kind {
                Kind::Passed | Kind::Measured => Verdict::Pass,
                Kind::Failed => Verdict::Fail,
                Kind::Ignored => Verdict::Skip,
            },
            reason: outcome.reason,
            details: String::new(),
            seconds: outcome.seconds,
            source: None,
        });
    }

    /// Gives a case the output that has been collected for it.
    fn keep_details(&mut self) {
        let Some(section) = &mut self.section else {
            return;
        };
        let text = section.details.take();
        if let Some(name) = section.details_of.take() {
            let first = section.first;
            self.explain(first, &name, &text);
        }
    }

    fn explain(&mut self, first: usize, name: &str, text: &str) {
        let own = self.results.cases.iter_mut().skip(first);
        if let Some(case) = own.into_iter().find(|case| case.name == name) {
            text.trim().clone_into(&mut case.details);
            if case.verdict == Verdict::Fail {
                let (reason, source) = panic_of(text);
                if case.reason.is_empty() {
                    case.reason = reason;
                }
                case.source = source;
            }
        }
    }

    fn end(&mut self, counts: Counts) {
        self.keep_details();
        let Some(section) = self.section.take() else {
            return;
        };
        if let Some(name) = &section.pending {
            self.results
                .problem(format!("there is no result of the test {name}"));
        }
        if counts != section.counts {
            let problem = format!(
                "its last line counts {}, but it reports {}",
                shown(counts),
                shown(section.counts)
            );
            if counts.failed > section.counts.failed {
                self.results.failure(problem);
            } else {
                self.results.problem(problem);
            }
        }
        let all = counts.passed + counts.failed + counts.ignored + counts.measured;
        if all != section.expected {
            self.results.problem(format!(
                "it runs {} tests, and reports {all}",
                section.expected
            ));
        }
    }

    /// Ends a program whose last line has not come, if any.
    fn cut_off(&mut self) {
        self.keep_details();
        let Some(section) = self.section.take() else {
            return;
        };
        let seen = self.results.cases.len() - section.first;
        let mut problem = format!(
            "it ends after {seen} of {} tests, without their count",
            section.expected
        );
        if let Some(name) = &section.pending {
            problem = format!("{problem}, in the test {name}");
        }
        self.results.problem(problem);
    }

    fn event(&mut self, event: Event) {
        match (event.about.as_str(), event.what.as_str()) {
            ("suite", "started") => self.begin(event.test_count.unwrap_or_default()),
            ("suite", _) => self.end(event.counts),
            ("test", "started" | "timeout") if !event.name.is_empty() => {
                if let Some(section) = &mut self.section {
                    section.pending = Some(event.name);
                }
            }
            ("test" | "bench", _) if !event.name.is_empty() => {
                let kind = match (event.about.as_str(), event.what.as_str()) {
                    ("bench", _) => Kind::Measured,
                    (_, "ok") => Kind::Passed,
                    (_, "ignored") => Kind::Ignored,
                    _ => Kind::Failed,
                };
                let name = event.name;
                if let Some(section) = &mut self.section
                    && section.pending.as_ref() == Some(&name)
                {
                    section.pending = None;
                }
                let first = self.results.cases.len();
                self.case(
                    &name,
                    Outcome {
                        kind,
                        reason: event.message.unwrap_or_default(),
                        seconds: event.exec_time,
                    },
                );
                if let Some(text) = event.stdout {
                    let mut tail = Tail::default();
                    text.lines().for_each(|line| tail.push(line));
                    self.explain(first, &name, &tail.take());
                }
            }
            _ => {}
        }
    }

    fn finish(mut self) -> Results {
        self.cut_off();
        if self.sections == 0 {
            self.results
                .problem("it prints nothing of Rust's test programs, such as `running 3 tests`");
        } else if !self.ran && self.results.cases.is_empty() {
            self.results.skip = Some("it has no tests".to_owned());
        }
        self.results.number_namesakes();
        self.results
    }
}

/// `3 passed, 1 failed`.
fn shown(counts: Counts) -> String {
    let all = [
        (counts.passed, "passed"),
        (counts.failed, "failed"),
        (counts.ignored, "ignored"),
        (counts.measured, "measured"),
    ];
    let some = all.iter().filter(|(count, _)| *count > 0);
    let words: Vec<String> = some
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    if words.is_empty() {
        "no tests".to_owned()
    } else {
        words.join(", ")
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Passed,
    Failed,
    Ignored,
    Measured,
}

/// What stands after `test NAME ... `.
#[derive(Debug, PartialEq)]
struct Outcome {
    kind: Kind,
    reason: String,
    seconds: Option<f64>,
}

impl Outcome {
    fn read(text: &str) -> Option<Self> {
        let (text, seconds) = without_time(text);
        let plain = |kind| {
            Some(Self {
                kind,
                reason: String::new(),
                seconds,
            })
        };
        match text {
            "ok" => return plain(Kind::Passed),
            "FAILED" => return plain(Kind::Failed),
            "FAILED (time limit exceeded)" => {
                return Some(Self {
                    kind: Kind::Failed,
                    reason: "time limit exceeded".to_owned(),
                    seconds,
                });
            }
            "ignored" => return plain(Kind::Ignored),
            _ => {}
        }
        if let Some(reason) = text.strip_prefix("ignored, ") {
            return Some(Self {
                kind: Kind::Ignored,
                reason: reason.to_owned(),
                seconds,
            });
        }
        let bench = text.strip_prefix("bench:")?.trim();
        (bench.contains("ns/iter")).then(|| Self {
            kind: Kind::Measured,
            reason: bench.to_owned(),
            seconds,
        })
    }
}

/// Cuts off ` <0.003s>`, which `--report-time` adds.
fn without_time(text: &str) -> (&str, Option<f64>) {
    let read = || {
        let (before, time) = text.strip_suffix("s>")?.rsplit_once(" <")?;
        let seconds: f64 = time.parse().ok()?;
        (seconds.is_finite() && seconds >= 0.0).then_some((before, seconds))
    };
    read().map_or((text, None), |(text, seconds)| (text, Some(seconds)))
}

/// The result at the end of a line that begins with what the test printed without a newline.
fn result_at_end(line: &str) -> Option<Outcome> {
    let (text, seconds) = without_time(line);
    let kind = if text.ends_with("ok") {
        Kind::Passed
    } else if text.ends_with("FAILED") {
        Kind::Failed
    } else {
        return None;
    };
    Some(Outcome {
        kind,
        reason: String::new(),
        seconds,
    })
}

/// `running 3 tests`.
fn running(line: &str) -> Option<usize> {
    let rest = line.strip_prefix("running ")?;
    let count = rest
        .strip_suffix(" tests")
        .or_else(|| rest.strip_suffix(" test"))?;
    count.parse().ok()
}

/// The name and what follows it in `test NAME ... ok`.
fn test_line(line: &str) -> Option<(&str, &str)> {
    let (name, rest) = line.strip_prefix("test ")?.split_once(" ...")?;
    let name = name.trim_end();
    let name = name.strip_suffix(" - should panic").unwrap_or(name);
    (!name.is_empty()).then(|| (name, rest.trim_start()))
}

/// The name in `---- NAME stdout ----`.
fn details_of(line: &str) -> Option<&str> {
    let name = line.strip_prefix("---- ")?.strip_suffix(" ----")?;
    let name = name.strip_suffix(" stdout").unwrap_or(name);
    Some(name.strip_suffix(" - should panic").unwrap_or(name))
}

/// The counts of `test result: ok. 3 passed; 0 failed; …`.
fn summary(line: &str) -> Option<Counts> {
    let rest = line.strip_prefix("test result: ")?;
    let (_, counts) = rest.split_once(". ")?;
    let counts: HashMap<&str, usize> = counts
        .split("; ")
        .filter_map(|part| {
            let (count, word) = part.split_once(' ')?;
            Some((word, count.parse().ok()?))
        })
        .collect();
    let count = |word| counts.get(word).copied();
    Some(Counts {
        passed: count("passed")?,
        failed: count("failed")?,
        ignored: count("ignored").unwrap_or_default(),
        measured: count("measured").unwrap_or_default(),
    })
}

/// What a panic says, and where it is; else the first line that says something.
fn panic_of(text: &str) -> (String, Option<Location>) {
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if !line.starts_with("thread ") {
            continue;
        }
        let Some((_, place)) = line.split_once(" panicked at ") else {
            continue;
        };
        // Up to Rust 1.72: panicked at 'why', src/lib.rs:5:9
        if let Some((reason, place)) = place
            .strip_prefix('\'')
            .and_then(|at| at.rsplit_once("', "))
        {
            return (reason.to_owned(), location(place));
        }
        let reason = lines.next().unwrap_or_default();
        return (reason.to_owned(), location(place.trim_end_matches(':')));
    }
    let first = text.lines().map(str::trim).find(|line| !line.is_empty());
    (first.unwrap_or_default().to_owned(), None)
}

/// `FILE:LINE:COLUMN`.
fn location(place: &str) -> Option<Location> {
    let (rest, _column) = place.rsplit_once(':')?;
    let (file, line) = rest.rsplit_once(':')?;
    Some(Location {
        file: file.to_owned(),
        line: line.parse().ok()?,
    })
}

#[cfg(test)]
#[path = "libtest_tests.rs"]
mod tests;
