//! One line of TAP or KTAP.

use crate::suite::Verdict;

/// The Test Anything Protocol, or the kernel's dialect of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Diagnostics follow the line of their case.
    Tap,
    /// Diagnostics precede the line of their case.
    Ktap,
}

/// The width of a tab; it only has to be consistent.
const TAB: usize = 8;
/// How many comments of a result to look at.
const MAX_HASHES: usize = 64;
/// Maximum depth of reports nested with `# `.
const MAX_COMMENTS: usize = 4;

/// The indentation of a line, and how often it is commented out: kselftest's runner puts `# `
/// before what a test prints (`kselftest/runner.sh`, `tap_prefix`). `# ` counts as two columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Prefix {
    pub(super) indent: usize,
    pub(super) comments: usize,
    /// Whether a level of cases can have this indentation.
    pub(super) level: bool,
}

/// Splits a line into its prefix and the rest.
pub(super) fn split_prefix(line: &str, dialect: Dialect) -> (Prefix, &str) {
    let (indent, mut text) = split_indent(line);
    let mut prefix = Prefix {
        indent,
        comments: 0,
        // TAP 14, "Subtest Parsing/Generating Rules": four spaces.
        level: dialect == Dialect::Ktap || (indent % 4 == 0 && !line.starts_with('\t')),
    };
    if dialect == Dialect::Tap {
        return (prefix, text);
    }
    while let Some(rest) = text.strip_prefix("# ")
        && prefix.comments < MAX_COMMENTS
    {
        let (inner, rest) = split_indent(rest);
        if !is_structure(rest, MAX_COMMENTS) {
            break;
        }
        prefix.indent += 2 + inner;
        prefix.comments += 1;
        text = rest;
    }
    (prefix, text)
}

fn split_indent(line: &str) -> (usize, &str) {
    let text = line.trim_start_matches([' ', '\t']);
    let blank = &line[..line.len() - text.len()];
    let indent = blank.chars().map(|c| if c == '\t' { TAB } else { 1 }).sum();
    (indent, text)
}

/// Whether the text after `# ` is a line of a report, possibly commented out again, up to a limit.
fn is_structure(text: &str, comments: usize) -> bool {
    let numbered = || TestLine::read(text, Dialect::Ktap).is_some_and(|line| line.number.is_some());
    text == "---"
        || is_version(text)
        || Plan::read(text).is_some()
        || numbered()
        || bail_out(text).is_some()
        || subtest(text).is_some()
        || text
            .strip_prefix("# ")
            .is_some_and(|rest| comments > 0 && is_structure(rest.trim_start(), comments - 1))
}

/// A line without so many `# `, and its indentation then.
pub(super) fn uncommented(line: &str, comments: usize) -> Option<(usize, &str)> {
    let (mut indent, mut text) = split_indent(line);
    for _ in 0..comments {
        let rest = text.strip_prefix('#')?;
        let (inner, rest) = split_indent(rest.strip_prefix(' ').unwrap_or(rest));
        indent += 2 + inner;
        text = rest;
    }
    Some((indent, text))
}

/// `[ 0.060000][ T1] `: the prefix of a line in the kernel's log (`printk.time`,
/// `CONFIG_PRINTK_CALLER`).
pub(super) fn without_timestamp(line: &str) -> &str {
    let in_brackets = |text: &str, fits: fn(&str) -> bool| -> Option<usize> {
        let inner = text.strip_prefix('[')?;
        let end = inner.find(']')?;
        fits(inner[..end].trim_start()).then_some(end + 2)
    };
    let time = |text: &str| {
        text.split_once('.').is_some_and(|(whole, part)| {
            let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            digits(whole) && digits(part)
        })
    };
    let caller = |text: &str| {
        let number = text.strip_prefix(['T', 'C']).unwrap_or_default();
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    };
    let Some(end) = in_brackets(line, time) else {
        return line;
    };
    let rest = &line[end..];
    let rest = in_brackets(rest, caller).map_or(rest, |end| &rest[end..]);
    rest.strip_prefix(' ').unwrap_or(rest)
}

/// `TAP version 14`, `KTAP version 1`.
pub(super) fn is_version(text: &str) -> bool {
    ["TAP version ", "KTAP version "].iter().any(|word| {
        text.strip_prefix(word)
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    })
}

/// The name in `# Subtest: name`; empty if it has none.
pub(super) fn subtest(text: &str) -> Option<String> {
    match text.strip_prefix("# Subtest")? {
        "" => Some(String::new()),
        rest => Some(unescape(rest.strip_prefix(':')?.trim())),
    }
}

