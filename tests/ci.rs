//! `kiln ci`, with a stand-in `nix` that records its arguments. No VMs.

use std::fs;
use std::time::{Duration, Instant};

use crate::support::{Invocation, Kiln, checkout};

/// Every step, in order.
const STEPS: [&str; 8] = [
    "configure",
    "build",
    "gtest",
    "self-tests",
    "runtime-tests",
    "tools-parsing",
    "aot",
    "btf",
];

/// Appends its arguments and its environment to files, then does what the test
/// says.
pub(crate) fn kiln_with_nix(then: &str) -> Kiln {
    let kiln = Kiln::with_empty_cache();
    let (argv, env) = (kiln.path("work/argv"), kiln.path("work/env"));
    let script = format!(
        "#!/bin/sh\nprintf '%s\\n' \"$*\" >> {}\n/usr/bin/env >> {}\n{then}\n",
        argv.display(),
        env.display()
    );
    kiln.program("bin/nix", script);
    fs::create_dir_all(kiln.path("work/build-ci")).unwrap();
    kiln
}

pub(crate) fn ci<'k>(kiln: &'k Kiln, args: &[&str]) -> Invocation<'k> {
    let path = format!("{}:/usr/bin:/bin", kiln.path("work/bin").display());
    kiln.plain(["ci"]).args(args).env("PATH", path)
}

