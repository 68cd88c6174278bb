//! Profiles of `kiln ci`, with a stand-in `nix` that records its arguments. No VMs.

use std::fs;

use crate::ci::{ci, kiln_with_nix, recorded};

#[test]
fn a_profile_is_the_options_of_a_job_and_the_command_line_comes_first() {
    let kiln = kiln_with_nix("");
    ci(&kiln, &["sanitizers", "-t", "^call\\."])
        .run()
        .assert_code(0);
    let lines = recorded(&kiln);
    // All but the AOT tests, which have a job of their own.
    assert_eq!(lines.len(), 6, "{lines:#?}");
    for line in &lines {
        assert!(line.contains("#bpftrace-llvm22 "), "{line}");
    }
    assert!(
        lines[0].contains("-DCMAKE_BUILD_TYPE=Debug -DBUILD_ASAN=1 -DBUILD_UBSAN=1"),
        "{}",
        lines[0]
    );
    let runtime = &lines[4];
    assert!(
        runtime.contains(" run -k @ci --filter=-basic.it lists"),
        "{runtime}"
    );
    assert!(
        runtime.contains(" --filter=^call\\. --build-scale 4 "),
        "{runtime}"
    );
    assert!(
        lines[5].contains(" exec -k @ci --env TOOLS_TEST_DISABLE -- "),
        "{}",
        lines[5]
    );
    let env = fs::read_to_string(kiln.path("work/env")).unwrap();
    assert!(env.contains("TOOLS_TEST_DISABLE=runqlen.bt\n"), "{env}");

    fs::remove_file(kiln.path("work/argv")).unwrap();
    fs::remove_file(kiln.path("work/env")).unwrap();
    ci(
        &kiln,
        &["sanitizers", "--llvm", "20", "-k", "5.10", "--cc", "clang"],
    )
    .args([
        "--build-type",
        "Release",
        "--only",
        "aot",
        "--only",
        "configure",
    ])
    .args(["--env", "TOOLS_TEST_DISABLE=x.bt", "-D", "USE_X=ON"])
    .run()
    .assert_code(0);
    let lines = recorded(&kiln);
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(lines[0].contains("#bpftrace-llvm20 "), "{}", lines[0]);
    let start = "cmake -B build-ci -DCMAKE_C_COMPILER=clang -DCMAKE_CXX_COMPILER=c++ \
                 -DCMAKE_BUILD_TYPE=Release -DBUILD_ASAN=1";
    assert!(
        lines[0].contains(start) && lines[0].ends_with(" -DUSE_X=ON"),
        "{}",
        lines[0]
    );
    assert!(lines[1].contains(" run -k 5.10 --aot "), "{}", lines[1]);
    let env = fs::read_to_string(kiln.path("work/env")).unwrap();
    assert!(
        env.contains("TOOLS_TEST_DISABLE=x.bt\n") && !env.contains("runqlen"),
        "{env}"
    );
}

#[test]
fn only_the_named_targets_are_built() {
    let kiln = kiln_with_nix("");
    kiln.file("own.toml", "[ci.own]\ntargets = [\"bpftrace\"]\n");
    ci(&kiln, &["own", "--config", "own.toml", "--only", "build"])
        .args(["-j", "2", "--target", "testprogs"])
        .run()
        .assert_code(0);
    let lines = recorded(&kiln);
    let build = " cmake --build build-ci --parallel 2 --target bpftrace testprogs";
    assert!(lines[0].ends_with(build), "{}", lines[0]);
}

#[test]
fn jobs_have_their_own_shells_compilers_and_lists() {
    let kiln = kiln_with_nix("");
    ci(&kiln, &["fuzz", "-j", "2"]).run().assert_code(0);
    ci(&kiln, &["aot"]).run().assert_code(0);
    let lines = recorded(&kiln);
    assert_eq!(lines.len(), 6, "{lines:#?}");
    assert!(
        lines[0].contains("#bpftrace-fuzz --ignore-environment"),
        "{}",
        lines[0]
    );
    assert!(
        lines[0].contains("-DCMAKE_CXX_COMPILER=afl-clang-fast++ "),
        "{}",
        lines[0]
    );
    let build = "--command env AFL_USE_ASAN=1 cmake --build build-ci --parallel 2";
    assert!(lines[1].ends_with(build), "{}", lines[1]);
    let fuzz = "afl-fuzz -M 0 -m none -i inputs -o outputs -E 10 -t 60000 -- src/bpftrace \
                --test=codegen @@";
    assert!(lines[2].ends_with(fuzz), "{}", lines[2]);
    let work = kiln.path("work").canonicalize().unwrap();
    let list = format!(
        " --allowlist {}/.github/include/aot_allow.txt ",
        work.display()
    );
    assert!(lines[5].contains(&list), "{}", lines[5]);
}

#[test]
fn an_unknown_profile_is_refused_with_the_nearest_name_first() {
    let kiln = kiln_with_nix("");
    let output = ci(&kiln, &["sanitiser"]).run();
    output.assert_code(2);
    let told = "there is no ci profile \"sanitiser\"; the profiles are: sanitizers, ";
    assert!(output.err().contains(told), "{}", output.err());
    assert!(recorded(&kiln).is_empty());
}

#[test]
fn a_catalogue_may_have_profiles_and_kernels_of_its_own() {
    let kiln = kiln_with_nix("");
    kiln.file(
        "own.toml",
        "[kernels.a]\npath = \"x\"\n[groups]\nquick = [\"a\"]\n\
         [ci.own]\nshell = \"mine\"\nonly = [\"self-tests\"]\n[ci.bad]\nskip = [\"buidl\"]\n",
    );
    ci(&kiln, &["own", "--config", "own.toml"])
        .run()
        .assert_code(0);
    let lines = recorded(&kiln);
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(
        lines[0].contains("#mine ") && lines[0].contains(" exec -k @quick -- "),
        "{lines:?}"
    );

    let output = ci(&kiln, &["bad", "--config", "own.toml"]).run();
    output.assert_code(96);
    let told = "own.toml:8: ci profile \"bad\": there is no step \"buidl\"; the steps are: build, ";
    assert!(output.err().contains(told), "{}", output.err());
}
