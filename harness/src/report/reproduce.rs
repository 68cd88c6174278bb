//! The command that runs one test again.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::escape;
use super::history::{History, Outcome};

/// A shell command that runs this test on this kernel again, with the relevant options of the run.
///
/// For any names of tests and kernels it is one line without control characters, and a shell reads
/// each name as one word.
pub(super) fn line(history: &History, outcome: &Outcome) -> String {
    let again = Again::new(history);
    format!(
        "{} -k {} -t {} {}",
        again.program(),
        word(&outcome.result.kernel),
        filter_word(outcome.runs_as()),
        again.suite(&outcome.result.suite)
    )
}

/// The parts of such a command that its test does not change.
pub(super) struct Again<'h> {
    history: &'h History,
    program: Vec<&'h str>,
    options: &'h [String],
}

impl<'h> Again<'h> {
    /// Of this run.
    pub(super) fn new(history: &'h History) -> Self {
        let (program, options) = match history.start.again.as_slice() {
            [program, command, options @ ..] => (vec![program.as_str(), command], options),
            _ => (vec!["kiln", "run"], [].as_slice()),
        };
        Self {
            history,
            program,
            options,
        }
    }

    /// The beginning: `kiln run`.
    pub(super) fn program(&self) -> String {
        command_line(&self.program)
    }

    /// The end: the options, and the suite, since others may have a test of the same name.
    pub(super) fn suite(&self, suite: &str) -> String {
        let options = options_for(self.history, suite, self.options);
        let words = options.map(|word| self.history.short_word(word));
        let words: Vec<_> = words.chain([Cow::Borrowed(suite)]).collect();
        command_line(&words)
    }
}

/// A word of a command.
pub(super) fn word(text: &str) -> String {
    quote(text)
}

/// A filter that selects only this test, as a word of a command.
pub(super) fn filter_word(id: &str) -> String {
    quote(&filter(id))
}

/// The options without those that are about other suites only: kiln refuses them
/// where no suite has a use for them. Each begins with two dashes, and a value
/// that is a word of its own does not.
fn options_for<'o>(
    history: &'o History,
    suite: &'o str,
    options: &'o [String],
) -> impl Iterator<Item = &'o String> {
    let mut left_out = false;
    options.iter().filter(move |word| {
        if word.starts_with("--") {
            let option = word.split('=').next().unwrap_or(word);
            left_out = history.is_of_others(option, suite);
        }
        !left_out
    })
}

/// A command in shell syntax.
pub(super) fn command_line<S: AsRef<str>>(words: &[S]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| quote(word.as_ref())).collect();
    quoted.join(" ")
}

/// A filter that selects only this id.
fn filter(id: &str) -> String {
    let mut filter = String::from("^");
    for c in id.chars() {
        // Escape colons, which separate patterns, and invisible characters, which cannot be copied.
        if c == ':' || escape::is_unsafe(c) {
            filter.push_str(&code_point(c));
        } else {
            if r"\.+*?()|[]{}^$".contains(c) {
                filter.push('\\');
            }
            filter.push(c);
        }
    }
    filter.push('$');
    filter
}

/// In the syntax of Python's `re`.
fn code_point(c: char) -> String {
    match u32::from(c) {
        low @ ..=0xff => format!("\\x{low:02x}"),
        middle @ ..=0xffff => format!("\\u{middle:04x}"),
        high => format!("\\U{high:08x}"),
    }
}

