//! The verdicts of one run of many, without its texts: fast to read, small to keep.

use std::borrow::Cow;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::class::Class;
use super::history::History;
use crate::run::event::{KernelReady, KnownResult, RunStarted, SCHEMA, SuiteReady, Verdict};
use crate::run::event_log::{EVENTS, EventLogError};

/// A verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OneResult {
    pub(super) kernel: String,
    pub(super) suite: String,
    /// `suite.name`.
    pub(super) id: String,
    pub(super) class: Class,
    pub(super) ms: u64,
    pub(super) reason: String,
    /// File and line where it stands.
    pub(super) source: Option<(String, usize)>,
}

/// The verdicts of a run.
#[derive(Debug, Clone, Default)]
pub(super) struct RunResults {
    /// How the user knows it.
    pub(super) name: String,
    pub(super) started: DateTime<Utc>,
    /// Names of kernels, in the order of the run.
    pub(super) kernels: Vec<String>,
    /// What booted.
    pub(super) images: Vec<KernelReady>,
    pub(super) suites: Vec<SuiteReady>,
    pub(super) results: Vec<OneResult>,
    /// Tests without a verdict.
    pub(super) missing: usize,
    /// It has an end.
    pub(super) ended: bool,
    /// A line is not an event; the rest was not read.
    pub(super) damaged: Option<usize>,
}

/// The fields of `test_finished` that count here.
#[derive(Deserialize)]
struct Finished<'l> {
    #[serde(borrow)]
    kernel: Cow<'l, str>,
    #[serde(borrow)]
    suite: Cow<'l, str>,
    #[serde(borrow)]
    id: Cow<'l, str>,
    #[serde(borrow, default)]
    case_of: Option<Cow<'l, str>>,
    #[serde(default)]
    source: Option<Place>,
    verdict: Verdict,
    #[serde(borrow, default)]
    reason: Option<Cow<'l, str>>,
    #[serde(default)]
    flaky: bool,
    #[serde(default)]
    known: Option<KnownOnly>,
    duration_ms: u64,
}

#[derive(Deserialize)]
struct Place {
    file: String,
    line: usize,
}

#[derive(Deserialize)]
struct KnownOnly {
    result: KnownResult,
}

/// Which event a line is.
#[derive(Deserialize)]
struct Head<'l> {
    #[serde(borrow)]
    event: Cow<'l, str>,
}

/// Bytes at the start of a line in which kiln writes what event it is.
const HEAD: usize = 64;

/// Which event a line is; most lines need not be parsed for that.
fn event_of(line: &[u8]) -> Option<Cow<'_, str>> {
    const KEY: &[u8] = b"\"event\":\"";
    // Not behind a text, which could contain the key.
    let head = &line[..line.len().min(HEAD)];
    if head.starts_with(b"{\"at_ms\":")
        && let Some(at) = memchr::memmem::find(head, KEY)
        && head[9..at]
            .iter()
            .all(|byte| byte.is_ascii_digit() || *byte == b',')
        && let Some(length) = head[at + KEY.len()..].iter().position(|byte| *byte == b'"')
    {
        let word = &head[at + KEY.len()..at + KEY.len() + length];
        return std::str::from_utf8(word).ok().map(Cow::Borrowed);
    }
    serde_json::from_slice::<Head<'_>>(line)
        .ok()
        .map(|head| head.event)
}

impl RunResults {
    /// Reads those verdicts of the run in this directory whose suite and id `wanted` takes.
    ///
    /// # Errors
    ///
    /// If there is no run, or this kiln cannot read its version of events.
    pub(super) fn read(
        dir: &Path,
        name: &str,
        wanted: impl Fn(&str, &str) -> bool,
    ) -> Result<Self, EventLogError> {
        let path = dir.join(EVENTS);
        let failed = |source: std::io::Error| match source.kind() {
            std::io::ErrorKind::NotFound if dir.is_dir() => EventLogError::NoRun {
                dir: dir.to_owned(),
            },
            _ => EventLogError::Read {
                path: path.clone(),
                source,
            },
        };
        let file = File::open(&path).map_err(failed)?;
        let mut reader = BufReader::with_capacity(1 << 18, file);
        let mut line = Vec::new();
        reader.read_until(b'\n', &mut line).map_err(failed)?;
        let mut run = Self::started(&line, &path)?;
        name.clone_into(&mut run.name);
        let mut number = 1;
        let mut finished = 0_usize;
        let mut planned_cases = 0_usize;
        loop {
            line.clear();
            number += 1;
            reader.read_until(b'\n', &mut line).map_err(failed)?;
            if !line.ends_with(b"\n") {
                break;
            }
            let taken = match event_of(&line).as_deref() {
                None => Err(()),
                Some("test_finished") => run.finished(&line, &wanted).map(|case| {
                    finished += 1;
                    planned_cases += usize::from(case);
                }),
                Some("kernel_ready") => read(&line).map(|image| run.images.push(image)),
                Some("suite_ready") => read(&line).map(|suite| run.suites.push(suite)),
                Some("run_finished") => {
                    run.ended = true;
                    Ok(())
                }
                Some(_) => Ok(()),
            };
            if taken.is_err() {
                run.damaged = Some(number);
                break;
            }
        }
        run.missing = run.missing.saturating_sub(finished - planned_cases);
        Ok(run)
    }

