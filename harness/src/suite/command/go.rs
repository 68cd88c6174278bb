//! What Go's test programs print with `-test.v`, and test2json's events.
//!
//! Sources: `go doc cmd/test2json`; src/testing/testing.go of Go 1.19 and 1.24.

use std::collections::{BTreeSet, HashMap};

use serde::Deserialize;

use super::results::{Case, MAX_CASES, Results, clip_line, without_colours};
use super::tail::Tail;
use crate::suite::{Location, Verdict};

/// Before each line of the protocol with `-test.v=test2json`.
const MARKER: char = '\u{16}';
/// What begins a result.
const RESULTS: [(&str, Verdict); 4] = [
    ("--- PASS: ", Verdict::Pass),
    ("--- FAIL: ", Verdict::Fail),
    ("--- SKIP: ", Verdict::Skip),
    ("--- BENCH: ", Verdict::Pass),
];

/// An event of test2json.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Event {
    action: String,
    #[serde(default)]
    package: String,
    #[serde(default)]
    test: Option<String>,
    #[serde(default)]
    elapsed: Option<f64>,
    #[serde(default)]
    output: String,
}

/// A test by its package, which is empty in plain output, and its name.
type Key = (String, String);

/// A test that has started.
struct Test {
    key: Key,
    details: Tail,
    /// Its last line that says where in the source it comes from.
    said: Option<(Location, String)>,
    ended: Option<(Verdict, Option<f64>)>,
}

struct Reader {
    results: Results,
    tests: Vec<Test>,
    places: HashMap<Key, usize>,
    /// Whose output comes next.
    current: Option<usize>,
    /// Whose result came last, and whose output may follow in old versions.
    last: Option<usize>,
    /// Packages that have ended, and whether they passed.
    ended: HashMap<String, bool>,
    packages: BTreeSet<String>,
    too_many: bool,
}

/// Reads what a command printed.
pub fn read_go(output: &[u8]) -> Results {
    let mut reader = Reader {
        results: Results::default(),
        tests: Vec::new(),
        places: HashMap::new(),
        current: None,
        last: None,
        ended: HashMap::new(),
        packages: BTreeSet::new(),
        too_many: false,
    };
    for line in output.split(|&byte| byte == b'\n') {
        let mut line = without_colours(line);
        let event = line.starts_with('{').then(|| serde_json::from_str(&line));
        if let Some(Ok(event)) = event {
            reader.event(event);
        } else {
            clip_line(&mut line);
            reader.line(line.trim_end());
        }
    }
    reader.finish()
}

impl Reader {
    fn line(&mut self, line: &str) {
        let line = line.trim_start_matches(MARKER);
        if let Some((verb, name)) = framed(line) {
            let key = (String::new(), name.to_owned());
            match verb {
                "RUN" => self.current = self.start(key, true),
                "CONT" | "NAME" => self.current = self.places.get(&key).copied(),
                _ => self.current = None,
            }
        } else if let Some((index, verdict, seconds, before)) = self.result(line) {
            if !before.trim().is_empty() {
                self.said(index, &before);
            }
            self.tests[index].ended = Some((verdict, seconds));
            self.current = None;
            self.last = Some(index);
        } else if line == "PASS" || line.starts_with("ok  \t") {
            self.ended.insert(String::new(), true);
        } else if line == "FAIL" || line.starts_with("FAIL\t") {
            self.ended.insert(String::new(), false);
        } else if let Some(index) = self.current {
            self.said(index, line);
        } else if line.starts_with("    ")
            && let Some(index) = self.last
        {
            self.said(index, line);
        }
    }

    /// The test that a line gives a result, and what stands before it: a test may print something
    /// without a newline. Then only a test that runs can have the result.
    fn result(&mut self, line: &str) -> Option<(usize, Verdict, Option<f64>, String)> {
        let found = RESULTS.iter().find_map(|(start, verdict)| {
            let at = line.rfind(start)?;
            Some((at, *verdict, &line[at + start.len()..]))
        });
        let (at, verdict, rest) = found?;
        let (name, time) = rest.rsplit_once(" (")?;
        let seconds = time.strip_suffix("s)")?.parse::<f64>().ok();
        let seconds = seconds.filter(|seconds| seconds.is_finite() && *seconds >= 0.0)?;
        if name.is_empty() {
            return None;
        }
        let before = &line[..at];
        let key = (String::new(), name.to_owned());
        let known = self.places.get(&key).copied();
        let runs = known.is_some_and(|index| self.tests[index].ended.is_none());
        let index = match known {
            Some(index) if runs => index,
            // Benchmarks, and every test without -test.v, have no line when they start.
            None if before.trim().is_empty() => self.start(key, true)?,
            _ => return None,
        };
        Some((index, verdict, Some(seconds), before.to_owned()))
    }

