#![allow(clippy::unwrap_used)]
use super::*;
use crate::report::class::Class;
use crate::report::compare::CompareFormat;
use crate::report::results::OneResult;

fn run(name: &str, results: &[(&str, Class, u64)]) -> RunResults {
    RunResults {
        name: name.to_owned(),
        kernels: vec!["6.1".to_owned()],
        ended: true,
        results: results
            .iter()
            .map(|(id, class, ms)| OneResult {
                kernel: "6.1".into(),
                suite: "s".into(),
                id: (*id).to_owned(),
                class: *class,
                ms: *ms,
                reason: String::new(),
                source: None,
            })
            .collect(),
        ..RunResults::default()
    }
}

fn changes(before: &RunResults, after: &RunResults) -> Vec<(String, Change)> {
    let comparison = Comparison::new(before, after, &[]).ok();
    let tests = comparison
        .into_iter()
        .flat_map(|comparison| comparison.tests);
    tests.map(|test| (test.key.id, test.change)).collect()
}

#[test]
fn every_pair_of_results_has_its_change() {
    use Class::{Fail, Flaky, Pass, Skip, XFail, XPass};
    for (before, after, change) in [
        (Pass, Pass, Change::Same),
        (Pass, Fail, Change::Regressed),
        (Flaky, Fail, Change::Regressed),
        (Skip, Fail, Change::Regressed),
        (XFail, XPass, Change::Regressed),
        (Fail, Pass, Change::Fixed),
        (Fail, XFail, Change::Fixed),
        (Fail, Flaky, Change::Flaky),
        (Pass, Flaky, Change::Flaky),
        (Flaky, Pass, Change::Flaky),
        (Fail, Class::Timeout, Change::StillFailing),
        (Pass, Skip, Change::Gone),
        (Fail, Skip, Change::Gone),
        (Skip, Pass, Change::New),
        (Skip, Skip, Change::Same),
        (XFail, XFail, Change::Same),
    ] {
        let (was, is) = (
            run("a", &[("x.t", before, 100)]),
            run("b", &[("x.t", after, 100)]),
        );
        assert_eq!(
            changes(&was, &is),
            [("x.t".to_owned(), change)],
            "{before:?} {after:?}"
        );
    }
    let (was, is) = (
        run("a", &[("x.t", Pass, 1000), ("x.old", Pass, 1)]),
        run(
            "b",
            &[("x.t", Pass, 9000), ("x.bad", Fail, 1), ("y.fine", Pass, 1)],
        ),
    );
    let told = [
        ("x.t".to_owned(), Change::Slower),
        ("x.bad".to_owned(), Change::NewFailure),
        ("y.fine".to_owned(), Change::New),
        ("x.old".to_owned(), Change::Gone),
    ];
    assert_eq!(changes(&was, &is), told);
}

#[test]
fn tests_that_a_run_did_not_reach_are_not_gone() {
    let was = run("a", &[("x.t", Class::Pass, 1), ("x.u", Class::Pass, 1)]);
    let mut is = run("b", &[("x.t", Class::Pass, 1)]);
    is.missing = 1;
    assert_eq!(changes(&was, &is), [("x.t".to_owned(), Change::Same)]);
}

#[test]
fn the_worst_of_several_tests_of_one_name_counts() {
    let was = run("a", &[("x.t", Class::Pass, 1), ("x.t", Class::Pass, 1)]);
    let is = run("b", &[("x.t", Class::Fail, 1), ("x.t", Class::Pass, 1)]);
    assert_eq!(changes(&was, &is), [("x.t".to_owned(), Change::Regressed)]);
}

#[test]
fn runs_without_a_common_test_say_what_they_have() {
    let was = run("a", &[("x.t", Class::Pass, 1)]);
    let mut is = run("b", &[("x.t", Class::Pass, 1)]);
    let error = |is: &RunResults| {
        Comparison::new(&was, is, &[])
            .err()
            .map(|error| error.to_string())
    };
    is.kernels = vec!["5.10".to_owned()];
    is.results[0].kernel = "5.10".to_owned();
    assert_eq!(
        error(&is).as_deref(),
        Some("a and b have no test in common: kernels 6.1 and 5.10")
    );
    is.results.clear();
    assert_eq!(
        error(&is).as_deref(),
        Some("a and b have no test in common: b has no verdict")
    );
}

#[test]
fn a_line_names_its_kernels_in_the_run_s_order() {
    let both = |name: &str, class: Class| {
        let mut run = run(name, &[("x.t", class, 1), ("x.t", class, 1)]);
        run.kernels = vec!["6.1".to_owned(), "6.12".to_owned()];
        // The newer one had its verdict first.
        run.results[0].kernel = "6.12".to_owned();
        run
    };
    let comparison = Comparison::new(&both("a", Class::Pass), &both("b", Class::Fail), &[]);
    let text = comparison.map(|comparison| comparison.text_in(CompareFormat::Text));
    let text = text.unwrap().unwrap();
    assert!(text.contains("REGRESSED      6.1, 6.12  x.t"), "{text}");
}
