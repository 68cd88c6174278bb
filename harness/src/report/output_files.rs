//! One file for each test that needs attention, with everything known about it.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::history::{History, Outcome};
use super::interface::{Report, ReportError};
use super::words::report_kind;
use super::{escape, reproduce};
use crate::run::dir::RunDir;
use crate::run::event::{Event, Record, TestResult, Verdict};

/// Characters of a test's id in the name of its file: a file name has at most 255 bytes, and
/// several tests may share the beginning.
const MAX_NAME: usize = 120;

/// Writes the files below `output/` in a run directory, with each verdict.
pub struct OutputFiles {
    dir: RunDir,
    written: BTreeSet<String>,
}

impl OutputFiles {
    /// For the run of this directory.
    pub fn new(dir: RunDir) -> Self {
        Self {
            dir,
            written: BTreeSet::new(),
        }
    }
}

impl Report for OutputFiles {
    fn record(&mut self, record: &Record, history: &History) -> Result<(), ReportError> {
        if let (Event::TestFinished(_), Some(outcome)) = (&record.event, history.outcomes.last())
            && outcome.is_unexpected()
        {
            let path = self.dir.output().join(self.free_name(&outcome.result));
            let contents = contents(history, outcome);
            self.dir.write(&path, contents.as_bytes())?;
        }
        Ok(())
    }

    fn finish(&mut self, _history: &History) -> Result<(), ReportError> {
        Ok(())
    }
}

impl OutputFiles {
    /// `KERNEL/ID.txt`, with a number if that is taken.
    fn free_name(&mut self, result: &TestResult) -> String {
        let stem = stem(result);
        let mut name = format!("{stem}.txt");
        let mut count = 1;
        while !self.written.insert(name.clone()) {
            count += 1;
            name = format!("{stem}.{count}.txt");
        }
        name
    }
}

/// The path of a test's file in a run directory, unless another test of that name was first.
pub(super) fn usual_place(result: &TestResult) -> String {
    format!("output/{}.txt", stem(result))
}

fn stem(result: &TestResult) -> String {
    format!("{}/{}", file_name(&result.kernel), file_name(&result.id))
}

/// A file name of letters, digits and other characters that are safe for shells and file systems.
fn file_name(text: &str) -> String {
    let name: String = text
        .chars()
        .take(MAX_NAME)
        .map(|c| match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '_' | '-' | '+' => c,
            _ => '_',
        })
        .collect();
    // No hidden file, no `..`.
    if name.starts_with('.') || name.is_empty() {
        format!("_{name}")
    } else {
        name
    }
}

fn contents(history: &History, outcome: &Outcome) -> String {
    let result = &outcome.result;
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(text, "test:     {}", escape::line(&result.id));
    let _ = writeln!(text, "kernel:   {}", escape::line(&result.kernel));
    let _ = writeln!(text, "verdict:  {}", result.verdict);
    if let Some(reason) = &result.reason {
        let _ = writeln!(text, "reason:   {}", escape::line(reason));
    }
    if let Some(source) = &result.source {
        let file = escape::line(&source.file);
        let _ = writeln!(text, "stands:   {file}:{}", source.line);
    }
    let again = reproduce::line(history, outcome);
    let _ = writeln!(text, "again:    {}", escape::line(&again));
    for attempt in outcome.attempts.iter().chain([result]) {
        if !outcome.attempts.is_empty() {
            let _ = writeln!(
                text,
                "\n== attempt {}: {}",
                attempt.attempt, attempt.verdict
            );
        }
        let details = match attempt.verdict {
            Verdict::Lost => "how the VM was lost",
            _ => "what was expected and found",
        };
        section(&mut text, details, &attempt.details);
        section(&mut text, "what the test printed", &attempt.output);
        section(&mut text, "the console while it ran", &attempt.console);
    }
    for report in outcome.reports_beside_details() {
        let title = format!(
            "the kernel reported: {}",
            escape::line(&report_kind(report))
        );
        section(&mut text, &title, &report.text);
    }
    text
}

