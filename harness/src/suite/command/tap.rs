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
mod tests {
    use proptest::prelude::*;

    use super::super::results::told;
    use super::*;

    fn cases(text: &str, dialect: Dialect) -> (Vec<String>, Vec<String>) {
        told(read_tap(text.as_bytes(), dialect))
    }

    #[test]
    fn results_numbers_and_directives_are_read() {
        let text = "TAP version 13\n1..8\nok 1 - opens\nnot ok 2 closes\nok\n\
            ok 4 reads # SKIP no device\nnot ok 5 writes # TODO later\nok 6 sharp \\# name # time=3\n\
            not ok 7 waits # TIMEOUT 45 seconds\nok 8 - opens\n";
        let (found, problems) = cases(text, Dialect::Ktap);
        assert_eq!(
            found,
            [
                "pass opens",
                "fail closes",
                "pass 3",
                "skip reads no device",
                "pass writes fails, as it says itself: later",
                "pass sharp # name # time=3",
                "timeout waits 45 seconds",
                "pass opens #2",
            ]
        );
        assert_eq!(problems, Vec::<String>::new());
    }

    #[test]
    fn a_comment_that_only_begins_like_a_directive_is_none() {
        let text = "1..3\nnot ok 1 - lists # todos of a user\nok 2 - decodes # errors are \
                    counted\nok 3 - asks # skipped: no device\n";
        for dialect in [Dialect::Tap, Dialect::Ktap] {
            assert_eq!(
                cases(text, dialect).0,
                [
                    "fail lists # todos of a user",
                    "pass decodes # errors are counted",
                    "skip asks no device",
                ]
            );
        }
        // Those of the kernel are comments elsewhere.
        let text = "1..2\nok 1 - waits # timeout of 3 s\nnot ok 2 - x # XFAIL\n";
        assert_eq!(
            cases(text, Dialect::Tap).0,
            ["pass waits # timeout of 3 s", "fail x # XFAIL"]
        );
    }

    #[test]
    fn the_cases_of_a_case_carry_its_name() {
        // The example of ktap.rst.
        let text = "KTAP version 1\n1..1\n  KTAP version 1\n  1..3\n    KTAP version 1\n    1..1\n\
                    \u{20}   # test_1: initializing test_1\n    ok 1 test_1\n  ok 1 example_test_1\n\
                    \u{20}   KTAP version 1\n    1..2\n    ok 1 test_1 # SKIP test_1 skipped\n    ok 2 test_2\n\
                    \u{20} ok 2 example_test_2\n    KTAP version 1\n    1..3\n    ok 1 test_1\n\
                    \u{20}   # test_2: FAIL\n    not ok 2 test_2\n    ok 3 test_3 # SKIP test_3 skipped\n\
                    \u{20} not ok 3 example_test_3\nnot ok 1 main_test\n";
        let (found, problems) = cases(text, Dialect::Ktap);
        assert_eq!(
            found,
            [
                "pass main_test/example_test_1/test_1",
                "skip main_test/example_test_2/test_1 test_1 skipped",
                "pass main_test/example_test_2/test_2",
                "pass main_test/example_test_3/test_1",
                "fail main_test/example_test_3/test_2",
                "skip main_test/example_test_3/test_3 test_3 skipped",
            ]
        );
        assert_eq!(problems, Vec::<String>::new());
        let failed = read_tap(text.as_bytes(), Dialect::Ktap).cases[4].clone();
        assert_eq!(failed.details, "test_2: FAIL");
    }

    #[test]
    fn a_case_that_fails_beside_its_own_cases_is_told() {
        let text = "1..1\n    1..1\n    ok 1 a\nnot ok 1 whole\n";
        assert_eq!(cases(text, Dialect::Tap).0, ["pass whole/a", "fail whole"]);
    }

    #[test]
    fn what_contradicts_itself_or_ends_early_is_a_problem() {
        for (text, expected) in [
            ("1..5\nok 1\nok 2\nok 3\n", "its plan says 5, saw 3"),
            ("1..1\nok 1\nok 2\n", "its plan says 1, saw 2"),
            ("ok 1\n", "its output has no plan and may be cut off"),
            (
                "hello\n",
                "its output is not TAP: it has neither plan nor case",
            ),
            ("1..2\nok 1\nok 3\n", "case 3 stands where 2 is due"),
            ("1..1\n1..1\nok 1\n", "it has two plans"),
            ("1..0\n", "its plan is of no case, and does not say why"),
            (
                "1..3\nok 1\nBail out! no disk\nok 2\n",
                "it bailed out: no disk",
            ),
            ("1..1\n  1..2\n  ok 1 a\nok 1 b\n", "its plan says 2, saw 1"),
            (
                "1..1\n  1..1\n  ok 1 a\n",
                "its output ends within the cases of a case",
            ),
        ] {
            let (_, problems) = cases(text, Dialect::Tap);
            assert!(
                problems.iter().any(|problem| problem == expected),
                "{text}: {problems:?}"
            );
        }
    }

    #[test]
    fn diagnostics_follow_a_case_in_tap() {
        let text = "1..1\nnot ok 1 a\n# expected 3\n  ---\n  found: 4\n  ...\n";
        let results = read_tap(text.as_bytes(), Dialect::Tap);
        assert!(
            results.cases[0]
                .details
                .starts_with("expected 3\n---\nfound: 4\n")
        );
    }

    proptest! {
        #[test]
        fn nothing_panics_and_a_wrong_count_never_passes(
            text in "((not )?ok [0-9]{0,2}( - )?[a-z# ]{0,6}( # (SKIP|TODO|XFAIL) ?[a-z]{0,3})?\n|( {0,4})1\\.\\.[0-3]\n|  ok\n|# x\n|[^\n]{0,5}\n){0,12}",
        ) {
            for dialect in [Dialect::Tap, Dialect::Ktap] {
                let results = read_tap(text.as_bytes(), dialect);
                let names: std::collections::BTreeSet<_> = results.cases.iter().map(|case| &case.name).collect();
                prop_assert!(names.len() <= results.cases.len());
                if results.cases.is_empty() {
                    prop_assert!(results.skip.is_some() || !results.problems.is_empty());
                }
            }
        }

        #[test]
        fn a_report_without_its_end_is_never_whole(count in 2usize..20, lines in 0usize..20) {
            let kept = lines.min(count - 1);
            let text: String = std::iter::once(format!("1..{count}\n"))
                .chain((1..=kept).map(|number| format!("ok {number} x\n")))
                .collect();
            prop_assert!(!read_tap(text.as_bytes(), Dialect::Ktap).problems.is_empty());
        }
    }
}
