//! The Test Anything Protocol and the kernel's dialect of it.
//!
//! Sources: testanything.org, versions 12 to 14;
//! Documentation/dev-tools/ktap.rst of Linux 6.12, version 1, and what
//! tools/testing/kunit/kunit_parser.py makes of it.

use std::borrow::Cow;

use super::results::{MAX_CASES, Results};
use super::tail::Tail;
use super::tap_level::{Closed, Level};
use super::tap_line::{
    Dialect, Plan, Prefix, TestLine, bail_out, is_pragma, is_version, split_prefix, subtest,
    totals, uncommented, without_timestamp,
};
use crate::suite::decode;

/// Maximum nesting depth.
const MAX_DEPTH: usize = 32;

/// `# Subtest`, whose cases must follow.
struct Announced {
    indent: usize,
    name: String,
}

/// A YAML block, whose lines are diagnostics whatever they contain.
#[derive(Clone, Copy)]
struct Yaml {
    indent: usize,
    comments: usize,
}

struct Reader {
    dialect: Dialect,
    results: Results,
    /// The levels, outermost first; there is always one.
    levels: Vec<Level>,
    /// What precedes a case, in KTAP.
    diagnostics: Tail,
    announced: Option<Announced>,
    /// The indentation of the last case, while a YAML block can follow it.
    after_case: Option<Prefix>,
    yaml: Option<Yaml>,
    /// Cases of all levels.
    count: usize,
    bailed_out: bool,
}

/// Reads what a command printed.
pub fn read_tap(output: &[u8], dialect: Dialect) -> Results {
    let mut reader = Reader {
        dialect,
        results: Results::default(),
        levels: vec![Level::outermost()],
        diagnostics: Tail::default(),
        announced: None,
        after_case: None,
        yaml: None,
        count: 0,
        bailed_out: false,
    };
    let output = output.strip_prefix(b"\xef\xbb\xbf").unwrap_or(output);
    // TAP 14, "Harness Behavior": `\r\n` and `\r` end a line too.
    for line in output.split(|byte| matches!(byte, b'\n' | b'\r')) {
        let line = decode(line);
        let plain = reader.plain(&line);
        reader.line(plain.trim_end());
        if reader.bailed_out {
            break;
        }
    }
    reader.finish()
}

