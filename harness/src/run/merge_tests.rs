#![allow(clippy::unwrap_used)]

use super::*;
use crate::report::samples::{at, finished, started as start_of};
use crate::run::event::{KernelFailed, KernelReady, RunStopped, SuiteReady};

fn run(name: &str, records: Vec<Record>) -> RunLog {
    RunLog {
        path: name.into(),
        records,
        cut_off: false,
    }
}

fn end() -> Record {
    at(
        6000,
        Event::RunFinished(RunFinished {
            exit_code: 0,
            duration_ms: 6000,
        }),
    )
}

/// The part of a run that planned `tests` tests on each kernel.
fn part(shard: &str, kernels: &[&str], tests: usize, verdicts: &[Record]) -> RunLog {
    let mut start = start_of(kernels, tests);
    if let Event::RunStarted(start) = &mut start.event {
        start.shard = (!shard.is_empty()).then(|| shard.to_owned());
    }
    let mut records = vec![start];
    records.extend(verdicts.iter().cloned());
    records.push(end());
    run(shard, records)
}

fn tally(merged: &Merged) -> Tally {
    let mut tally = Tally::default();
    for record in &merged.records {
        tally.observe(&record.event);
    }
    tally
}

fn warnings(merged: &Merged) -> Vec<&str> {
    let mut found = Vec::new();
    for record in &merged.records {
        if let Event::Warning(warning) = &record.event {
            found.push(warning.message.as_str());
        }
    }
    found
}

#[test]
fn parts_are_added_up_and_vms_stay_distinct() {
    let one = part(
        "slice:1/2",
        &["5.10", "6.1"],
        1,
        &[
            finished("5.10", "a.b", Verdict::Pass, ""),
            finished("6.1", "a.b", Verdict::Pass, ""),
        ],
    );
    let two = part(
        "slice:2/2",
        &["6.1"],
        1,
        &[finished("6.1", "a.c", Verdict::Fail, "")],
    );
    let merged = merge(&[one, two], Vec::new()).unwrap();
    let tally = tally(&merged);
    assert_eq!((tally.planned(), tally.missing()), (3, 0));
    assert_eq!(merged.exit_code, exit_code::TESTS_FAILED);
    assert_eq!(warnings(&merged), [""; 0]);
    let vms: BTreeSet<u32> = merged
        .records
        .iter()
        .filter_map(|record| match &record.event {
            Event::TestFinished(result) => Some(result.vm),
            _ => None,
        })
        .collect();
    assert_eq!(vms, BTreeSet::from([0, 1]));
}

#[test]
fn a_part_that_is_missing_leaves_no_whole_picture() {
    let passes = |shard: &str| {
        let id = format!("a.{shard}");
        part(
            shard,
            &["6.1"],
            1,
            &[finished("6.1", &id, Verdict::Pass, "")],
        )
    };
    let merged = merge(&[passes("hash:1/3"), passes("hash:3/3")], Vec::new()).unwrap();
    assert_eq!(merged.exit_code, exit_code::VM_LOST);
    assert_eq!(warnings(&merged), ["no run has the part hash:2/3"]);
}

#[test]
fn the_same_verdict_twice_counts_once() {
    let once = || {
        part(
            "",
            &["6.1"],
            1,
            &[finished("6.1", "a.b", Verdict::Pass, "")],
        )
    };
    let merged = merge(&[once(), once()], Vec::new()).unwrap();
    let tally = tally(&merged);
    assert_eq!((tally.finished(), tally.missing()), (1, 0));
    assert_eq!(merged.exit_code, exit_code::OK);
    assert!(warnings(&merged)[0].contains("count once"));
}

#[test]
fn different_verdicts_are_named_with_their_runs() {
    let first = part(
        "x",
        &["6.1"],
        1,
        &[finished("6.1", "a.b", Verdict::Pass, "")],
    );
    let second = part(
        "y",
        &["6.1"],
        1,
        &[finished("6.1", "a.b", Verdict::Fail, "")],
    );
    let error = merge(&[first, second], Vec::new()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "x and y disagree on 6.1 a.b (pass, fail)"
    );
}

