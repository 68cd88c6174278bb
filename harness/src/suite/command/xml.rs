//! JUnit XML, as GoogleTest, pytest, CTest and many others write it.
//!
//! There is no one standard; what counts here is what all have: elements
//! `testcase` with `name` and `classname`, and in them `failure`, `error` or
//! `skipped`. GoogleTest also marks cases that did not run in `status` and
//! `result`, and says in `file` and `line` where a case stands, as pytest, PHPUnit
//! and others do.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::results::{Case, Results};
use crate::suite::bpftrace::decode;
use crate::suite::{Source, Verdict};

/// Depth of elements that is looked at.
const MAX_DEPTH: usize = 64;
/// Bytes of a path, as Linux's `PATH_MAX` has it.
const MAX_PATH: usize = 4096;
/// Bytes of text of one case that are collected.
const MAX_TEXT: usize = 16 * 1024;

/// Reads the text of a file.
pub fn read_xml(file: &[u8]) -> Results {
    let mut results = Results::default();
    if let Err(problem) = read(file, &mut results) {
        results.problem(problem);
    }
    results.number_namesakes();
    results
}

fn read(file: &[u8], results: &mut Results) -> Result<(), String> {
    // Test programs print what they like between the tags.
    let text = decode(file);
    let text: String = text
        .trim_start_matches('\u{feff}')
        .chars()
        .map(|c| {
            if c.is_control() && !c.is_whitespace() {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect();
    let mut reader = Reader::from_str(&text);
    let mut open: Vec<String> = Vec::new();
    let mut case: Option<Case> = None;
    let mut rooted = false;
    loop {
        let event = reader.read_event().map_err(|error| {
            format!(
                "its results are not XML, at byte {}: {error}",
                reader.error_position()
            )
        })?;
        let (element, empty) = match event {
            Event::Start(element) => (element, false),
            Event::Empty(element) => (element, true),
            Event::End(element) => {
                if element.name().as_ref() == b"testcase"
                    && let Some(done) = case.take()
                {
                    results.add(done);
                }
                open.pop();
                continue;
            }
            Event::Text(text) => {
                say(case.as_mut(), &text.decode().unwrap_or_default());
                continue;
            }
            Event::CData(text) => {
                say(case.as_mut(), &text.decode().unwrap_or_default());
                continue;
            }
            Event::GeneralRef(reference) => {
                let name = reference.decode().unwrap_or_default();
                let whole = format!("&{name};");
                let said = quick_xml::escape::unescape(&whole)
                    .unwrap_or_default()
                    .into_owned();
                say(case.as_mut(), &said);
                continue;
            }
            Event::Eof => break,
            Event::Decl(_) | Event::PI(_) | Event::Comment(_) | Event::DocType(_) => continue,
        };
        let name = decode(element.name().as_ref());
        if !rooted {
            rooted = true;
            if !matches!(name.as_str(), "testsuites" | "testsuite") {
                return Err(format!(
                    "its results are no JUnit file: they begin with <{name}>"
                ));
            }
        }
        if open.len() >= MAX_DEPTH {
            return Err(format!("its results are nested deeper than {MAX_DEPTH}"));
        }
        match name.as_str() {
            "testcase" => {
                if case.is_some() {
                    return Err("its results have a case inside a case".to_owned());
                }
                let found = new_case(&element);
                if empty {
                    results.add(found);
                } else {
                    case = Some(found);
                }
            }
            "failure" | "error" | "skipped" => {
                if let Some(case) = &mut case {
                    mark(case, &name, &element);
                }
            }
            _ => {}
        }
        if !empty {
            open.push(name);
        }
    }
    match open.last() {
        _ if !rooted => Err("its results file is empty or not XML".to_owned()),
        Some(element) => Err(format!("its results end within <{element}>")),
        None => Ok(()),
    }
}

fn attribute(element: &BytesStart<'_>, name: &str) -> Option<String> {
    let found = element.try_get_attribute(name).ok()??;
    let raw = decode(&found.value);
    Some(match quick_xml::escape::unescape(&raw) {
        Ok(text) => text.into_owned(),
        Err(_) => raw,
    })
}

fn new_case(element: &BytesStart<'_>) -> Case {
    let said = |name| attribute(element, name).filter(|said| !said.is_empty());
    let name = said("name").unwrap_or_else(|| "without a name".to_owned());
    let name = match said("classname") {
        Some(class) => format!("{class}.{name}"),
        None => name,
    };
    // googletest, gtest.cc, OutputXmlTestInfo: `notrun` is what a filter left
    // out or what is disabled. CTest, cmCTestTestHandler.cxx, WriteJUnitXML:
    // the latter is `disabled`.
    let status = attribute(element, "status");
    let not_run = matches!(status.as_deref(), Some("notrun" | "disabled"));
    let skipped = attribute(element, "result").as_deref() == Some("skipped");
    let (verdict, reason) = match (not_run, skipped) {
        (true, _) => (Verdict::Skip, "not run".to_owned()),
        (_, true) => (Verdict::Skip, String::new()),
        _ => (Verdict::Pass, String::new()),
    };
    Case {
        name,
        verdict,
        reason,
        details: String::new(),
        seconds: attribute(element, "time")
            .and_then(|time| time.parse().ok())
            .filter(|time: &f64| time.is_finite() && *time >= 0.0),
        source: said("file")
            .filter(|file| file.len() <= MAX_PATH)
            .map(|file| Source {
                file,
                // pytest counts from 0.
                line: said("line")
                    .and_then(|line| line.parse().ok())
                    .map_or(1, |line: u32| line.max(1) as usize),
            }),
    }
}

/// Takes a mark into account: an error weighs more than a failure, and both
/// more than a skip.
fn mark(case: &mut Case, mark: &str, element: &BytesStart<'_>) {
    let (verdict, weight) = match mark {
        "failure" => (Verdict::Fail, 2),
        "error" => (Verdict::Error, 3),
        _ => (Verdict::Skip, 1),
    };
    let has = match case.verdict {
        Verdict::Skip => 1,
        Verdict::Fail => 2,
        Verdict::Error => 3,
        _ => 0,
    };
    if weight < has || (weight == has && !case.reason.is_empty()) {
        return;
    }
    case.verdict = verdict;
    let message = attribute(element, "message").unwrap_or_default();
    message
        .lines()
        .next()
        .unwrap_or_default()
        .clone_into(&mut case.reason);
}

fn say(case: Option<&mut Case>, text: &str) {
    if let Some(case) = case
        && case.details.len() < MAX_TEXT
        && !(case.details.is_empty() && text.trim().is_empty())
    {
        case.details.push_str(text);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::results::told;
    use super::*;

    fn cases(text: &str) -> (Vec<String>, Vec<String>) {
        told(read_xml(text.as_bytes()))
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
        let source = Source {
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
    fn a_line_that_is_none_is_the_first() {
        for line in ["", "line='0'", "line='-3'", "line='x'"] {
            let text = format!("<testsuite><testcase name='a' file='t.py' {line}/></testsuite>");
            let source = read_xml(text.as_bytes()).cases[0].source.clone();
            assert_eq!(source.map(|source| source.line), Some(1), "{line}");
        }
    }

    #[test]
    fn a_file_that_is_cut_off_or_none_is_a_problem() {
        let half = &GTEST[..GTEST.len() / 2];
        for text in [
            half,
            "",
            "hello",
            "<html></html>",
            "<testsuite><testcase name='a'>",
            "<a",
            "<testsuite></b>",
        ] {
            let (_, problems) = cases(text);
            assert!(!problems.is_empty(), "{text}");
        }
    }

    #[test]
    fn entities_do_not_explode_and_depth_is_bounded() {
        let bomb = "<!DOCTYPE x [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]><testsuite>\
            <testcase name='&b;'>&b;</testcase></testsuite>";
        assert!(read_xml(bomb.as_bytes()).cases[0].name.len() < 10);
        let deep = format!("<testsuite>{}", "<x>".repeat(100_000));
        assert!(read_xml(deep.as_bytes()).problems[0].contains("nested deeper"));
    }

    proptest! {
        #[test]
        fn no_file_panics_it_and_every_part_of_one_is_a_problem(cut in 30usize..1300, junk in "[<>a-z&\"'= /\\[\\]!-]{0,80}") {
            let cut = cut.min(GTEST.len() - 2);
            prop_assert!(!read_xml(&GTEST.as_bytes()[..cut]).problems.is_empty());
            let _ = read_xml(junk.as_bytes());
        }
    }
}