impl Reader {
    /// A line without what a terminal or the kernel's log adds to it.
    fn plain<'t>(&mut self, line: &'t str) -> Cow<'t, str> {
        let mut plain = Cow::Borrowed(line);
        if line.contains('\u{1b}') {
            plain = console::strip_ansi_codes(line).into_owned().into();
            let note = "its output has colours, which were removed";
            if plain != line && self.results.notes.is_empty() {
                self.results.notes.push(note.to_owned());
            }
        }
        if plain.contains('\0') {
            plain = plain.replace('\0', "").into();
        }
        if self.dialect == Dialect::Ktap && plain.starts_with('[') {
            plain = without_timestamp(&plain).to_owned().into();
        }
        plain
    }

    fn line(&mut self, line: &str) {
        if self.in_yaml(line) {
            return;
        }
        let (prefix, text) = split_prefix(line, self.dialect);
        if text.is_empty() {
            return;
        }
        if text == "---"
            && let Some(case) = self.after_case
            && prefix.indent > case.indent
            && prefix.comments == case.comments
        {
            self.yaml = Some(Yaml {
                indent: prefix.indent,
                comments: prefix.comments,
            });
            self.diagnostic(text);
        } else if !prefix.level {
            self.diagnostic(text);
        } else if is_version(text) {
            self.version(prefix);
        } else if let Some(plan) = Plan::read(text) {
            self.plan(prefix, plan);
        } else if let Some(name) = subtest(text) {
            self.subtest(prefix, name);
        } else if let Some(why) = bail_out(text).filter(|_| self.has_level(prefix)) {
            self.bail_out(prefix, &why);
        } else if let Some(result) = self.result_line(prefix, text) {
            self.result(prefix, &result, text);
        } else if !(is_pragma(text) && self.dialect == Dialect::Tap) {
            self.diagnostic(text);
        }
    }

    /// Whether a line belongs to a YAML block.
    fn in_yaml(&mut self, line: &str) -> bool {
        let Some(yaml) = self.yaml else {
            return false;
        };
        let within = uncommented(line, yaml.comments);
        match within {
            Some((_, "")) => self.diagnostic(""),
            Some((indent, text)) if indent >= yaml.indent => {
                if indent == yaml.indent && text == "..." {
                    self.yaml = None;
                    self.after_case = None;
                }
                let blank = " ".repeat((indent - yaml.indent).min(40));
                self.diagnostic(&format!("{blank}{text}"));
            }
            // Its end is missing, as the indentation shows (TAP 13, "YAML blocks").
            _ => {
                self.yaml = None;
                self.after_case = None;
                return false;
            }
        }
        true
    }

    fn top(&mut self) -> &mut Level {
        if self.levels.is_empty() {
            self.levels.push(Level::outermost());
        }
        let last = self.levels.len() - 1;
        &mut self.levels[last]
    }

    fn has_level(&self, prefix: Prefix) -> bool {
        let due = |announced: &Announced| announced.indent < prefix.indent;
        prefix.comments > 0
            || self
                .levels
                .iter()
                .any(|level| level.indent == prefix.indent)
            || self.announced.as_ref().is_some_and(due)
    }

    /// Reads a result, if there can be one.
    fn result_line(&self, prefix: Prefix, text: &str) -> Option<TestLine> {
        let line = TestLine::read(text, self.dialect)?;
        // Prose may begin with `ok`. A nested case has a number in KTAP (ktap.rst, "Test case
        // result lines").
        let nested = prefix.indent > self.levels.first().map_or(0, |level| level.indent);
        let bare = self.dialect == Dialect::Ktap && nested && line.number.is_none();
        (!bare).then_some(line)
    }

    /// Keeps a line that may turn out to be prose.
    fn log(&mut self, text: &str) {
        let top = self.top();
        if !top.confirmed {
            top.lines.push(text);
        }
    }

    /// A line that belongs to the case before or after it.
    fn diagnostic(&mut self, text: &str) {
        let text = match self.yaml {
            Some(_) => text,
            None => text
                .trim_start_matches("# ")
                .trim_start_matches('#')
                .trim_start(),
        };
        if self.dialect == Dialect::Ktap
            && let Some(failed) = totals(text)
        {
            let top = self.top();
            top.failures = top.failures.max(failed);
        }
        self.log(text);
        match self.dialect {
            Dialect::Ktap => self.diagnostics.push(text),
            Dialect::Tap => self.top().say(text),
        }
    }

    /// Makes the level of this indentation the innermost one, and returns the nested one that has
    /// just ended. `opens` says that the line proves that this is a level, not prose.
    fn level(&mut self, prefix: Prefix, opens: bool) -> Option<Closed> {
        let mut ended: Option<Closed> = None;
        while self.levels.len() > 1
            && self
                .levels
                .last()
                .is_some_and(|top| top.indent > prefix.indent)
        {
            if let Some(orphans) = ended.take() {
                self.top().adopt(orphans);
            }
            if let Some(level) = self.levels.pop() {
                ended = self.close(level);
            }
        }
        let depth = self.levels.len();
        let top = self.top();
        if top.indent < prefix.indent && depth < MAX_DEPTH {
            let announced = self.announced.take();
            let due = |announced: &Announced| match self.dialect {
                Dialect::Tap => announced.indent + 4 == prefix.indent,
                Dialect::Ktap => announced.indent < prefix.indent,
            };
            let announced = announced.filter(due);
            let mut level = Level::new(prefix);
            level.confirmed = opens || announced.is_some() || ended.is_some();
            level.name = announced.map(|due| due.name).unwrap_or_default();
            level.lines = self.diagnostics.clone();
            self.levels.push(level);
        } else {
            top.confirmed |= opens;
        }
        ended
    }

    /// Ends a level; nothing if it was prose.
    fn close(&mut self, mut level: Level) -> Option<Closed> {
        if level.is_one() {
            return Some(level.close(self.dialect));
        }
        self.count -= level.cases.len();
        match self.dialect {
            // They also contain what came before them.
            Dialect::Ktap => self.diagnostics = level.lines,
            Dialect::Tap => {
                let text = level.lines.take();
                let top = self.top();
                text.lines().for_each(|line| top.say(line));
            }
        }
        None
    }

    /// The level that ended before a line that is not a result.
    fn level_for(&mut self, prefix: Prefix) {
        if let Some(orphans) = self.level(prefix, true) {
            self.top().adopt(orphans);
        }
        self.after_case = None;
    }

    fn version(&mut self, prefix: Prefix) {
        let first = self.levels.len() == 1 && self.top().is_new();
        if first && prefix.comments == 0 && self.dialect == Dialect::Ktap {
            // Whatever the console puts before each line (kunit_parser.py,
            // extract_tap_lines).
            self.top().indent = prefix.indent;
        }
        self.level_for(prefix);
        let dialect = self.dialect;
        let top = self.top();
        if top.is_new() {
            return;
        }
        if dialect == Dialect::Tap {
            top.problem("a version line stands within it".to_owned());
            return;
        }
        // run_kselftest.sh prints one report per collection.
        let next = top.next();
        let level = std::mem::replace(top, next);
        let ended = level.close(dialect);
        self.top().follow(ended);
    }

    fn plan(&mut self, prefix: Prefix, plan: Plan) {
        self.level_for(prefix);
        let outermost = self.levels.len() == 1;
        let top = self.top();
        if top.plan.replace(plan.count).is_some() {
            top.problem("it has two plans".to_owned());
        }
        top.plan_is_last = top.seen > 0;
        if plan.count == 0 && outermost {
            match plan.why {
                Some(why) => self.results.skip = Some(why),
                None => self.results.problem("its plan is empty without a reason"),
            }
        }
    }

    fn subtest(&mut self, prefix: Prefix, name: String) {
        let deeper = self.top().indent < prefix.indent;
        self.level_for(prefix);
        if deeper {
            self.top().name = name;
        } else {
            self.announced = Some(Announced {
                indent: prefix.indent,
                name,
            });
        }
    }

    fn bail_out(&mut self, prefix: Prefix, why: &str) {
        let problem = match why {
            "" => "it bailed out".to_owned(),
            why => format!("it bailed out: {why}"),
        };
        if prefix.comments > 0 {
            // A test of kselftest's runner, which continues with the next one.
            self.level_for(prefix);
            self.top().bailed_out = Some(problem);
        } else {
            self.bailed_out = true;
            self.results.failure(problem);
        }
    }

    fn result(&mut self, prefix: Prefix, line: &TestLine, text: &str) {
        let children = self.level(prefix, false);
        self.log(text);
        self.announced = self
            .announced
            .take()
            .filter(|due| due.indent < prefix.indent);
        self.after_case = Some(prefix);
        let pending = match self.dialect {
            Dialect::Ktap => std::mem::take(&mut self.diagnostics),
            Dialect::Tap => Tail::default(),
        };
        let full = self.count >= MAX_CASES;
        let dialect = self.dialect;
        let top = self.top();
        let before = top.cases.len() + children.as_ref().map_or(0, |below| below.cases.len());
        top.result(line, children, pending, dialect, full);
        let added = top.cases.len().saturating_sub(before);
        self.count += added;
    }

    fn finish(mut self) -> Results {
        if self.yaml.is_some() && !self.bailed_out {
            self.results.problem("its output ends within a YAML block");
        }
        while self.levels.len() > 1 {
            let Some(level) = self.levels.pop() else {
                break;
            };
            let Some(closed) = self.close(level).filter(|closed| !closed.is_prose()) else {
                continue;
            };
            if !self.bailed_out {
                self.results.problem("its output ends within nested cases");
                for problem in &closed.problems {
                    self.results.problem(problem);
                }
            }
            self.top().cases.extend(closed.cases);
        }
        let top = std::mem::replace(self.top(), Level::outermost());
        let closed = top.close(self.dialect);
        if !self.bailed_out {
            for problem in closed.problems {
                self.results.problem(problem);
            }
            self.results.fails |= closed.fails;
        }
        for case in closed.cases {
            self.results.add(case);
        }
        self.results.number_namesakes();
        self.results
    }
}

#[cfg(test)]
#[path = "tap_tests.rs"]
mod tests;
