//! Failures with one cause: their messages without what differs from test to test.

use std::collections::HashMap;

use super::class::Class;
use super::escape;
use super::history::Outcome;
use crate::run::event::TestResult;

/// Characters of a message that count.
const MAX_MESSAGE: usize = 300;
/// Characters of the evidence that count.
const MAX_EVIDENCE: usize = 10_000;
/// Digits that make a word an address even without `0x`.
const ADDRESS: usize = 8;

/// Failures of one kind with the same message.
#[derive(Debug)]
pub(super) struct Cause<'h> {
    /// What all of them are.
    pub(super) class: Class,
    /// Their message, with `N` for numbers and `PATH` for paths.
    pub(super) message: String,
    /// In the order given.
    pub(super) outcomes: Vec<&'h Outcome>,
}

/// Groups failures by their messages, the largest group first.
pub(super) fn causes<'h>(outcomes: impl Iterator<Item = &'h Outcome>) -> Vec<Cause<'h>> {
    let mut all: Vec<Cause<'h>> = Vec::new();
    let mut places: HashMap<(Class, String), usize> = HashMap::new();
    for outcome in outcomes {
        let class = Class::of(&outcome.result);
        let message = normalise(said(&outcome.result));
        let place = *places.entry((class, message)).or_insert_with_key(|key| {
            all.push(Cause {
                class,
                message: key.1.clone(),
                outcomes: Vec::new(),
            });
            all.len() - 1
        });
        all[place].outcomes.push(outcome);
    }
    // Stable: groups of the same size stay in order.
    all.sort_by_key(|cause| std::cmp::Reverse(cause.outcomes.len()));
    all
}

/// What results with one cause have in common.
///
/// A program's own error message tells the cause, whatever each test expected. Without one, the
/// reason and the evidence must be the same, apart from numbers, addresses and paths.
pub(super) fn key(outcome: &Outcome) -> (Class, String) {
    let result = &outcome.result;
    let class = Class::of(result);
    if error_of(&result.output).is_some() || class == Class::Lost {
        return (class, normalise(said(result)));
    }
    let evidence = if result.details.is_empty() {
        &result.output
    } else {
        &result.details
    };
    let evidence = escape::clip(evidence, MAX_EVIDENCE);
    let reports = outcome
        .reports
        .iter()
        .filter_map(|report| report.text.lines().next());
    let lines = [said(result)]
        .into_iter()
        .chain(evidence.lines())
        .chain(reports);
    let lines: Vec<String> = lines.map(normalise).collect();
    (class, lines.join("\n"))
}

/// The first error message in a program's output.
fn error_of(output: &str) -> Option<&str> {
    output.lines().find_map(|line| {
        let line = line.trim();
        // bpftrace puts the place in front.
        let at = line.find("ERROR: ").or_else(|| {
            let begins = |word: &&str| {
                line.get(..word.len())
                    .is_some_and(|start| start.eq_ignore_ascii_case(word))
            };
            ["error: ", "fatal: "].iter().any(begins).then_some(0)
        });
        at.map(|at| &line[at..])
    })
}

/// The line that tells why: the program's error, else the reason, else the first line of the
/// evidence.
fn said(result: &TestResult) -> &str {
    if let Some(error) = error_of(&result.output) {
        return error;
    }
    let lines = result.details.lines().chain(result.output.lines());
    let reason = result.reason.as_deref().unwrap_or_default();
    std::iter::once(reason)
        .chain(lines)
        .map(str::trim)
        .find(|line| !line.is_empty())
        .unwrap_or_default()
}

/// A message with `N` for each number, `ADDR` for each address and `PATH` for each absolute path of
/// more than one name; not escaped.
pub(super) fn normalise(message: &str) -> String {
    let message = escape::clip(message.lines().next().unwrap_or_default(), MAX_MESSAGE);
    let mut normal = String::with_capacity(message.len());
    let mut rest = message.as_ref();
    let mut before = ' ';
    while let Some(c) = rest.chars().next() {
        let word = if before.is_alphanumeric() || before == '_' {
            None
        } else {
            special(rest)
        };
        let (length, shown) = match word {
            Some((length, shown)) => (length, shown),
            // Digits at the end of a name differ too: `CPU3`, `attempt2`.
            None if c.is_ascii_digit() => (digits(rest), "N"),
            None => (c.len_utf8(), ""),
        };
        let (taken, after) = rest.split_at(length);
        normal.push_str(if shown.is_empty() { taken } else { shown });
        before = taken.chars().next_back().unwrap_or(' ');
        rest = after;
    }
    normal
}

