//! Shows a failed expectation to people.
//!
//! Everything is limited, because an output may have gigabytes. The text comes from the guest and
//! is not escaped here.

use std::fmt::Write as _;
use std::time::Duration;

/// Lines of an output to show.
const SHOWN_LINES: usize = 40;
/// Characters of a line to show.
const SHOWN_CHARS: usize = 400;
/// Lines to search for the nearest one.
const COMPARED_LINES: usize = 2000;

/// Two texts by line: `-` is expected, `+` is found.
pub(super) fn lines(expected: &str, found: &str) -> String {
    let (expected, found) = (bounded(expected), bounded(found));
    similar::TextDiff::configure()
        .timeout(Duration::from_secs(1))
        .diff_lines(&expected, &found)
        .unified_diff()
        .context_radius(3)
        .missing_newline_hint(false)
        .header("expected", "found")
        .to_string()
}

/// A text or pattern that should, or should not, have been found.
pub(super) fn searched(expected: &str, wanted: bool, output: &str) -> String {
    let mut shown = String::new();
    let label = if wanted { "expected" } else { "unwanted" };
    for line in expected.split('\n') {
        let _ = writeln!(shown, "{label}: {}", cut(line));
    }
    if wanted && let Some(nearest) = nearest(expected, output) {
        let _ = writeln!(shown, "nearest:  {}", cut(nearest));
    }
    shown.push_str(&self::output(output));
    shown
}

/// Only the output.
pub(super) fn output(output: &str) -> String {
    let mut shown = String::from("output:\n");
    for line in bounded(output).lines() {
        let _ = writeln!(shown, "  {line}");
    }
    shown
}

/// The line that is most like the first line of `expected`, if any is.
fn nearest<'o>(expected: &str, output: &'o str) -> Option<&'o str> {
    let expected = expected.lines().next()?.trim();
    output
        .lines()
        .take(COMPARED_LINES)
        .map(str::trim)
        .filter(|line| !line.is_empty() && line.len() <= SHOWN_CHARS)
        .map(|line| (strsim::normalized_levenshtein(expected, line), line))
        .filter(|(likeness, _)| *likeness > 0.5)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, line)| line)
}

/// The first and last lines of a text, with what is left out counted.
fn bounded(text: &str) -> String {
    let total = text.lines().count();
    let mut shown = String::new();
    let half = SHOWN_LINES / 2;
    for (index, line) in text.lines().enumerate() {
        if total > SHOWN_LINES && index == half {
            let _ = writeln!(shown, "[{} lines left out]", total - 2 * half);
        }
        if total <= SHOWN_LINES || index < half || index >= total - half {
            shown.push_str(&cut(line));
            shown.push('\n');
        }
    }
    shown
}

fn cut(line: &str) -> String {
    match line.char_indices().nth(SHOWN_CHARS) {
        Some((at, _)) => format!("{}[{} bytes left out]", &line[..at], line.len() - at),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_texts_are_shown_by_line() {
        let shown = lines("a\nb\nc", "a\nx\nc");
        assert!(shown.contains("-b\n"), "{shown}");
        assert!(shown.contains("+x\n"), "{shown}");
    }

    #[test]
    fn the_nearest_line_is_pointed_out() {
        let shown = searched("count: 12", true, "start\ncount: 13\nend\n");
        assert!(shown.contains("nearest:  count: 13\n"), "{shown}");
        let shown = searched("count: 12", true, "unlike\n");
        assert!(!shown.contains("nearest"), "{shown}");
    }

    #[test]
    fn a_long_output_is_cut_and_says_so() {
        let output = "line\n".repeat(10_000);
        let shown = searched("x", true, &output);
        assert!(shown.contains("[9960 lines left out]"), "{shown}");
        let shown = searched("x", true, &"y".repeat(10_000));
        assert!(shown.len() < 1000);
    }
}
