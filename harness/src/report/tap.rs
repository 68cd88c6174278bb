//! A run in the Test Anything Protocol, version 14.

use std::fmt::Write as _;

use super::class::Class;
use super::escape;
use super::history::{History, Outcome};

/// Characters of a text in a diagnostic block.
const MAX_TEXT: usize = 8000;

/// The run; `notes` and what belongs to no test are comments.
pub(super) fn text(history: &History, notes: &[String]) -> String {
    let mut text = String::from("TAP version 14\n");
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "1..{}",
        history.outcomes.len() + history.tally.missing()
    );
    let warnings = history.warnings.iter().map(|warning| &warning.message);
    for note in notes.iter().chain(warnings) {
        let _ = writeln!(text, "# {}", escape::line(note));
    }
    for failed in &history.failed {
        let reason = failed.reason.lines().next().unwrap_or_default();
        let _ = writeln!(
            text,
            "# kernel {}: {}",
            escape::line(&failed.kernel),
            escape::line(reason)
        );
    }
    let mut number = 0;
    for outcome in &history.outcomes {
        number += 1;
        test(&mut text, number, outcome);
    }
    for kernel in &history.tally.kernels {
        for _ in 0..kernel.missing() {
            number += 1;
            let _ = writeln!(
                text,
                "not ok {number} - {} not run",
                description(&kernel.kernel)
            );
        }
    }
    text
}

fn test(text: &mut String, number: usize, outcome: &Outcome) {
    let result = &outcome.result;
    let class = Class::of(result);
    let good = matches!(
        class,
        Class::Pass | Class::Flaky | Class::XPass | Class::Skip
    );
    let ok = if good { "ok" } else { "not ok" };
    let id = format!("{} {}", result.kernel, result.id);
    let reason = result.reason.as_deref().unwrap_or_default();
    let directive = match (class, &result.known) {
        (Class::Skip, _) => format!(" # SKIP {}", description(reason)),
        // What is known to fail, and whatever it does.
        (Class::XFail | Class::XPass, Some(known)) => {
            format!(" # TODO {}", description(&known.reason))
        }
        _ => String::new(),
    };
    let _ = writeln!(text, "{ok} {number} - {}{directive}", description(&id));
    let quiet = matches!(class, Class::Pass | Class::Skip);
    if quiet && !result.flaky {
        return;
    }
    text.push_str("  ---\n");
    let _ = writeln!(text, "  verdict: {}", class.word());
    let _ = writeln!(text, "  duration_ms: {}", result.duration_ms);
    if !reason.is_empty() {
        let _ = writeln!(text, "  message: {}", json_string(&escape::line(reason)));
    }
    for (name, said) in [("details", &result.details), ("output", &result.output)] {
        if !said.trim().is_empty() {
            let said = escape::clip(said.trim_end(), MAX_TEXT);
            let _ = writeln!(text, "  {name}: {}", json_string(&escape::block(&said)));
        }
    }
    text.push_str("  ...\n");
}

/// A double-quoted scalar of YAML, of which JSON's strings are a part.
fn json_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Text in a test line: `#` begins a directive, and a backslash escapes.
fn description(text: &str) -> String {
    escape::line(text).replace('\\', "\\\\").replace('#', "\\#")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples::{finished, history, known, result, started, with_texts};
    use crate::run::event::{Event, KnownResult, Verdict};

    #[test]
    fn each_result_has_its_line_and_what_is_missing_did_not_pass() {
        let fails = known(
            result("6.1", "a.known", Verdict::Fail, "no"),
            KnownResult::Fail,
        );
        let history = history(&[
            started(&["6.1"], 5),
            finished("6.1", "a.pass", Verdict::Pass, ""),
            with_texts(
                finished("6.1", "a.fail # TODO x", Verdict::Fail, "bad"),
                "not ok 9\n",
                "",
            ),
            finished("6.1", "a.skip", Verdict::Skip, "no BTF"),
            crate::report::samples::at(1, Event::TestFinished(fails)),
        ]);
        let said = text(&history, &["cut\noff".to_owned()]);
        assert_eq!(
            said,
            "TAP version 14\n1..5\n# cut\\x0aoff\n\
             ok 1 - 6.1 a.pass\n\
             not ok 2 - 6.1 a.fail \\# TODO x\n  ---\n  verdict: fail\n  duration_ms: 3100\n  \
             message: \"bad\"\n  output: \"not ok 9\"\n  ...\n\
             ok 3 - 6.1 a.skip # SKIP no BTF\n\
             not ok 4 - 6.1 a.known # TODO no BTF\n  ---\n  verdict: xfail\n  duration_ms: 3100\n  \
             message: \"no\"\n  ...\n\
             not ok 5 - 6.1 not run\n"
        );
    }
}