    fn event(&mut self, event: Event) {
        let package = event.package;
        self.packages.insert(package.clone());
        let Some(name) = event.test.filter(|name| !name.is_empty()) else {
            match event.action.as_str() {
                "pass" | "skip" => drop(self.ended.insert(package, true)),
                "fail" => drop(self.ended.insert(package, false)),
                _ => {}
            }
            return;
        };
        let Some(index) = self.start((package, name), event.action == "run") else {
            return;
        };
        let verdict = match event.action.as_str() {
            "pass" | "bench" => Verdict::Pass,
            "fail" => Verdict::Fail,
            "skip" => Verdict::Skip,
            "output" => {
                let line = event.output.trim_end();
                let is_framing = framed(line).is_some()
                    || RESULTS
                        .iter()
                        .any(|(start, _)| line.trim_start().starts_with(start));
                if !is_framing {
                    self.said(index, line);
                }
                return;
            }
            _ => return,
        };
        let seconds = event.elapsed.filter(|seconds| *seconds >= 0.0);
        let test = &mut self.tests[index];
        // A failure is never taken back.
        if test.ended.is_none() || verdict == Verdict::Fail {
            test.ended = Some((verdict, seconds));
        }
    }

    /// The test of this name, which starts now if it has not before. With -test.count each test
    /// starts `again`, several times.
    fn start(&mut self, key: Key, again: bool) -> Option<usize> {
        if let Some(&index) = self.places.get(&key)
            && (self.tests[index].ended.is_none() || !again)
        {
            return Some(index);
        }
        if self.tests.len() == MAX_CASES {
            self.too_many = true;
            return None;
        }
        // What ends after this counts.
        if key.0.is_empty() {
            self.ended.remove("");
        }
        let index = self.tests.len();
        self.places.insert(key.clone(), index);
        self.tests.push(Test {
            key,
            details: Tail::default(),
            said: None,
            ended: None,
        });
        Some(index)
    }

    fn said(&mut self, index: usize, line: &str) {
        let test = &mut self.tests[index];
        test.details.push(line.strip_prefix("    ").unwrap_or(line));
        if let Some(said) = log_line(line) {
            test.said = Some(said);
        }
    }

    fn finish(mut self) -> Results {
        let several = self.packages.len() > 1;
        let mut failed = BTreeSet::new();
        let mut unfinished = Vec::new();
        for mut test in std::mem::take(&mut self.tests) {
            let (package, name) = test.key;
            let name = if several {
                format!("{package}.{name}")
            } else {
                name
            };
            let Some((verdict, seconds)) = test.ended else {
                unfinished.push(name);
                continue;
            };
            if verdict == Verdict::Fail {
                failed.insert(package);
            }
            let (source, reason) = test.said.unzip();
            let tells = verdict != Verdict::Pass;
            self.results.add(Case {
                name,
                verdict,
                reason: reason.filter(|_| tells).unwrap_or_default(),
                details: test.details.take(),
                seconds,
                source: source.filter(|_| verdict == Verdict::Fail),
            });
        }
        self.judge(&failed, &unfinished);
        self.results.number_namesakes();
        self.results
    }

    /// Finds what is missing, or contradicts itself.
    fn judge(&mut self, failed: &BTreeSet<String>, unfinished: &[String]) {
        if self.too_many {
            let problem = format!("it reports more than {MAX_CASES} cases");
            self.results.problem(problem);
        }
        if let Some(name) = unfinished.first() {
            let more = match unfinished.len() {
                1 => String::new(),
                all => format!(" and {} others", all - 1),
            };
            self.results
                .problem(format!("there is no result of the test {name}{more}"));
        }
        let all = if self.packages.is_empty() {
            BTreeSet::from([String::new()])
        } else {
            self.packages.clone()
        };
        for package in all {
            let of = match package.as_str() {
                "" => "it".to_owned(),
                name => format!("package {name}"),
            };
            match self.ended.get(&package) {
                None => self.results.problem(format!(
                    "{of} ends without PASS or FAIL: the program must run with -test.v, and end \
                     by itself"
                )),
                Some(true) if failed.contains(&package) => self
                    .results
                    .failure(format!("{of} ends with PASS, though a test failed")),
                Some(false) if !failed.contains(&package) => self
                    .results
                    .failure(format!("{of} ends with FAIL, though no test failed")),
                Some(_) => {}
            }
        }
        if !self.packages.is_empty() && self.ended.get("") == Some(&false) {
            self.results.failure("a package could not be tested");
        }
        if self.results.cases.is_empty() && self.results.problems.is_empty() {
            self.results.skip = Some("it has no tests".to_owned());
        }
    }
}

/// `=== RUN   TestName`: what happens, and to which test.
fn framed(line: &str) -> Option<(&str, &str)> {
    let (verb, name) = line.strip_prefix("=== ")?.split_once(' ')?;
    let name = name.trim_start();
    let known = ["RUN", "PAUSE", "CONT", "NAME"].contains(&verb);
    (known && !name.is_empty()).then_some((verb, name))
}

/// `    file_test.go:12: words`, as `t.Log` prints it.
fn log_line(line: &str) -> Option<(Location, String)> {
    let (place, words) = line.trim_start().split_once(": ")?;
    let (file, line) = place.rsplit_once(':')?;
    let name = file.strip_suffix(".go");
    let is_file = name.is_some_and(|name| !name.contains(' '));
    let location = Location {
        file: file.to_owned(),
        line: line.parse().ok()?,
    };
    is_file.then(|| (location, words.to_owned()))
}

#[cfg(test)]
#[path = "go_tests.rs"]
mod tests;