/// One word of a command line, quoted if a shell needs it.
fn quote(word: &str) -> String {
    // No argument contains a NUL, which shlex refuses.
    let word = word.replace('\0', "");
    if matches!(escape::line(&word), Cow::Borrowed(_)) {
        // shlex knows which words need quotes. Its own quotes change in mid-word for the sake of
        // shells other than POSIX's, and are hard to read.
        return match shlex::try_quote(&word) {
            Ok(Cow::Borrowed(plain)) => plain.to_owned(),
            _ => format!("'{}'", word.replace('\'', r"'\''")),
        };
    }
    // Invisible characters are written in the syntax of bash, ksh and zsh.
    let mut quoted = String::from("$'");
    for c in word.chars() {
        // A number sign may begin a CI service's command.
        if escape::is_unsafe(c) || c == '#' {
            // By bytes: there `\xNN` is a byte, not a character.
            for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                // Writing to a string cannot fail.
                let _ = write!(quoted, "\\{byte:03o}");
            }
        } else {
            if matches!(c, '\'' | '\\') {
                quoted.push('\\');
            }
            quoted.push(c);
        }
    }
    quoted.push('\'');
    quoted
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::process::Command;

    use proptest::prelude::*;

    use super::*;
    use crate::report::samples::{finished, history, started};
    use crate::run::event::{Event, Record, SuiteReady, Verdict};
    use crate::suite::{Filter, TestId};

    fn line_of(again: &[&str], kernel: &str, id: &str) -> String {
        let mut start = started(&[kernel], 1);
        if let Event::RunStarted(start) = &mut start.event {
            start.again = again.iter().map(|word| (*word).to_owned()).collect();
        }
        let history = history(&[start, finished(kernel, id, Verdict::Fail, "")]);
        line(&history, &history.outcomes[0])
    }

    #[test]
    fn the_line_has_the_options_of_the_run() {
        assert_eq!(
            line_of(
                &["./kiln", "run", "--tests", "my tests"],
                "6.1",
                "call.it's a:b"
            ),
            r"./kiln run -k 6.1 -t '^call\.it'\''s a\x3ab$' --tests 'my tests' bpftrace"
        );
        assert_eq!(
            line_of(&[], "../linux", "builtin.cpu"),
            r"kiln run -k ../linux -t '^builtin\.cpu$' bpftrace"
        );
    }

    #[test]
    fn options_of_one_kind_of_suite_are_left_out_for_another() {
        let ready = |suite: &str, options: &[&str]| SuiteReady {
            suite: suite.to_owned(),
            subject: String::new(),
            version: None,
            dialect: None,
            options: options.iter().map(ToString::to_string).collect(),
        };
        let mut history = history(&[started(&["6.1"], 1)]);
        history.suites = vec![
            ready("bpftrace", &["--bpftrace", "--aot", "--dialect"]),
            ready("aot", &["--aot"]),
            ready("commands", &[]),
        ];
        let options = ["--bpftrace", "b", "--aot", "--dialect=0.23", "--rw", "r"];
        let options = options.map(str::to_owned);
        let kept = |suite| -> Vec<&String> { options_for(&history, suite, &options).collect() };
        assert_eq!(kept("bpftrace").len(), 6);
        assert_eq!(kept("aot"), ["--aot", "--rw", "r"]);
        assert_eq!(kept("commands"), ["--rw", "r"]);
    }

    #[test]
    fn a_run_that_does_not_say_whose_its_options_are_keeps_them() {
        let old = r#"{"at_ms":0,"event":"suite_ready","suite":"s","subject":"x"}"#;
        let history = history(&[Record::from_json(old.as_bytes()).unwrap()]);
        let options = ["--bpftrace", "b"].map(str::to_owned);
        assert_eq!(options_for(&history, "s", &options).count(), 2);
    }

    #[test]
    fn a_path_below_the_working_directory_stays_a_path() {
        let mut start = started(&["6.1"], 1);
        if let Event::RunStarted(start) = &mut start.event {
            start.again = [
                "kiln",
                "run",
                "--qemu",
                "/home/me/qemu",
                "--package",
                "/home/me/nix#x",
            ]
            .map(str::to_owned)
            .to_vec();
            "/home/me".clone_into(&mut start.cwd);
        }
        let history = history(&[start, finished("6.1", "a.b", Verdict::Fail, "")]);
        assert_eq!(
            line(&history, &history.outcomes[0]),
            r"kiln run -k 6.1 -t '^a\.b$' --qemu ./qemu --package './nix#x' bpftrace"
        );
    }

    #[test]
    fn a_case_is_run_as_the_command_that_reported_it() {
        let mut record = finished("6.1", "a.b.case 1", Verdict::Fail, "");
        if let Event::TestFinished(result) = &mut record.event {
            result.case_of = Some("a.b".into());
        }
        let history = history(&[started(&["6.1"], 1), record]);
        assert_eq!(
            line(&history, &history.outcomes[0]),
            r"kiln run -k 6.1 -t '^a\.b$' bpftrace"
        );
    }

    /// The words into which a shell splits a line.
    fn words(line: &str) -> Vec<String> {
        let output = Command::new("bash")
            .args(["-c", &format!("printf '%s\\0' {line}")])
            .env("LC_ALL", "C.UTF-8")
            .output()
            .unwrap();
        assert!(output.status.success(), "{line}: {output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let words = text.split_terminator('\0');
        words.map(str::to_owned).collect()
    }

    #[test]
    fn a_shell_takes_hostile_names_for_words() {
        for name in [
            "$(touch /tmp/x) `id` \"\\\" '",
            "a\nb\tc\x1b[31m1",
            "\u{202e}abc",
            "a\\",
            "!! ~ * {a,b} \u{e4} # ; & | < > =",
            "",
        ] {
            assert_eq!(words(&quote(name)), [name], "{name:?}");
        }
    }

    proptest! {
        // Each starts a shell.
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn the_filter_selects_that_test_and_no_other(kernel in "[^\0]{1,9}", name in "[^\0]{0,20}") {
            let id = TestId::new("suite", &name);
            let line = line_of(&[], &kernel, &id.to_string());
            prop_assert!(!line.contains(escape::is_unsafe), "{}", line);
            let words = words(&line);
            prop_assert_eq!(words.len(), 7, "{}", line);
            prop_assert_eq!(&words[3], &kernel);
            let filter = Filter::new(&[&words[5]]).unwrap();
            prop_assert!(filter.selects(&id), "{}", line);
            prop_assert!(!filter.selects(&TestId::new("xsuite", &name)), "{}", line);
            prop_assert!(!filter.selects(&TestId::new("suite", name + "x")), "{}", line);
        }
    }
}
