//! `kiln matrix`: jobs on stdout, errors for impossible matrices.

use crate::support::{Invocation, Kiln};
use serde_json::{Value, json};

const TEST: &str = "PROG BEGIN { exit() }\nEXPECT x\nTIMEOUT 5\n\n";

/// A suite of three tests.
fn suite() -> Kiln {
    let kiln = Kiln::with_empty_cache();
    let text = format!("NAME a\n{TEST}NAME b\n{TEST}NAME c\n{TEST}");
    kiln.file("tests/runtime/suite", &text);
    kiln
}

/// `kiln matrix` without bpftrace: the dialect is given.
fn matrix<'a>(kiln: &'a Kiln, kernels: &[&str]) -> Invocation<'a> {
    let mut command = kiln.plain(["matrix", "--dialect", "0.17", "--tests", "tests"]);
    for kernel in kernels {
        command = command.arg("-k").arg(kernel);
    }
    command
}

#[test]
fn github_gets_one_line_with_a_job_for_each_kernel_and_part() {
    let kiln = suite();
    let output = matrix(&kiln, &["5.10", "6.1"])
        .args(["--shards", "2"])
        .run();
    output.assert_code(0);
    let out = output.out();
    assert_eq!(out.lines().count(), 1, "{out}");
    let job = |kernel: &str, part: u32, tests: u32| {
        json!({
            "kernel": kernel,
            "shard": format!("slice:{part}/2"),
            "name": format!("{kernel}-{part}-of-2"),
            "tests": tests,
        })
    };
    let found: Value = serde_json::from_str(&out).unwrap();
    let jobs = [
        job("5.10", 1, 2),
        job("5.10", 2, 1),
        job("6.1", 1, 2),
        job("6.1", 2, 1),
    ];
    assert_eq!(found, json!({ "include": jobs }));
    assert_eq!(output.err(), "");
}

#[test]
fn json_is_the_list_of_jobs_and_one_part_is_the_default() {
    let kiln = suite();
    let output = matrix(&kiln, &["6.1"]).args(["--format", "json"]).run();
    output.assert_code(0);
    let found: Value = serde_json::from_str(&output.out()).unwrap();
    assert_eq!(
        found,
        json!([{ "kernel": "6.1", "shard": "slice:1/1", "name": "6.1", "tests": 3 }])
    );
}

#[test]
fn no_part_is_without_a_test() {
    let kiln = suite();
    let few = ["--format", "json", "--shards", "9", "-t", "-b$"];
    let output = matrix(&kiln, &["6.1"]).args(few).run();
    output.assert_code(0);
    let found: Value = serde_json::from_str(&output.out()).unwrap();
    assert_eq!(found.as_array().unwrap().len(), 2);
    assert_eq!(found[1]["shard"], "slice:2/2");
}

#[test]
fn an_impossible_matrix_is_refused() {
    let kiln = suite();
    for (arguments, code, message) in [
        (["--shards", "0"], 2, "--shards"),
        (["--format", "yaml"], 2, "yaml"),
        (["-k", "9.99"], 96, "there is no kernel \"9.99\""),
        (["-t", "nothing"], 4, "nothing"),
        (["--tests", "nowhere"], 96, "nowhere"),
    ] {
        let mut command = kiln.plain(["matrix", "--dialect", "0.17"]);
        if arguments[0] != "--tests" {
            command = command.args(["--tests", "tests"]);
        }
        let output = command.args(arguments).run();
        output
            .assert_code(code)
            .assert_out("")
            .assert_err_contains(message);
    }
}

#[test]
fn more_jobs_than_github_takes_are_refused() {
    let kiln = suite();
    let many: Vec<String> = (0..260).map(|n| format!("NAME t{n}\n{TEST}")).collect();
    kiln.file("tests/runtime/many", many.concat());
    let output = matrix(&kiln, &["6.1"]).args(["--shards", "257"]).run();
    output
        .assert_code(2)
        .assert_out("")
        .assert_err_contains("257 jobs are too many");
    let json = ["--shards", "257", "--format", "json"];
    matrix(&kiln, &["6.1"]).args(json).run().assert_code(0);
}