pub(crate) fn recorded(kiln: &Kiln) -> Vec<String> {
    let text = fs::read_to_string(kiln.path("work/argv")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn every_step_runs_its_command_in_the_cleared_environment_of_the_flake() {
    let kiln = kiln_with_nix("");
    let args = [
        "--llvm",
        "20",
        "-k",
        "6.12",
        "--build-type",
        "Debug",
        "-j",
        "3",
    ];
    ci(&kiln, &args)
        .args(["--sanitizer", "address", "-t", "-basic.x"])
        .run()
        .assert_code(0);
    let work = kiln.path("work").canonicalize().unwrap();
    let work = work.display();
    let lines = recorded(&kiln);
    assert_eq!(lines.len(), STEPS.len(), "{lines:#?}");
    let start = format!(
        "--extra-experimental-features nix-command flakes develop {work}#bpftrace-llvm20 \
         --ignore-environment --keep HOME --command "
    );
    let suite = format!("--tests {work}/build-ci/tests --bpftrace {work}/build-ci/src/bpftrace");
    // The tests set a catalogue for every kiln, with KILN_CONFIG.
    let catalogue = checkout().join("kernels.toml").canonicalize().unwrap();
    let kiln_of_step = format!("kiln --config {}", catalogue.display());
    let ends = [
        "cmake -B build-ci -DCMAKE_C_COMPILER=cc -DCMAKE_CXX_COMPILER=c++ \
         -DCMAKE_BUILD_TYPE=Debug -DBUILD_ASAN=1 -DBUILD_UBSAN=0 -DCMAKE_VERBOSE_MAKEFILE=1 \
         -DBUILD_TESTING=1 -DENABLE_SKB_OUTPUT=1 -DHARDENED_STDLIB=1"
            .to_owned(),
        "cmake --build build-ci --parallel 3".to_owned(),
        "kiln gtest --jobs 3 ./tests/bpftrace_test".to_owned(),
        format!("{kiln_of_step} exec -k 6.12 -- ./tests/self-tests.sh"),
        format!("{kiln_of_step} run -k 6.12 --filter=-basic.x --build-scale 4 {suite} bpftrace"),
        format!("{kiln_of_step} exec -k 6.12 -- ./tests/tools-parsing-test.sh"),
        format!(
            "{kiln_of_step} run -k 6.12 --aot --filter ^aot\\. --build-scale 4 {suite} bpftrace"
        ),
        format!(
            "{kiln_of_step} btf check -k 6.12 --load --bpftrace {work}/build-ci/src/bpftrace \
             {work}/tools/*.bt"
        ),
    ];
    for (line, end) in lines.iter().zip(&ends) {
        assert!(line.starts_with(&start), "{line}");
        assert!(line.ends_with(end), "{line}\nnot: {end}");
    }
}

#[test]
fn the_catalogue_and_the_runs_directory_are_those_that_were_named() {
    let kiln = kiln_with_nix("");
    kiln.file("kernels/of.toml", "");
    let options = ["--config", "kernels/of.toml", "--run-dir", "runs"];
    ci(&kiln, &options)
        .args(["--shard", "slice:1/2"])
        .run()
        .assert_code(0);
    let work = kiln.path("work").canonicalize().unwrap();
    let work = work.display();
    let config = format!("kiln --config {work}/kernels/of.toml");
    let lines = recorded(&kiln);
    let boots = lines.iter().filter(|line| line.contains("kiln "));
    let boots: Vec<_> = boots.filter(|line| !line.contains(" gtest ")).collect();
    assert_eq!(boots.len(), 5, "{lines:#?}");
    for line in boots {
        assert!(line.contains(&config), "{line}");
    }
    assert!(lines[2].contains(&format!(" --run-dir {work}/runs/gtest ")));
    for (line, step) in [(4, "runtime-tests"), (6, "aot")] {
        let run_dir = format!(" --shard slice:1/2 --run-dir {work}/runs/{step} ");
        assert!(lines[line].contains(&run_dir), "{}", lines[line]);
    }
    // The other steps are not divided.
    let divided = lines.iter().filter(|line| line.contains("--shard"));
    assert_eq!(divided.count(), 2, "{lines:#?}");

    let output = ci(&kiln, &["--config", "none.toml"]).run();
    output.assert_code(96);
    assert!(
        output.err().contains("cannot read none.toml"),
        "{}",
        output.err()
    );
}

#[test]
fn nothing_of_the_callers_environment_leaks() {
    let kiln = kiln_with_nix("");
    ci(&kiln, &["--env", "NAMED", "--env", "SET=value"])
        .env("NAMED", "passed")
        .env("LD_LIBRARY_PATH", "/secret")
        .env("GITHUB_TOKEN", "secret")
        .env("PYTHONPATH", "/secret")
        .run()
        .assert_code(0);
    let env = fs::read_to_string(kiln.path("work/env")).unwrap();
    assert!(env.contains("NAMED=passed\n"), "{env}");
    assert!(env.contains("SET=value\n"), "{env}");
    assert!(!env.contains("secret"), "{env}");
    // PWD, SHLVL and _ come from the stand-in's shell.
    let known = [
        "HOME",
        "PATH",
        "TMPDIR",
        "XDG_STATE_HOME",
        "NAMED",
        "SET",
        "PWD",
        "SHLVL",
        "_",
    ];
    let of_nix = [
        "http_proxy",
        "https_proxy",
        "no_proxy",
        "HTTPS_PROXY",
        "SSL_CERT_FILE",
    ];
    for line in env.lines() {
        let name = line.split('=').next().unwrap();
        assert!(known.contains(&name) || of_nix.contains(&name), "{line}");
    }
    // Nix does not pass on its own variables: only these are kept.
    let keeps = "--ignore-environment --keep HOME --keep NAMED --keep SET --command";
    for line in recorded(&kiln) {
        assert!(line.contains(keeps), "{line}");
    }
}

#[test]
fn a_failing_test_step_does_not_hide_the_others() {
    let kiln = kiln_with_nix("case \"$*\" in *bpftrace_test) exit 3;; esac");
    let output = ci(&kiln, &[]).run();
    output.assert_code(100);
    assert_eq!(recorded(&kiln).len(), STEPS.len());
    let out = output.out();
    assert!(
        out.contains("gtest          failed: exit status: 3"),
        "{out}"
    );
    assert!(out.contains("aot            ok"), "{out}");
}

#[test]
fn steps_that_need_a_failed_step_are_reported_as_not_run() {
    let kiln = kiln_with_nix("case \"$*\" in *--parallel*) exit 2;; esac");
    let output = ci(&kiln, &[]).run();
    output.assert_code(96);
    assert_eq!(recorded(&kiln).len(), 2);
    let out = output.out();
    for step in &STEPS[2..] {
        let told = format!("{step:14} not run: build did not succeed");
        assert!(out.contains(&told), "{told}:\n{out}");
    }
}

#[test]
fn a_lost_vm_inside_keeps_its_exit_code() {
    let kiln = kiln_with_nix("case \"$*\" in *--aot*) exit 97;; esac");
    ci(&kiln, &[]).run().assert_code(97);
}

#[test]
fn one_step_runs_alone() {
    let kiln = kiln_with_nix("");
    ci(&kiln, &["--only", "gtest"]).run().assert_code(0);
    let lines = recorded(&kiln);
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].ends_with("./tests/bpftrace_test"), "{lines:#?}");
}