/// Why it bails out; in TAP 14 the words may be in any case.
pub(super) fn bail_out(text: &str) -> Option<String> {
    Some(unescape(strip_stem(text, "bail out!")?.trim()))
}

/// `pragma +strict`, which does not change how a report is read here.
pub(super) fn is_pragma(text: &str) -> bool {
    text.strip_prefix("pragma ")
        .is_some_and(|rest| rest.starts_with(['+', '-']))
}

/// The failures that `# Totals: pass:1 fail:1 … error:0` counts
/// (`kselftest.h`, `ksft_print_cnts`; `lib/kunit/test.c`, `kunit_print_test_stats`).
pub(super) fn totals(text: &str) -> Option<u64> {
    let rest = text.trim_start_matches(['#', ' ']);
    let counts = rest.strip_prefix("Totals:")?.split_whitespace();
    let counted = counts.filter_map(|count| count.split_once(':'));
    let failed = counted.filter(|(what, _)| matches!(*what, "fail" | "error"));
    Some(
        failed
            .filter_map(|(_, count)| count.parse::<u64>().ok())
            .fold(0, u64::saturating_add),
    )
}

/// `1..N`, and the text after it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) count: u64,
    /// Why it is empty.
    pub(super) why: Option<String>,
}

impl Plan {
    pub(super) fn read(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("1..")?;
        let end = digits(rest);
        let count = rest[..end].parse().ok()?;
        let rest = rest[end..].trim();
        let why = match rest.strip_prefix('#') {
            // TAP 14, "Plan": any comment is the reason.
            Some(comment) => Some(strip_skip(comment.trim()).unwrap_or(comment.trim())),
            None if rest.is_empty() => None,
            None => return None,
        };
        let why = why.map(unescape).filter(|why| !why.is_empty());
        Some(Self { count, why })
    }
}

fn digits(text: &str) -> usize {
    text.find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len())
}

/// What follows a word in any case.
fn strip_word<'t>(text: &'t str, word: &str) -> Option<&'t str> {
    let rest = strip_stem(text, word)?;
    let ends = !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
    ends.then(|| reason(rest))
}

/// The same for `skip`, with any ending (`SKIPPED`).
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

/// The number of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Number {
    Of(u64),
    /// More than any plan contains.
    TooLarge,
}

/// How a directive changes a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Directive {
    None,
    Skip,
    /// Known to fail: TAP's TODO and the kernel's XFAIL.
    Expected,
    Timeout,
    Error,
}

/// `ok` or `not ok`, and the text after it.
#[derive(Debug)]
pub(super) struct TestLine {
    pub(super) ok: bool,
    pub(super) number: Option<Number>,
    pub(super) description: String,
    pub(super) directive: Directive,
    pub(super) verdict: Verdict,
    pub(super) reason: String,
    /// How long it took, if a comment says so.
    pub(super) seconds: Option<f64>,
}

impl TestLine {
    pub(super) fn read(text: &str, dialect: Dialect) -> Option<Self> {
        let (ok, rest) = match text.strip_prefix("not ok") {
            Some(rest) => (false, rest),
            None => (true, text.strip_prefix("ok")?),
        };
        // TAP 12, "Harness Behavior": /^(not )?ok\b/. The kernel's console also has prose, but its
        // dialect has a number on each result.
        let ends = match dialect {
            Dialect::Tap => !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'),
            Dialect::Ktap => rest.is_empty() || rest.starts_with([' ', '\t']),
        };
        if !ends {
            return None;
        }
        let rest = rest.trim_start();
        let end = digits(rest);
        let followed = rest[end..].is_empty() || rest[end..].starts_with([' ', '\t']);
        let (number, rest) = if end > 0 && followed {
            let number = rest[..end].parse().map_or(Number::TooLarge, Number::Of);
            (Some(number), rest[end..].trim_start())
        } else {
            (None, rest)
        };
        let rest = match rest.strip_prefix('-') {
            Some(after) if after.is_empty() || after.starts_with([' ', '\t']) => after,
            _ => rest,
        };
        let split = split_comments(rest, ok, dialect);
        let said = split.said.to_owned();
        let (verdict, reason) = match split.directive {
            Directive::Skip => (Verdict::Skip, said),
            Directive::Timeout => (Verdict::Timeout, said),
            Directive::Error => (Verdict::Error, said),
            Directive::Expected if ok => (Verdict::Pass, String::new()),
            Directive::Expected => (Verdict::Pass, expected(&said)),
            Directive::None if ok && is_data(&said) => (Verdict::Pass, String::new()),
            Directive::None if ok => (Verdict::Pass, said),
            Directive::None => (Verdict::Fail, said),
        };
        let description = split.description.trim().trim_end_matches(':');
        // kselftest.h, ksft_test_result_skip: `ok 3 # SKIP NAME`, so that the
        // case has its name on every kernel.
        let description = match split.directive {
            Directive::None => description,
            _ if dialect == Dialect::Ktap && description.is_empty() => split.said,
            _ => description,
        };
        Some(Self {
            ok,
            number,
            description: unescape(description),
            directive: split.directive,
            verdict,
            reason: unescape(&reason),
            seconds: split.seconds,
        })
    }
}