#[test]
fn two_tests_of_the_same_name_in_one_run_do_not_contradict() {
    let both = [
        finished("6.1", "a.b", Verdict::Pass, ""),
        finished("6.1", "a.b", Verdict::Fail, ""),
    ];
    let merged = merge(&[part("", &["6.1"], 2, &both)], Vec::new()).unwrap();
    assert_eq!(tally(&merged).finished(), 2);
}

#[test]
fn a_part_that_was_killed_and_ran_again_is_planned_once() {
    let verdicts = [
        finished("6.1", "a.b", Verdict::Pass, ""),
        finished("6.1", "a.c", Verdict::Pass, ""),
    ];
    let mut killed = part("slice:1/1", &["6.1"], 2, &verdicts[..1]);
    killed.records.pop();
    killed.cut_off = true;
    let again = part("slice:1/1", &["6.1"], 2, &verdicts);
    let merged = merge(&[killed, again], Vec::new()).unwrap();
    assert_eq!(tally(&merged).missing(), 0);
    assert_eq!(merged.exit_code, exit_code::OK);
    let warnings = warnings(&merged);
    assert!(warnings[0].contains("cut off"), "{warnings:?}");
    assert!(warnings[1].contains("did not end"), "{warnings:?}");
}

#[test]
fn what_a_killed_run_did_not_reach_is_missing() {
    let mut killed = part(
        "",
        &["6.1"],
        2,
        &[finished("6.1", "a.b", Verdict::Pass, "")],
    );
    killed.records.pop();
    let merged = merge(&[killed], Vec::new()).unwrap();
    assert_eq!(merged.exit_code, exit_code::VM_LOST);
}

/// The rest of the run that `part` makes first, which began before.
fn rerun(name: &str, tests: usize, verdicts: &[Record]) -> RunLog {
    let mut run = part("", &["6.1"], tests, verdicts);
    run.path = name.into();
    if let Some(Event::RunStarted(start)) = run.records.first_mut().map(|first| &mut first.event) {
        start.rerun_of = Some(start.started_at.clone());
        start.started_at = "2026-11-22T17:00:00.000Z".to_owned();
    }
    run
}

#[test]
fn a_killed_run_and_the_rerun_of_its_rest_are_planned_as_one() {
    let verdicts = ["a.b", "a.c", "a.d"].map(|id| finished("6.1", id, Verdict::Pass, ""));
    let killed = || {
        let mut killed = part("", &["6.1"], 3, &verdicts[..1]);
        killed.records.pop();
        killed
    };
    let merged = merge(&[killed(), rerun("b", 2, &verdicts[1..])], Vec::new()).unwrap();
    let total = tally(&merged).total();
    assert_eq!((total.planned(), total.missing()), (3, 0));
    assert_eq!(merged.exit_code, exit_code::OK);
    // In any order, and with tests that ran in both.
    let merged = merge(&[rerun("b", 3, &verdicts), killed()], Vec::new()).unwrap();
    assert_eq!(tally(&merged).planned(), 3);
    assert_eq!(merged.exit_code, exit_code::OK);
    // What the rerun did not reach either is missing.
    let merged = merge(&[killed(), rerun("b", 2, &verdicts[1..2])], Vec::new()).unwrap();
    assert_eq!(tally(&merged).missing(), 1);
    assert_eq!(merged.exit_code, exit_code::VM_LOST);
    // Without the run that it repeats, it is a run like any other.
    let other = part(
        "",
        &["5.10"],
        1,
        &[finished("5.10", "a.b", Verdict::Pass, "")],
    );
    let merged = merge(&[rerun("b", 2, &verdicts[1..]), other], Vec::new()).unwrap();
    assert_eq!(tally(&merged).planned(), 3);
}

