//! Quotations in the terminal's report.

use std::fmt;

use super::escape;
use super::words::counted;

/// Characters of one line of a guest's text to show.
pub(super) const MAX_LINE: usize = 400;

/// Which lines of a long text to show.
pub(super) enum Keep {
    First(usize),
    Last(usize),
}

/// Adds a guest's text, each line after a bar, so that no line looks like one of ours or like a CI
/// service's command. Says what is left out, and where to find everything if that exists.
pub(super) fn quote(text: &mut String, quoted: &str, keep: &Keep, all_in: Option<&str>) {
    let lines: Vec<&str> = quoted.trim_end().lines().collect();
    let range = match keep {
        Keep::First(most) => 0..lines.len().min(*most),
        Keep::Last(most) => lines.len().saturating_sub(*most)..lines.len(),
    };
    let left_out = lines.len() - range.len();
    for line in &lines[range] {
        // Clip first: escaping turns ten megabytes of control characters into forty.
        let line = escape::clip(line, MAX_LINE);
        text.push_str("      | ");
        text.push_str(escape::block(&line).trim_end());
        text.push('\n');
    }
    if let (Some(place), true) = (all_in, left_out > 0) {
        append(
            text,
            format_args!(
                "      [{} more in {}]\n",
                counted(left_out, "line"),
                escape::line(place)
            ),
        );
    }
}

/// Writing to a string cannot fail.
pub(super) fn append(text: &mut String, formatted: fmt::Arguments<'_>) {
    let _ = fmt::Write::write_fmt(text, formatted);
}
