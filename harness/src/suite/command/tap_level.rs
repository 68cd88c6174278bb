//! The cases of one indentation in TAP and KTAP.

use std::collections::HashSet;

use super::results::{Case, MAX_CASES, clip_name};
use super::tail::Tail;
use super::tap_line::{Dialect, Directive, Number, Prefix, TestLine, expected};
use crate::suite::Verdict;

/// Problems of one level to keep.
const MAX_PROBLEMS: usize = 5;

/// A level while it is read.
#[derive(Debug, Default)]
pub(super) struct Level {
    outermost: bool,
    pub(super) indent: usize,
    comments: usize,
    /// Whether something proves that it is a level, not prose: a version, a plan, `# Subtest`.
    pub(super) confirmed: bool,
    /// The name that `# Subtest` gives it.
    pub(super) name: String,
    pub(super) plan: Option<u64>,
    pub(super) plan_is_last: bool,
    pub(super) seen: u64,
    /// The number of the last case.
    last_number: u64,
    numbers: HashSet<u64>,
    /// Whether each case has its number, from 1 on.
    in_order: bool,
    pub(super) cases: Vec<Case>,
    problems: Vec<String>,
    pub(super) bailed_out: Option<String>,
    /// How many cases failed according to its own count.
    pub(super) failures: u64,
    /// Whether a nested level says so, but its case does not.
    pub(super) fails: bool,
    /// Its original lines, while it is not confirmed.
    pub(super) lines: Tail,
    /// The case to which following lines belong, and those lines.
    last: Option<usize>,
    said: Tail,
}

/// A level that has ended.
#[derive(Debug, Default)]
pub(super) struct Closed {
    pub(super) cases: Vec<Case>,
    pub(super) problems: Vec<String>,
    pub(super) name: String,
    /// Whether it says that something failed.
    pub(super) fails: bool,
    /// Whether more than the numbers of its cases shows that it is a level.
    confirmed: bool,
}

impl Closed {
    /// Whether it may be prose that can be ignored.
    pub(super) fn is_prose(&self) -> bool {
        !self.confirmed && !self.cases.iter().any(bad)
    }
}

fn bad(case: &Case) -> bool {
    !matches!(case.verdict, Verdict::Pass | Verdict::Skip)
}

impl Level {
    pub(super) fn new(prefix: Prefix) -> Self {
        Self {
            indent: prefix.indent,
            comments: prefix.comments,
            in_order: true,
            ..Self::default()
        }
    }

    pub(super) fn outermost() -> Self {
        Self {
            outermost: true,
            confirmed: true,
            in_order: true,
            ..Self::default()
        }
    }

    /// The level of a report that follows at the same place.
    pub(super) fn next(&self) -> Self {
        Self {
            outermost: self.outermost,
            indent: self.indent,
            comments: self.comments,
            confirmed: true,
            name: self.name.clone(),
            in_order: true,
            ..Self::default()
        }
    }

    /// Whether it is still empty.
    pub(super) fn is_new(&self) -> bool {
        self.seen == 0 && self.plan.is_none() && self.cases.is_empty()
    }

    /// Whether it is a level. Lines after `# ` are also one if its cases are numbered from 1 on.
    pub(super) fn is_one(&self) -> bool {
        self.confirmed || (self.comments > 0 && self.in_order && self.seen > 0)
    }

    /// A line that belongs to its last case.
    pub(super) fn say(&mut self, text: &str) {
        if self.last.is_some() {
            self.said.push(text);
        }
    }

    /// Adds the collected lines to the last case.
    fn attach(&mut self) {
        let said = self.said.take();
        if let Some(case) = self.last.take().and_then(|last| self.cases.get_mut(last)) {
            case.details.push_str(&said);
        }
    }

