//! The dialect of bpftrace's runtime tests: the engine beside them takes precedence over the
//! version of bpftrace.

use serde_json::Value;

use crate::support::debian_tests::debian_tests;
use crate::support::suite::{assert_verdicts, events, finished, out};
use crate::support::{Kiln, upstream_tests};

/// The directives of 0.17.
const OLD: &str = "NAME RUN PROG EXPECT TIMEOUT BEFORE AFTER MIN_KERNEL MAX_KERNEL REQUIRES \
                   REQUIRES_FEATURE ENV ARCH WILL_FAIL";
/// Those that were added later.
const LATER: &str = "CLEANUP EXPECT_FILE EXPECT_JSON NEW_PIDNS EXPECT_NONE EXPECT_REGEX \
                     EXPECT_REGEX_NONE SKIP_IF_ENV_HAS RETURN_CODE SETUP LOCALIZE_TIMESTAMPS";

/// Features by what `bpftrace --info` prints, up to `: yes`.
const OLD_FEATURES: &str = "loop=Loop support;probe_read_kernel;btf;kfunc;dpath;\
    uprobe_refcount=uprobe refcount (depends on Build:bcc bpf_attach_uprobe refcount);\
    signal=send_signal;iter:task;iter:task_file;libpath_resolv=bcc library path resolution;\
    dwarf=libdw (DWARF support);kprobe_multi;skboutput";
const HEAD_FEATURES: &str = "loop=Loop support;probe_read_kernel;btf;fentry;dpath;\
    signal=send_signal;iter;libpath_resolv=bcc library path resolution;\
    dwarf=libdw (DWARF support);kprobe_multi;kprobe_session;uprobe_multi;skboutput;\
    get_tai_ns=get_ktime_ns;get_func_ip;jiffies64;lookup_percpu_elem;\
    dwunwind=dwunwind (DWARF stack unwinding);blazesym=blazesym (advanced symbolization)";

/// Puts an engine beside the tests.
fn engine(kiln: &Kiln, directives: &str, features: &str, more: &str) {
    let known: Vec<_> = directives
        .split_whitespace()
        .map(|word| format!("    '{word}': keep,\n"))
        .collect();
    let order = if directives.contains("SETUP") {
        "ends = ['le', 'be']\n"
    } else {
        ""
    };
    let parser = format!("{order}KNOWN = {{\n{}}}\n", known.concat());
    kiln.file("tests/runtime/engine/parser.py", parser);
    let lines: Vec<_> = features
        .split(';')
        .map(|feature| {
            let (name, printed) = feature.split_once('=').unwrap_or((feature, feature));
            format!("features[\"{name}\"] = info.find(\"{printed}: yes\") != -1\n")
        })
        .collect();
    let runner = format!(
        "ATTACHED = '__BPFTRACE_NOTIFY_PROBES_ATTACHED'\nfeatures['aot'] = cmake_vars.AOT\n{}{more}",
        lines.concat()
    );
    kiln.file("tests/runtime/engine/runner.py", runner);
}

/// An engine of head that knows one directive and two features more than kiln.
fn newer_engine(kiln: &Kiln) {
    engine(
        kiln,
        &format!("{OLD} {LATER} WARP"),
        HEAD_FEATURES,
        "features['seen'] = info.find('seen: yes') != -1\nfeatures['unseen'] = look(info)\n",
    );
}

/// A root whose bpftrace has this version; programs of a root are read, not run.
fn root(kiln: &Kiln, version: &str) -> String {
    let path = format!("{version}/usr/bin/bpftrace");
    kiln.file(&path, format!("\x7fELF\0{version}\0"));
    format!("dir:{version}")
}

const NEWER: &str = "\
NAME plain
RUN echo hello
EXPECT hello

NAME seen
RUN echo hello
EXPECT hello
REQUIRES_FEATURE seen

NAME absent
RUN echo hello
EXPECT hello
REQUIRES_FEATURE blazesym

NAME unseen
RUN echo hello
EXPECT hello
REQUIRES_FEATURE !unseen

NAME warp
WARP 9
     RUN of another kind
";

