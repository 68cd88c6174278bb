//! Finds reports in a console that is still being written.

use super::form::Role;
use super::forms::{self, Found};
use super::line::{self, Message};
use super::patterns::Patterns;
use super::problem::{DENIED, KernelProblem};

/// Lines of one report to keep: the stack of an oops has about 60, a report of KASAN or lockdep up
/// to 150.
pub(super) const MAX_LINES: usize = 200;
/// Bytes of one line to keep. The kernel's own have at most 2048 (`PRINTK_MESSAGE_MAX`,
/// kernel/printk/internal.h).
pub(super) const MAX_LINE: usize = 2048;
/// Bytes of a line to look at as a whole.
const WINDOW: usize = 4 * MAX_LINE;
/// Reports that may wait to be taken: a guest may print them endlessly.
pub(super) const MAX_REPORTS: usize = 50;
/// A report has ended if the kernel has printed nothing for this long, in microseconds on the
/// guest's clock.
const GAP: u64 = 3_000_000;

/// A kernel's first line: init/version.c.
const BANNER: &str = "Linux version ";

/// A report that may continue.
#[derive(Debug)]
struct Open {
    kind: &'static str,
    /// The role of the line that gave the report its kind.
    role: Role,
    title: Option<String>,
    text: String,
    lines: usize,
    allowed: Option<String>,
    denied: Option<String>,
    /// Its end has come: only lines that follow an oops still belong to it.
    ended: bool,
    /// It has been taken: further lines are not a new report.
    taken: bool,
    /// Time of its last line.
    stamp: Option<u64>,
}

/// Reads a console piece by piece; a line may come in several pieces.
#[derive(Debug, Default)]
pub struct Scanner {
    patterns: Patterns,
    /// The unfinished line.
    partial: Vec<u8>,
    open: Option<Open>,
    done: Vec<KernelProblem>,
    panic: Option<String>,
    /// The latest timestamp, and whether an earlier one came after it.
    latest: u64,
    restarted: bool,
}

impl Scanner {
    /// With the user's patterns.
    pub fn new(patterns: Patterns) -> Self {
        Self {
            patterns,
            ..Self::default()
        }
    }