#[test]
fn the_list_names_every_step_and_runs_nothing() {
    let kiln = kiln_with_nix("");
    let output = ci(&kiln, &["--list", "--llvm", "20"]).run();
    output.assert_code(0);
    let out = output.out();
    let names: Vec<_> = out.lines().filter(|line| !line.starts_with(' ')).collect();
    assert_eq!(names, [&STEPS[..], &["profiles"]].concat());
    assert!(
        out.contains("    kiln ci sanitizers   LLVM 22, Debug, with ASan and UBSan\n"),
        "{out}"
    );
    assert!(
        out.contains("#bpftrace-llvm20' --ignore-environment --keep HOME --command cmake"),
        "{out}"
    );
    assert!(recorded(&kiln).is_empty());
}

#[test]
fn an_unknown_step_is_refused_with_the_known_ones() {
    let kiln = kiln_with_nix("");
    let output = ci(&kiln, &["--only", "tests"]).run();
    output.assert_code(2);
    assert!(output.err().contains("runtime-tests"), "{}", output.err());
    assert!(recorded(&kiln).is_empty());
}

#[test]
fn without_nix_it_says_what_to_install() {
    let kiln = Kiln::with_empty_cache();
    let empty = kiln.path("work");
    let output = kiln.plain(["ci"]).env("PATH", empty).run();
    output.assert_code(96);
    let err = output.err();
    assert!(err.contains("nix is not installed"), "{err}");
    assert!(err.contains("https://nixos.org/download"), "{err}");
}

#[test]
fn output_on_github_is_folded_and_commands_nothing() {
    let kiln = kiln_with_nix(
        "case \"$*\" in *bpftrace_test) printf '  ::set-env name=X::y\\n##[error]x\\n::error::z' >&2; exit 1;; esac",
    );
    let summary = kiln.file("summary.md", "");
    let output = ci(&kiln, &["--only", "gtest"])
        .env("GITHUB_ACTIONS", "true")
        .env("GITHUB_STEP_SUMMARY", &summary)
        .run();
    output.assert_code(100);
    let out = output.out();
    let commands: Vec<_> = out
        .lines()
        .filter(|line| line.trim_start().starts_with("::") || line.contains("##["))
        .collect();
    let told = "::error title=kiln ci::gtest: failed: exit status: 1";
    assert_eq!(commands, ["::group::gtest", "::endgroup::", told], "{out}");
    assert!(out.contains("|   ::set-env name=X::y\n"), "{out}");
    let summary = fs::read_to_string(summary).unwrap();
    assert!(
        summary.contains("| gtest | failed: exit status: 1 | "),
        "{summary}"
    );
}

