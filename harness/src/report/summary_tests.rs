#![allow(clippy::unwrap_used)]

use super::*;
use crate::report::samples::{at, finished, history, result, started, with_texts};
use crate::run::event::{Event, RunFinished, Verdict, Warning};
use crate::suite::Location;

#[test]
fn a_run_as_expected_is_a_short_page() {
    let end = Event::RunFinished(RunFinished {
        exit_code: 0,
        duration_ms: 9000,
    });
    let page = summary(&history(&[
        started(&["5.10", "6.1"], 1),
        finished("5.10", "call.str", Verdict::Pass, ""),
        finished("6.1", "call.str", Verdict::Skip, ""),
        at(9000, end),
    ]));
    for line in [
        "### \u{2705} kiln: all as expected",
        "2 verdicts of 2 planned tests on 2 kernels in 9.0 s, exit code 0",
        "| kernel | <code>bpftrace</code> |",
        "| <code>5.10</code> | \u{2705} 1 pass |",
        "| <code>6.1</code> | \u{2705} 1 skip |",
    ] {
        assert!(page.lines().any(|one| one == line), "{line}:\n{page}");
    }
    assert!(!page.contains("### Not as expected"), "{page}");
}

#[test]
fn a_file_is_named_as_the_user_sees_it() {
    let source = |file: &str| {
        let result = TestResult {
            source: Some(Location {
                file: file.into(),
                line: 12,
            }),
            ..result("6.1", "call.str", Verdict::Fail, "")
        };
        let end = at(9, Event::TestFinished(result));
        summary(&history(&[started(&["6.1"], 1), end]))
    };
    // The run's working directory is /home/u/bpftrace.
    let own = source("/home/u/bpftrace/tests/runtime/call");
    assert!(
        own.contains("<code>tests/runtime/call&#58;12</code>"),
        "{own}"
    );
    let other = source("/home/u/bpftrace-2/call");
    assert!(
        other.contains("<code>/home/u/bpftrace-2/call&#58;12</code>"),
        "{other}"
    );
}

/// As many failures as a page takes, of tests with long names, and long warnings.
fn hostile() -> History {
    let hostile = "@[|<*".repeat(2000);
    let mut records = vec![started(&["6.1"], 500)];
    for number in 0..500 {
        let id = format!("a.{number} {hostile}");
        let fail = finished("6.1", &id, Verdict::Fail, &hostile);
        records.push(with_texts(fail, &hostile, &hostile));
        let message = hostile.clone();
        records.push(at(
            9,
            Event::Warning(Warning {
                kernel: None,
                message,
            }),
        ));
    }
    history(&records)
}

#[test]
fn a_page_is_never_longer_than_github_takes() {
    let page = summary(&hostile());
    assert!(page.len() < MAX_SUMMARY, "{}", page.len());
    assert!(
        page.contains("others: see `output/`"),
        "not all can be told"
    );
    let details = page.matches("<details>").count();
    assert_eq!(details, page.matches("</details>").count());
}

#[test]
fn what_has_changed_stays_on_a_page_that_is_too_long() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("junit.xml");
    let before = "<testsuite name=\"bpftrace\"><properties><property name=\"kernel\" \
                  value=\"6.1\"/></properties><testcase classname=\"bpftrace\" \
                  name=\"call.str\" time=\"1\"/></testsuite>";
    std::fs::write(&file, before).unwrap();
    let baseline = Baseline::read(&file, "before").unwrap();
    let mut history = hostile();
    history.observe(&finished("6.1", "call.str", Verdict::Fail, ""));
    for room in [MAX_SUMMARY, 800 * 1024] {
        let page = compared(&history, Some(&baseline), room);
        assert!(page.len() <= room, "{} of {room}", page.len());
        let first: Vec<&str> = page.lines().take(3).collect();
        assert!(first[2].contains("before"), "{first:?}");
        assert!(page.contains("### \u{274c} kiln: 501 tests not as expected"));
        assert!(page.contains(LEFT_OUT));
        let details = page.matches("<details").count();
        assert_eq!(details, page.matches("</details>").count());
    }
    let page = compared(&history, Some(&baseline), 0);
    assert!(page.len() < NOTES && page.starts_with(LEFT_OUT), "{page}");
}
