//! JUnit XML, as GoogleTest, pytest, CTest and many others write it.
//!
//! There is no single standard; this reads what all have in common: elements `testcase` with `name`
//! and `classname`, containing `failure`, `error` or `skipped`. GoogleTest, CTest and others also
//! report in `status` and `result` how a case ended, and in `file` and `line` where it is defined.
//! A suite's counts must match its cases: a report that says that something failed never passes.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::results::Results;
use super::xml_case::{Mark, OpenCase, Word, status};
use super::xml_suite::{Attributes, Suite, value};
use crate::suite::decode;

/// Maximum depth of elements.
const MAX_DEPTH: usize = 64;

/// Reads a file.
pub fn read_xml(file: &[u8]) -> Results {
    let mut document = Document::default();
    if let Err(problem) = document.read(&text(file)) {
        document.results.problem(problem);
    }
    let mut results = document.results;
    results.number_namesakes();
    results
}

const OUTSIDE: &str = "its results are not XML: there is text outside the root element";

/// The text of a file, whatever its encoding; XML 1.0, appendix F.
fn text(file: &[u8]) -> String {
    let utf16 = |file: &[u8], unit: fn([u8; 2]) -> u16| -> String {
        let units = file.chunks(2).map(|pair| match pair {
            [a, b] => unit([*a, *b]),
            _ => u16::from(b'?'),
        });
        char::decode_utf16(units)
            .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
            .collect()
    };
    let text = match file {
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
        [b'<', 0, ..] => utf16(file, u16::from_le_bytes),
        [0, b'<', ..] => utf16(file, u16::from_be_bytes),
        _ if is_latin(file) => file.iter().map(|&byte| char::from(byte)).collect(),
        _ => decode(file),
    };
    // Test programs print anything between the tags.
    text.trim_start_matches('\u{feff}')
        .chars()
        .map(|c| match c {
            c if c.is_control() && !c.is_whitespace() => char::REPLACEMENT_CHARACTER,
            c => c,
        })
        .collect()
}

/// Whether the declaration names a single-byte encoding, which is close enough to Latin-1 for a
/// report.
fn is_latin(file: &[u8]) -> bool {
    let end = file.iter().take(200).position(|&byte| byte == b'>');
    let declaration = String::from_utf8_lossy(&file[..end.unwrap_or_default()]).to_lowercase();
    declaration.starts_with("<?xml")
        && ["iso-8859-", "latin", "windows-125"]
            .iter()
            .any(|name| declaration.contains(name))
}

#[derive(Default)]
struct Document {
    results: Results,
    /// Names of the elements that are open, without their namespace and in
    /// lower case.
    open: Vec<String>,
    suites: Vec<Suite>,
    case: Option<OpenCase>,
    /// How many of the open elements are marks of a case or inside one.
    marked: usize,
    rooted: bool,
    /// There is a declaration after or in the first root.
    another: bool,
}

impl Document {
    fn read(&mut self, text: &str) -> Result<(), String> {
        let mut reader = Reader::from_str(text);
        loop {
            let event = reader.read_event().map_err(|error| {
                format!(
                    "its results are not XML, at byte {}: {error}",
                    reader.error_position()
                )
            })?;
            match event {
                Event::Start(element) => self.start(&element)?,
                Event::Empty(element) => {
                    self.start(&element)?;
                    self.end();
                }
                Event::End(_) => self.end(),
                Event::Text(text) => self.say(&text.decode().unwrap_or_default())?,
                // Whatever they mean: XML 1.0, 2.8, allows neither here.
                Event::CData(_) | Event::GeneralRef(_) if self.open.is_empty() => {
                    return Err(OUTSIDE.to_owned());
                }
                Event::CData(text) => self.say(&text.decode().unwrap_or_default())?,
                Event::GeneralRef(reference) => {
                    let name = reference.decode().unwrap_or_default();
                    let whole = format!("&{name};");
                    let said = quick_xml::escape::unescape(&whole).unwrap_or_default();
                    self.say(&said)?;
                }
                Event::Eof => break,
                // XML 1.0, 2.8, allows it only at the very beginning: this is another document, or
                // the rest of one.
                Event::Decl(_) if self.rooted => self.another = true,
                Event::Decl(_) | Event::PI(_) | Event::Comment(_) | Event::DocType(_) => {}
            }
        }
        match self.open.last() {
            _ if !self.rooted => Err("its results file is empty or not XML".to_owned()),
            Some(element) => Err(format!("its results end within <{element}>")),
            None if self.another => {
                Err("its results continue with <?xml after their end".to_owned())
            }
            None => Ok(()),
        }
    }

