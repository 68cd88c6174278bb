//! `kiln ci` with a real Nix: Debian's, and a flake whose shell has the programs of this machine.

use std::fs;
use std::process::Command;
use std::time::Duration;

use crate::support::suite;
use crate::support::{Invocation, Kiln, checkout};

/// Nix without a network, a daemon or build users. The shell's own derivation is built in a
/// sandbox, which has this machine's programs.
const CONFIGURATION: &str = "experimental-features = nix-command flakes
substituters =
flake-registry =
build-users-group =
sandbox = true
sandbox-paths = /bin /usr /lib /lib64
";

/// `nix develop` needs of a derivation: bash, and a file that makes its environment.
const FLAKE: &str = r#"{
  outputs = { self }: {
    devShells.x86_64-linux.default = derivation {
      name = "debian";
      system = "x86_64-linux";
      builder = "/bin/bash";
      outputs = [ "out" ];
      stdenv = "${./stdenv}";
    };
  };
}
"#;

/// The layout of bpftrace: unit tests, test programs, runtime tests, and bpftrace itself.
const CMAKE: &str = r"cmake_minimum_required(VERSION 3.13)
project(kiln-ci C CXX)
set(CMAKE_CXX_STANDARD 17)
if(BUILD_ASAN)
  add_compile_options(-fsanitize=address)
  add_link_options(-fsanitize=address)
endif()
find_package(GTest REQUIRED)
add_executable(bpftrace_test tests/unit.cpp)
target_link_libraries(bpftrace_test GTest::gtest_main)
set_target_properties(bpftrace_test PROPERTIES RUNTIME_OUTPUT_DIRECTORY tests)
add_executable(syscall tests/testprogs/syscall.c)
set_target_properties(syscall PROPERTIES RUNTIME_OUTPUT_DIRECTORY tests/testprogs)
file(COPY ${RUNTIME} DESTINATION tests)
file(COPY tests/own DESTINATION tests/runtime)
file(COPY /usr/bin/bpftrace DESTINATION src)
";

const UNIT: &str = r#"#include <gtest/gtest.h>
TEST(Parser, one) {}
TEST(Parser, two) { GTEST_SKIP() << "needs BTF"; }
TEST(Parser, three) { EXPECT_EQ(1, 2) << "as it should"; }
TEST(Parser, four) { abort(); }
TEST(Parser, five) { std::cout << "no newline"; }
"#;

/// A runtime test of the program that the build makes.
const OWN: &str = "NAME traces what was built
PROG uprobe:./testprogs/syscall:main { printf(\"hit\\n\"); exit(); }
EXPECT hit
AFTER ./testprogs/syscall
TIMEOUT 5
";

/// A kiln with a flake in `flake`.
fn kiln_with_flake() -> Kiln {
    let kiln = Kiln::new();
    kiln.file("conf/nix.conf", CONFIGURATION);
    fs::create_dir(kiln.path("work/store")).unwrap();
    kiln.file("flake/flake.nix", FLAKE);
    kiln.file("flake/stdenv/setup", "export PATH=/usr/bin:/bin\n");
    kiln
}

/// And with sources of bpftrace's layout in `src`.
fn kiln_with_sources() -> Kiln {
    let kiln = kiln_with_flake();
    kiln.file("src/tests/unit.cpp", UNIT);
    // Of Debian's source package.
    let runtime = checkout().join("target/bpftrace/tests/runtime");
    let set = format!("set(RUNTIME \"{}\")\n", runtime.display());
    kiln.file(
        "src/CMakeLists.txt",
        CMAKE.replacen("find_package", &(set + "find_package"), 1),
    );
    kiln.file(
        "src/tests/testprogs/syscall.c",
        "int main(void) { return 0; }\n",
    );
    kiln.file("src/tests/own", OWN);
    kiln
}

fn ci<'k>(kiln: &'k Kiln, args: &[&str]) -> Invocation<'k> {
    let store = format!("store = {}", kiln.path("work/store").display());
    kiln.vm(["ci", "-C", "src"])
        .args(args)
        .env("NIX_CONF_DIR", kiln.path("work/conf"))
        .env("NIX_CONFIG", store)
        .args(["--env", "KILN_CACHE_DIR", "--env", "KILN_ACCEL"])
}