/// The length of an address or a path at the start of a word, and what stands for it.
fn special(word: &str) -> Option<(usize, &'static str)> {
    let hex = |text: &str| text.bytes().take_while(u8::is_ascii_hexdigit).count();
    if let Some(number) = word.strip_prefix("0x").or_else(|| word.strip_prefix("0X")) {
        let length = hex(number);
        return (length > 0).then_some((2 + length, "ADDR"));
    }
    if word.starts_with('/') {
        let end = word.find(|c: char| c.is_whitespace() || "'\"`,;:()<>".contains(c));
        let path = &word[..end.unwrap_or(word.len())];
        let names = path.split('/').filter(|name| !name.is_empty()).count();
        return (names > 1).then_some((path.len(), "PATH"));
    }
    let length = hex(word);
    let number = word[..length].bytes().any(|byte| byte.is_ascii_digit());
    let whole = !word[length..].starts_with(|c: char| c.is_alphanumeric() || c == '_');
    let letters = word[..length]
        .bytes()
        .any(|byte| byte.is_ascii_alphabetic());
    (length >= ADDRESS && number && letters && whole).then_some((length, "ADDR"))
}

/// The length of a number, which may have a fraction.
fn digits(text: &str) -> usize {
    let whole = text.bytes().take_while(u8::is_ascii_digit).count();
    match text[whole..].strip_prefix('.') {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_digit()) => {
            whole + 1 + rest.bytes().take_while(u8::is_ascii_digit).count()
        }
        _ => whole,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;
    use crate::report::samples::{finished, history, started};
    use crate::run::event::Verdict;

    #[test]
    fn numbers_addresses_and_paths_do_not_matter() {
        for (message, normal) in [
            ("exit status 1", "exit status N"),
            ("it ran longer than 12.5 s", "it ran longer than N s"),
            ("BUG: at 0xffffffff81a2b3c4+0x10", "BUG: at ADDR+ADDR"),
            ("BUG: at ffff888003a2b3c4 in x", "BUG: at ADDR in x"),
            ("cannot open /tmp/x-12/y: gone", "cannot open PATH: gone"),
            ("CPU3 stalls", "CPUN stalls"),
            ("added feedback", "added feedback"),
            ("either / or", "either / or"),
            ("0x", "Nx"),
            ("line one\nline two", "line one"),
            ("", ""),
        ] {
            assert_eq!(normalise(message), normal, "{message:?}");
        }
    }

    #[test]
    fn failures_with_one_message_are_a_group_and_the_largest_is_first() {
        let history = history(&[
            started(&["5.10", "6.1"], 3),
            finished("5.10", "a.alone", Verdict::Fail, "no such map"),
            finished("5.10", "a.one", Verdict::Fail, "exit status 1"),
            finished("6.1", "a.two", Verdict::Fail, "exit status 134"),
            finished("6.1", "a.three", Verdict::Timeout, "exit status 134"),
        ]);
        let causes = causes(history.unexpected());
        let told: Vec<_> = causes
            .iter()
            .map(|cause| (cause.class, cause.message.as_str(), cause.outcomes.len()))
            .collect();
        assert_eq!(
            told,
            [
                (Class::Fail, "exit status N", 2),
                (Class::Fail, "no such map", 1),
                (Class::Timeout, "exit status N", 1),
            ]
        );
    }

    proptest! {
        #[test]
        fn any_message_has_a_normal_form_that_stays(message in ".{0,400}") {
            let once = normalise(&message);
            prop_assert!(once.chars().count() <= MAX_MESSAGE * 4 + 40);
            prop_assert!(!once.contains('\n'));
        }
    }
}