    fn start(&mut self, element: &BytesStart<'_>) -> Result<(), String> {
        let name = decode(element.local_name().as_ref()).to_lowercase();
        let is_suite = matches!(name.as_str(), "testsuites" | "testsuite");
        if self.open.is_empty() {
            if self.rooted {
                return Err(format!(
                    "its results continue with <{name}> after their end"
                ));
            }
            self.rooted = true;
            if !is_suite {
                return Err(format!(
                    "its results are not a JUnit file: they begin with <{name}>"
                ));
            }
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(format!("its results are nested deeper than {MAX_DEPTH}"));
        }
        let attributes = attributes(element)
            .map_err(|error| format!("its results have a bad <{name}>: {error}"))?;
        if is_suite {
            if self.case.is_some() {
                return Err("its results have a suite inside a case".to_owned());
            }
            self.suite(&name, &attributes);
        } else if name == "testcase" {
            if self.case.is_some() {
                return Err("its results have a case inside a case".to_owned());
            }
            self.case = Some(OpenCase::new(&attributes));
        } else if let Some(mark) = Mark::read(&name) {
            self.mark(&name, mark, &attributes);
        }
        let marks = self.case.is_some() && Mark::read(&name).is_some();
        if marks || self.marked > 0 {
            self.marked += 1;
        }
        self.open.push(name);
        Ok(())
    }

    fn suite(&mut self, name: &str, attributes: &Attributes) {
        let mut suite = Suite::new(name, attributes, &mut self.results);
        suite.says = status(attributes).into_iter().find_map(|(word, text)| {
            matches!(word, Word::Bad(_)).then(|| text.chars().take(40).collect())
        });
        // What `--gtest_list_tests` writes (gtest.cc, PrintXmlTestsList).
        if self.suites.is_empty()
            && value(attributes, "name") == Some("AllTests")
            && value(attributes, "failures").is_none()
        {
            self.results
                .problem("it lists its cases, but says that none ran");
        }
        self.suites.push(suite);
    }

    fn mark(&mut self, name: &str, mark: Mark, attributes: &Attributes) {
        if let Some(case) = &mut self.case {
            case.mark(mark, attributes);
            return;
        }
        let message = value(attributes, "message").unwrap_or_default();
        let problem = match message.lines().next().unwrap_or_default() {
            "" => format!("<{name}> is outside of its cases"),
            line => format!("<{name}> is outside of its cases: {line}"),
        };
        match mark {
            Mark::Failure | Mark::Error | Mark::Rerun => self.results.failure(problem),
            Mark::Skip => self.results.problem(problem),
            Mark::Flaky => {}
        }
    }

    fn end(&mut self) {
        let name = self.open.pop().unwrap_or_default();
        self.marked = self.marked.saturating_sub(1);
        match name.as_str() {
            "testcase" => {
                let Some(case) = self.case.take() else {
                    return;
                };
                let (case, tally) = case.close();
                self.results.add(case);
                if let Some(suite) = self.suites.last_mut() {
                    suite.direct.add(&tally);
                    suite.all.add(&tally);
                }
            }
            "testsuites" | "testsuite" => {
                let Some(suite) = self.suites.pop() else {
                    return;
                };
                suite.check(&mut self.results);
                if let Some(outer) = self.suites.last_mut() {
                    outer.all.add(&suite.all);
                }
            }
            _ => {}
        }
    }

    fn say(&mut self, text: &str) -> Result<(), String> {
        // XML 1.0, 2.3: white space.
        const SPACE: [char; 4] = [' ', '\t', '\r', '\n'];
        if self.open.is_empty() && !text.trim_matches(SPACE).is_empty() {
            return Err(OUTSIDE.to_owned());
        }
        if let Some(case) = &mut self.case {
            case.say(text, self.marked > 0);
        }
        Ok(())
    }
}