#[test]
fn a_part_that_was_to_end_early_excuses_no_other() {
    let stopped = || {
        let mut run = part(
            "slice:1/2",
            &["6.1"],
            3,
            &[finished("6.1", "a.b", Verdict::Fail, "")],
        );
        let stop = Event::RunStopped(RunStopped {
            why: crate::run::event::StopReason::MaxFail,
            message: String::new(),
        });
        run.records.insert(2, at(5000, stop));
        run
    };
    let other = |verdicts: &[Record]| part("slice:2/2", &["6.1"], 2, verdicts);
    let verdicts = [
        finished("6.1", "a.x", Verdict::Pass, ""),
        finished("6.1", "a.y", Verdict::Pass, ""),
    ];
    let merged = merge(&[stopped(), other(&verdicts)], Vec::new()).unwrap();
    assert_eq!(merged.exit_code, exit_code::TESTS_FAILED);
    let killed = other(&verdicts[..1]);
    let merged = merge(&[stopped(), killed], Vec::new()).unwrap();
    assert_eq!(merged.exit_code, exit_code::VM_LOST);
    let again = [stopped(), other(&verdicts[..1]), other(&verdicts)];
    let merged = merge(&again, Vec::new()).unwrap();
    assert_eq!(merged.exit_code, exit_code::TESTS_FAILED);
}

#[test]
fn different_images_and_versions_under_one_name_are_reported() {
    let with = |sha: &str, version: &str, id: &str| {
        let mut run = part("", &["6.1"], 1, &[finished("6.1", id, Verdict::Pass, "")]);
        let ready = Event::KernelReady(KernelReady {
            kernel: "6.1".into(),
            release: "6.1.7".into(),
            sha256: sha.into(),
            packages: None,
        });
        let suite = Event::SuiteReady(SuiteReady {
            suite: "bpftrace".into(),
            subject: "/bpftrace".into(),
            version: Some(version.into()),
            dialect: None,
            options: Vec::new(),
        });
        run.records.insert(1, at(1, ready));
        run.records.insert(2, at(1, suite));
        run
    };
    let merged = merge(
        &[with("aa", "0.17", "a.b"), with("bb", "0.18", "a.c")],
        Vec::new(),
    )
    .unwrap();
    assert_eq!(warnings(&merged).len(), 2, "{:?}", warnings(&merged));
    let same = [with("aa", "0.17", "a.b"), with("aa", "0.17", "a.c")];
    let merged = merge(&same, Vec::new()).unwrap();
    assert_eq!(warnings(&merged), [""; 0]);
}

#[test]
fn a_kernel_that_is_unavailable_to_all_parts_is_reported_once_and_fails_the_whole() {
    let without = |id: &str| {
        let mut run = part("", &["5.10", "6.1"], 1, &[]);
        let failed = Event::KernelFailed(KernelFailed {
            kernel: "5.10".into(),
            reason: "gone".into(),
            hints: Vec::new(),
        });
        run.records.insert(1, at(1, failed));
        run.records
            .insert(2, finished("6.1", id, Verdict::Pass, ""));
        run
    };
    let merged = merge(&[without("a.b"), without("a.c")], Vec::new()).unwrap();
    assert_eq!(merged.exit_code, exit_code::SETUP_FAILED);
    let told = merged
        .records
        .iter()
        .filter(|record| matches!(record.event, Event::KernelFailed(_)));
    assert_eq!(told.count(), 1);
}

#[test]
fn times_count_from_the_first_start() {
    let mut later = part(
        "",
        &["6.1"],
        1,
        &[finished("6.1", "a.c", Verdict::Pass, "")],
    );
    if let Event::RunStarted(start) = &mut later.records[0].event {
        start.started_at = "2026-11-22T16:00:10.000Z".into();
    }
    let first = part(
        "",
        &["6.1"],
        1,
        &[finished("6.1", "a.b", Verdict::Pass, "")],
    );
    let merged = merge(&[later, first], Vec::new()).unwrap();
    let times: Vec<_> = merged
        .records
        .iter()
        .filter(|record| matches!(record.event, Event::TestFinished(_)))
        .map(|record| record.at_ms)
        .collect();
    assert_eq!(times, [5000, 15000]);
}