#[test]
fn sources_are_built_and_tested_in_the_shell_of_a_real_nix() {
    let kiln = kiln_with_sources();
    let output = ci(
        &kiln,
        &[
            "--flake",
            "flake",
            "-k",
            "6.12",
            "-t",
            "^call.printf$:^own\\.",
            "--run-dir",
            "runs",
        ],
    )
    .args([
        "--skip",
        "self-tests",
        "--skip",
        "tools-parsing",
        "--skip",
        "aot",
        "--skip",
        "btf",
    ])
    .run();
    let out = output.out();
    for step in ["configure", "build", "runtime-tests"] {
        assert!(
            out.contains(&format!("{step:14} ok (")),
            "{step}: {out}\n{}",
            output.err()
        );
    }
    assert!(
        out.contains("gtest          failed: exit status: 100"),
        "{out}"
    );
    output.assert_code(100);
    let verdicts = suite::verdicts(&kiln.path("work/runs/gtest"));
    let verdicts: Vec<_> = verdicts
        .iter()
        .map(|(_, id, verdict)| (&id[..], &verdict[..]))
        .collect();
    assert_eq!(
        verdicts,
        [
            ("unit.Parser.five", "pass"),
            ("unit.Parser.four", "fail"),
            ("unit.Parser.one", "pass"),
            ("unit.Parser.three", "fail"),
            ("unit.Parser.two", "skip"),
        ]
    );
    let tested = suite::verdicts(&kiln.path("work/runs/runtime-tests"));
    let tested: Vec<_> = tested
        .iter()
        .map(|(_, id, verdict)| (&id[..], &verdict[..]))
        .collect();
    assert_eq!(
        tested,
        [
            ("call.printf", "pass"),
            ("own.traces what was built", "pass")
        ]
    );

    // Unit tests and runtime tests make one report.
    let merged = kiln
        .plain([
            "merge",
            "--run-dir",
            "whole",
            "runs/gtest",
            "runs/runtime-tests",
        ])
        .run();
    merged.assert_code(100);
    assert_eq!(
        suite::verdicts(&kiln.path("work/whole")).len(),
        7,
        "{}",
        merged.out()
    );
    kiln.assert_nothing_left();
}

/// The sources of Debian's bpftrace in `src`.
fn kiln_with_bpftrace() -> Kiln {
    let kiln = kiln_with_flake();
    let copied = Command::new("cp")
        .args(["--recursive", "--no-target-directory"])
        .args([
            checkout().join("target/bpftrace/source"),
            kiln.path("work/src"),
        ])
        .status();
    assert!(copied.unwrap().success(), "run scripts/fetch-bpftrace");
    kiln
}

/// 0.17 and newer versions name the system's libbpf differently.
const SYSTEM_LIBRARIES: [&str; 4] = ["-D", "USE_SYSTEM_BPF_BCC=ON", "-D", "USE_SYSTEM_LIBBPF=ON"];

/// bpftrace itself takes minutes to build: the installed one runs the tests here.
#[test]
fn bpftraces_own_sources_are_configured_and_their_tests_run() {
    let kiln = kiln_with_bpftrace();
    // cmake of newer versions copies the tests when it builds, not when it configures.
    let copies = "runtime_test_files";
    let rules = fs::read_to_string(kiln.path("work/src/tests/CMakeLists.txt")).unwrap();
    let also = rules.contains(copies).then_some(["--target", copies]);
    ci(&kiln, &["--flake", "flake", "--only", "configure"])
        .args(["--only", "build", "--target", "testprogs"])
        .args(also.into_iter().flatten())
        .args(SYSTEM_LIBRARIES)
        .run()
        .assert_code(0);

    let built = kiln.path("work/src/build-ci/src/bpftrace");
    fs::copy("/usr/bin/bpftrace", built).unwrap();
    ci(&kiln, &["--flake", "flake", "--only", "runtime-tests"])
        .args(["-k", "6.1", "--run-dir", "runs"])
        .args([
            "-t",
            "^array\\.array as pointer element access - assign to var$",
        ])
        .run()
        .assert_code(0);
    let tested = suite::verdicts(&kiln.path("work/runs/runtime-tests"));
    assert_eq!(tested.len(), 1, "{tested:?}");
    assert_eq!(tested[0].2, "pass");
    kiln.assert_nothing_left();
}

