//! The Test Anything Protocol and the kernel's dialect of it.
//!
//! Sources: testanything.org, versions 13 and 14;
//! Documentation/dev-tools/ktap.rst of Linux 6.12, version 1.

use super::results::{Case, Results, clip_name};
use crate::suite::Verdict;
use crate::suite::bpftrace::decode;

/// Levels of nesting that are told apart.
const MAX_DEPTH: usize = 32;
/// Lines of diagnostics of one case that are kept.
const MAX_LINES: usize = 200;

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Diagnostics follow the line of their case.
    Tap,
    /// Diagnostics precede the line of their case.
    Ktap,
}

/// Cases of one indentation.
struct Level {
    indent: usize,
    plan: Option<u64>,
    seen: u64,
    /// Index of its first case in [`Results::cases`].
    first: usize,
}

impl Level {
    fn new(indent: usize, first: usize) -> Self {
        Self {
            indent,
            plan: None,
            seen: 0,
            first,
        }
    }
}

struct Reader {
    dialect: Dialect,
    results: Results,
    levels: Vec<Level>,
    diagnostics: Vec<String>,
    /// The case that lines after it belong to.
    last: Option<usize>,
    bailed_out: bool,
}

/// Reads what a command printed.
pub fn read_tap(output: &[u8], dialect: Dialect) -> Results {
    let mut reader = Reader {
        dialect,
        results: Results::default(),
        levels: vec![Level::new(0, 0)],
        diagnostics: Vec::new(),
        last: None,
        bailed_out: false,
    };
    for line in output.split(|&byte| byte == b'\n') {
        reader.line(&decode(line));
        if reader.bailed_out {
            break;
        }
    }
    reader.finish()
}

impl Reader {
    fn line(&mut self, line: &str) {
        let line = line.trim_end();
        let text = line.trim_start_matches(' ');
        let indent = line.len() - text.len();
        if text.starts_with("TAP version ") || text.starts_with("KTAP version ") {
            self.level(indent);
        } else if let Some(plan) = plan(text) {
            self.plan(indent, plan);
        } else if let Some(result) = TestLine::read(text, self.dialect) {
            self.result(indent, &result);
        } else if let Some(why) = text.strip_prefix("Bail out!") {
            self.bailed_out = true;
            self.results.problem(match why.trim() {
                "" => "it bailed out".to_owned(),
                why => format!("it bailed out: {why}"),
            });
        } else if !text.is_empty() {
            self.diagnostic(text);
        }
    }

    /// A line that belongs to the case before or after it.
    fn diagnostic(&mut self, text: &str) {
        let text = text.strip_prefix('#').map_or(text, str::trim_start);
        match (self.dialect, self.last) {
            (Dialect::Ktap, _) | (Dialect::Tap, None) => {
                if self.diagnostics.len() < MAX_LINES {
                    self.diagnostics.push(text.to_owned());
                }
            }
            (Dialect::Tap, Some(last)) => {
                if let Some(case) = self.results.cases.get_mut(last)
                    && case.details.len() < 16 * 1024
                {
                    case.details.push_str(text);
                    case.details.push('\n');
                }
            }
        }
    }

    /// Makes the level of this indentation the innermost one. Gives the cases
    /// of the one below it that has just ended, from their first on.
    fn level(&mut self, indent: usize) -> Option<usize> {
        let mut ended = None;
        while self.levels.len() > 1 && self.levels.last().is_some_and(|top| top.indent > indent) {
            if let Some(level) = self.levels.pop() {
                self.check(&level);
                ended = Some(level.first);
            }
        }
        if self.levels.last().is_some_and(|top| top.indent < indent)
            && self.levels.len() < MAX_DEPTH
        {
            self.levels
                .push(Level::new(indent, self.results.cases.len()));
        }
        ended
    }

    fn plan(&mut self, indent: usize, (count, skip): (u64, Option<String>)) {
        self.level(indent);
        let outermost = self.levels.len() == 1;
        let Some(level) = self.levels.last_mut() else {
            return;
        };
        if level.plan.replace(count).is_some() {
            self.results.problem("it has two plans");
        }
        if count == 0 && outermost {
            match skip {
                Some(why) => self.results.skip = Some(why),
                None => self
                    .results
                    .problem("its plan is of no case, and does not say why"),
            }
        }
    }

    fn result(&mut self, indent: usize, line: &TestLine) {
        let children = self.level(indent);
        let Some(level) = self.levels.last_mut() else {
            return;
        };
        level.seen += 1;
        let expected = level.seen;
        if line.number.is_some_and(|number| number != expected) {
            self.results.problem(format!(
                "case {} stands where {expected} is due",
                line.number.unwrap_or_default()
            ));
        }
        let name = if line.description.is_empty() {
            expected.to_string()
        } else {
            line.description.clone()
        };
        let details = match self.dialect {
            Dialect::Ktap => std::mem::take(&mut self.diagnostics).join("\n"),
            Dialect::Tap => String::new(),
        };
        let below = children.and_then(|first| self.results.cases.get_mut(first..));
        if let Some(below) = below.filter(|below| !below.is_empty()) {
            let mut failed = false;
            for case in below {
                case.name = format!("{name}/{}", case.name);
                clip_name(&mut case.name);
                failed |= !matches!(case.verdict, Verdict::Pass | Verdict::Skip);
            }
            // Its cases say it all, unless it has failed by itself.
            if failed || matches!(line.verdict, Verdict::Pass | Verdict::Skip) {
                self.last = None;
                return;
            }
        }
        self.last = Some(self.results.cases.len());
        self.results.add(Case {
            name,
            verdict: line.verdict,
            reason: line.reason.clone(),
            details,
            seconds: None,
            source: None,
        });
    }