fn attributes(element: &BytesStart<'_>) -> Result<Attributes, String> {
    let mut found = Attributes::new();
    for attribute in element.attributes() {
        let attribute = attribute.map_err(|error| error.to_string())?;
        let name = decode(attribute.key.as_ref()).to_lowercase();
        let raw = decode(&attribute.value);
        let value = match quick_xml::escape::unescape(&raw) {
            Ok(text) => text.into_owned(),
            Err(_) => raw,
        };
        found.push((name, value));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::results::summary_of;
    use super::*;
    use crate::suite::Location;

    fn cases(text: &str) -> (Vec<String>, Vec<String>) {
        summary_of(read_xml(text.as_bytes()))
    }

    const GTEST: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites tests="4" failures="1" disabled="1" errors="0" time="0.5" name="AllTests">
  <testsuite name="Parser" tests="4" failures="1" time="0.4">
    <testcase name="reads" status="run" result="completed" time="0.25" classname="Parser" />
    <testcase name="fails" file="../src/parser.cpp" line="12" status="run" result="completed" time="0." classname="Parser">
      <failure message="parser.cpp:3&#x0A;Expected: 1" type=""><![CDATA[parser.cpp:3
Expected: 1]]></failure>
      <failure message="parser.cpp:4" type=""><![CDATA[second]]></failure>
    </testcase>
    <testcase name="DISABLED_x" status="notrun" result="suppressed" time="0" classname="Parser" />
    <testcase name="skips" status="run" result="skipped" time="0" classname="Parser">
      <skipped message="a.cpp:1&#x0A;no BTF"><![CDATA[a.cpp:1]]></skipped>
    </testcase>
  </testsuite>
</testsuites>
"#;

    #[test]
    fn googletest_s_file_is_read() {
        let (found, problems) = cases(GTEST);
        assert_eq!(
            found,
            [
                "pass Parser.reads",
                "fail Parser.fails parser.cpp:3",
                "skip Parser.DISABLED_x not run",
                "skip Parser.skips a.cpp:1",
            ]
        );
        assert_eq!(problems, Vec::<String>::new());
        let results = read_xml(GTEST.as_bytes());
        assert_eq!(results.cases[0].seconds, Some(0.25));
        assert!(results.cases[1].details.contains("Expected: 1"));
        assert_eq!(results.cases[0].source, None);
        let source = Location {
            file: "../src/parser.cpp".into(),
            line: 12,
        };
        assert_eq!(results.cases[1].source, Some(source));
    }

    #[test]
    fn what_ctest_has_disabled_did_not_run() {
        let (found, problems) = cases(
            "<testsuite><testcase name='a' status='disabled'/>\
             <testcase name='b' status='run'/></testsuite>",
        );
        assert_eq!(found, ["skip a not run", "pass b"]);
        assert_eq!(problems, Vec::<String>::new());
    }

    #[test]
    fn a_lone_suite_is_a_file_too_and_names_may_come_twice() {
        let (found, problems) = cases(
            "<testsuite><testcase name='a'/><testcase name='a &lt; b'><error/></testcase>\
             <testcase name='a'/><testcase name=''/></testsuite>",
        );
        assert_eq!(
            found,
            ["pass a", "error a < b", "pass a #2", "pass without a name"]
        );
        assert_eq!(problems, Vec::<String>::new());
    }

    #[test]
    fn the_error_names_the_first_line_that_is_not_an_event() {
        for line in ["", "line='0'", "line='-3'", "line='x'"] {
            let text = format!("<testsuite><testcase name='a' file='t.py' {line}/></testsuite>");
            let source = read_xml(text.as_bytes()).cases[0].source.clone();
            assert_eq!(source.map(|source| source.line), Some(1), "{line}");
        }
    }

    #[test]
    fn a_file_that_is_cut_off_or_not_xml_is_a_problem() {
        let half = &GTEST[..GTEST.len() / 2];
        for text in [
            half,
            "",
            "hello",
            "<html></html>",
            "<testsuite><testcase name='a'>",
            "<a",
            "<testsuite></b>",
            // No white space of XML's.
            "<testsuite><testcase name='a'/></testsuite>\u{b}",
            "<testsuite><testcase name='a'/></testsuite>&#x0A;",
            "<testsuite><testcase name='a'/></testsuite><![CDATA[ ]]>",
            "<testsuite><testcase name='a'/></testsuite><?xml version='1.0'?>",
            "<testsuite><?xml version='1.0'?><testcase name='a'/></testsuite>",
        ] {
            let (_, problems) = cases(text);
            assert!(!problems.is_empty(), "{text}");
        }
    }

    #[test]
    fn comments_and_instructions_may_follow_a_whole_report() {
        let (found, problems) =
            cases("<testsuite><testcase name='a'/></testsuite>\n<!-- end --><?made by?>\n");
        assert_eq!(found, ["pass a"]);
        assert_eq!(problems, Vec::<String>::new());
    }

    #[test]
    fn entities_do_not_explode_and_depth_is_bounded() {
        let bomb = "<!DOCTYPE x [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]><testsuite>\
            <testcase name='&b;'>&b;</testcase></testsuite>";
        assert!(read_xml(bomb.as_bytes()).cases[0].name.len() < 10);
        let deep = format!("<testsuite>{}", "<x>".repeat(100_000));
        assert!(read_xml(deep.as_bytes()).problems[0].contains("nested deeper"));
    }

    #[test]
    fn what_a_case_prints_is_kept_to_its_end() {
        let noise = "line\n".repeat(10_000);
        let text = format!(
            "<testsuite><testcase name='a'><system-out>{noise}last</system-out>\
             <failure>the point</failure></testcase></testsuite>"
        );
        let results = read_xml(text.as_bytes());
        let case = &results.cases[0];
        assert_eq!(case.reason, "the point");
        assert!(case.details.starts_with("the point\n"));
        assert!(case.details.ends_with("line\nlast"));
        assert!(case.details.len() < 16 * 1024);
    }

    /// A report with so many cases, and its counts.
    fn report(has: [usize; 4], says: [usize; 5]) -> String {
        let [passed, failed, errors, skipped] = has;
        let [tests, failures, error_count, skips, outer] = says;
        let mut text = format!(
            "<testsuites failures='{outer}'><testsuite name='s' tests='{tests}' \
             failures='{failures}' errors='{error_count}' skipped='{skips}'>"
        );
        for (count, mark) in [
            (passed, ""),
            (failed, "<failure/>"),
            (errors, "<error/>"),
            (skipped, "<skipped/>"),
        ] {
            let case = format!("<testcase name='a'>{mark}</testcase>");
            text.push_str(&case.repeat(count));
        }
        text + "</testsuite></testsuites>"
    }

    proptest! {
        #[test]
        fn counts_that_fit_are_right_and_more_never_pass(
            has in [0usize..4, 0usize..3, 0usize..3, 0usize..3],
            which in 0usize..5,
            more in 1usize..4,
        ) {
            let [passed, failed, errors, skipped] = has;
            let tests = passed + failed + errors + skipped;
            let mut says = [tests, failed, errors, skipped, failed];
            let right = read_xml(report(has, says).as_bytes());
            prop_assert_eq!(&right.problems, &Vec::<String>::new());
            prop_assert_eq!(right.cases.len(), tests);
            says[which] += more;
            let wrong = read_xml(report(has, says).as_bytes());
            // A failed teardown turns one case into two tests.
            let teardown = which == 0 && more <= errors;
            // The outer suite does not say how many errors there are.
            let unknown = which == 4 && failed + more <= failed + errors;
            prop_assert!(teardown || unknown || !wrong.problems.is_empty());
        }

        #[test]
        fn no_file_panics_it_and_every_part_of_one_is_a_problem(cut in 30usize..1300, junk in "[<>a-z&\"'= /\\[\\]!-]{0,80}") {
            let cut = cut.min(GTEST.len() - 2);
            prop_assert!(!read_xml(&GTEST.as_bytes()[..cut]).problems.is_empty());
            let _ = read_xml(junk.as_bytes());
        }
    }
}
