//! Keeps the important parts of long diagnostics.

use std::collections::VecDeque;

use super::results::clip;

/// Lines to keep.
const MAX_LINES: usize = 200;
/// Bytes of them.
const MAX_BYTES: usize = 11 * 1024;
/// Bytes of one.
const MAX_LINE: usize = 2000;
/// Lines to keep of those before that say what failed.
const MAX_TELLING: usize = 20;
/// Bytes of one of these.
const MAX_TELLING_LINE: usize = 200;

/// The last lines of a text, and the first of those before them that say what failed.
#[derive(Debug, Clone, Default)]
pub(super) struct Tail {
    telling: Vec<String>,
    lines: VecDeque<String>,
    bytes: usize,
    dropped: usize,
}

impl Tail {
    /// Adds a line.
    pub(super) fn push(&mut self, line: &str) {
        let mut line = line.to_owned();
        clip(&mut line, MAX_LINE);
        self.bytes += line.len() + 1;
        self.lines.push_back(line);
        while self.lines.len() > MAX_LINES || self.bytes > MAX_BYTES {
            let Some(mut line) = self.lines.pop_front() else {
                return;
            };
            self.bytes -= line.len() + 1;
            if self.telling.len() < MAX_TELLING && tells(&line) {
                clip(&mut line, MAX_TELLING_LINE);
                self.telling.push(line);
            } else {
                self.dropped += 1;
            }
        }
    }

    /// Takes its text, empty if there are no lines; it is empty afterwards.
    pub(super) fn take(&mut self) -> String {
        let taken = std::mem::take(self);
        let mut text = String::with_capacity(taken.bytes);
        let mut say = |line: &str| {
            text.push_str(line);
            text.push('\n');
        };
        taken.telling.iter().for_each(|line| say(line));
        if taken.dropped > 0 {
            say(&format!("… {} lines left out …", taken.dropped));
        }
        taken.lines.iter().for_each(|line| say(line));
        text
    }
}

/// Whether a line is likely to say what failed.
fn tells(line: &str) -> bool {
    let line = line.to_ascii_lowercase();
    [
        "not ok", "fail", "error", "assert", "expect", "panic", "bug:",
    ]
    .iter()
    .any(|word| line.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_lines_the_last_are_kept_and_what_failed_before() {
        let mut tail = Tail::default();
        tail.push("first");
        tail.push("Expected 1, got 2");
        for number in 0..1000 {
            tail.push(&format!("line {number}"));
        }
        let text = tail.take();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "Expected 1, got 2");
        assert_eq!(lines[1], "… 801 lines left out …");
        assert_eq!(lines[2], "line 800");
        assert_eq!(*lines.last().unwrap_or(&""), "line 999");
        assert_eq!(tail.take(), "");
    }

    #[test]
    fn what_is_kept_is_bounded_in_bytes() {
        let mut tail = Tail::default();
        for _ in 0..100 {
            tail.push(&"ä".repeat(100_000));
        }
        let text = tail.take();
        assert!(text.len() < MAX_BYTES + 100, "{}", text.len());
        assert!(text.ends_with("ä…\n"));
    }
}