#[test]
fn tests_newer_than_the_version_of_bpftrace_are_read_by_the_engine_beside_them() {
    let kiln = Kiln::with_empty_cache();
    kiln.file("tests/runtime/suite", NEWER);
    newer_engine(&kiln);
    for version in [
        "v0.26.0",
        "v0.26.0-e1b7c3934",
        "v0.25.0-12-gabcd",
        "v0.26-rc0",
    ] {
        let root = root(&kiln, version);
        let output = kiln
            .plain(["list", "--tests", "tests", "--root", &root])
            .run();
        output
            .assert_code(0)
            .assert_out("suite.absent\nsuite.plain\nsuite.seen\nsuite.unseen\nsuite.warp\n")
            .assert_err_contains(
                "warning: suite bpftrace: using the rules of head, from the engine",
            )
            .assert_err_contains(&format!("although bpftrace reports version {version}"));
    }
    let root = root(&kiln, "v0.26.0");
    let output = kiln
        .plain(["matrix", "-k", "6.1", "--tests", "tests", "--root", &root])
        .run();
    output
        .assert_code(0)
        .assert_err_contains("using the rules of head");
    assert!(output.out().contains("\"tests\":5"), "{}", output.out());
    // The user's choice counts, and kiln warns that the engine differs.
    let listed = |dialect: &str| {
        kiln.plain([
            "list",
            "--tests",
            "tests",
            "--root",
            &root,
            "--dialect",
            dialect,
        ])
        .run()
    };
    let output = listed("head");
    output.assert_code(0);
    assert_eq!(output.err(), "");
    listed("0.26")
        .assert_code(96)
        .assert_err_contains("using the rules of 0.26, as --dialect says")
        .assert_err_contains("`blazesym` is not a feature")
        .assert_err_contains("`WARP` is not a directive");
}

#[test]
fn tests_older_than_the_version_of_bpftrace_are_read_by_the_engine_beside_them() {
    let kiln = Kiln::with_empty_cache();
    let text = "NAME a\nRUN b\nEXPECT c\nTIMEOUT 1\n";
    kiln.file("tests/runtime/suite", text);
    engine(&kiln, OLD, OLD_FEATURES, "");
    let root = root(&kiln, "v0.23.2");
    let list = || {
        kiln.plain(["list", "--tests", "tests", "--root", &root])
            .run()
    };
    list()
        .assert_code(0)
        .assert_err_contains("using the rules of 0.17")
        .assert_err_contains("although bpftrace reports version v0.23.2");
    kiln.file("tests/runtime/suite", format!("{text}SETUP true\n"));
    list()
        .assert_code(96)
        .assert_err_contains("SETUP is not a directive of bpftrace 0.17's tests");
}

#[test]
fn without_an_engine_the_version_decides() {
    let kiln = Kiln::with_empty_cache();
    kiln.file("tests/runtime/suite", NEWER);
    let list = |version: &str| {
        let root = root(&kiln, version);
        kiln.plain(["list", "--tests", "tests", "--root", &root])
            .run()
    };
    list("v0.26.1")
        .assert_code(96)
        .assert_err_contains("`blazesym` is not a feature");
    // Such tests may be newer than what kiln knows.
    for version in ["v0.26.0-e1b7c3934", "v0.27.0"] {
        let output = list(version);
        output.assert_code(0);
        assert_eq!(output.err(), "", "{version}");
    }
    // kiln warns about an engine that says nothing.
    kiln.file("tests/runtime/engine/parser.py", "import yaml\n");
    list("v0.26.1")
        .assert_code(0)
        .assert_err_contains("cannot determine the version of the engine beside the tests")
        .assert_err_contains("using the rules of 0.26, from the version of bpftrace, v0.26.1");
}