    /// The verdicts of a run that has been read.
    pub(super) fn of(history: &History, name: &str) -> Self {
        let start = &history.start;
        let started = DateTime::parse_from_rfc3339(&start.started_at).unwrap_or_default();
        Self {
            name: name.to_owned(),
            started: started.to_utc(),
            kernels: start
                .kernels
                .iter()
                .map(|kernel| kernel.name.clone())
                .collect(),
            images: history.images.clone(),
            suites: history.suites.clone(),
            results: history
                .outcomes
                .iter()
                .map(|outcome| {
                    let one = &outcome.result;
                    let source = one.source.as_ref();
                    OneResult {
                        kernel: one.kernel.clone(),
                        suite: one.suite.clone(),
                        id: one.id.clone(),
                        class: Class::of(one),
                        ms: one.duration_ms,
                        reason: one.reason.clone().unwrap_or_default(),
                        source: source.map(|source| (source.file.clone(), source.line)),
                    }
                })
                .collect(),
            missing: history.tally.missing(),
            ended: history.exit_code.is_some(),
            damaged: None,
        }
    }

    fn started(line: &[u8], path: &Path) -> Result<Self, EventLogError> {
        let no_start = || EventLogError::NoStart {
            path: path.to_owned(),
        };
        // Check this before the rest: another version may have other fields.
        let schema = serde_json::from_slice::<serde_json::Value>(line).ok();
        let schema = schema.as_ref().and_then(|start| start.get("schema"));
        match schema {
            None => return Err(no_start()),
            Some(found) if *found != SCHEMA => {
                return Err(EventLogError::Schema {
                    path: path.to_owned(),
                    found: found.to_string(),
                });
            }
            Some(_) => {}
        }
        let start: RunStarted = serde_json::from_slice(line).map_err(|_| no_start())?;
        if event_of(line).as_deref() != Some("run_started") {
            return Err(no_start());
        }
        let started = DateTime::parse_from_rfc3339(&start.started_at).unwrap_or_default();
        Ok(Self {
            started: started.to_utc(),
            missing: start
                .kernels
                .iter()
                .fold(0, |sum, kernel| kernel.tests.saturating_add(sum)),
            kernels: start
                .kernels
                .into_iter()
                .map(|kernel| kernel.name)
                .collect(),
            ..Self::default()
        })
    }

    /// Takes a verdict; true for a case, which was not planned.
    fn finished(&mut self, line: &[u8], wanted: impl Fn(&str, &str) -> bool) -> Result<bool, ()> {
        let one: Finished<'_> = read(line)?;
        if wanted(&one.suite, &one.id) {
            self.results.push(OneResult {
                kernel: one.kernel.into_owned(),
                suite: one.suite.into_owned(),
                id: one.id.into_owned(),
                class: Class::given(one.verdict, one.known.map(|known| known.result), one.flaky),
                ms: one.duration_ms,
                reason: one.reason.map_or_else(String::new, Cow::into_owned),
                source: one.source.map(|source| (source.file, source.line)),
            });
        }
        Ok(one.case_of.is_some())
    }

    /// What a reader must know of it.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if let Some(line) = self.damaged {
            notes.push(format!(
                "{}: line {line} of events.jsonl is damaged; only what stands before it counts",
                self.name
            ));
        } else if !self.ended {
            notes.push(format!("{}: the run is not over, or was killed", self.name));
        }
        if self.missing > 0 {
            let missing = super::words::counted(self.missing, "planned test");
            notes.push(format!("{}: {missing} did not run", self.name));
        }
        notes
    }
}

fn read<'l, T: Deserialize<'l>>(line: &'l [u8]) -> Result<T, ()> {
    serde_json::from_slice(line).map_err(drop)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;

    use proptest::prelude::*;

    use super::*;
    use crate::report::samples::{finished, started, with_texts};

    #[test]
    fn the_name_of_an_event_is_not_taken_from_a_text() {
        for (line, event) in [
            (
                r#"{"at_ms":1,"event":"warning","message":"x"}"#,
                Some("warning"),
            ),
            (
                r#"{"message":"\"event\":\"test_finished\"","event":"warning","at_ms":1}"#,
                Some("warning"),
            ),
            (
                r#"{"at_ms":1,"message":"a","event":"warning"}"#,
                Some("warning"),
            ),
            (r#"{"at_ms":1,"event":"warning"#, None),
            ("half of", None),
        ] {
            assert_eq!(event_of(line.as_bytes()).as_deref(), event, "{line}");
        }
    }

    #[test]
    fn a_damaged_line_ends_what_counts() {
        let dir = tempfile::tempdir().unwrap();
        let mut text = Vec::new();
        for record in [
            started(&["6.1"], 3),
            with_texts(
                finished("6.1", "a.b", Verdict::Fail, "no"),
                "said",
                "judged",
            ),
            finished("6.1", "a.c", Verdict::Pass, ""),
        ] {
            text.extend(record.to_json_line().unwrap());
        }
        fs::write(dir.path().join(EVENTS), &text).unwrap();
        let read = || RunResults::read(dir.path(), "run", |_, id| id != "a.c").unwrap();
        let run = read();
        assert_eq!((run.results.len(), run.missing, run.damaged), (1, 1, None));
        assert_eq!(
            (run.results[0].class, run.results[0].reason.as_str()),
            (Class::Fail, "no")
        );
        text.extend(b"{\"at_ms\":1,\"event\":\"test_finished\"}\n");
        fs::write(dir.path().join(EVENTS), &text).unwrap();
        assert_eq!(read().damaged, Some(4));
    }

    proptest! {
        #[test]
        fn any_bytes_are_no_run_or_a_damaged_one(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let dir = tempfile::tempdir().unwrap();
            let mut text = started(&["6.1"], 1).to_json_line().unwrap();
            text.extend(&bytes);
            fs::write(dir.path().join(EVENTS), &text).unwrap();
            prop_assert!(RunResults::read(dir.path(), "run", |_, _| true).is_ok());
            fs::write(dir.path().join(EVENTS), &bytes).unwrap();
            prop_assert!(RunResults::read(dir.path(), "run", |_, _| true).is_err());
        }
    }
}