    /// Reads the next piece of the console.
    pub fn push(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            // A program may print megabytes without a newline before the kernel prints a line.
            for part in piece.chunks(WINDOW) {
                self.partial.extend_from_slice(part);
                if self.partial.last() == Some(&b'\n') {
                    let line = std::mem::take(&mut self.partial);
                    self.line(&line);
                } else if self.partial.len() > 2 * WINDOW {
                    let rest = self.partial.split_off(self.partial.len() - WINDOW);
                    let line = std::mem::replace(&mut self.partial, rest);
                    self.line(&line);
                }
            }
        }
    }

    /// What the kernel has reported since the last call. An unfinished report counts as it is: the
    /// rest of it is not a new one.
    pub fn take(&mut self) -> Vec<KernelProblem> {
        let mut reports = std::mem::take(&mut self.done);
        if let Some(open) = &mut self.open
            && !open.taken
        {
            open.taken = true;
            reports.push(open.report());
        }
        reports
    }

    /// Whether there is an unfinished report.
    pub fn in_report(&self) -> bool {
        let goes_on = |open: &Open| !open.ended && !open.taken && open.lines < MAX_LINES;
        self.open.as_ref().is_some_and(goes_on)
    }

    /// Treats the unfinished line as complete, because no more will come.
    pub fn finish(&mut self) {
        let line = std::mem::take(&mut self.partial);
        self.line(&line);
    }

    /// Whether the kernel's clock started again: another kernel runs, after kexec.
    pub fn restarted(&self) -> bool {
        self.restarted
    }

    /// The kernel's panic message.
    pub fn panic(&self) -> Option<&str> {
        self.panic.as_deref()
    }

    fn line(&mut self, line: &[u8]) {
        let text = String::from_utf8_lossy(line);
        let text = text.trim_end_matches(['\r', '\n', '\0', ' ']);
        let messages = line::messages(text);
        // Search backwards: a program may have begun the line, with another time.
        let found = messages.iter().rev().find_map(|message| {
            let found = forms::form_of(clipped(message.text), message.stamp.is_some());
            found.map(|found| (*message, found))
        });
        let found = found.or_else(|| {
            messages.iter().find(|message| message.stamp.is_none())?;
            let text = forms::kernel_words(text)?;
            let found = forms::form_of(clipped(text), false)?;
            Some((Message { stamp: None, text }, found))
        });
        let (message, found) = match (found, messages.last()) {
            (Some((message, found)), _) => (message, Some(found)),
            (None, Some(message)) => (*message, None),
            (None, None) => return,
        };
        self.message(message, found);
    }

    fn message(&mut self, message: Message<'_>, found: Option<Found>) {
        let text = clipped(message.text);
        self.end_after_gap(message.stamp);
        if let Some(stamp) = message.stamp {
            // CPUs may print a moment later than their timestamps.
            self.restarted |=
                stamp + GAP < self.latest || (stamp < self.latest && text.starts_with(BANNER));
            self.latest = stamp;
        }
        if let Some(Found {
            role: Role::Panics, ..
        }) = found
            && self.panic.is_none()
        {
            let words = text.split_once("not syncing: ");
            self.panic = Some(words.map_or(text, |(_, why)| why).trim().to_owned());
        }
        match found {
            Some(found) if !self.belongs(found.role) => self.begin(found, text),
            Some(found) => self.name(found, text),
            None => {
                if let Some(reason) = self.patterns.denied(text) {
                    let reason = reason.to_owned();
                    self.deny(text, reason, message.stamp);
                    return;
                }
            }
        }
        self.append(message, found);
    }

    /// Whether a line of this role is part of the present report.
    ///
    /// A taken report belongs to a test: a report that starts now may belong to the next one, and
    /// no report may be lost.
    fn belongs(&self, role: Role) -> bool {
        let Some(open) = &self.open else { return false };
        let goes_on = !open.ended && !open.taken;
        match role {
            Role::After | Role::Ends => true,
            // Says why the kernel ends, whatever the report is.
            Role::Panics => !open.taken,
            Role::Opens => goes_on && open.role == Role::Cut,
            // `BUG()` after its explanation.
            Role::Cut => goes_on && open.role == Role::Precedes,
            Role::Precedes => goes_on && matches!(open.role, Role::Cut | Role::Dies),
            Role::Warns => goes_on && matches!(open.role, Role::Cut | Role::Precedes),
            Role::Dies => goes_on && matches!(open.role, Role::Cut | Role::Precedes | Role::Dies),
        }
    }

    fn begin(&mut self, found: Found, text: &str) {
        self.close();
        self.open = Some(Open {
            kind: found.kind,
            role: found.role,
            title: (found.role != Role::Cut).then(|| text.trim().to_owned()),
            text: String::new(),
            lines: 0,
            allowed: None,
            denied: None,
            ended: false,
            taken: self.done.len() >= MAX_REPORTS,
            stamp: None,
        });
    }

    /// The line after `cut here` that says what a report is about.
    fn name(&mut self, found: Found, text: &str) {
        if let Some(open) = &mut self.open
            && open.role == Role::Cut
            && !matches!(found.role, Role::Cut | Role::Ends | Role::After)
        {
            open.kind = found.kind;
            open.role = found.role;
            open.title = Some(text.trim().to_owned());
        }
    }

    fn append(&mut self, message: Message<'_>, found: Option<Found>) {
        let text = clipped(message.text);
        let role = found.map(|found| found.role);
        let Some(open) = &mut self.open else { return };
        let follows = matches!(role, Some(Role::After | Role::Ends | Role::Panics));
        if !follows && (open.ended || open.lines >= MAX_LINES) {
            return;
        }
        // Lines of programs may come between those of the kernel.
        if message.stamp.is_none() && open.stamp.is_some() && found.is_none() {
            return;
        }
        if open.lines < 2 * MAX_LINES {
            open.lines += 1;
            if !open.taken {
                if let Some(stamp) = message.stamp {
                    open.text.push_str(&format_stamp(stamp));
                }
                open.text.push_str(text.trim_end());
                open.text.push('\n');
            }
        }
        if open.allowed.is_none() {
            open.allowed = self.patterns.allowed(text).map(str::to_owned);
        }
        open.stamp = message.stamp.or(open.stamp);
        match role {
            Some(Role::Ends) => open.ended = true,
            Some(Role::Panics) => open.ended = false,
            // The line that closes a sanitizer report also opens it.
            _ if open.lines > 1 && is_rule(text) && has_rules(open.kind) => open.ended = true,
            _ => {}
        }
    }

    /// A line that the user denies is a report of one line.
    fn deny(&mut self, text: &str, reason: String, stamp: Option<u64>) {
        self.append(Message { stamp, text }, None);
        if self.open.as_ref().is_some_and(|open| open.ended) {
            self.close();
        }
        if self.done.len() < MAX_REPORTS {
            self.done.push(KernelProblem {
                kind: DENIED,
                title: text.trim().to_owned(),
                text: format!("{}{text}\n", stamp.map(format_stamp).unwrap_or_default()),
                allowed: None,
                denied: Some(reason),
            });
        }
    }

    fn end_after_gap(&mut self, stamp: Option<u64>) {
        let over = |open: &Open| match (open.stamp, stamp) {
            (Some(last), Some(now)) => now.saturating_sub(last) > GAP,
            _ => false,
        };
        if self.open.as_ref().is_some_and(over) {
            self.close();
        }
    }

    fn close(&mut self) {
        if let Some(open) = self.open.take()
            && !open.taken
        {
            self.done.push(open.report());
        }
    }
}

impl Open {
    fn report(&self) -> KernelProblem {
        let first = || {
            let lines = self.text.lines().map(str::trim);
            let mut lines = lines.filter(|line| !line.is_empty());
            let cut = lines.next().unwrap_or("a report without text");
            lines.next().unwrap_or(cut).to_owned()
        };
        KernelProblem {
            kind: self.kind,
            title: self.title.clone().unwrap_or_else(first),
            text: self.text.clone(),
            allowed: self.allowed.clone(),
            denied: self.denied.clone(),
        }
    }
}

fn format_stamp(stamp: u64) -> String {
    format!("[{:5}.{:06}] ", stamp / 1_000_000, stamp % 1_000_000)
}

/// The line of `=` around a report: mm/kasan/report.c and similar.
fn is_rule(text: &str) -> bool {
    let text = text.trim();
    text.len() >= 20 && text.bytes().all(|byte| byte == b'=')
}

fn has_rules(kind: &str) -> bool {
    matches!(kind, "kasan" | "kfence" | "kcsan" | "kmsan" | "ubsan")
}

fn clipped(text: &str) -> &str {
    if text.len() <= MAX_LINE {
        return text;
    }
    let mut end = MAX_LINE;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
#[path = "scanner_tests.rs"]
mod tests;