    /// Notes a problem; a few are enough.
    pub(super) fn problem(&mut self, mut problem: String) {
        clip_name(&mut problem);
        if self.problems.len() < MAX_PROBLEMS && !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// Checks and returns the number of a case.
    fn number(&mut self, line: &TestLine, dialect: Dialect) -> u64 {
        let due = match dialect {
            Dialect::Tap => self.last_number.saturating_add(1),
            Dialect::Ktap => self.seen,
        };
        let number = match line.number {
            None => {
                self.in_order = false;
                due
            }
            Some(Number::Of(number)) => number,
            Some(Number::TooLarge) => {
                self.problem("the number of a case is too large".to_owned());
                self.in_order = false;
                due
            }
        };
        self.in_order &= number == due;
        self.last_number = number;
        // ktap.rst, "Test case result lines": by one each time. TAP 14, "Test
        // Point ID": any order, and so a test may have it that prints TAP below
        // kselftest's runner.
        if dialect == Dialect::Ktap && self.comments == 0 {
            if number != due {
                self.problem(format!("case {number} comes where {due} is expected"));
            }
        } else if !self.numbers.insert(number) {
            self.problem(format!("case {number} comes twice"));
        }
        number
    }

    /// Adds a result, and its nested cases that came before. `full` says that no more cases are
    /// kept.
    pub(super) fn result(
        &mut self,
        line: &TestLine,
        children: Option<Closed>,
        mut pending: Tail,
        dialect: Dialect,
        full: bool,
    ) {
        self.attach();
        if self.plan_is_last && dialect == Dialect::Tap {
            self.problem("its plan stands between its cases".to_owned());
        }
        self.seen += 1;
        let number = self.number(line, dialect);
        let mut children = children.unwrap_or_default();
        let mut name = [&line.description, &children.name]
            .into_iter()
            .find(|name| !name.is_empty())
            .map_or_else(|| number.to_string(), Clone::clone);
        clip_name(&mut name);
        let mut reason = line.reason.clone();
        let skips = line.directive == Directive::Skip;
        let mut odd = false;
        if !children.problems.is_empty() {
            if line.ok && !skips {
                self.fails |= children.fails;
                // This cannot be right.
                for problem in &children.problems {
                    self.problem(format!("in {name}: {problem}"));
                }
            } else {
                // It says so itself, such as for a test that died.
                let problems = children.problems.join("; ");
                reason = if reason.is_empty() {
                    problems
                } else {
                    format!("{reason}; {problems}")
                };
                odd = true;
            }
        }
        for case in &mut children.cases {
            case.name = format!("{name}/{}", case.name);
            clip_name(&mut case.name);
            // TAP 14, "Subtest Parsing/Generating Rules": the case decides. The kernel's runner
            // reports a skip by exit status, whatever failed before.
            let forgiven = match line.directive {
                Directive::Expected => !line.ok,
                Directive::Skip => dialect == Dialect::Tap,
                _ => false,
            };
            if forgiven && bad(case) {
                case.verdict = line.verdict;
                case.reason = if skips {
                    line.reason.clone()
                } else {
                    expected("its case is")
                };
            }
        }
        let failed = children.cases.iter().rposition(bad);
        let says_all = match line.verdict {
            Verdict::Pass => true,
            Verdict::Skip => children
                .cases
                .iter()
                .all(|case| case.verdict == Verdict::Skip),
            Verdict::Fail => failed.is_some(),
            _ => false,
        };
        let alone = children.cases.is_empty();
        let mut details = pending.take();
        details.truncate(details.trim_end().len());
        if let Some(failed) = failed.and_then(|at| children.cases.get_mut(at))
            && says_all
        {
            if !failed.details.is_empty() && !details.is_empty() {
                failed.details.push('\n');
            }
            failed.details.push_str(&details);
        }
        self.cases.append(&mut children.cases);
        if full {
            self.problem(format!("it reports more than {MAX_CASES} cases"));
        } else if alone || odd || !says_all {
            self.last = Some(self.cases.len());
            self.cases.push(Case {
                name,
                verdict: line.verdict,
                reason,
                details,
                seconds: line.seconds,
                source: None,
            });
        }
    }

    /// Continues a report that ended at the same indentation.
    pub(super) fn follow(&mut self, ended: Closed) {
        self.fails = ended.fails;
        self.problems = ended.problems;
        self.cases = ended.cases;
    }

    /// Adds the cases of a level that ended without the result of their own case.
    pub(super) fn adopt(&mut self, orphans: Closed) {
        if orphans.is_prose() {
            return;
        }
        for problem in orphans.problems {
            self.problem(problem);
        }
        self.problem("nested cases come without the result of their case".to_owned());
        self.cases.extend(orphans.cases);
    }

    /// Ends it, and compares it with its plan.
    pub(super) fn close(mut self, dialect: Dialect) -> Closed {
        self.attach();
        if let Some(why) = self.bailed_out.take() {
            self.problems.insert(0, why);
            return Closed {
                fails: true,
                confirmed: self.confirmed,
                cases: self.cases,
                problems: self.problems,
                name: self.name,
            };
        }
        match self.plan {
            Some(plan) => {
                if plan != self.seen {
                    self.problem(format!("its plan says {plan}, saw {}", self.seen));
                }
                let outside = self.numbers.iter().filter(|&&n| n == 0 || n > plan);
                if let Some(number) = outside.min()
                    && plan == self.seen
                {
                    let problem = format!("case {number} is outside its plan of {plan}");
                    self.problem(problem);
                }
            }
            None if self.outermost => self.problem(
                if self.seen == 0 {
                    "its output is not TAP: it has neither plan nor case"
                } else {
                    "its output has no plan and may be cut off"
                }
                .to_owned(),
            ),
            None if self.seen == 0 => self.problem("it has neither plan nor case".to_owned()),
            // ktap.rst, "Plan lines": it may be omitted. Without the outermost,
            // nothing would tell half a report from a whole one.
            None if dialect == Dialect::Ktap => {}
            None => self.problem("it has no plan and may be cut off".to_owned()),
        }
        let counts = self.failures > 0 && !self.cases.iter().any(bad);
        if counts {
            let problem = format!("it counts {} as failed, but no case failed", self.failures);
            self.problem(problem);
        }
        Closed {
            cases: self.cases,
            problems: self.problems,
            name: self.name,
            confirmed: self.confirmed,
            fails: counts || self.fails,
        }
    }
}