    /// Compares a level that has ended with its plan.
    fn check(&mut self, level: &Level) {
        if let Some(plan) = level.plan
            && plan != level.seen
        {
            self.results
                .problem(format!("its plan says {plan}, saw {}", level.seen));
        }
    }

    fn finish(mut self) -> Results {
        if self.bailed_out {
            self.results.number_namesakes();
            return self.results;
        }
        if self.levels.len() > 1 {
            self.results
                .problem("its output ends within the cases of a case");
        }
        while let Some(level) = self.levels.pop() {
            self.check(&level);
            if self.levels.is_empty() && level.plan.is_none() {
                self.results.problem(if level.seen == 0 {
                    "its output is not TAP: it has neither plan nor case"
                } else {
                    "its output has no plan and may be cut off"
                });
            }
        }
        self.results.number_namesakes();
        self.results
    }
}

/// `1..N`, and why there is none if N is 0.
fn plan(text: &str) -> Option<(u64, Option<String>)> {
    let rest = text.strip_prefix("1..")?;
    let end = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    let count = rest[..end].parse().ok()?;
    let rest = rest[end..].trim();
    let why = match rest.strip_prefix('#') {
        Some(comment) => strip_skip(comment.trim()).map(ToOwned::to_owned),
        None if rest.is_empty() => None,
        None => return None,
    };
    Some((count, why))
}

/// What follows a word, whatever its case.
fn strip_word<'t>(text: &'t str, word: &str) -> Option<&'t str> {
    let rest = strip_stem(text, word)?;
    let ends = !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
    ends.then(|| reason(rest))
}

/// The same for `skip`, however it goes on (`SKIPPED`).
fn strip_skip(text: &str) -> Option<&str> {
    let rest = strip_stem(text, "skip")?;
    Some(reason(
        rest.trim_start_matches(|c: char| c.is_ascii_alphabetic()),
    ))
}

fn strip_stem<'t>(text: &'t str, stem: &str) -> Option<&'t str> {
    let beginning = text.get(..stem.len())?;
    beginning
        .eq_ignore_ascii_case(stem)
        .then(|| &text[stem.len()..])
}

fn reason(rest: &str) -> &str {
    rest.trim_start_matches(':').trim()
}

/// `ok` or `not ok`, and what stands behind.
struct TestLine {
    number: Option<u64>,
    description: String,
    verdict: Verdict,
    reason: String,
}

impl TestLine {
    fn read(text: &str, dialect: Dialect) -> Option<Self> {
        let (ok, rest) = match text.strip_prefix("not ok") {
            Some(rest) => (false, rest),
            None => (true, text.strip_prefix("ok")?),
        };
        if !rest.is_empty() && !rest.starts_with([' ', '\t']) {
            return None;
        }
        let rest = rest.trim_start();
        let end = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        let followed = rest[end..].is_empty() || rest[end..].starts_with([' ', '\t']);
        let (number, rest) = match rest[..end].parse().ok().filter(|_| followed) {
            Some(number) => (Some(number), rest[end..].trim_start()),
            None => (None, rest),
        };
        let rest = rest.strip_prefix("- ").unwrap_or(rest);
        let (description, directive) = split_directive(rest, dialect);
        let (verdict, reason) = match directive {
            Some(directive) => directive.verdict(ok),
            None if ok => (Verdict::Pass, String::new()),
            None => (Verdict::Fail, String::new()),
        };
        Some(Self {
            number,
            description: description.trim().trim_end_matches(':').replace("\\#", "#"),
            verdict,
            reason,
        })
    }
}

/// What `# WORD reason` says.
enum Directive<'t> {
    Skip(&'t str),
    /// Known to fail: TAP's TODO and the kernel's XFAIL.
    Expected(&'t str),
    Timeout(&'t str),
    Error(&'t str),
}

impl Directive<'_> {
    fn verdict(&self, ok: bool) -> (Verdict, String) {
        match self {
            Self::Skip(why) => (Verdict::Skip, (*why).to_owned()),
            Self::Expected(_) if ok => (Verdict::Pass, String::new()),
            Self::Expected(why) => (
                Verdict::Pass,
                format!("fails, as it says itself: {why}")
                    .trim_end_matches(": ")
                    .to_owned(),
            ),
            Self::Timeout(why) => (Verdict::Timeout, (*why).to_owned()),
            Self::Error(why) => (Verdict::Error, (*why).to_owned()),
        }
    }
}

/// Splits at the `#` that a directive begins with; other comments belong to
/// the description.
fn split_directive(text: &str, dialect: Dialect) -> (&str, Option<Directive<'_>>) {
    for (at, _) in text.match_indices('#') {
        if text[..at].ends_with('\\') {
            continue;
        }
        let comment = text[at + 1..].trim();
        // TAP has SKIP and TODO; the others are the kernel's (dev-tools/ktap).
        let directive = strip_skip(comment)
            .map(Directive::Skip)
            .or_else(|| strip_word(comment, "todo").map(Directive::Expected))
            .or_else(|| {
                let word = |word| (dialect == Dialect::Ktap).then(|| strip_word(comment, word))?;
                word("xfail")
                    .map(Directive::Expected)
                    .or_else(|| word("timeout").map(Directive::Timeout))
                    .or_else(|| word("error").map(Directive::Error))
            });
        if directive.is_some() {
            return (&text[..at], directive);
        }
    }
    (text, None)
}

#[cfg(test)]
#[path = "tap_tests.rs"]
mod tests;