#[test]
fn lint_goes_by_the_engine_and_warns_of_what_is_newer_than_kiln() {
    let kiln = Kiln::with_empty_cache();
    kiln.file("tests/runtime/suite", NEWER);
    let lint = |args: &[&str]| kiln.plain(["lint", "tests"]).args(args).run();
    let output = lint(&[]);
    output.assert_code(100);
    for rule in ["[unknown-feature]", "[unknown-directive]"] {
        assert!(output.out().contains(rule), "{}", output.out());
    }
    newer_engine(&kiln);
    let output = lint(&["--format", "json"]);
    output.assert_code(0);
    let json: Value = serde_json::from_str(&output.out()).unwrap();
    assert_eq!(json["dialect"], "head");
    assert_eq!(json["dialect_by"], "engine");
    let findings = json["findings"].as_array().unwrap();
    let found: Vec<_> = findings
        .iter()
        .map(|finding| (finding["rule"].as_str().unwrap(), finding["line"].as_u64()))
        .collect();
    let newer = "newer-than-kiln";
    assert_eq!(found, [(newer, Some(18)), (newer, Some(21))]);
    lint(&["--strict"]).assert_code(100);
    lint(&["--dialect", "0.26"])
        .assert_code(100)
        .assert_err_contains("the engine beside the tests (tests/runtime/engine) is of head");
}

#[test]
fn debian_s_tests_are_recognised_by_their_engine() {
    let tests = upstream_tests();
    let known = debian_tests();
    let kiln = Kiln::with_empty_cache();
    let output = kiln.plain(["lint"]).arg(&tests).run();
    output.assert_code(0);
    let out = output.out();
    assert!(out.contains(&known.said), "{out}");
    let root = root(&kiln, "v0.26.0");
    let output = kiln
        .plain(["list", "--root", &root, "--tests"])
        .arg(&tests)
        .run();
    output
        .assert_code(0)
        .assert_err_contains(&format!("using the rules of {}", known.dialect));
    assert_eq!(output.out().lines().count(), known.count);
}

#[test]
fn ci_passes_a_dialect_to_the_steps_that_run_suites() {
    let kiln = Kiln::with_empty_cache();
    let lines_with = |args: &[&str]| {
        let output = kiln.plain(["ci", "--list"]).args(args).run();
        output.assert_code(0);
        let has = |line: &&str| line.contains(" --dialect head ");
        let out = output.out();
        (out.lines().filter(has).count(), out)
    };
    let (count, out) = lines_with(&["--dialect", "head"]);
    assert_eq!(count, 2, "{out}");
    let (count, out) = lines_with(&[]);
    assert_eq!(count, 0, "{out}");
    kiln.plain(["ci", "--list", "--dialect", "0.1"])
        .run()
        .assert_code(2)
        .assert_err_contains("there is no such dialect");
}

#[test]
fn tests_that_need_a_newer_kiln_are_skipped_and_the_others_run() {
    let kiln = Kiln::new();
    kiln.file("tests/runtime/suite", NEWER);
    newer_engine(&kiln);
    let bpftrace = kiln.program(
        "bin/bpftrace",
        "#!/bin/sh\ncase $1 in\n--version) echo bpftrace v0.26.0-e1b7c3934 ;;\n\
         --info) printf 'Build\\n  seen: yes\\n  blazesym (advanced symbolization): no\\n' ;;\nesac\n",
    );
    let output = kiln
        .vm(["run", "-k", "6.1", "--tests", "tests", "--bpftrace"])
        .arg(&bpftrace)
        .args(["--compat", "--aot", "--run-dir"])
        .arg(out(&kiln))
        .run();
    output
        .assert_code(0)
        .assert_err_contains("using the rules of head, from the engine beside the tests")
        .assert_err_contains("suite:18: this kiln does not know the feature unseen");
    let expected = [
        "absent skip",
        "plain pass",
        "seen pass",
        "unseen skip",
        "warp skip",
    ];
    assert_verdicts(&kiln, &output, &expected);
    for (id, reason) in [
        ("suite.absent", "missing feature: blazesym"),
        (
            "suite.unseen",
            "this kiln does not know the feature unseen; a newer one may",
        ),
        (
            "suite.warp",
            "this kiln does not know the directive WARP; a newer one may",
        ),
    ] {
        assert_eq!(finished(&out(&kiln), id)["reason"], reason);
    }
    let all = events(&out(&kiln));
    let ready = all.iter().find(|event| event["event"] == "suite_ready");
    assert_eq!(ready.unwrap()["dialect"], "head");
    assert_eq!(ready.unwrap()["version"], "v0.26.0-e1b7c3934");
}