#[test]
fn the_parts_of_each_job_of_a_matrix_are_looked_for() {
    let job = |kernel: &str, argument: &[&str], shard: &str| {
        let id = format!("a.{shard}");
        let mut run = part(
            shard,
            &[kernel],
            1,
            &[finished(kernel, &id, Verdict::Pass, "")],
        );
        if let Event::RunStarted(start) = &mut run.records[0].event {
            start.command = argument.iter().map(|word| (*word).to_owned()).collect();
        }
        run
    };
    let runs = [
        job("5.10", &["kiln", "run", "-k", "5.10"], "slice:1/2"),
        job("5.10", &["kiln", "run", "--kernel=5.10"], "slice:2/2"),
        job("6.1", &["kiln", "run", "-k6.1"], "slice:1/2"),
    ];
    let merged = merge(&runs, Vec::new()).unwrap();
    assert_eq!(warnings(&merged), ["no run has the part slice:2/2 of 6.1"]);
    assert_eq!(merged.exit_code, exit_code::VM_LOST);
}

#[test]
fn parts_of_one_number_that_select_other_tests_excuse_nothing_of_each_other() {
    let of = |command: &str, id: &str, shard: &str, tests: usize| {
        let verdict = finished("6.1", id, Verdict::Pass, "");
        let mut run = part(shard, &["6.1"], tests, &[verdict]);
        if let Event::RunStarted(start) = &mut run.records[0].event {
            start.command = command.split(' ').map(str::to_owned).collect();
        }
        run
    };
    let runtime = "kiln run -k 6.1";
    let aot = r"kiln run -k 6.1 --aot --filter ^aot\.";
    // The AOT run lost one of its two tests.
    let runs = [
        of(runtime, "a.b", "slice:1/1", 1),
        of(aot, "aot.b", "slice:1/1", 2),
    ];
    let merged = merge(&runs, Vec::new()).unwrap();
    assert_eq!(tally(&merged).missing(), 1);
    assert_eq!(merged.exit_code, exit_code::VM_LOST);
    // One half of each is not a whole run.
    let runs = [
        of(runtime, "a.b", "slice:1/2", 1),
        of(aot, "aot.b", "slice:2/2", 1),
    ];
    let merged = merge(&runs, Vec::new()).unwrap();
    let missing = [
        "no run has the part slice:2/2 of 6.1",
        "no run has the part slice:1/2 of 6.1",
    ];
    assert_eq!(warnings(&merged), missing);
}

#[test]
fn tests_of_one_name_in_two_parts_are_two_and_a_part_that_ran_twice_counts_once() {
    let of = |shard: &str, verdict| {
        part(
            shard,
            &["6.1"],
            2,
            &[
                finished("6.1", "a.twin", verdict, ""),
                finished("6.1", &format!("a.{}", &shard[6..7]), Verdict::Pass, ""),
            ],
        )
    };
    let one = of("slice:1/2", Verdict::Pass);
    let two = of("slice:2/2", Verdict::Skip);
    let again = of("slice:2/2", Verdict::Skip);
    let merged = merge(&[one, two, again], Vec::new()).unwrap();
    assert_eq!(merged.exit_code, 0);
    let twins = merged.records.iter().filter(
        |record| matches!(&record.event, Event::TestFinished(result) if result.id == "a.twin"),
    );
    assert_eq!(twins.count(), 2);
    assert_eq!(tally(&merged).missing(), 0);
}

#[test]
fn parts_of_different_suites_are_parts_of_different_runs() {
    let of = |shard: &str, suite: &str| {
        let mut result = finished("6.1", "a.x", Verdict::Pass, "");
        if let Event::TestFinished(result) = &mut result.event {
            suite.clone_into(&mut result.suite);
        }
        let mut one = part(shard, &["6.1"], 1, &[result]);
        if let Event::RunStarted(start) = &mut one.records[0].event {
            start.suites = vec![suite.to_owned()];
        }
        one
    };
    let merged = merge(&[of("slice:1/2", "a"), of("slice:2/2", "b")], Vec::new()).unwrap();
    assert_eq!(merged.exit_code, 97);
    let told = warnings(&merged);
    assert!(
        told.contains(&"no run has the part slice:2/2 of a"),
        "{told:?}"
    );
    assert!(
        told.contains(&"no run has the part slice:1/2 of b"),
        "{told:?}"
    );
}