/// The reason of a case that is known to fail.
pub(super) fn expected(why: &str) -> String {
    format!("expected failure: {why}")
        .trim_end_matches(": ")
        .to_owned()
}

struct Split<'t> {
    description: &'t str,
    directive: Directive,
    said: &'t str,
    seconds: Option<f64>,
}

/// Removes directives and comments from a description.
fn split_comments(text: &str, ok: bool, dialect: Dialect) -> Split<'_> {
    let mut split = Split {
        description: text,
        directive: Directive::None,
        said: "",
        seconds: None,
    };
    // Whether no comment so far can be part of a name.
    let mut first = true;
    let mut cut = false;
    for at in hashes(text).take(MAX_HASHES) {
        let comment = text[at + 1..].trim();
        let found = directive(comment, dialect);
        match found {
            // TAP 14, "Directive": the first `#` counts. A later one never turns a failure into a
            // pass.
            Some((what, said)) if first || (ok && what == Directive::Skip) => {
                if !cut {
                    split.description = &text[..at];
                }
                split.directive = what;
                split.said = said;
                return split;
            }
            _ => {}
        }
        let single = comment.split('#').next().unwrap_or_default().trim();
        let is_data = is_data(single);
        if !cut && (dialect == Dialect::Ktap || is_data) {
            // ktap.rst, "Test case result lines": a description has no `#`, and text after one is
            // about this run (`exit=1`, `rcode=0`).
            split.description = &text[..at];
            split.said = comment;
            cut = true;
        }
        if is_data {
            split.seconds = split.seconds.or_else(|| seconds(single));
        }
        first &= is_data;
    }
    split
}

/// Where a comment can begin: at a `#` after a blank, not escaped by `\`.
fn hashes(text: &str) -> impl Iterator<Item = usize> + '_ {
    let bytes = text.as_bytes();
    text.match_indices('#')
        .map(|(at, _)| at)
        .filter(move |&at| {
            let slashes = bytes[..at]
                .iter()
                .rev()
                .take_while(|&&b| b == b'\\')
                .count();
            let before = at.checked_sub(slashes + 1).map(|at| bytes[at]);
            match slashes {
                0 => before.is_none_or(|before| before.is_ascii_whitespace()),
                // An escaped `\` ends the description: `hello \\# todo`.
                _ => slashes % 2 == 0,
            }
        })
}

/// `exit=1`, `time=3ms`: words that are all `key=value`.
fn is_data(comment: &str) -> bool {
    let pair = |word: &str| {
        word.split_once('=').is_some_and(|(key, value)| {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
            !key.is_empty() && !value.is_empty() && key.chars().all(plain)
        })
    };
    !comment.is_empty() && comment.split_whitespace().all(pair)
}

/// `time=12.5ms`, as node-tap writes it.
fn seconds(comment: &str) -> Option<f64> {
    let mut words = comment.split_whitespace();
    let time = words.find_map(|word| word.strip_prefix("time="))?;
    let (number, unit) = match time.strip_suffix("ms") {
        Some(number) => (number, 0.001),
        None => (time.strip_suffix('s')?, 1.0),
    };
    let seconds = number.parse::<f64>().ok()? * unit;
    (seconds.is_finite() && seconds >= 0.0).then_some(seconds)
}

/// TAP has SKIP and TODO; the others are the kernel's (ktap.rst).
fn directive(comment: &str, dialect: Dialect) -> Option<(Directive, &str)> {
    let word = |word, what| Some((what, strip_word(comment, word)?));
    let kernel = || {
        word("xfail", Directive::Expected)
            .or_else(|| word("timeout", Directive::Timeout))
            .or_else(|| word("error", Directive::Error))
    };
    strip_skip(comment)
        .map(|said| (Directive::Skip, said))
        .or_else(|| word("todo", Directive::Expected))
        .or_else(|| (dialect == Dialect::Ktap).then(kernel)?)
}

/// TAP 14, "Escaping": `\\` and `\#`, and nothing else.
fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, chars.peek()) {
            ('\\', Some('\\' | '#')) => plain.extend(chars.next()),
            _ => plain.push(c),
        }
    }
    plain
}