/// The step timeout of `kiln ci`.
const LONG: Duration = Duration::from_secs(2 * 3600);

#[test]
#[ignore = "make check-ci"]
fn all_of_bpftrace_is_built_and_tested() {
    let kiln = kiln_with_bpftrace();
    let smoke = fs::read_to_string(checkout().join("tests/data/smoke.filter")).unwrap();
    let smoke: Vec<_> = smoke
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect();
    // 0.17 has no self-tests, and starts its test of the tools elsewhere. Of its 294 AOT tests, which
    // take a quarter of an hour, some 40 % fail.
    let output = ci(&kiln, &["--flake", "flake", "-k", "6.1", "-k", "6.12"])
        .args(SYSTEM_LIBRARIES)
        .args(["--skip", "self-tests", "--skip", "tools-parsing"])
        .args(["--skip", "aot"])
        .args(["--run-dir", "runs", "-t", &smoke.join(":")])
        .deadline(LONG)
        .run();
    println!("{}", output.out());
    for step in ["configure", "build", "runtime-tests"] {
        let ok = format!("{step:14} ok (");
        assert!(output.out().contains(&ok), "{step}: {}", output.err());
    }
    let unit_tests = suite::verdicts(&kiln.path("work/runs/gtest"));
    let failed = unit_tests.iter().filter(|(.., verdict)| verdict == "fail");
    assert!(unit_tests.len() > 300, "{}", unit_tests.len());
    assert!(failed.count() < 10, "{unit_tests:?}");
    // Scripts break on some kernels, which is what the step is for.
    assert!(output.out().contains("btf            "), "{}", output.out());
    kiln.assert_nothing_left();
}

#[test]
fn what_the_shell_lacks_is_named_in_one_line() {
    let kiln = kiln_with_sources();
    let told = |args: &[&str]| {
        let output = ci(&kiln, args)
            .args(["--only", "configure", "--only", "build"])
            .run();
        output.assert_code(96);
        let out = output.out();
        let line = out
            .lines()
            .find(|line| line.contains(" failed: "))
            .map(str::to_owned);
        line.unwrap_or_else(|| panic!("{out}\n{}", output.err()))
    };
    let line = told(&["--flake", "flake", "--cc", "no-such-cc"]);
    assert!(
        line.starts_with("configure      failed: the shell "),
        "{line}"
    );
    assert!(
        line.contains("flake#default has no compiler `no-such-cc`; name another"),
        "{line}"
    );

    let plain = kiln.program(
        "plain-cc",
        "#!/bin/sh\ncase \"$*\" in *-fsanitize=*) exit 1;; esac\nexec cc \"$@\"\n",
    );
    let line = told(&[
        "--flake",
        "flake",
        "--sanitizer",
        "address",
        "--cc",
        plain.to_str().unwrap(),
    ]);
    assert!(line.contains("plain-cc` of the shell "), "{line}");
    assert!(
        line.contains("cannot build with -fsanitize=address; name another"),
        "{line}"
    );

    let line = told(&["--flake", "flake", "--shell", "defualt"]);
    assert!(
        line.contains("has no development shell `defualt`; it has: default; name a shell with"),
        "{line}"
    );
    kiln.file(
        "packages/flake.nix",
        "{ outputs = { self }: { packages.x86_64-linux = { }; }; }\n",
    );
    let line = told(&["--flake", "packages"]);
    assert!(
        line.contains("packages is not a flake with development shells for x86_64-linux"),
        "{line}"
    );
}