/// The events of a run with two tests, one of which fails at a line of a file.
const EVENTS: &str = r#"{"at_ms":0,"event":"run_started","schema":1,"version":"0.1.0","started_at":"2026-11-25T16:00:00.000Z","command":["kiln","run"],"again":["kiln","run"],"cwd":"/w","kernels":[{"name":"6.1","tests":2,"suites":[2]}],"suites":["bpftrace"]}
{"at_ms":1,"event":"test_finished","kernel":"6.1","vm":0,"suite":"bpftrace","id":"call.str","attempt":1,"verdict":"pass","duration_ms":1}
{"at_ms":2,"event":"test_finished","kernel":"6.1","vm":0,"suite":"bpftrace","id":"call.ustack","attempt":1,"verdict":"fail","reason":"::error::x","source":{"file":"/w/call","line":7},"duration_ms":1}
{"at_ms":3,"event":"run_finished","exit_code":100,"duration_ms":3}
"#;

#[test]
fn the_tests_inside_a_step_are_annotated_and_in_the_summary_on_github() {
    let kiln = kiln_with_nix(
        "case \"$*\" in *--run-dir*runs/runtime-tests*)
           mkdir -p runs/runtime-tests; cp events.jsonl runs/runtime-tests; exit 100;; esac",
    );
    // Steps of tests run in build-ci.
    let events = kiln.file("build-ci/events.jsonl", EVENTS);
    let runs = kiln.path("work/build-ci/runs");
    let summary = kiln.file("summary.md", "");
    let run = || {
        ci(&kiln, &["--only", "runtime-tests", "--only", "aot"])
            .arg("--run-dir")
            .arg(&runs)
            .env("GITHUB_ACTIONS", "true")
            .env("GITHUB_STEP_SUMMARY", &summary)
            .run()
    };
    let output = run();
    output.assert_code(100);
    let out = output.out();
    let told: Vec<_> = out.lines().filter(|line| line.starts_with("::")).collect();
    assert_eq!(told.len(), 8, "{out}");
    assert_eq!(
        told[4],
        "::error title=kiln ci::runtime-tests: failed: exit status: 100"
    );
    assert_eq!(told[5], "::group::6.1: 1 pass, 1 fail");
    assert!(
        told[7].starts_with("::error title=call.ustack on 6.1%3A fail,file=/w/call,line=7::"),
        "{out}"
    );
    let page = fs::read_to_string(&summary).unwrap();
    let order = [
        "## kiln ci",
        "| aot | ok |",
        "## runtime-tests",
        "call.ustack",
    ];
    let places: Vec<_> = order.iter().map(|text| page.find(text)).collect();
    assert!(
        places.iter().all(Option::is_some) && places.is_sorted(),
        "{page}"
    );
    assert!(!page.contains("## aot"), "{page}");

    // An earlier run in the same place is not reported as this one.
    fs::remove_file(events).unwrap();
    let output = run();
    output.assert_code(100);
    assert!(!output.out().contains("call.ustack"), "{}", output.out());
}

#[test]
fn a_filter_that_selects_nothing_is_not_a_failed_test() {
    let kiln = kiln_with_nix("case \"$*\" in *--filter=none*) exit 4;; esac");
    ci(&kiln, &["-t", "none"]).run().assert_code(96);
}

#[test]
fn a_step_that_hangs_is_ended_by_its_deadline() {
    let kiln = kiln_with_nix("exec sleep 60");
    let begun = Instant::now();
    let output = ci(&kiln, &["--only", "build", "--step-timeout", "500ms"]).run();
    output.assert_code(96);
    assert!(
        output.out().contains("ended after 0.5 s"),
        "{}",
        output.out()
    );
    assert!(begun.elapsed() < Duration::from_secs(30));
    kiln.assert_nothing_left();
}

#[test]
fn ctrl_c_ends_the_step_and_those_after_it() {
    let kiln = kiln_with_nix("exec sleep 60");
    let mut running = ci(&kiln, &[]).start_without_stdin();
    running.wait_for("== configure");
    // Before that the signal may come before the step has started.
    while recorded(&kiln).is_empty() {
        std::thread::sleep(Duration::from_millis(20));
    }
    running.signal(nix::sys::signal::Signal::SIGINT);
    running.wait().assert_code(130);
    assert_eq!(recorded(&kiln).len(), 1);
    kiln.assert_nothing_left();
}
