#![allow(clippy::unwrap_used)]

use super::*;
use crate::report::samples;
use crate::run::event::{Known, KnownResult};

/// The verdict of a test whose attempts end like this, and their number.
fn tried(policies: &Policies, verdicts: &[Verdict]) -> (TestResult, usize) {
    let mut attempts = Attempts::default();
    for (index, verdict) in verdicts.iter().enumerate() {
        let before = attempts.begin();
        assert_eq!(before.is_some(), index > 0);
        let result = TestResult {
            attempt: attempts.next(),
            ..samples::result("6.1", "a.b", *verdict, "why")
        };
        if let Next::Done(attempt) = attempts.take(result.into(), policies, true) {
            return (attempt.result, index + 1);
        }
    }
    (attempts.settle(policies).unwrap().result, verdicts.len())
}

fn retries(retries: u32) -> Policies {
    Policies {
        retries,
        ..Policies::default()
    }
}

fn repeat(repeat: Repeat) -> Policies {
    Policies {
        repeat,
        ..Policies::default()
    }
}

#[test]
fn a_test_is_tried_again_only_after_a_failure_and_only_so_often() {
    use Verdict::{Fail, Pass, Skip, Timeout};
    let cases: [(u32, &[Verdict], Verdict, usize, bool); 6] = [
        (0, &[Fail, Pass], Fail, 1, false),
        (2, &[Pass, Fail], Pass, 1, false),
        (2, &[Skip, Fail], Skip, 1, false),
        (2, &[Fail, Pass], Pass, 2, true),
        (2, &[Timeout, Fail, Fail, Pass], Fail, 3, false),
        (2, &[Fail, Skip], Skip, 2, false),
    ];
    for (number, verdicts, verdict, made, flaky) in cases {
        let (result, attempts) = tried(&retries(number), verdicts);
        assert_eq!(
            (result.verdict, attempts, result.flaky),
            (verdict, made, flaky),
            "{number} retries of {verdicts:?}"
        );
        assert_eq!(result.attempt as usize, made);
    }
}

#[test]
fn a_flaky_test_says_how_it_failed_and_fails_where_that_is_wanted() {
    let policies = Policies {
        retries: 1,
        flaky_result: FlakyResult::Fail,
        ..Policies::default()
    };
    let (result, _) = tried(&policies, &[Verdict::Timeout, Verdict::Pass]);
    assert_eq!((result.verdict, result.flaky), (Verdict::Fail, true));
    assert_eq!(
        result.reason.as_deref(),
        Some("flaky: passed at attempt 2; attempt 1 had timeout: why")
    );
}

#[test]
fn a_test_that_loses_two_vms_is_not_tried_a_third_time() {
    let lost = [Verdict::Lost; 4];
    for policies in [retries(5), repeat(Repeat::Times(5))] {
        let (result, attempts) = tried(&policies, &lost);
        assert_eq!((result.verdict, attempts), (Verdict::Lost, 2));
    }
}

#[test]
fn a_failure_that_is_known_is_not_tried_again() {
    let mut attempts = Attempts::default();
    let result = TestResult {
        known: Some(Known {
            result: KnownResult::Fail,
            reason: "why".into(),
            link: None,
        }),
        ..samples::result("6.1", "a.b", Verdict::Fail, "")
    };
    assert!(matches!(
        attempts.take(result.into(), &retries(3), true),
        Next::Done(_)
    ));
}

#[test]
fn a_repeated_test_fails_if_one_of_its_runs_does() {
    use Verdict::{Fail, Pass};
    let (result, attempts) = tried(
        &repeat(Repeat::Times(4)),
        &[Pass, Fail, Pass, Fail, Pass, Pass],
    );
    assert_eq!((result.verdict, attempts), (Fail, 4));
    assert!(result.flaky);
    assert_eq!(
        result.reason.as_deref(),
        Some("failed in 2 of 4 runs, at first in run 2: why")
    );
    let (result, attempts) = tried(&repeat(Repeat::Times(3)), &[Pass; 5]);
    assert_eq!((result.verdict, attempts, result.flaky), (Pass, 3, false));
}

