//! The step `gtest` of `kiln ci`: a program that speaks GoogleTest's language, and does what real
//! ones do badly. No VMs.

use std::fs;

use crate::ci::{ci, kiln_with_nix};
use crate::support::Kiln;
use crate::support::suite::{self, out};

/// Lists its tests as GoogleTest 1.12 does, and runs those of the filter.
const PROGRAM: &str = r#"#!/bin/sh
for argument; do
  case $argument in
  --gtest_output=json:*)
    cat > "${argument#*json:}" <<'LIST'
{ "testsuites": [ { "name": "Ast", "testsuite": [
  { "name": "passes", "file": "/src/ast.cpp", "line": 3 },
  { "name": "fails", "file": "/src/ast.cpp", "line": 6 },
  { "name": "dies", "file": "/src/ast.cpp", "line": 9 },
  { "name": "skips", "file": "/src/ast.cpp", "line": 12 },
  { "name": "hangs", "file": "/src/ast.cpp", "line": 15 },
  { "name": "DISABLED_never", "file": "/src/ast.cpp", "line": 18 },
  { "name": "last", "file": "/src/ast.cpp", "line": 21 } ] } ] }
LIST
    exit 0 ;;
  --gtest_filter=*) filter=${argument#*=} ;;
  esac
done
echo "$filter" >> processes
IFS=:
for name in $filter; do
  echo "[ RUN      ] $name"
  case $name in
  *.fails)
    printf '/src/ast.cpp:7: Failure\nExpected equality of these values:\n  1\n  2\n\n'
    echo "[  FAILED  ] $name (1 ms)" ;;
  *.dies) echo 'last words' >&2; kill -SEGV $$ ;;
  *.skips)
    printf '/src/ast.cpp:13: Skipped\nneeds BTF\n\n'
    echo "[  SKIPPED ] $name (0 ms)" ;;
  *.hangs) exec sleep 60 ;;
  *) printf 'half a line'; echo "[       OK ] $name (0 ms)" ;;
  esac
done
"#;

#[test]
fn each_unit_test_has_a_verdict_even_if_the_program_dies_or_hangs() {
    let kiln = Kiln::with_empty_cache();
    let program = kiln.program("unit", PROGRAM);
    let output = kiln
        .plain(["gtest", "--jobs", "1", "--test-timeout", "2s"])
        .arg("--run-dir")
        .arg(out(&kiln))
        .arg(program)
        .run();
    output.assert_code(100);
    let verdict = |name: &str, verdict: &str| {
        (
            "host".to_owned(),
            format!("unit.Ast.{name}"),
            verdict.to_owned(),
        )
    };
    assert_eq!(
        suite::verdicts(&out(&kiln)),
        [
            verdict("DISABLED_never", "skip"),
            verdict("dies", "fail"),
            verdict("fails", "fail"),
            verdict("hangs", "timeout"),
            verdict("last", "pass"),
            verdict("passes", "pass"),
            verdict("skips", "skip"),
        ]
    );
    let events = suite::events(&out(&kiln));
    let result = |name: &str| {
        let id = format!("unit.Ast.{name}");
        events.iter().find(|event| event["id"] == *id).unwrap()
    };
    let fails = result("fails");
    assert_eq!(fails["reason"], "Expected equality of these values: 1 2");
    assert_eq!(fails["source"]["line"], 7);
    let dies = result("dies");
    assert_eq!(
        dies["reason"],
        "the program ended in this test: signal: 11 (SIGSEGV)"
    );
    assert_eq!(
        (&dies["output"], &dies["source"]["line"]),
        (&"last words\n".into(), &9.into())
    );
    assert_eq!(result("hangs")["reason"], "it ran for more than 2 s");
    assert_eq!(result("skips")["reason"], "needs BTF");
    // One process for two tests each, and another one for the test after one that died.
    let processes = fs::read_to_string(kiln.path("work/processes")).unwrap();
    assert_eq!(
        processes.lines().collect::<Vec<_>>(),
        [
            "Ast.passes:Ast.fails",
            "Ast.dies:Ast.skips",
            "Ast.skips",
            "Ast.hangs:Ast.last",
            "Ast.last"
        ]
    );
    let again = "again: kiln gtest -k host -t '^unit\\.Ast\\.dies$' ";
    assert!(output.out().contains(again), "{}", output.out());
    let junit = fs::read_to_string(out(&kiln).join("junit.xml")).unwrap();
    assert_eq!(junit.matches("<testcase ").count(), 7, "{junit}");
    kiln.assert_nothing_left();
}

#[test]
fn failed_unit_tests_are_annotated_on_github() {
    // Enters no shell, but runs the command.
    let kiln = kiln_with_nix("while [ \"$1\" != --command ]; do shift; done; shift; exec \"$@\"");
    let one = PROGRAM.replace("exec sleep 60", ":");
    kiln.program("build-ci/tests/bpftrace_test", one);
    let output = ci(&kiln, &["--only", "gtest", "--run-dir", "runs", "-j", "2"])
        .env("GITHUB_ACTIONS", "true")
        .env("GITHUB_STEP_SUMMARY", kiln.file("summary.md", ""))
        .run();
    output.assert_code(100);
    let out = output.out();
    let told = "::error title=unit.Ast.fails on host%3A fail,file=/src/ast.cpp,line=7::Expected";
    assert!(out.lines().any(|line| line.starts_with(told)), "{out}");
    let summary = fs::read_to_string(kiln.path("work/summary.md")).unwrap();
    assert!(
        summary.contains("## gtest\n") && summary.contains("unit.Ast.dies"),
        "{summary}"
    );
}

#[test]
fn a_program_without_tests_or_without_a_list_is_refused() {
    let kiln = Kiln::with_empty_cache();
    let gtest = |program: &str| kiln.plain(["gtest", program]).run();
    let output = gtest("./none");
    output.assert_code(96);
    assert!(
        output.err().contains("cannot list the tests of ./none"),
        "{}",
        output.err()
    );
    assert!(
        output
            .err()
            .contains("kiln ci --only configure --only build"),
        "{}",
        output.err()
    );

    kiln.program("other", "#!/bin/sh\necho 'no such option' >&2\nexit 3\n");
    let output = gtest("./other");
    output.assert_code(96);
    let told = "./other could not list its tests: exit status: 3: no such option";
    assert!(output.err().contains(told), "{}", output.err());

    kiln.program(
        "empty",
        "#!/bin/sh\nfor a; do case $a in --gtest_output=json:*) echo '{}' > \"${a#*json:}\";; esac; done\n",
    );
    gtest("./empty").assert_code(4);

    kiln.program("unit", PROGRAM);
    let output = kiln.plain(["gtest", "-t", "none", "./unit"]).run();
    output.assert_code(4);
    assert!(
        output.err().contains("no test of 7 matches `none`"),
        "{}",
        output.err()
    );
    let one = [
        "gtest",
        "-k",
        "host",
        "-t",
        "^unit\\.Ast\\.last$",
        "./unit",
        "unit",
    ];
    let output = kiln.plain(one).run();
    output.assert_code(0);
    assert!(output.out().contains("1 pass in"), "{}", output.out());
}