fn section(text: &mut String, title: &str, body: &str) {
    if body.trim().is_empty() {
        return;
    }
    let _ = writeln!(text, "\n-- {title}\n{}", escape::block(body.trim_end()));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;

    use super::*;
    use crate::report::samples::{at, finished, started, with_texts};
    use crate::run::event::KernelReport;

    fn written(records: &[Record]) -> (tempfile::TempDir, Vec<String>) {
        let parent = tempfile::tempdir().unwrap();
        let dir = RunDir::create(Some(parent.path()), parent.path()).unwrap();
        let mut files = OutputFiles::new(dir.clone());
        let mut history = History::default();
        for record in records {
            history.observe(record);
            files.record(record, &history).unwrap();
        }
        files.finish(&history).unwrap();
        let mut names: Vec<String> = walkdir::WalkDir::new(dir.output())
            .into_iter()
            .flatten()
            .filter(|entry| entry.file_type().is_file())
            .map(|entry| {
                let name = entry.path().strip_prefix(dir.output()).unwrap();
                name.to_str().unwrap().to_owned()
            })
            .collect();
        names.sort();
        (parent, names)
    }

    #[test]
    fn each_failing_test_has_a_file_and_no_other() {
        let report = Event::KernelReport(KernelReport {
            kernel: "6.1".into(),
            vm: 0,
            kind: "warning".into(),
            fails: false,
            allowed: None,
            denied: None,
            test: Some("a.fail".into()),
            text: "WARNING: CPU: 0 PID: 1".into(),
        });
        let fail = finished("6.1", "a.fail", Verdict::Fail, "exit status 1");
        let (parent, names) = written(&[
            started(&["6.1"], 2),
            at(4000, report),
            with_texts(fail, "said \x1b[31m", "expected: x"),
            finished("6.1", "a.pass", Verdict::Pass, ""),
        ]);
        assert_eq!(names, ["6.1/a.fail.txt"]);
        let text = fs::read_to_string(parent.path().join("output/6.1/a.fail.txt")).unwrap();
        for part in [
            "test:     a.fail\n",
            "verdict:  fail\n",
            "reason:   exit status 1\n",
            "again:    kiln run -k 6.1 -t '^a\\.fail$' bpftrace\n",
            "-- what was expected and found\nexpected: x\n",
            "-- what the test printed\nsaid \\x1b[31m\n",
            "-- the kernel reported: warning\nWARNING: CPU: 0 PID: 1\n",
        ] {
            assert!(text.contains(part), "{part:?} is not in:\n{text}");
        }
    }

    #[test]
    fn a_test_that_lost_its_vm_has_the_evidence_once() {
        let report = Event::KernelReport(KernelReport {
            kernel: "6.1".into(),
            vm: 0,
            kind: "panic".into(),
            fails: false,
            allowed: None,
            denied: None,
            test: Some("a.lost".into()),
            text: "[1.0] Kernel panic\n[1.1] Call Trace:".into(),
        });
        let lost = finished("6.1", "a.lost", Verdict::Lost, "the guest panicked");
        let evidence = "  QMP status: guest-panicked\n  the console's last lines:\n    \
             \x1b[31m\n    [1.0] Kernel panic\n    [1.1] Call Trace:";
        let (parent, _) = written(&[
            started(&["6.1"], 1),
            at(4000, report),
            with_texts(lost, "", evidence),
        ]);
        let text = fs::read_to_string(parent.path().join("output/6.1/a.lost.txt")).unwrap();
        let end = "-- how the VM was lost\n  QMP status: guest-panicked\n  \
             the console's last lines:\n    \\x1b[31m\n    [1.0] Kernel panic\n    \
             [1.1] Call Trace:\n";
        assert!(text.ends_with(end), "{text}");
    }

    #[test]
    fn no_name_leaves_the_directory_or_takes_another_s_place() {
        let names = [
            "../../etc/x",
            "..",
            ".",
            "a/b",
            "a b",
            &"\u{e4}".repeat(500),
        ];
        let mut records = vec![started(&["../x"], names.len())];
        for name in names {
            records.push(finished("../x", name, Verdict::Fail, ""));
        }
        let (parent, found) = written(&records);
        assert_eq!(found.len(), names.len());
        assert!(found.contains(&"_.._x/a_b.2.txt".to_owned()), "{found:?}");
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 1);
    }
}