#[test]
fn a_test_repeated_until_it_fails_stops_there_or_at_its_number() {
    use Verdict::{Fail, Pass};
    let (result, attempts) = tried(&repeat(Repeat::UntilFail(None)), &[Pass, Pass, Fail, Pass]);
    assert_eq!((result.verdict, attempts), (Fail, 3));
    let (result, attempts) = tried(&repeat(Repeat::UntilFail(Some(2))), &[Pass; 5]);
    assert_eq!((result.verdict, attempts), (Pass, 2));
}

#[test]
fn earlier_rounds_count_if_the_end_of_the_run_cuts_a_repeated_test_short() {
    let policies = repeat(Repeat::UntilFail(None));
    let broken = samples::result("6.1", "a.b", Verdict::Timeout, "the time is up");
    let mut attempts = Attempts::default();
    assert_eq!(
        attempts.break_off(broken.clone(), &policies).result.verdict,
        Verdict::Timeout
    );
    let passed = samples::result("6.1", "a.b", Verdict::Pass, "");
    assert_eq!(attempts.take(passed.into(), &policies, true), Next::Repeat);
    attempts.begin();
    let second = TestResult {
        attempt: 2,
        ..broken
    };
    let result = attempts.break_off(second, &policies).result;
    assert_eq!((result.verdict, result.attempt), (Verdict::Pass, 2));
}

#[test]
fn a_known_failure_cut_short_by_the_end_of_the_run_has_failed() {
    let policies = repeat(Repeat::UntilFail(None));
    let known = TestResult {
        known: Some(Known {
            result: KnownResult::Fail,
            reason: "why".into(),
            link: None,
        }),
        ..samples::result("6.1", "a.b", Verdict::Fail, "as ever")
    };
    let mut attempts = Attempts::default();
    assert_eq!(
        attempts.take(known.clone().into(), &policies, true),
        Next::Repeat
    );
    attempts.begin();
    let broken = TestResult {
        verdict: Verdict::Timeout,
        attempt: 2,
        ..known
    };
    let result = attempts.break_off(broken, &policies).result;
    assert_eq!(result.verdict, Verdict::Fail);
    assert!(result.is_expected());
}

#[test]
fn the_first_failure_ends_repetitions_where_it_ends_the_run() {
    use Verdict::{Fail, Pass};
    let policies = Policies {
        max_fail: Some(1),
        ..repeat(Repeat::Times(100))
    };
    let (result, attempts) = tried(&policies, &[Pass, Fail, Pass]);
    assert_eq!((result.verdict, attempts), (Fail, 2));
}

#[test]
fn the_cases_of_a_repeated_command_are_those_of_the_run_that_failed_it() {
    let policies = repeat(Repeat::Times(2));
    let mut attempts = Attempts::default();
    let run = |verdict| Attempt {
        result: samples::result("6.1", "a.b", verdict, "why"),
        cases: vec![samples::result("6.1", "a.b: case", verdict, "")],
    };
    let first = run(Verdict::Fail);
    assert_eq!(attempts.take(first.clone(), &policies, true), Next::Repeat);
    assert_eq!(attempts.begin(), Some(first));
    let Next::Done(whole) = attempts.take(run(Verdict::Pass), &policies, true) else {
        panic!("it has run twice");
    };
    assert_eq!(whole.result.verdict, Verdict::Fail);
    assert_eq!(whole.cases[0].verdict, Verdict::Fail);
    assert_eq!(whole.cases[0].attempt, 2);
}

#[test]
fn the_name_of_a_file_has_no_path() {
    assert_eq!(file_name("a.b c/../d", 2), "a.b_c_.._d-2");
}
